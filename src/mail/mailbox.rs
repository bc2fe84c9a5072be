//! The one link between threads: a bounded first-in first-out mailbox that wakes its loop.
//!
//! Letters go in and come out in batches under one short lock. The loop is woken only when the
//! mailbox was empty, which is decided while holding the lock: so no letter ever waits without a
//! wake on its way, and a burst costs one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

#[cfg(interleavings)]
use loom::sync::Mutex;
#[cfg(not(interleavings))]
use std::sync::Mutex;

/// Wakes the loop that a mailbox belongs to.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Letters from one sender to one loop.
pub struct Mailbox<T> {
    items: Mutex<VecDeque<T>>,
    items_max: usize,
    wake: Wake,
}

impl<T> Mailbox<T> {
    /// An empty mailbox with room for `items_max`.
    #[must_use]
    pub fn new(items_max: usize, wake: Wake) -> Self {
        Self { items: Mutex::new(VecDeque::new()), items_max, wake }
    }

    /// Puts in as many letters from the front of `outbox` as there is room for.
    pub fn send(&self, outbox: &mut VecDeque<T>) {
        if outbox.is_empty() {
            return;
        }
        let was_empty = {
            let mut items = self.lock();
            let was_empty = items.is_empty();
            let room = self.items_max.saturating_sub(items.len());
            if room == 0 {
                return;
            }
            items.extend(outbox.drain(..room.min(outbox.len())));
            was_empty
        };
        if was_empty {
            (self.wake)();
        }
    }

    /// Puts in one letter, if there is room; whether there was.
    pub fn send_one(&self, item: T) -> bool {
        let mut outbox = VecDeque::from([item]);
        self.send(&mut outbox);
        outbox.is_empty()
    }

    /// Takes everything out, into `inbox`, which is empty.
    pub fn take(&self, inbox: &mut VecDeque<T>) {
        debug_assert!(inbox.is_empty());
        std::mem::swap(&mut *self.lock(), inbox);
    }

    #[cfg(not(interleavings))]
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        // Nothing panics while holding the lock, and a queue is whole between operations.
        self.items.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(interleavings)]
    fn lock(&self) -> loom::sync::MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailbox").field("items_max", &self.items_max).finish()
    }
}

#[cfg(all(test, not(interleavings)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counting() -> (Wake, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let wakes = Arc::clone(&count);
        let wake: Wake = Arc::new(move || {
            wakes.fetch_add(1, Ordering::Relaxed);
        });
        (wake, count)
    }

    #[test]
    fn a_burst_wakes_once_and_keeps_its_order() {
        let (wake, wakes) = counting();
        let mailbox = Mailbox::new(10, wake);
        mailbox.send(&mut VecDeque::from([1, 2]));
        mailbox.send(&mut VecDeque::from([3]));
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        let mut inbox = VecDeque::new();
        mailbox.take(&mut inbox);
        assert_eq!(inbox, [1, 2, 3]);
        mailbox.send(&mut VecDeque::from([4]));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_mailbox_leaves_the_rest_with_the_sender() {
        let (wake, wakes) = counting();
        let mailbox = Mailbox::new(2, wake);
        let mut outbox = VecDeque::from([1, 2, 3]);
        mailbox.send(&mut outbox);
        mailbox.send(&mut outbox);
        assert_eq!((outbox, wakes.load(Ordering::Relaxed)), (VecDeque::from([3]), 1));
    }
}

#[cfg(all(test, interleavings))]
mod loom_tests {
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::*;

    /// Two senders and a loop that sleeps unless it was woken: nothing is lost, and nothing is left
    /// lying without a wake.
    #[test]
    fn no_letter_waits_without_a_wake() {
        loom::model(|| {
            let woken = loom::sync::Arc::new(AtomicBool::new(false));
            let flag = woken.clone();
            // A read-modify-write, as a write to an eventfd is.
            let wake: Wake = Arc::new(move || {
                flag.swap(true, Ordering::SeqCst);
            });
            let mailbox = loom::sync::Arc::new(Mailbox::new(8, wake));
            let senders: Vec<_> = (0..2)
                .map(|item| {
                    let mailbox = mailbox.clone();
                    thread::spawn(move || mailbox.send(&mut VecDeque::from([item])))
                })
                .collect();
            let mut received = 0;
            let mut inbox = VecDeque::new();
            if woken.swap(false, Ordering::SeqCst) {
                mailbox.take(&mut inbox);
                received += inbox.drain(..).count();
            }
            for sender in senders {
                sender.join().unwrap();
            }
            if received < 2 {
                assert!(woken.swap(false, Ordering::SeqCst), "items wait, nobody was woken");
                mailbox.take(&mut inbox);
                received += inbox.drain(..).count();
            }
            assert_eq!(received, 2);
        });
    }
}
