//! Which loops still have connections.
//!
//! A loop may be the home of what members on other loops share, so in a drain none ends before all are without
//! connections: otherwise the others would go on without it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::mailbox::Wake;

/// One loop's part in it. The end of the loop, whatever that comes from, is its leave.
#[derive(Debug)]
pub struct Attendance {
    loops: Arc<Loops>,
    own_index: usize,
    has_left: bool,
}

struct Loops {
    left: AtomicUsize,
    wakes: Vec<Wake>,
}

impl Attendance {
    /// That of each loop, by their number; `wakes` are what wakes them.
    #[must_use]
    pub fn of_loops(wakes: &[Wake]) -> Vec<Self> {
        let loops = Arc::new(Loops { left: AtomicUsize::new(0), wakes: wakes.to_vec() });
        let own = |own_index| Self { loops: Arc::clone(&loops), own_index, has_left: false };
        (0..wakes.len()).map(own).collect()
    }

    /// The loop has no connection any more, and will have none; what it had to say to others lies in their mailboxes.
    /// The last loop that leaves wakes the others.
    pub fn leave(&mut self) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let Loops { left, wakes } = &*self.loops;
        // Pairs with that of `has_everyone_left`: what was put into mailboxes before is seen by who sees this.
        if left.fetch_add(1, Ordering::AcqRel) + 1 == wakes.len() {
            let others = wakes.iter().enumerate().filter(|(index, _)| *index != self.own_index);
            others.for_each(|(_, wake)| wake());
        }
    }

    /// Whether all loops have left. It stays so.
    #[must_use]
    pub fn has_everyone_left(&self) -> bool {
        self.loops.left.load(Ordering::Acquire) >= self.loops.wakes.len()
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Loops {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Loops").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_leaves_wakes_the_others_once() {
        let woken: [Arc<AtomicUsize>; 3] = Default::default();
        let wakes = woken.each_ref().map(|own| {
            let own = Arc::clone(own);
            Arc::new(move || {
                own.fetch_add(1, Ordering::Relaxed);
            }) as Wake
        });
        let counts = || woken.each_ref().map(|own| own.load(Ordering::Relaxed));
        let [mut first, mut second, third] =
            <[_; 3]>::try_from(Attendance::of_loops(&wakes)).unwrap();
        first.leave();
        first.leave();
        // One that fails leaves as well.
        drop(third);
        assert!(!first.has_everyone_left());
        assert_eq!(counts(), [0, 0, 0]);
        second.leave();
        assert!(first.has_everyone_left() && second.has_everyone_left());
        drop((first, second));
        assert_eq!(counts(), [1, 0, 1]);
    }
}
