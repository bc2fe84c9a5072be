//! How many lines a second the log takes: beyond that, lines of one kind are summed up.
//!
//! The first line of each kind in a second is always written, so that a flood of one kind hides no other.
//! Of those that are held back the first is kept, and stands for all of its kind when the second is over.

use std::collections::HashMap;

use super::line::LogLine;
use crate::timer::Millis;

/// What makes lines one kind: the place in the code that they come from, as file and line.
pub(super) type Kind = (&'static str, u32);

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written.
    Write,
    /// It is held back and counted; the first of its kind is to be given to [`LineLimit::keep`].
    Hold {
        /// Whether it is the first of its kind in this second that is held back.
        is_first: bool,
    },
}

/// The lines of the second that is under way.
#[derive(Debug)]
pub(super) struct LineLimit {
    lines_per_s: u32,
    began: Millis,
    written: u32,
    kinds: HashMap<Kind, KindState>,
    /// Lines that are held back.
    held: u64,
}

/// What happened to lines of one kind in this second.
#[derive(Debug, Default)]
struct KindState {
    held: u64,
    first: Option<LogLine>,
}

impl LineLimit {
    pub(super) fn new(lines_per_s: u32) -> Self {
        Self { lines_per_s, began: Millis(0), written: 0, kinds: HashMap::new(), held: 0 }
    }

    /// From now on at most `lines_per_s` lines are written in a second.
    pub(super) fn set_lines_per_s(&mut self, lines_per_s: u32) {
        self.lines_per_s = lines_per_s;
    }

    /// When the second under way is over; `None` if nothing was held back in it.
    pub(super) fn due(&self) -> Option<Millis> {
        (self.held > 0).then(|| self.began.plus(SECOND_MS))
    }

    /// If the second is over, begins the next one and gives what stands for the lines that were held back.
    /// To be called before [`LineLimit::judge`].
    pub(super) fn sum_up(&mut self, now: Millis) -> Vec<LogLine> {
        if now < self.began.plus(SECOND_MS) {
            return Vec::new();
        }
        self.take_sums(now)
    }

    /// As [`LineLimit::sum_up`], whether or not the second is over.
    pub(super) fn take_sums(&mut self, now: Millis) -> Vec<LogLine> {
        (self.began, self.written) = (now, 0);
        let mut sums = Vec::new();
        self.kinds.retain(|_, KindState { held, first }| match first.take() {
            Some(line) => {
                sums.push(LogLine { more: held.saturating_sub(1), ..line });
                false
            }
            // The first that was held back is kept in a moment, by the thread that logs it.
            None => *held > 0,
        });
        self.held = self.kinds.values().map(|state| state.held).sum();
        // The table has no order.
        sums.sort_by(|one, other| {
            (one.level, &one.target, &one.message).cmp(&(
                other.level,
                &other.target,
                &other.message,
            ))
        });
        sums
    }

    /// What becomes of a line of this kind.
    pub(super) fn judge(&mut self, kind: Kind) -> Verdict {
        let has_room = self.written < self.lines_per_s;
        let kind = self.known(kind);
        let mut is_new = false;
        let state = self.kinds.entry(kind).or_insert_with(|| {
            is_new = true;
            KindState::default()
        });
        if is_new || has_room {
            self.written = self.written.saturating_add(1);
            return Verdict::Write;
        }
        state.held += 1;
        self.held += 1;
        Verdict::Hold { is_first: state.first.is_none() }
    }

    /// Keeps the line that stands for those of its kind.
    pub(super) fn keep(&mut self, kind: Kind, line: LogLine) {
        let kind = self.known(kind);
        if let Some(state) = self.kinds.get_mut(&kind).filter(|state| state.held > 0) {
            state.first.get_or_insert(line);
        }
    }

    /// The kind itself, or the one of all for which there is no room.
    fn known(&self, kind: Kind) -> Kind {
        let is_known = self.kinds.len() < KINDS_MAX || self.kinds.contains_key(&kind);
        if is_known { kind } else { OTHERS }
    }
}

const SECOND_MS: u64 = 1000;
/// Places in the code that log, the program's and its libraries', are fewer.
const KINDS_MAX: usize = 1024;
/// Those beyond.
const OTHERS: Kind = ("", 0);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use log::Level;
    use proptest::prelude::*;

    use super::*;

    fn line(kind: u32) -> LogLine {
        LogLine {
            level: Level::Info,
            target: "tests".to_owned(),
            connection: None,
            message: kind.to_string(),
            more: 0,
        }
    }

    /// Offers a line; the lines that are written because of it.
    fn offer(limit: &mut LineLimit, kind: u32, now: Millis) -> Vec<LogLine> {
        let mut written = limit.sum_up(now);
        match limit.judge(("file", kind)) {
            Verdict::Write => written.push(line(kind)),
            Verdict::Hold { is_first: true } => limit.keep(("file", kind), line(kind)),
            Verdict::Hold { is_first: false } => {}
        }
        written
    }

    #[test]
    fn a_flood_becomes_the_lines_of_a_second_and_one_that_stands_for_the_rest() {
        let mut limit = LineLimit::new(3);
        let mut written = Vec::new();
        for _ in 0..1207 {
            written.extend(offer(&mut limit, 1, Millis(5000)));
        }
        assert_eq!(written, vec![line(1); 3]);
        assert_eq!(limit.due(), Some(Millis(6000)));
        assert_eq!(offer(&mut limit, 2, Millis(5999)), [line(2)], "another kind is not hidden");
        assert_eq!(limit.sum_up(Millis(5999)), []);
        let sum = LogLine { more: 1203, ..line(1) };
        assert_eq!(limit.sum_up(Millis(6000)), [sum]);
        assert_eq!((limit.due(), limit.sum_up(Millis(7000))), (None, Vec::new()));
    }

    proptest! {
        /// Whatever comes when: each line is written or stood for, and a second has at most the lines that
        /// it may have, the first of each kind and one sum for each.
        #[test]
        fn no_line_is_lost_and_no_second_has_too_many(
            offers in prop::collection::vec((0..5u32, 0..400u64), 0..300),
            lines_per_s in 0..20u32,
        ) {
            const KINDS: usize = 5;
            let mut limit = LineLimit::new(lines_per_s);
            let mut now = Millis(1);
            let (mut offered, mut stood_for) = (BTreeMap::new(), BTreeMap::new());
            let mut at = Vec::new();
            for (kind, ms) in offers {
                now = now.plus(ms);
                *offered.entry(kind.to_string()).or_insert(0) += 1;
                for line in offer(&mut limit, kind, now) {
                    at.push(now);
                    *stood_for.entry(line.message).or_insert(0) += 1 + line.more;
                }
            }
            for line in limit.take_sums(now) {
                *stood_for.entry(line.message).or_insert(0) += 1 + line.more;
            }
            prop_assert_eq!(offered, stood_for);
            for from in &at {
                let in_second = at.iter().filter(|own| *own >= from && own.since(*from) < 1000);
                // Two seconds of the limit overlap with any second.
                prop_assert!(in_second.count() <= 2 * (lines_per_s as usize + 2 * KINDS));
            }
        }
    }
}
