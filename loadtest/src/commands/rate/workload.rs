//! Sends what is due, and charges each echo from the moment at which its message was due.

use crate::client::{Event, Failure};
use crate::clock;
use crate::commands::session::TURN_MAX;
use crate::driver::{self, ConnKey, Driver, Peer, Workload};
use crate::echoes::Echoes;
use crate::fleet::Steer;
use crate::latency::Latencies;
use crate::message::Pattern;
use crate::schedule::Schedule;
use crate::tally::Tally;

/// The open loop over all connections.
#[derive(Debug)]
pub(super) struct RateWorkload {
    echoes: Echoes,
    /// Absent until the sending begins.
    schedule: Option<Schedule>,
    /// The connections, by their place in the schedule; one that failed leaves its messages out.
    keys: Vec<Option<ConnKey>>,
    sent: u64,
    /// The first message that counts.
    measured_from: u64,
    latencies: Latencies,
    /// How late messages were sent: this program's own doing.
    delays: Latencies,
    tally: Tally,
}

impl RateWorkload {
    pub(super) fn new(pattern: Pattern, connections: usize) -> Self {
        Self {
            echoes: Echoes::new(pattern, connections),
            schedule: None,
            keys: vec![None; connections],
            sent: 0,
            measured_from: u64::MAX,
            latencies: Latencies::new(),
            delays: Latencies::new(),
            tally: Tally::default(),
        }
    }

    /// The connections are open: begins with the schedule.
    pub(super) fn begin(&mut self, schedule: Schedule, driver: &Driver) {
        self.schedule = Some(schedule);
        for key in driver.keys() {
            self.keys[driver::index(key.serial())] = Some(key);
        }
    }

    /// From here on, messages count.
    pub(super) fn measure(&mut self) {
        self.measured_from = self.sent;
    }

    /// Messages sent since they count.
    pub(super) fn measured_sent(&self) -> u64 {
        self.sent.saturating_sub(self.measured_from)
    }

    pub(super) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    pub(super) fn delays(&self) -> &Latencies {
        &self.delays
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Sends all messages that are due; waits for the next one.
    pub(super) fn send_due(&mut self, driver: &mut Driver) -> Steer {
        let Some(schedule) = self.schedule else {
            return Steer::Wait(TURN_MAX);
        };
        let now = clock::now();
        let due = schedule.due(now);
        for (index, count) in schedule.shares(self.sent, due) {
            let Some(key) = self.keys[index] else {
                continue;
            };
            driver.with(key, |peer| {
                for _ in 0..count {
                    let echo = self.echoes.send(peer);
                    let number = schedule.number(echo.index, echo.sequence);
                    if number >= self.measured_from {
                        let moment = schedule.moment(number);
                        self.delays.record(peer.now().saturating_duration_since(moment));
                    }
                }
            });
        }
        self.sent = due;
        Steer::Wait(schedule.moment(due).saturating_duration_since(clock::now()))
    }
}

impl Workload for RateWorkload {
    fn on_event(&mut self, peer: &mut Peer<'_>, event: Event<'_>) -> Result<(), Failure> {
        let Event::Data(piece) = event else {
            return Ok(());
        };
        if let Some(echo) = self.echoes.verify(peer.serial(), &piece)?
            && let Some(schedule) = &self.schedule
        {
            let number = schedule.number(echo.index, echo.sequence);
            if number >= self.measured_from {
                let moment = schedule.moment(number);
                self.latencies.record(peer.now().saturating_duration_since(moment));
            }
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
