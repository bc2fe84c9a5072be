//! Answers every echo with the next message, and records the latencies.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::driver::{ConnHandle, Driver, Failure, Workload};
use crate::load::echoes::{Echo, Echoes};
use crate::message::Pattern;
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::system::clock;
use crate::websocket::Event;

/// The closed loop of every connection.
#[derive(Debug)]
pub(crate) struct EchoWorkload {
    echoes: Echoes,
    in_flight: usize,
    /// When the messages in flight were sent, in a ring for each connection.
    sent: Vec<Instant>,
    phase: Phase,
    latencies: Latencies,
    tally: Tally,
}

impl EchoWorkload {
    /// The connections must be the first of the run.
    pub(crate) fn new(pattern: Pattern, connections: usize, in_flight: NonZeroU32) -> Self {
        let in_flight = in_flight.get() as usize;
        Self {
            echoes: Echoes::new(pattern, connections),
            in_flight,
            sent: vec![clock::now(); connections * in_flight],
            phase: Phase::Loop,
            latencies: Latencies::new(),
            tally: Tally::default(),
        }
    }

    /// Puts the first messages in flight on every connection.
    pub(crate) fn begin(&mut self, driver: &mut Driver) {
        for key in driver.keys() {
            driver.with(key, |connection| {
                for _ in 0..self.in_flight {
                    self.send(connection);
                }
            });
        }
    }

    /// Begins to measure.
    pub(crate) fn measure(&mut self) {
        self.latencies.clear();
        self.phase = Phase::Measure;
    }

    /// Sends no more messages.
    pub(crate) fn finish(&mut self) {
        self.phase = Phase::Drain;
    }

    /// The echoes since the beginning of the measurement.
    pub(crate) fn measured(&self) -> u64 {
        self.latencies.count()
    }

    pub(crate) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn send(&mut self, connection: &mut ConnHandle<'_>) {
        let echo = self.echoes.send(connection);
        let slot = self.ring_slot(echo);
        self.sent[slot] = connection.now();
    }

    fn ring_slot(&self, echo: Echo) -> usize {
        echo.index * self.in_flight + echo.sequence as usize % self.in_flight
    }
}

impl Workload for EchoWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let Event::Data(chunk) = event else {
            return Ok(());
        };
        let Some(echo) = self.echoes.verify(connection.serial(), &chunk)? else {
            return Ok(());
        };
        if self.phase == Phase::Measure {
            let sent = self.sent[self.ring_slot(echo)];
            self.latencies.record(connection.now().saturating_duration_since(sent));
        }
        if self.phase != Phase::Drain {
            self.send(connection);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loop,
    Measure,
    Drain,
}
