//! A hashed timer wheel, whose list links lie in the slots of the connections that it times.
//!
//! The wheel is lazy. Activity on a connection only records the tick in which it happened. When an
//! entry expires, its owner computes the real deadline and files the entry again if that is in the
//! future. So a message costs no timer work, a deadline beyond the horizon is filed again on the
//! way, and an entry that expires early is harmless. Entries must never expire late.
//!
//! ```text
//!   heads[0] heads[1] …  heads[1023]        overdue
//!      │        │            │                 │
//!      ▼        ▼            ▼                 ▼      {prev, next, due} inside each slot
//!     c7 ⇄ c2   –           c9                c1 ⇄ c4
//! ```

use super::clock::{Millis, TICK_MS, Tick};

/// The wheel's links in a timed slot: 12 bytes.
#[derive(Clone, Copy, Debug)]
pub struct TimerLink {
    prev: u32,
    next: u32,
    due: Tick,
}

impl TimerLink {
    /// The link of a slot that is not in the wheel.
    pub const UNFILED: Self = Self { prev: UNFILED, next: NONE, due: Tick(0) };

    /// Whether the slot is in the wheel.
    #[must_use]
    pub fn is_filed(&self) -> bool {
        self.prev != UNFILED
    }

    /// The tick at which the entry expires; meaningful only while it is filed.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.due
    }
}

/// Access to the links in the slots that a wheel times.
pub trait TimerLinks {
    /// The link of slot `index`. The wheel passes only indices that its caller filed and has not
    /// removed since.
    fn timer_link(&mut self, index: u32) -> &mut TimerLink;
}

/// The heads of the lists: 4 KiB and a bitmap for any number of entries.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32; SLOT_COUNT]>,
    /// A bit for each list that is not empty, so that `next_due` reads 16 words instead of 1024.
    occupied: [u64; SLOT_COUNT / 64],
    /// The head of the list of entries that are due and not taken yet.
    overdue: u32,
    /// All entries due up to this tick, inclusive, are in `overdue`.
    current: Tick,
}

impl Wheel {
    /// An empty wheel that starts at `now`.
    #[must_use]
    pub fn new(now: Tick) -> Self {
        Self {
            heads: Box::new([NONE; SLOT_COUNT]),
            occupied: [0; SLOT_COUNT / 64],
            overdue: NONE,
            current: now,
        }
    }

    /// Files slot `index` to expire at `due`, or at the horizon if that is nearer. A tick that has
    /// passed is replaced by the next one. An entry that is filed already is moved.
    pub fn file(&mut self, links: &mut impl TimerLinks, index: u32, due: Tick) {
        self.remove(links, index);
        // Within one lap each list holds entries of one tick only. That makes expiry of a list a
        // splice, without looking at its entries.
        let due =
            Tick(due.0.clamp(
                self.current.0.saturating_add(1),
                self.current.0.saturating_add(HORIZON_TICKS),
            ));
        let slot = slot_of(due);
        let head = self.heads[slot];
        *links.timer_link(index) = TimerLink { prev: NONE, next: head, due };
        if head != NONE {
            links.timer_link(head).prev = index;
        }
        self.heads[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Removes slot `index`, if it is filed.
    pub fn remove(&mut self, links: &mut impl TimerLinks, index: u32) {
        let link = *links.timer_link(index);
        if !link.is_filed() {
            return;
        }
        if link.next != NONE {
            links.timer_link(link.next).prev = link.prev;
        }
        if link.prev != NONE {
            links.timer_link(link.prev).next = link.next;
        // An entry without a predecessor heads a list: the overdue one, or that of its tick.
        } else if self.overdue == index {
            self.overdue = link.next;
        } else {
            let slot = slot_of(link.due);
            debug_assert_eq!(self.heads[slot], index);
            self.heads[slot] = link.next;
            if link.next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        *links.timer_link(index) = TimerLink::UNFILED;
    }

    /// Whether [`Wheel::advance`] or [`Wheel::next_overdue`] would find anything to do.
    #[must_use]
    #[inline]
    pub fn may_be_due(&self, now: Tick) -> bool {
        self.overdue != NONE || now > self.current
    }

    /// Advances to `now`. Entries that are due by then can be taken with [`Wheel::next_overdue`].
    pub fn advance(&mut self, links: &mut impl TimerLinks, now: Tick) {
        let passed = now.0.saturating_sub(self.current.0);
        let first = self.current.0.wrapping_add(1);
        // One lap visits all lists. After a longer stall everything that is filed is due.
        for step in 0..passed.min(SLOT_COUNT_U32) {
            let slot = slot_of(Tick(first.wrapping_add(step)));
            if self.occupied[slot / 64] & (1 << (slot % 64)) != 0 {
                self.move_to_overdue(links, slot);
            }
        }
        self.current = Tick(self.current.0.saturating_add(passed));
    }

    /// Takes one entry that is due, in no particular order.
    pub fn next_overdue(&mut self, links: &mut impl TimerLinks) -> Option<u32> {
        let index = self.overdue;
        if index == NONE {
            return None;
        }
        self.remove(links, index);
        Some(index)
    }

    /// When the next entry expires: the beginning of its tick, the current tick if an entry is
    /// overdue, `None` if the wheel is empty.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        if self.overdue != NONE {
            return Some(self.current.begins());
        }
        let from = slot_of(Tick(self.current.0.wrapping_add(1)));
        let mut word = from / 64;
        let mut bits = self.occupied[word] & (u64::MAX << (from % 64));
        // One word more than there are: the bits below `from` in the first word come last.
        for _ in 0..=self.occupied.len() {
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let ticks = (slot + SLOT_COUNT - from) % SLOT_COUNT + 1;
                return Some(self.current.begins().plus(ticks as u64 * TICK_MS));
            }
            word = (word + 1) % self.occupied.len();
            bits = self.occupied[word];
        }
        None
    }

    /// Prepends the list of `slot` to the overdue list. The walk to its end costs what its entries
    /// will cost when they are taken.
    fn move_to_overdue(&mut self, links: &mut impl TimerLinks, slot: usize) {
        let first = self.heads[slot];
        let mut last = first;
        loop {
            let next = links.timer_link(last).next;
            if next == NONE {
                break;
            }
            last = next;
        }
        links.timer_link(last).next = self.overdue;
        if self.overdue != NONE {
            links.timer_link(self.overdue).prev = last;
        }
        self.overdue = first;
        self.heads[slot] = NONE;
        self.occupied[slot / 64] &= !(1 << (slot % 64));
    }
}

fn slot_of(tick: Tick) -> usize {
    tick.0 as usize % SLOT_COUNT
}

const SLOT_COUNT: usize = 1024;
const SLOT_COUNT_U32: u32 = 1024;
/// Entries are filed at most this far ahead, so that two laps never share a list.
const HORIZON_TICKS: u32 = SLOT_COUNT_U32 - 1;
const NONE: u32 = u32::MAX;
const UNFILED: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Slots(Vec<TimerLink>);

    impl TimerLinks for Slots {
        fn timer_link(&mut self, index: u32) -> &mut TimerLink {
            &mut self.0[index as usize]
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        File(u32, u32),
        Remove(u32),
        Advance(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..64u32, 0..1500u32).prop_map(|(index, ahead)| Step::File(index, ahead)),
            1 => (0..64u32).prop_map(Step::Remove),
            3 => prop_oneof![0..4u32, 0..200u32, 900..3000u32].prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// The naive twin is a map from slot to due tick, searched from end to end.
        #[test]
        fn entries_expire_when_a_sorted_list_says(
            start in prop_oneof![Just(0u32), 0..10_000u32],
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut slots = Slots(vec![TimerLink::UNFILED; 64]);
            let mut wheel = Wheel::new(Tick(start));
            let mut now = start;
            let mut naive: BTreeMap<u32, u32> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::File(index, ahead) => {
                        wheel.file(&mut slots, index, Tick(now + ahead));
                        naive.insert(index, (now + ahead).clamp(now + 1, now + HORIZON_TICKS));
                    }
                    Step::Remove(index) => {
                        wheel.remove(&mut slots, index);
                        naive.remove(&index);
                    }
                    Step::Advance(ticks) => {
                        now += ticks;
                        wheel.advance(&mut slots, Tick(now));
                        let mut out = Vec::new();
                        while let Some(index) = wheel.next_overdue(&mut slots) {
                            prop_assert!(!slots.0[index as usize].is_filed());
                            out.push(index);
                        }
                        out.sort_unstable();
                        let due: Vec<u32> = naive
                            .iter()
                            .filter(|(_, due)| **due <= now)
                            .map(|(index, _)| *index)
                            .collect();
                        naive.retain(|_, due| *due > now);
                        prop_assert_eq!(out, due);
                    }
                }
                let expected =
                    naive.values().min().map(|due| Tick(*due).begins());
                prop_assert_eq!(wheel.next_due(), expected);
            }
        }
    }

    #[test]
    fn a_deadline_is_never_early() {
        for start in [0, 1, 63, 64, 65, 1_000_000] {
            for ms in [1, 63, 64, 100, 5_000] {
                let started = Millis(start);
                let due = started.tick().after_ms(ms);
                assert!(u64::from(due.0) * TICK_MS >= start + ms);
                assert!(u64::from(due.0) * TICK_MS <= start + ms + 2 * TICK_MS);
            }
        }
    }
}
