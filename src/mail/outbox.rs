//! What a loop has to say to others, and the credit that it has for more.
//!
//! Nothing in here is ever dropped. What a mailbox has no room for waits, in order, and uses up
//! credit, which slows down whatever makes more:
//!
//! - without [credit](Outbox::has_credit) the loop does not read connections that cause messages;
//! - without [credit to forward](Outbox::may_forward) it takes no forwarding messages from its inbox:
//!   they stay in their mailbox, fill it, and use up the credit of their senders.
//!
//! # Why full mailboxes cannot wait for each other
//!
//! Three things wait, each only for the next: reading waits for both classes of waiting messages,
//! forwarding waits for terminal ones alone, and terminal messages wait for nothing. A loop takes its
//! terminal messages in every turn, whatever its own outbox holds, so every terminal lane is emptied
//! and the terminal part of every outbox moves on. So each loop gets its credit to forward back; then
//! it takes forwarding messages, and every forwarding lane and outbox moves on. So each gets its credit
//! back and reads. Nowhere does a loop wait for another to do what that one does only with credit of
//! the same kind, so no ring of loops, however full, can close.
//!
//! # What bounds it
//!
//! Beyond the credit an outbox holds what was under way when the credit was used up: what one batch of
//! forwarding messages leads to, what one read of each connection leads to, and for each connection the
//! messages about its life, of each kind one: what its service says when it opens, is granted what it
//! claimed, or closes.

use std::sync::Arc;

use super::lane::{Class, Lanes, MailItem, MailLimits};
use super::mailbox::Mailbox;

/// The messages of one loop that have not found room in a mailbox yet.
#[derive(Debug)]
pub struct Outbox<T> {
    /// By the number of the loop they are for; there is none for the loop itself.
    targets: Vec<Option<Target<T>>>,
    credit: MailLimits,
    terminal: Load,
    forwarding: Load,
}

#[derive(Debug)]
struct Target<T> {
    mailbox: Arc<Mailbox<T>>,
    waiting: Lanes<T>,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    items: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, items: usize, bytes: usize) {
        self.items += items;
        self.bytes += bytes;
    }

    fn is_within(self, credit: MailLimits) -> bool {
        self.items <= credit.items_max && self.bytes <= credit.bytes_max
    }
}

impl<T: MailItem> Outbox<T> {
    /// An empty outbox. `outgoing` are the mailboxes of all loops by their number, `credit` is for
    /// all of them together.
    #[must_use]
    pub fn new(outgoing: Vec<Option<Arc<Mailbox<T>>>>, credit: MailLimits) -> Self {
        let target = |mailbox| Target { mailbox, waiting: Lanes::default() };
        Self {
            targets: outgoing.into_iter().map(|mailbox| mailbox.map(target)).collect(),
            credit,
            terminal: Load::default(),
            forwarding: Load::default(),
        }
    }

    /// Notes a message for a loop. It goes out with the next [`Outbox::send`].
    pub fn push(&mut self, target: u16, item: T) {
        let Some(Some(target)) = self.targets.get_mut(usize::from(target)) else {
            debug_assert!(false, "a message for a loop that is not there");
            return;
        };
        let load = match item.class() {
            Class::Terminal => &mut self.terminal,
            Class::Forwarding => &mut self.forwarding,
        };
        load.add(1, item.bytes());
        target.waiting.push(item);
    }

    /// Moves as much into the mailboxes as they have room for.
    pub fn send(&mut self) {
        if self.is_empty() {
            return;
        }
        (self.terminal, self.forwarding) = (Load::default(), Load::default());
        for Target { mailbox, waiting } in self.targets.iter_mut().flatten() {
            mailbox.send(waiting);
            self.terminal.add(waiting.terminal.len(), waiting.terminal.bytes());
            self.forwarding.add(waiting.forwarding.len(), waiting.forwarding.bytes());
        }
    }

    /// Whether no message waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }

    /// Whether connections that cause messages may be read.
    #[must_use]
    #[inline]
    pub fn has_credit(&self) -> bool {
        Load { items: self.items(), bytes: self.bytes() }.is_within(self.credit)
    }

    /// Whether forwarding messages may be taken from the inbox. Forwarding messages that wait here
    /// do not count: the loop that they wait for may be waiting for this one.
    #[must_use]
    pub fn may_forward(&self) -> bool {
        self.terminal.is_within(self.credit)
    }

    /// Messages that wait.
    #[must_use]
    pub fn items(&self) -> usize {
        self.terminal.items + self.forwarding.items
    }

    /// Bytes that they hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.terminal.bytes + self.forwarding.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::lane::tests::{Item, forwarding, terminal};
    use super::super::mesh;
    use super::*;

    const LIMITS: MailLimits = MailLimits { items_max: 2, bytes_max: 100 };

    #[test]
    fn credit_is_used_up_by_items_and_by_bytes_of_each_class() {
        for (item, may_forward) in [
            (terminal(1, 0) as Item, false),
            (forwarding(1, 0), true),
            (terminal(40, 0), false),
            (forwarding(40, 0), true),
        ] {
            let [own, other] = <[_; 2]>::try_from(mesh(&[no_wake(), no_wake()], LIMITS)).unwrap();
            let mut outbox = Outbox::new(own.outgoing, LIMITS);
            let mut inbox = other.inbox;
            for _ in 0..5 {
                outbox.push(1, item);
                outbox.send();
            }
            assert!(!outbox.has_credit(), "{item:?}");
            assert_eq!(outbox.may_forward(), may_forward, "{item:?}");
            inbox.on_wake();
            while inbox.next(item.0).is_some() {
                outbox.send();
            }
            assert!(outbox.has_credit() && outbox.may_forward());
        }
    }

    /// Two loops with everything full in both directions come free again, although neither takes a
    /// forwarding message while it has no credit for it.
    #[test]
    fn two_full_loops_do_not_wait_for_each_other() {
        let mailboxes = mesh(&[no_wake(), no_wake()], LIMITS);
        let mut loops: Vec<_> = mailboxes
            .into_iter()
            .map(|own| (Outbox::new(own.outgoing, LIMITS), own.inbox))
            .collect();
        for (index, (outbox, _)) in loops.iter_mut().enumerate() {
            let other = u16::try_from(1 - index).unwrap();
            for serial in 0..20 {
                outbox.push(other, terminal(60, serial));
                outbox.push(other, forwarding(60, serial));
            }
        }
        let mut received = [0; 2];
        for _ in 0..200 {
            for (index, (outbox, inbox)) in loops.iter_mut().enumerate() {
                inbox.on_wake();
                received[index] += usize::from(inbox.next(Class::Terminal).is_some());
                if outbox.may_forward() && inbox.next(Class::Forwarding).is_some() {
                    received[index] += 1;
                    // What is forwarded ends at the other loop.
                    outbox.push(u16::try_from(1 - index).unwrap(), terminal(60, 99));
                }
                outbox.send();
            }
        }
        assert_eq!(received, [60, 60]);
        assert!(loops.iter().all(|(outbox, _)| outbox.is_empty()));
    }

    fn no_wake() -> super::super::Wake {
        Arc::new(|| ())
    }
}
