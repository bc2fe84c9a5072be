//! Sends the messages that are due, and measures each echo from the time at which its message was
//! due.

use crate::commands::session::TURN_MAX;
use crate::driver;
use crate::driver::{ConnHandle, ConnKey, Driver, Failure, Workload};
use crate::load::clients::NextTurn;
use crate::load::echoes::Echoes;
use crate::load::schedule::Schedule;
use crate::message::Pattern;
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::system::clock;
use crate::websocket::Event;

/// The open loop of all connections.
#[derive(Debug)]
pub(super) struct RateWorkload {
    echoes: Echoes,
    /// Absent until the connections are open.
    schedule: Option<Schedule>,
    /// The connections in the order of the schedule. The messages of one that failed are left out.
    keys: Vec<Option<ConnKey>>,
    sent: u64,
    /// The number of the first message that is measured.
    measured_from: u64,
    latencies: Latencies,
    /// How late messages were sent, which is a delay of this program.
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

    /// Begins with the schedule, once the connections are open.
    pub(super) fn begin(&mut self, schedule: Schedule, driver: &Driver) {
        self.schedule = Some(schedule);
        for key in driver.keys() {
            self.keys[driver::index(key.serial())] = Some(key);
        }
    }

    /// Begins to measure.
    pub(super) fn measure(&mut self) {
        self.measured_from = self.sent;
    }

    /// The messages that were sent since the beginning of the measurement.
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

    /// Sends all messages that are due; returns how long to wait for the next one.
    pub(super) fn send_due(&mut self, driver: &mut Driver) -> NextTurn {
        let Some(schedule) = self.schedule else {
            return NextTurn::Wait(TURN_MAX);
        };
        let now = clock::now();
        let due = schedule.due(now);
        for (index, count) in schedule.shares(self.sent, due) {
            let Some(key) = self.keys[index] else {
                continue;
            };
            driver.with(key, |connection| {
                for _ in 0..count {
                    let echo = self.echoes.send(connection);
                    let number = schedule.number(echo.index, echo.sequence);
                    if number >= self.measured_from {
                        let due_at = schedule.due_at(number);
                        self.delays.record(connection.now().saturating_duration_since(due_at));
                    }
                }
            });
        }
        self.sent = due;
        NextTurn::Wait(schedule.due_at(due).saturating_duration_since(clock::now()))
    }
}

impl Workload for RateWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let Event::Data(chunk) = event else {
            return Ok(());
        };
        if let Some(echo) = self.echoes.verify(connection.serial(), &chunk)?
            && let Some(schedule) = &self.schedule
        {
            let number = schedule.number(echo.index, echo.sequence);
            if number >= self.measured_from {
                let due_at = schedule.due_at(number);
                self.latencies.record(connection.now().saturating_duration_since(due_at));
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
