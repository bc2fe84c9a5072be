//! Handshakes of new clients, one after the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::absences::Absences;
use super::figures::Stage;
use crate::driver::ConnKey;

/// The clients that connect only to see how long it takes.
#[derive(Debug)]
pub(super) struct Probes {
    interval: Duration,
    is_split: bool,
    next: Instant,
    under_way: HashMap<u64, Probe>,
    absences: Absences,
    /// When the first of the handshakes began that failed since one has succeeded.
    out_since: Option<Instant>,
}

#[derive(Debug)]
struct Probe {
    key: Option<ConnKey>,
    stage: Stage,
    began: Instant,
    /// When the second part of the request is due, until it is sent.
    rest_due: Option<Instant>,
}

impl Probes {
    pub(super) fn new(interval: Duration, is_split: bool, now: Instant) -> Self {
        Self {
            interval,
            is_split,
            next: now + interval,
            under_way: HashMap::new(),
            absences: Absences::default(),
            out_since: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether another client is to connect. Not while too many are waiting already.
    pub(super) fn is_next_due(&self, now: Instant) -> bool {
        self.next <= now && self.under_way.len() < UNDER_WAY_MAX
    }

    pub(super) fn begin(&mut self, serial: u64, stage: Stage, now: Instant) {
        self.next = now + self.interval;
        let rest_due = self.is_split.then(|| now + SPLIT_PAUSE);
        self.under_way.insert(serial, Probe { key: None, stage, began: now, rest_due });
    }

    pub(super) fn set_key(&mut self, serial: u64, key: ConnKey) {
        if let Some(probe) = self.under_way.get_mut(&serial) {
            probe.key = Some(key);
        }
    }

    /// The clients whose second part is due.
    pub(super) fn due(&self, now: Instant) -> Vec<ConnKey> {
        let is_due = |probe: &&Probe| probe.rest_due.is_some_and(|due| due <= now);
        self.under_way.values().filter(is_due).filter_map(|probe| probe.key).collect()
    }

    /// The second part of a client's request is sent, or is due again later.
    pub(super) fn set_rest_due(&mut self, serial: u64, due: Option<Instant>) {
        if let Some(probe) = self.under_way.get_mut(&serial) {
            probe.rest_due = due;
        }
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let is_full = self.under_way.len() >= UNDER_WAY_MAX;
        let next = (!is_full).then_some(self.next);
        self.under_way.values().filter_map(|probe| probe.rest_due).chain(next).min()
    }

    /// A client is connected: the stage in which it began, and how long it took, without the pause
    /// between its parts.
    pub(super) fn opened(&mut self, serial: u64, now: Instant) -> Option<(Stage, Duration)> {
        let probe = self.under_way.remove(&serial)?;
        if let Some(since) = self.out_since.take_if(|since| *since < probe.began) {
            self.absences.record(since, now);
        }
        let pause = if self.is_split { SPLIT_PAUSE } else { Duration::ZERO };
        Some((probe.stage, now.saturating_duration_since(probe.began).saturating_sub(pause)))
    }

    /// The end of a client that was not connected yet: the stage in which it began.
    pub(super) fn ended(&mut self, serial: u64) -> Option<Stage> {
        let probe = self.under_way.remove(&serial)?;
        self.out_since.get_or_insert(probe.began);
        Some(probe.stage)
    }

    pub(super) fn absences(&self, now: Instant) -> Absences {
        let mut absences = self.absences;
        if let Some(since) = self.out_since {
            absences.record_unended(since, now);
        }
        absences
    }
}

/// From the first part of a message or request to the second.
pub(super) const SPLIT_PAUSE: Duration = Duration::from_millis(5);
/// Handshakes that take longer than the interval must not pile up without bound.
const UNDER_WAY_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::clock;

    #[test]
    fn a_success_ends_the_absence_of_those_before_it_only() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut probes = Probes::new(Duration::from_secs(1), false, start);
        for serial in 0..3 {
            probes.begin(serial, Stage::During, at(serial));
        }
        assert_eq!(probes.ended(1), Some(Stage::During));
        // It began before the one that failed.
        assert_eq!(probes.opened(0, at(5)), Some((Stage::During, Duration::from_secs(5))));
        assert_eq!(
            probes.absences(at(6)).describe(),
            "1 times, at most for 5.00 s; 1 until the end"
        );
        assert!(probes.opened(2, at(7)).is_some());
        assert_eq!(
            probes.absences(at(9)).describe(),
            "1 times, at most for 6.00 s; 0 until the end"
        );
        assert_eq!(probes.ended(2), None);
    }

    #[test]
    fn the_second_part_is_due_once() {
        let start = clock::now();
        let mut probes = Probes::new(Duration::from_secs(1), true, start);
        probes.begin(1, Stage::Before, start);
        assert_eq!(probes.next_due(), Some(start + SPLIT_PAUSE));
        // Without a key there is no connection to send it on.
        assert!(probes.due(start + SPLIT_PAUSE).is_empty());
        probes.set_rest_due(1, None);
        assert_eq!(probes.next_due(), Some(start + Duration::from_secs(1)));
    }
}
