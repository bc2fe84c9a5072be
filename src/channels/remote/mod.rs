//! Channels that several gateways share by a broker: what is asked of it, and what it says.

mod broker;

pub use broker::{
    Audience, Batch, BrokerCommand, BrokerError, BrokerEvent, POSITIONS_MAX, Place, Retention, Span,
};
