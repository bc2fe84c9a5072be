//! The connections of an attack, served by a thread of their own.

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ends::Ends;
use super::options::AttackOptions;
use super::signals::Signals;
use crate::driver::{ConnHandle, ConnKey, Driver, DriverOptions, Failure, Workload};
use crate::error::CommandError;
use crate::load::clients::{Clients, NextTurn};
use crate::output::units::Seconds;
use crate::stats::latency::{Latencies, LatencySummary};
use crate::system::clock;
use crate::system::interrupt::Interrupt;
use crate::websocket::Event;

/// What the attackers did.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct AttackerFigures {
    pub(super) connections_opened: u64,
    /// The most that were there at a time, connecting or connected.
    pub(super) connections_held_max: u64,
    /// From the beginning of a connection to the end of its TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_to_tls: Option<LatencySummary>,
    /// From the beginning of a connection with TLS to the 101.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_to_upgrade: Option<LatencySummary>,
    /// Frames and parts of them, as they were given to the kernel or wait for it. Requests of complete
    /// handshakes are not counted.
    pub(super) sent_bytes: u64,
    pub(super) received_messages: u64,
    pub(super) received_bytes: u64,
    #[serde(rename = "wall_seconds")]
    pub(super) wall: Seconds,
    /// Connections that the server ended, or that failed.
    pub(super) connections_ended: Ends,
}

/// The connections, with the bounds of the attack.
#[derive(Debug)]
pub(super) struct Attackers<'a> {
    clients: Clients,
    counts: Counts,
    signals: &'a Signals,
    pub(super) options: AttackOptions,
    began: Instant,
    /// The attack is over at this time, whatever it still has to do.
    deadline: Instant,
}

impl<'a> Attackers<'a> {
    pub(super) fn new(
        options: AttackOptions,
        driver_options: DriverOptions,
        interrupt: Interrupt,
        signals: &'a Signals,
    ) -> Result<Self, CommandError> {
        let now = clock::now();
        let mut clients = Clients::new(driver_options, interrupt)?;
        // What replies inflate to is of no interest, and would cost the load generator as much as the
        // server.
        clients.driver().leave_compressed();
        Ok(Self {
            clients,
            counts: Counts::new(),
            signals,
            options,
            began: now,
            deadline: now + PREPARATION_MAX,
        })
    }

    /// Opens connections and waits until all of them are open or have failed; returns their keys.
    pub(super) fn open(
        &mut self,
        path: &str,
        connections: usize,
    ) -> Result<Vec<ConnKey>, CommandError> {
        let path: Rc<str> = path.into();
        let (first, mut started) = (self.clients.driver().next_serial(), 0);
        self.drive(|driver, counts| {
            while started < connections && driver.awaiting() < IN_FLIGHT_MAX {
                driver.connect_to(Some(&path), counts);
                started += 1;
            }
            if started == connections && driver.awaiting() == 0 {
                NextTurn::Done
            } else {
                NextTurn::Wait(TURN_MAX)
            }
        })?;
        let driver = self.clients.driver();
        self.counts.note_held(driver.len());
        Ok(keys_within(driver, &(first..driver.next_serial())))
    }

    /// The preparation is done. Serves the connections until the stage before the attack is over.
    pub(super) fn begin(&mut self) -> Result<(), CommandError> {
        self.signals.set_ready();
        let signals = self.signals;
        // The stage before the attack bounds this; the deadline is set again below.
        self.deadline = clock::now() + WAIT_MAX;
        self.drive(|_, _| {
            if signals.has_begun() { NextTurn::Done } else { NextTurn::Wait(BEGIN_INTERVAL) }
        })?;
        self.counts.reset();
        self.began = clock::now();
        self.deadline = self.began + self.options.duration;
        Ok(())
    }

    /// Serves the connections until `act`, which is called before each turn, is done, or the attack is
    /// over.
    pub(super) fn drive(
        &mut self,
        mut act: impl FnMut(&mut Driver, &mut Counts) -> NextTurn,
    ) -> Result<(), CommandError> {
        let Self { clients, counts, signals, deadline, .. } = self;
        clients.drive(counts, |driver, counts| {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() || signals.is_stopped() {
                return Ok(NextTurn::Done);
            }
            Ok(match act(driver, counts) {
                NextTurn::Done => NextTurn::Done,
                NextTurn::Wait(wait) => NextTurn::Wait(wait.min(left)),
            })
        })
    }

    /// Serves the connections for a time.
    pub(super) fn serve_for(&mut self, duration: Duration) -> Result<(), CommandError> {
        let end = clock::now() + duration;
        self.drive(|_, _| match end.saturating_duration_since(clock::now()) {
            Duration::ZERO => NextTurn::Done,
            left => NextTurn::Wait(left),
        })
    }

    /// Serves the connections until `messages` have been received since the attack began, or none has
    /// arrived for a while.
    pub(super) fn await_messages(&mut self, messages: u64) -> Result<(), CommandError> {
        let (mut received, mut changed) = (0, clock::now());
        self.drive(|_, counts| {
            let now = clock::now();
            if counts.figures.received_messages != received {
                (received, changed) = (counts.figures.received_messages, now);
            }
            let is_quiet = now.saturating_duration_since(changed) > QUIET_MAX;
            if received >= messages || is_quiet { NextTurn::Done } else { NextTurn::Wait(TURN_MAX) }
        })
    }

    pub(super) fn driver(&mut self) -> &mut Driver {
        self.clients.driver()
    }

    /// Drops all connections; returns what they did.
    pub(super) fn end(mut self) -> AttackerFigures {
        let wall = clock::now().saturating_duration_since(self.began);
        self.clients.abort_all();
        let Counts { figures, tls_handshakes, upgrades } = self.counts;
        AttackerFigures {
            wall: Seconds(wall),
            connect_to_tls: tls_handshakes.summary(),
            connect_to_upgrade: upgrades.summary(),
            ..figures
        }
    }
}

/// Counts what the server does, and what is sent.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) figures: AttackerFigures,
    tls_handshakes: Latencies,
    upgrades: Latencies,
}

impl Counts {
    fn new() -> Self {
        Self {
            figures: AttackerFigures::default(),
            tls_handshakes: Latencies::new(),
            upgrades: Latencies::new(),
        }
    }

    /// Notes how many connections there are.
    pub(super) fn note_held(&mut self, connections: usize) {
        let held_max = &mut self.figures.connections_held_max;
        *held_max = (*held_max).max(connections as u64);
    }

    /// Sends bytes on a connection, unless it is not open or the kernel has not taken all of those
    /// before; returns whether they were sent.
    pub(super) fn feed(&mut self, driver: &mut Driver, key: ConnKey, bytes: &[u8]) -> bool {
        let mut is_sent = false;
        driver.with(key, |connection| {
            if connection.is_open() && !connection.has_backlog() {
                connection.send_bytes(bytes);
                is_sent = true;
            }
        });
        if is_sent {
            self.figures.sent_bytes += bytes.len() as u64;
        }
        is_sent
    }

    /// Sends bytes again and again until the kernel takes no more; the connection then ends the wait of
    /// the driver when it takes more.
    pub(super) fn fill(&mut self, driver: &mut Driver, key: ConnKey, bytes: &[u8]) {
        while self.feed(driver, key, bytes) {}
    }

    fn reset(&mut self) {
        let connections_opened = self.figures.connections_opened;
        let connections_held_max = self.figures.connections_held_max;
        self.figures = AttackerFigures {
            connections_opened,
            connections_held_max,
            ..AttackerFigures::default()
        };
        self.tls_handshakes.clear();
        self.upgrades.clear();
    }
}

impl Workload for Counts {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        match event {
            Event::Data(chunk) => {
                self.figures.received_bytes += chunk.payload.len() as u64;
                self.figures.received_messages += u64::from(chunk.is_end);
            }
            Event::Opened => {
                self.figures.connections_opened += 1;
                if let Some(handshake) = connection.tls_handshake() {
                    self.tls_handshakes.record(handshake.age);
                    self.upgrades.record(connection.age());
                }
            }
            Event::Ping | Event::Pong { .. } => {}
        }
        Ok(())
    }

    fn on_end(&mut self, _: u64, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.figures.connections_ended.record(&failure);
        }
    }

    fn failures(&self) -> usize {
        0
    }
}

/// The keys of the connections with these serial numbers that have not ended.
fn keys_within(driver: &Driver, serials: &Range<u64>) -> Vec<ConnKey> {
    driver.keys().into_iter().filter(|key| serials.contains(&key.serial())).collect()
}

const IN_FLIGHT_MAX: usize = 128;
pub(super) const TURN_MAX: Duration = Duration::from_millis(50);
/// The attackers notice this late that the attack begins.
const BEGIN_INTERVAL: Duration = Duration::from_millis(2);
/// Opening a thousand connections takes a fraction of a second.
const PREPARATION_MAX: Duration = Duration::from_secs(60);
/// Longer than a day, which is the longest stage.
const WAIT_MAX: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Longer than a turn of a server that does everything in one.
const QUIET_MAX: Duration = Duration::from_secs(20);
