//! Records the time of each upgrade.

use std::time::Instant;

use crate::driver::{ConnHandle, Failure, Workload};
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::websocket::Event;

/// The clients that reconnect.
#[derive(Debug)]
pub(super) struct StormWorkload {
    /// The time from the beginning of the connection to the 101.
    upgrades: Latencies,
    last_served: Option<Instant>,
    tally: Tally,
}

impl StormWorkload {
    pub(super) fn new() -> Self {
        Self { upgrades: Latencies::new(), last_served: None, tally: Tally::default() }
    }

    /// Begins to measure: forgets all but the failures.
    pub(super) fn begin(&mut self) {
        self.upgrades.clear();
        self.last_served = None;
    }

    pub(super) fn upgrades(&self) -> &Latencies {
        &self.upgrades
    }

    pub(super) fn last_served(&self) -> Option<Instant> {
        self.last_served
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Workload for StormWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        if event == Event::Opened {
            self.upgrades.record(connection.age());
            self.last_served = Some(connection.now());
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.tally.record_end(serial, outcome);
    }

    fn failures(&self) -> usize {
        self.tally.count()
    }
}
