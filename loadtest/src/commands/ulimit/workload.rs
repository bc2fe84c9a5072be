//! Follows every client: it is served, refused, reset or left waiting, and later leaves or returns.

use std::collections::HashSet;

use serde::Serialize;

use crate::driver::{ConnHandle, Driver, Failure, Workload};
use crate::message::{MessageId, Pattern};
use crate::stats::tally::Tally;
use crate::websocket::{Event, HandshakeError, ProtocolError};

/// The number of clients by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) served: usize,
    #[serde(rename = "refused_503_with_retry_after")]
    pub(super) refused_with_retry_after: usize,
    #[serde(rename = "refused_503_without_retry_after")]
    pub(super) refused_without_retry_after: usize,
    /// Refused with another status, or with a response that does not accept the upgrade.
    pub(super) refused_otherwise: usize,
    /// The connection was refused, reset or ended without an answer.
    pub(super) reset: usize,
}

/// The stages of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Arrive,
    Echo,
    Leave,
    Return,
}

/// The clients of the run.
#[derive(Debug)]
pub(super) struct UlimitWorkload {
    pattern: Pattern,
    stage: Stage,
    counts: Counts,
    /// The clients that are served now.
    served: HashSet<u64>,
    asked: usize,
    echoed: usize,
    leaving: HashSet<u64>,
    left: usize,
    /// Clients that were served after others had left.
    returned: usize,
    tally: Tally,
}

impl UlimitWorkload {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            stage: Stage::Arrive,
            counts: Counts::default(),
            served: HashSet::new(),
            asked: 0,
            echoed: 0,
            leaving: HashSet::new(),
            left: 0,
            returned: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Sends a message on each connection that is served.
    pub(super) fn echo_all(&mut self, driver: &mut Driver) {
        for key in driver.keys() {
            if self.served.contains(&key.serial()) {
                self.asked += 1;
                driver.with(key, |connection| {
                    connection.send_message(&self.pattern, id(connection.serial()))
                });
            }
        }
    }

    /// Closes `leaving` of the connections that are served.
    pub(super) fn close_some(&mut self, leaving: usize, driver: &mut Driver) {
        let keys = driver.keys().into_iter().filter(|key| self.served.contains(&key.serial()));
        for key in keys.take(leaving).collect::<Vec<_>>() {
            self.leaving.insert(key.serial());
            driver.with(key, |connection| connection.close());
        }
    }

    /// Counts a failure if connections that are served have not echoed.
    pub(super) fn require_echoes(&mut self) {
        let silent = self.asked.saturating_sub(self.echoed);
        if silent > 0 {
            self.tally.record(|| format!("{silent} connections that were served did not echo"));
        }
    }

    /// Counts a failure unless `new_clients` were served after others had left.
    pub(super) fn require_new_clients(&mut self, new_clients: usize) {
        if self.counts.served == 0 {
            self.tally.record(|| "no client was served".to_owned());
        }
        let returned = self.returned;
        if returned < new_clients {
            let reason = || format!("only {returned} of {new_clients} new clients were served");
            self.tally.record(reason);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The number of clients without an answer.
    pub(super) fn waiting(&self, driver: &Driver) -> usize {
        driver.len().saturating_sub(self.served.len())
    }

    pub(super) fn has_echoed_all(&self) -> bool {
        self.echoed >= self.asked
    }

    pub(super) fn echoed(&self) -> usize {
        self.echoed
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn returned(&self) -> usize {
        self.returned
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn count_refusal(&mut self, failure: &Failure) {
        let counts = &mut self.counts;
        if let Failure::Protocol(ProtocolError::Handshake(refusal)) = failure
            && let HandshakeError::Refused { line, has_retry_after } = refusal
            && line.starts_with("503")
        {
            if *has_retry_after {
                counts.refused_with_retry_after += 1;
            } else {
                counts.refused_without_retry_after += 1;
            }
        } else if matches!(failure, Failure::Protocol(ProtocolError::Handshake(_))) {
            counts.refused_otherwise += 1;
        } else if !matches!(failure, Failure::Overdue { .. }) {
            // An overdue client was left waiting, and is counted as that.
            counts.reset += 1;
        }
    }
}

impl Workload for UlimitWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        match event {
            Event::Opened => {
                self.served.insert(connection.serial());
                match self.stage {
                    Stage::Arrive => self.counts.served += 1,
                    Stage::Echo => {}
                    Stage::Leave | Stage::Return => self.returned += 1,
                }
            }
            Event::Data(chunk) => {
                let mismatch = |mismatch| Failure::WrongMessage { sequence: 0, mismatch };
                self.pattern.expected(id(connection.serial())).verify(&chunk).map_err(mismatch)?;
                self.echoed += usize::from(chunk.is_end);
            }
            Event::Ping | Event::Pong { .. } => {}
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        let was_served = self.served.remove(&serial);
        match outcome {
            Ok(()) => self.left += usize::from(self.leaving.remove(&serial)),
            Err(failure) if was_served => self.tally.record_end(serial, Err(failure)),
            Err(failure) if self.stage == Stage::Arrive => self.count_refusal(&failure),
            // A client that is refused later connects again.
            Err(_) => {}
        }
    }

    fn failures(&self) -> usize {
        self.tally.count()
    }
}

fn id(serial: u64) -> MessageId {
    MessageId::new(serial, 0)
}
