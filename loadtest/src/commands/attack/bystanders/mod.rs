//! The bystanders: clients that use the server as they should, and notice what an attack does to
//! them.
//!
//! Each sends one small message at a time and pauses after its echo. Beside them, further clients
//! connect, one after the other, and leave. A bystander whose connection ends connects again.

mod absences;
mod bystander;
mod figures;
mod probes;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::driver::{ConnHandle, ConnKey, Driver, Failure, Workload};
use crate::load::clients::NextTurn;
use crate::system::clock;
use crate::websocket::Event;
pub(super) use absences::Absences;
use bystander::{Bystander, State};
use figures::StageFigures;
pub(super) use figures::{BystanderSummary, Stage};
use probes::Probes;

/// The habits of the bystanders.
#[derive(Clone, Copy, Debug)]
pub(super) struct BystanderOptions {
    pub(super) count: usize,
    /// Of each bystander, from an echo to the next message.
    pub(super) pause: Duration,
    /// From one new client to the next.
    pub(super) probe_interval: Duration,
    /// Messages and requests are sent in two parts.
    pub(super) is_split: bool,
}

/// All bystanders.
#[derive(Debug)]
pub(super) struct Bystanders {
    options: BystanderOptions,
    bystanders: Vec<Bystander>,
    /// Their numbers, by serial number of the connection.
    by_serial: HashMap<u64, usize>,
    probes: Probes,
    stage: Stage,
    figures: [StageFigures; 3],
    absences: Absences,
    is_prepared: bool,
    has_finished: bool,
}

impl Bystanders {
    pub(super) fn new(options: BystanderOptions) -> Self {
        let now = clock::now();
        let bystanders = (0..options.count).map(|index| Bystander::new(index, now)).collect();
        Self {
            options,
            bystanders,
            by_serial: HashMap::new(),
            probes: Probes::new(options.probe_interval, options.is_split, now),
            stage: Stage::Before,
            figures: [StageFigures::new(), StageFigures::new(), StageFigures::new()],
            absences: Absences::default(),
            is_prepared: false,
            has_finished: false,
        }
    }

    /// Counts for another stage from now on.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Forgets what was counted so far.
    pub(super) fn clear(&mut self) {
        self.figures = [StageFigures::new(), StageFigures::new(), StageFigures::new()];
    }

    /// The figures of a stage.
    pub(super) fn summary(&self, stage: Stage) -> BystanderSummary {
        self.figures[stage as usize].summary()
    }

    /// The times in which bystanders and new clients were shut out. Call it at the end of the run.
    pub(super) fn absences(&self) -> [Absences; 2] {
        let (now, mut absences) = (clock::now(), self.absences);
        for since in self.bystanders.iter().filter_map(|bystander| bystander.out_since) {
            absences.record_unended(since, now);
        }
        [absences, self.probes.absences(now)]
    }

    /// Sends no more messages, and opens no more connections.
    pub(super) fn finish(&mut self) {
        self.has_finished = true;
    }

    /// Whether no message and no handshake is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.probes.is_empty() && !self.bystanders.iter().any(Bystander::has_message_under_way)
    }

    /// Does what is due, and says how long to wait for the server.
    pub(super) fn act(&mut self, driver: &mut Driver) -> NextTurn {
        let now = clock::now();
        if self.options.is_split && !self.is_prepared {
            driver.hold_requests_after(FIRST_REQUEST_BYTES);
        }
        self.is_prepared = true;
        for index in 0..self.bystanders.len() {
            if self.bystanders[index].due().is_some_and(|due| due <= now) {
                self.act_for(index, driver, now);
            }
        }
        if !self.has_finished {
            self.start_probe(driver, now);
        }
        for key in self.probes.due(now) {
            let is_sent = send_rest(driver, key);
            self.probes.set_rest_due(key.serial(), (!is_sent).then(|| now + SPLIT_PAUSE));
        }
        if self.has_finished {
            return NextTurn::Wait(FINISHING);
        }
        let dues = self.bystanders.iter().filter_map(Bystander::due).chain(self.probes.next_due());
        let due = dues.min().unwrap_or(now + FINISHING);
        NextTurn::Wait(due.saturating_duration_since(clock::now()))
    }

    fn act_for(&mut self, index: usize, driver: &mut Driver, now: Instant) {
        let bystander = &mut self.bystanders[index];
        match bystander.state {
            State::Away(_) | State::Pausing(_) if self.has_finished => {
                bystander.state = State::Pausing(now + FINISHING);
            }
            State::Away(_) => {
                bystander.state = if self.options.is_split {
                    State::Requesting(now + SPLIT_PAUSE)
                } else {
                    State::Connecting
                };
                // Before the attempt, which may end at once.
                self.by_serial.insert(driver.next_serial(), index);
                let key = driver.connect_to(None, self);
                self.bystanders[index].key = key;
            }
            State::Requesting(_) => {
                let Some(key) = bystander.key else { return };
                let is_sent = send_rest(driver, key);
                bystander.state =
                    if is_sent { State::Connecting } else { State::Requesting(now + SPLIT_PAUSE) };
            }
            State::Pausing(_) => {
                let frame = bystander.frame();
                let Some(key) = bystander.key else { return };
                if self.options.is_split {
                    bystander.state = State::Begun(now + SPLIT_PAUSE);
                    driver.with(key, |connection| connection.send_bytes(&frame[..SPLIT_AT]));
                } else {
                    bystander.state = State::Waiting(self.stage, now);
                    driver.with(key, |connection| connection.send_last_bytes(&frame));
                }
            }
            State::Begun(_) => {
                let frame = bystander.frame();
                let Some(key) = bystander.key else { return };
                bystander.state = State::Waiting(self.stage, now);
                driver.with(key, |connection| connection.send_last_bytes(&frame[SPLIT_AT..]));
            }
            State::Connecting | State::Waiting(..) => {}
        }
    }

    fn start_probe(&mut self, driver: &mut Driver, now: Instant) {
        if !self.probes.is_next_due(now) {
            return;
        }
        let serial = driver.next_serial();
        self.probes.begin(serial, self.stage, now);
        if let Some(key) = driver.connect_to(None, self) {
            self.probes.set_key(serial, key);
        }
    }

    fn on_opened(&mut self, connection: &mut ConnHandle<'_>) {
        let now = connection.now();
        if let Some(index) = self.by_serial.get(&connection.serial()) {
            // Spread over the pause, as clients that came at different times.
            let share = *index as f64 / self.options.count as f64;
            let pause = self.options.pause.mul_f64(share);
            self.bystanders[*index].state = State::Pausing(now + pause);
        } else if let Some((stage, latency)) = self.probes.opened(connection.serial(), now) {
            self.figures[stage as usize].handshakes.record(latency);
            connection.close();
        }
    }
}

impl Workload for Bystanders {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let chunk = match event {
            Event::Opened => {
                self.on_opened(connection);
                return Ok(());
            }
            Event::Data(chunk) => chunk,
            Event::Ping | Event::Pong { .. } => return Ok(()),
        };
        let Some(index) = self.by_serial.get(&connection.serial()) else {
            return Err(Failure::UnaskedMessage);
        };
        let bystander = &mut self.bystanders[*index];
        let is_whole = bystander.verify(&chunk)?;
        if let (true, State::Waiting(stage, sent)) = (is_whole, bystander.state) {
            let now = connection.now();
            let latency = now.saturating_duration_since(sent);
            self.figures[stage as usize].record_echo(latency, self.options.pause);
            bystander.id.sequence = bystander.id.sequence.wrapping_add(1);
            bystander.state = State::Pausing(now + self.options.pause);
            if let Some(since) = bystander.out_since.take() {
                self.absences.record(since, now);
            }
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        let now = clock::now();
        if let Some(index) = self.by_serial.remove(&serial) {
            let bystander = &mut self.bystanders[index];
            bystander.key = None;
            let figures = &mut self.figures[self.stage as usize];
            figures.messages_lost += u64::from(bystander.has_message_under_way());
            bystander.state = State::Away(now + RETRY_PAUSE);
            if let Err(failure) = outcome {
                figures.closed.record(&failure);
                bystander.out_since.get_or_insert(now);
            }
        } else if let Some(stage) = self.probes.ended(serial)
            && let Err(failure) = outcome
        {
            self.figures[stage as usize].handshakes_failed.record(&failure);
        }
    }

    fn failures(&self) -> usize {
        0
    }
}

/// Sends the second part of a request; returns whether there was one. There is none before the socket
/// is connected.
fn send_rest(driver: &mut Driver, key: ConnKey) -> bool {
    let mut sent_bytes = 0;
    driver.with(key, |connection| sent_bytes = connection.send_held_request(usize::MAX));
    sent_bytes > 0
}

/// Within the request line.
const FIRST_REQUEST_BYTES: usize = 9;
/// Within the payload of a bystander's frame.
const SPLIT_AT: usize = 30;
/// From the first part of a message or request to the second.
const SPLIT_PAUSE: Duration = probes::SPLIT_PAUSE;
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const FINISHING: Duration = Duration::from_millis(5);
