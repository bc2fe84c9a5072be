//! The one link between threads: a bounded mailbox with two lanes that wakes its loop.
//!
//! Messages go in and come out in batches under one short lock. The loop is woken when a lane was
//! empty before, which is decided while holding the lock: so no message waits without a wake on its
//! way, and a burst costs one.

use std::fmt;
use std::sync::Arc;

#[cfg(interleavings)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(interleavings))]
use std::sync::{Mutex, MutexGuard};

use super::lane::{Class, Lane, Lanes, MailItem, MailLimits};

/// Wakes the loop that a mailbox belongs to.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Messages to one loop: from one other loop, or from all threads that run no loop.
pub struct Mailbox<T> {
    state: Mutex<State<T>>,
    limits: MailLimits,
    wake: Wake,
}

struct State<T> {
    lanes: Lanes<T>,
    /// The loop has ended.
    is_closed: bool,
}

impl<T: MailItem> Mailbox<T> {
    /// An empty mailbox, each of whose lanes has room within `limits`.
    #[must_use]
    pub fn new(limits: MailLimits, wake: Wake) -> Self {
        let state = State { lanes: Lanes::default(), is_closed: false };
        Self { state: Mutex::new(state), limits, wake }
    }

    /// Moves as many messages from the front of each lane of `outbox` as there is room for. When the
    /// loop has ended, all of them are dropped.
    pub fn send(&self, outbox: &mut Lanes<T>) {
        if outbox.is_empty() {
            return;
        }
        let mut must_wake = false;
        // Dropped after the lock is given back: what a message holds may want it.
        let mut unwanted = Lanes::default();
        {
            let state = &mut *self.lock();
            if state.is_closed {
                std::mem::swap(outbox, &mut unwanted);
            }
            for class in Class::ALL {
                let lane = state.lanes.lane_mut(class);
                let was_empty = lane.is_empty();
                lane.fill_from(outbox.lane_mut(class), self.limits);
                must_wake |= was_empty && !lane.is_empty();
            }
        }
        if must_wake {
            (self.wake)();
        }
    }

    /// Puts in one message if there is room for it.
    ///
    /// # Errors
    /// The message, if its lane is full or the loop has ended.
    pub fn try_send(&self, item: T) -> Result<(), T> {
        self.send_one(item, |lane, bytes| lane.has_room(bytes, self.limits))
    }

    /// Puts in one message that must not be lost, over the limits if need be. The caller bounds
    /// how many can be under way: an answer follows an inquiry, and inquiries are counted.
    /// When the loop has ended, the message is dropped.
    pub fn send_reserved(&self, item: T) {
        drop(self.send_one(item, |_, _| true));
    }

    fn send_one(&self, item: T, has_room: impl Fn(&Lane<T>, usize) -> bool) -> Result<(), T> {
        let was_empty = {
            let mut state = self.lock();
            let is_closed = state.is_closed;
            let lane = state.lanes.lane_mut(item.class());
            if is_closed || !has_room(lane, item.bytes()) {
                return Err(item);
            }
            let was_empty = lane.is_empty();
            lane.push(item);
            was_empty
        };
        if was_empty {
            (self.wake)();
        }
        Ok(())
    }

    /// Takes everything of a class out, into `lane`, which is empty.
    pub(super) fn take_lane(&self, class: Class, lane: &mut Lane<T>) {
        debug_assert!(lane.is_empty());
        std::mem::swap(self.lock().lanes.lane_mut(class), lane);
    }

    /// Takes everything of a class out, and puts it behind what `inbox` holds.
    pub fn take(&self, class: Class, inbox: &mut Lanes<T>) {
        let mut taken = Lane::default();
        self.take_lane(class, &mut taken);
        inbox.lane_mut(class).append(&mut taken);
    }

    /// Whether the loop has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// The loop has ended: drops what waits, and what is sent from now on.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.lanes)
        };
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while holding the lock, and a queue is whole between operations.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailbox").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(interleavings)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::lane::tests::{Item, forwarding, terminal};
    use super::*;

    const LIMITS: MailLimits = MailLimits { items_max: 2, bytes_max: 100 };

    fn counting() -> (Wake, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let wakes = Arc::clone(&count);
        let wake: Wake = Arc::new(move || {
            wakes.fetch_add(1, Ordering::Relaxed);
        });
        (wake, count)
    }

    fn outbox(items: &[Item]) -> Lanes<Item> {
        let mut lanes = Lanes::default();
        items.iter().for_each(|item| lanes.push(*item));
        lanes
    }

    fn taken(mailbox: &Mailbox<Item>, class: Class) -> Vec<u32> {
        let mut inbox = Lanes::default();
        mailbox.take(class, &mut inbox);
        std::iter::from_fn(|| inbox.pop(class)).map(|item| item.2).collect()
    }

    #[test]
    fn a_burst_wakes_once_and_keeps_its_order() {
        let (wake, wakes) = counting();
        let mailbox = Mailbox::new(MailLimits { items_max: 10, bytes_max: 1000 }, wake);
        mailbox.send(&mut outbox(&[terminal(1, 1), terminal(1, 2)]));
        mailbox.send(&mut outbox(&[terminal(1, 3)]));
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(taken(&mailbox, Class::Terminal), [1, 2, 3]);
        mailbox.send(&mut outbox(&[terminal(1, 4)]));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_mailbox_leaves_the_rest_with_the_sender() {
        let (wake, wakes) = counting();
        let mailbox = Mailbox::new(LIMITS, wake);
        let mut outbox = outbox(&[terminal(1, 1), terminal(1, 2), terminal(1, 3)]);
        mailbox.send(&mut outbox);
        mailbox.send(&mut outbox);
        assert_eq!(outbox.pop(Class::Terminal).map(|item| item.2), Some(3));
        assert_eq!((outbox.is_empty(), wakes.load(Ordering::Relaxed)), (true, 1));
    }

    #[test]
    fn a_full_lane_leaves_the_other_open_and_each_wakes() {
        let (wake, wakes) = counting();
        let mailbox = Mailbox::new(LIMITS, wake);
        mailbox.send(&mut outbox(&[forwarding(100, 1), forwarding(1, 2)]));
        // The loop may have left the forwarding lane as it is, and gone to sleep.
        mailbox.send(&mut outbox(&[terminal(1, 3)]));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        assert_eq!(taken(&mailbox, Class::Terminal), [3]);
        assert_eq!(taken(&mailbox, Class::Forwarding), [1]);
    }

    #[test]
    fn reserved_messages_always_fit_and_others_are_given_back() {
        let (wake, wakes) = counting();
        let mailbox = Mailbox::new(LIMITS, wake);
        assert_eq!(mailbox.try_send(terminal(500, 1)), Ok(()), "an empty lane takes any");
        assert_eq!(mailbox.try_send(terminal(1, 2)), Err(terminal(1, 2)));
        (3..10).for_each(|serial| mailbox.send_reserved(terminal(1, serial)));
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(taken(&mailbox, Class::Terminal), [1, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_closed_mailbox_holds_nothing_and_takes_nothing() {
        let (wake, _) = counting();
        let mailbox = Mailbox::new(LIMITS, wake);
        mailbox.send_reserved(terminal(1, 1));
        mailbox.close();
        mailbox.send_reserved(terminal(1, 2));
        assert_eq!(mailbox.try_send(terminal(1, 3)), Err(terminal(1, 3)));
        let mut waiting = outbox(&[terminal(1, 4), forwarding(1, 5), forwarding(1, 6)]);
        mailbox.send(&mut waiting);
        assert!(waiting.is_empty(), "what is for a loop that has ended does not pile up");
        assert!(taken(&mailbox, Class::Terminal).is_empty());
    }
}

#[cfg(all(test, interleavings))]
mod loom_tests {
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::*;

    impl MailItem for Class {
        fn class(&self) -> Class {
            *self
        }

        fn bytes(&self) -> usize {
            1
        }
    }

    const LIMITS: MailLimits = MailLimits { items_max: 8, bytes_max: 8 };

    fn mailbox() -> (loom::sync::Arc<Mailbox<Class>>, loom::sync::Arc<AtomicBool>) {
        let woken = loom::sync::Arc::new(AtomicBool::new(false));
        let flag = woken.clone();
        // A read-modify-write, as a write to an eventfd is.
        let wake: Wake = Arc::new(move || {
            flag.swap(true, Ordering::SeqCst);
        });
        (loom::sync::Arc::new(Mailbox::new(LIMITS, wake)), woken)
    }

    fn send(mailbox: &loom::sync::Arc<Mailbox<Class>>, class: Class) -> thread::JoinHandle<()> {
        let mailbox = mailbox.clone();
        thread::spawn(move || {
            let mut outbox = Lanes::default();
            outbox.push(class);
            mailbox.send(&mut outbox);
        })
    }

    fn take(mailbox: &Mailbox<Class>, class: Class) -> usize {
        let mut inbox = Lanes::default();
        mailbox.take(class, &mut inbox);
        std::iter::from_fn(|| inbox.pop(class)).count()
    }

    /// Two senders and a loop that sleeps unless it was woken: nothing is lost, and nothing is left
    /// lying without a wake.
    #[test]
    fn no_message_waits_without_a_wake() {
        loom::model(|| {
            let (mailbox, woken) = mailbox();
            let senders = [Class::Terminal, Class::Terminal].map(|class| send(&mailbox, class));
            let mut received = 0;
            if woken.swap(false, Ordering::SeqCst) {
                received += take(&mailbox, Class::Terminal);
            }
            for sender in senders {
                sender.join().unwrap();
            }
            if received < 2 {
                assert!(woken.swap(false, Ordering::SeqCst), "items wait without a wake");
                received += take(&mailbox, Class::Terminal);
            }
            assert_eq!(received, 2);
        });
    }

    /// A sender for each lane, and a loop that leaves forwarding messages where they are: it
    /// remembers, once it was woken, that some may wait, and looks again when it has credit.
    #[test]
    fn a_lane_that_is_left_alone_hides_nothing_in_the_other() {
        loom::model(|| {
            let (mailbox, woken) = mailbox();
            let senders = [Class::Forwarding, Class::Terminal].map(|class| send(&mailbox, class));
            let (mut terminal, mut may_wait) = (0, false);
            if woken.swap(false, Ordering::SeqCst) {
                may_wait = true;
                terminal += take(&mailbox, Class::Terminal);
            }
            for sender in senders {
                sender.join().unwrap();
            }
            if woken.swap(false, Ordering::SeqCst) {
                may_wait = true;
                terminal += take(&mailbox, Class::Terminal);
            }
            assert_eq!(terminal, 1, "a terminal message waits without a wake");
            assert!(may_wait, "a forwarding message waits without a wake");
            assert_eq!(take(&mailbox, Class::Forwarding), 1);
        });
    }
}
