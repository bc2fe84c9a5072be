//! The load: when connections and messages are sent, and which answers have to come back.

pub(crate) mod clients;
pub(crate) mod deliveries;
pub(crate) mod echoes;
pub(crate) mod schedule;
