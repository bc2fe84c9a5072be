//! Slow readers of an echo: they go on sending messages, whose echoes they do not read.

use std::time::{Duration, Instant};

use super::slow_workload::SlowWorkload;
use super::tracker::Tracker;
use crate::commands::session::SERVE;
use crate::driver::{ConnHandle, Driver, Failure, Workload};
use crate::load::clients::NextTurn;
use crate::load::echoes::Echoes;
use crate::message::Pattern;
use crate::system::clock;
use crate::websocket::Event;

/// A closed loop of one message on each active connection, and batches of messages on the slow
/// ones.
#[derive(Debug)]
pub(super) struct EchoWorkload {
    echoes: Echoes,
    /// When each connection sent its last message.
    sent: Vec<Instant>,
    next_batch: Instant,
    is_finished: bool,
    tracker: Tracker,
}

impl EchoWorkload {
    pub(super) fn new(pattern: Pattern, tracker: Tracker) -> Self {
        let now = clock::now();
        Self {
            echoes: Echoes::new(pattern, tracker.readers()),
            sent: vec![now; tracker.readers()],
            next_batch: now,
            is_finished: false,
            tracker,
        }
    }

    fn send(&mut self, connection: &mut ConnHandle<'_>) {
        let echo = self.echoes.send(connection);
        self.sent[echo.index] = connection.now();
    }
}

impl SlowWorkload for EchoWorkload {
    fn begin(&mut self, driver: &mut Driver) {
        for key in driver.keys() {
            if self.tracker.is_other(key.serial()) {
                driver.with(key, |connection| self.send(connection));
            }
        }
    }

    fn act(&mut self, driver: &mut Driver) -> NextTurn {
        if !self.tracker.has_stopped_reading() {
            return SERVE;
        }
        let now = clock::now();
        if self.next_batch <= now {
            self.next_batch = now + BATCH_INTERVAL;
            let messages = (BATCH_BYTES / self.echoes.frame_bytes()).max(1);
            for key in self.slow_keys(driver) {
                driver.with(key, |connection| {
                    // The server reads no more for now.
                    if connection.has_backlog() {
                        return;
                    }
                    for _ in 0..messages {
                        self.send(connection);
                    }
                });
            }
        }
        NextTurn::Wait(self.next_batch.saturating_duration_since(clock::now()))
    }

    fn finish(&mut self) {
        self.is_finished = true;
    }

    fn outstanding(&self, reader: usize) -> u64 {
        self.echoes.outstanding(reader).into()
    }

    fn tracker(&mut self) -> &mut Tracker {
        &mut self.tracker
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
        if let Some(echo) = self.echoes.verify(connection.serial(), &chunk)?
            && self.tracker.is_other(connection.serial())
            && !self.is_finished
        {
            let sent = self.sent[echo.index];
            self.tracker.record(connection.now().saturating_duration_since(sent));
            self.send(connection);
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.tracker.record_end(serial, outcome);
    }

    fn failures(&self) -> usize {
        self.tracker.tally().count()
    }
}

/// The batch that a slow reader sends if the server has taken the batch before: large enough to
/// fill all buffers within a second.
const BATCH_BYTES: usize = 64 * 1024;
const BATCH_INTERVAL: Duration = Duration::from_millis(10);
