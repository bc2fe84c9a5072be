//! The way of channels to an engine that several gateways share, and back.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::ServiceSender;
use crate::channels::remote::{EngineQuestion, EngineRoom, Port, PortEvent};

/// Asks a shared engine, without blocking the loop that asks. One instance serves all loops.
pub trait EngineLink: Send + Sync {
    /// An instance of a service asks from now on. What it is answered, and what is published in its channels,
    /// comes to `answer_to` as [`EngineDelivery`], until [`EngineLink::detach`].
    fn attach(&self, answer_to: ServiceSender) -> Port;

    /// An instance asks no more, and hears nothing.
    fn detach(&self, port: Port);

    /// Asks.
    fn ask(&self, question: EngineQuestion);

    /// An instance has refused this many questions itself, as too many or too much was under way: they are counted
    /// with those that are refused here.
    fn refused(&self, count: u64);

    /// The room that publications have on their way, for all instances together.
    fn room(&self) -> EngineRoom;

    /// The number of this gateway, which no other has.
    fn node(&self) -> u64;
}

/// An engine that several services ask.
pub type SharedEngineLink = Arc<dyn EngineLink>;

/// What a shared engine says to one instance of a service, in order, sent as a
/// [`ServiceMessage`](super::ServiceMessage).
pub struct EngineDelivery {
    /// What it says.
    pub events: Vec<PortEvent>,
    /// Dropped when all of that is done: so much less waits for the loop.
    pub credit: Option<Box<dyn Any + Send>>,
}

impl fmt::Debug for EngineDelivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EngineDelivery")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
