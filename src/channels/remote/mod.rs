//! Channels that several gateways share by a broker, as functions of values and time.
//!
//! | file | what it is |
//! |---|---|
//! | `broker` | what a broker is asked, and what it says |
//! | `question` | what loops ask, and what they hear |
//! | `remote_engine` | the end of it in a loop |
//! | `follower` | the streams that a node follows, without a hole and without a repeat |
//! | `payload` | publications and members as bytes |
//! | `on_its_way` | how much may be on its way to the broker |
//! | `nodes` | the gateways that share it |

mod broker;
mod follower;
mod nodes;
mod on_its_way;
mod payload;
mod question;
mod remote_engine;

pub use broker::{
    Audience, Batch, BrokerCommand, BrokerError, BrokerEvent, POSITIONS_MAX, Placement, Retention,
    Span,
};
pub use follower::{Follower, FollowerCounts, FollowerLimits, FollowerOutput};
pub use nodes::{ANSWERS_MS, Asked, GONE_MS, HELLO_MS, NodeAnswers, NodeEvent, NodeId, Nodes};
pub use on_its_way::{Charged, EngineRoom, Payload};
pub use payload::{InvalidPayload, read_member, read_publication, write_member, write_publication};
pub use question::{EngineAction, EngineQuestion, JoinRead, Port, PortEvent};
pub use remote_engine::RemoteEngine;
