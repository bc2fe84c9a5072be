//! The workload of idle connections: counts and verifies what the server does.

use std::fmt;

use super::plan::Check;
use crate::driver::{ConnHandle, Failure, Workload};
use crate::random::mix;
use crate::stats::tally::Tally;
use crate::websocket::Event;

/// Counts the server's actions and verifies its answers.
#[derive(Debug)]
pub(crate) struct IdleWorkload {
    seed: u64,
    check: Check,
    stage: Stage,
    counts: Counts,
    tally: Tally,
}

impl IdleWorkload {
    pub(crate) fn new(seed: u64, check: Check) -> Self {
        let (counts, tally) = (Counts::default(), Tally::default());
        Self { seed, check, stage: Stage::WarmUp, counts, tally }
    }

    /// Names the stage that later failures belong to.
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Returns the counts and begins again from zero. The failures stay.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Sends a text that no other connection sends, to verify its echo.
    pub(crate) fn send_echo_text(connection: &mut ConnHandle<'_>) {
        connection.send_text(&echo_text(connection.serial()));
    }

    /// Pings with a payload that no other connection uses. The payload is derived again when the
    /// pong arrives, so the connection does not keep it.
    pub(crate) fn ping(seed: u64, connection: &mut ConnHandle<'_>) {
        let payload = ping_payload(seed, connection.serial());
        connection.ping(&payload);
    }

    fn awaits_echoes(&self) -> bool {
        match self.stage {
            Stage::WarmUp => true,
            Stage::Check => self.check == Check::Echo,
            Stage::Close | Stage::Hold | Stage::Leave | Stage::Open => false,
        }
    }
}

impl Workload for IdleWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        match event {
            Event::Opened => {
                self.counts.opened += 1;
                if self.stage == Stage::WarmUp {
                    Self::send_echo_text(connection);
                }
            }
            Event::Data(chunk) if self.awaits_echoes() => {
                let (text, end) =
                    (echo_text(connection.serial()), chunk.offset + chunk.payload.len());
                let is_right = text.as_bytes().get(chunk.offset..end) == Some(chunk.payload);
                if !is_right || chunk.is_end != (end == text.len()) {
                    return Err(Failure::WrongEcho);
                }
                if !chunk.is_end {
                    return Ok(());
                }
                self.counts.echoes += 1;
                if self.stage == Stage::WarmUp {
                    connection.close();
                }
            }
            // A message without a request is allowed: a server may greet its clients.
            Event::Data(_) => {}
            Event::Ping => self.counts.server_pings += 1,
            Event::Pong { is_awaited: false, .. } => {}
            Event::Pong { is_awaited: true, payload } => {
                if payload != ping_payload(self.seed, connection.serial()) {
                    return Err(Failure::WrongPong);
                }
                self.counts.pongs += 1;
            }
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => self.counts.closed += 1,
            Err(failure) => {
                let stage = self.stage;
                self.tally.record(|| format!("{stage}, connection {serial}: {failure}"));
            }
        }
    }

    fn failures(&self) -> usize {
        self.tally.count()
    }
}

/// The events of a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: usize,
    pub(crate) server_pings: usize,
    pub(crate) pongs: usize,
    pub(crate) echoes: usize,
    pub(crate) closed: usize,
}

/// The stages of the run, as failures name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    WarmUp,
    Open,
    Hold,
    Check,
    Close,
    Leave,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WarmUp => "warming up",
            Self::Open => "opening",
            Self::Hold => "holding",
            Self::Check => "checking",
            Self::Close => "closing",
            Self::Leave => "after all left",
        })
    }
}

fn echo_text(serial: u64) -> String {
    format!("connection {serial}")
}

fn ping_payload(seed: u64, serial: u64) -> [u8; 8] {
    // Different for each connection of a run, because `mix` is a bijection.
    mix(seed ^ serial).to_be_bytes()
}
