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
    /// Of the TLS handshakes, those that resumed an earlier session.
    resumed: u64,
    tally: Tally,
}

impl ChurnWorkload {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            completed: 0,
            tls_handshakes: Latencies::new(),
            upgrades: Latencies::new(),
            echoes: Latencies::new(),
            resumed: 0,
            tally: Tally::default(),
        }
    }

    /// Begins to measure: forgets all but the failures.
    pub(super) fn measure(&mut self) {
        self.completed = 0;
        self.tls_handshakes.clear();
        self.resumed = 0;
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
        let (resumed, handshakes) = (self.resumed, self.tls_handshakes.count());
        if is_wanted && (resumed as f64) < RESUMED_SHARE_MIN * handshakes as f64 {
            let reason = format!("the server resumed {resumed} of {handshakes} TLS sessions only");
            self.tally.record(|| reason);
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The first connections have no ticket yet.
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
                    self.resumed += u64::from(handshake.is_resumed);
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
