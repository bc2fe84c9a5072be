//! Channels that several gateways share by a broker: what is asked of it, and what it says.

mod broker;
mod question;
mod remote_engine;

pub use broker::{
    Audience, Batch, BrokerCommand, BrokerError, BrokerEvent, POSITIONS_MAX, Placement, Retention,
    Span,
};
pub use question::{EngineAction, EngineQuestion, JoinRead, Port, PortEvent};
pub use remote_engine::RemoteEngine;
