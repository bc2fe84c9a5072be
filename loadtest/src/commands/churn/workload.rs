//! Connections that echo one message and close.

use crate::driver::{ConnHandle, Failure, Workload};
use crate::message::{MessageId, Pattern};
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::websocket::Event;

/// Takes every connection through its steps, and counts.
#[derive(Debug)]
pub(super) struct ChurnWorkload {
    pattern: Pattern,
    completed: u64,
    /// The time from the beginning of the connection to the end of the TLS handshake.
    tls_handshakes: Latencies,
    /// The time from the beginning of the connection to the 101.
    upgrades: Latencies,
    /// The time from the beginning of the connection to the echo.
    echoes: Latencies,
    /// The first connections, which began before there was a session to resume.
    without_tickets: u64,
    /// Of the TLS handshakes of the others, how many there were, and how many resumed a session.
    handshakes: u64,
    resumed: u64,
    tally: Tally,
}

impl ChurnWorkload {
    /// At most `concurrency` connections are under way at a time.
    pub(super) fn new(pattern: Pattern, concurrency: usize) -> Self {
        Self {
            pattern,
            completed: 0,
            tls_handshakes: Latencies::new(),
            upgrades: Latencies::new(),
            echoes: Latencies::new(),
            without_tickets: concurrency as u64,
            handshakes: 0,
            resumed: 0,
            tally: Tally::default(),
        }
    }

    /// Begins to measure: forgets all but the failures.
    pub(super) fn measure(&mut self) {
        self.completed = 0;
        self.tls_handshakes.clear();
        (self.handshakes, self.resumed) = (0, 0);
        self.upgrades.clear();
        self.echoes.clear();
    }

    /// The connections that have closed since the beginning of the measurement.
    pub(super) fn completed(&self) -> u64 {
        self.completed
    }

    pub(super) fn tls_handshakes(&self) -> &Latencies {
        &self.tls_handshakes
    }

    pub(super) fn upgrades(&self) -> &Latencies {
        &self.upgrades
    }

    pub(super) fn echoes(&self) -> &Latencies {
        &self.echoes
    }

    /// Counts it as a failure if most handshakes should have resumed a session and did not: the figures
    /// are then not of what they say.
    pub(super) fn require_resumption(&mut self, is_wanted: bool) {
        let Self { handshakes, resumed, .. } = *self;
        if !is_wanted {
            return;
        }
        if handshakes == 0 {
            let reason = "the time was too short for a TLS handshake that resumes a session";
            self.tally.record(|| reason.to_owned());
        } else if (resumed as f64) < RESUMED_SHARE_MIN * handshakes as f64 {
            let reason = format!("the server resumed {resumed} of {handshakes} TLS sessions only");
            self.tally.record(|| reason);
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// A server may refuse a ticket now and then, such as when it changes its keys.
const RESUMED_SHARE_MIN: f64 = 0.9;

impl Workload for ChurnWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let id = MessageId::new(connection.serial(), 0);
        match event {
            Event::Opened => {
                if let Some(handshake) = connection.tls_handshake() {
                    self.tls_handshakes.record(handshake.age);
                    if connection.serial() >= self.without_tickets {
                        self.handshakes += 1;
                        self.resumed += u64::from(handshake.is_resumed);
                    }
                }
                self.upgrades.record(connection.age());
                connection.send_message(&self.pattern, id);
            }
            Event::Data(chunk) => {
                let mismatch = |mismatch| Failure::WrongMessage { sequence: 0, mismatch };
                self.pattern.expected(id).verify(&chunk).map_err(mismatch)?;
                if chunk.is_end {
                    self.echoes.record(connection.age());
                    connection.close();
                }
            }
            Event::Ping | Event::Pong { .. } => {}
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.completed += u64::from(outcome.is_ok());
        self.tally.record_end(serial, outcome);
    }

    fn failures(&self) -> usize {
        self.tally.count()
    }
}
