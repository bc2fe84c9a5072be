//! A hashed timer wheel whose entries live in the slots of what they time.
//!
//! The wheel is lazy: activity on a connection only notes the tick it happened in. When an entry
//! comes out, its owner works out the true deadline and files it again if that lies ahead. So a
//! message costs no timer work at all, a deadline beyond the horizon is just filed again on the
//! way, and an entry that comes out early is harmless. Entries must never come out late.
//!
//! ```text
//!   heads[0] heads[1] …  heads[1023]        overdue
//!      │        │            │                 │
//!      ▼        ▼            ▼                 ▼      {prev, next, due} inside each slot
//!     c7 ⇄ c2   –           c9                c1 ⇄ c4
//! ```

use super::clock::{Millis, TICK_MS, Tick};

/// The wheel's part of a timed slot: 12 bytes.
#[derive(Clone, Copy, Debug)]
pub struct TimerLink {
    prev: u32,
    next: u32,
    due: Tick,
}

impl TimerLink {
    /// Not in any wheel.
    pub const UNFILED: Self = Self { prev: UNFILED, next: NONE, due: Tick(0) };

    /// Whether the slot is in the wheel.
    #[must_use]
    pub fn is_filed(&self) -> bool {
        self.prev != UNFILED
    }

    /// The tick it comes out at, while it is filed.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.due
    }
}

/// Gives the wheel the links inside the slots it times.
pub trait TimerLinks {
    /// The link of slot `index`, which the caller of the wheel vouches for.
    fn timer_link(&mut self, index: u32) -> &mut TimerLink;
}

/// The heads of the lists: 4 KiB and a bitmap, whatever the number of entries.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32; SLOT_COUNT]>,
    occupied: [u64; SLOT_COUNT / 64],
    overdue: u32,
    /// All ticks up to and including this one have been moved to `overdue`.
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

    /// Files slot `index` to come out at `due`, or at the horizon if that is nearer; a tick that
    /// has passed means the next one. Takes it from where it was filed before.
    pub fn file(&mut self, links: &mut impl TimerLinks, index: u32, due: Tick) {
        self.remove(links, index);
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

    /// Takes slot `index` out, if it is in.
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

    /// Moves on to `now`. Everything filed up to then can be taken with [`Wheel::next_overdue`].
    pub fn advance(&mut self, links: &mut impl TimerLinks, now: Tick) {
        let passed = now.0.saturating_sub(self.current.0);
        let first = self.current.0.wrapping_add(1);
        // After a long stall every slot is visited once: all that is filed has passed.
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

    /// The beginning of the next tick that has an entry; of the current one if something is
    /// overdue, `None` if the wheel is empty.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        if self.overdue != NONE {
            return Some(self.current.begins());
        }
        let from = slot_of(Tick(self.current.0.wrapping_add(1)));
        let mut word = from / 64;
        let mut bits = self.occupied[word] & (u64::MAX << (from % 64));
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
/// Entries are filed at most this far ahead, so that no two laps ever share a slot.
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
        fn comes_out_when_a_sorted_list_would(
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
