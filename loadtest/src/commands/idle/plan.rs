//! What a measurement is to do.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::load::clients::Pace;

/// How many connections, for how long, how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: NonZeroUsize,
    pub(crate) cycles: NonZeroUsize,
    pub(crate) hold: Duration,
    /// Connections that come and go before the baseline.
    pub(crate) warm_up: usize,
    pub(crate) connects_per_second: Option<NonZeroU32>,
    /// Answers awaited at a time.
    pub(crate) in_flight: NonZeroUsize,
    /// How long memory must not change to count as settled.
    pub(crate) quiet: Duration,
    pub(crate) check: Check,
    pub(crate) seed: u64,
}

impl Plan {
    pub(super) fn pace(&self) -> Pace {
        Pace { in_flight_max: self.in_flight, connects_per_second: self.connects_per_second }
    }
}

/// How held connections are asked whether they still live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// With a text message, which every echo server sends back.
    Echo,
    /// With a ping, which every server answers, echo or not.
    Ping,
}
