//! The plan of a measurement.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::load::clients::Pace;

/// The number of connections, the times and the number of cycles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: NonZeroUsize,
    pub(crate) cycles: NonZeroUsize,
    pub(crate) hold: Duration,
    /// Connections that open and close before the baseline.
    pub(crate) warm_up: usize,
    pub(crate) connects_per_second: Option<NonZeroU32>,
    /// The most open requests at a time.
    pub(crate) in_flight: NonZeroUsize,
    /// How long the memory must stay unchanged to count as stable.
    pub(crate) quiet: Duration,
    pub(crate) check: Check,
    pub(crate) seed: u64,
}

impl Plan {
    pub(super) fn pace(&self) -> Pace {
        Pace { in_flight_max: self.in_flight, connects_per_second: self.connects_per_second }
    }
}

/// How the connections are checked at the end of the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// With a text message, which an echo server sends back.
    Echo,
    /// With a ping, which every server answers.
    Ping,
}
