//! What others have said to a loop and it has not handled yet.

use std::sync::Arc;

use super::lane::{Class, Lane, Lanes, MailItem};
use super::mailbox::Mailbox;

/// The mailboxes of one loop, and what was taken out of them. When it is dropped they are closed, so
/// that no other loop keeps messages for one that has ended.
#[derive(Debug)]
pub struct Inbox<T: MailItem> {
    mailboxes: Vec<Arc<Mailbox<T>>>,
    taken: Lanes<T>,
    /// The mailboxes may hold something of this class.
    terminal_may_wait: bool,
    forwarding_may_wait: bool,
    scratch: Lane<T>,
}

impl<T: MailItem> Inbox<T> {
    /// An inbox over these mailboxes. What is in the first one is handled first.
    #[must_use]
    pub fn new(mailboxes: Vec<Arc<Mailbox<T>>>) -> Self {
        Self {
            mailboxes,
            taken: Lanes::default(),
            // A mailbox may have been filled before anything listened to its wake.
            terminal_may_wait: true,
            forwarding_may_wait: true,
            scratch: Lane::default(),
        }
    }

    /// A mailbox has woken the loop.
    pub fn on_wake(&mut self) {
        self.terminal_may_wait = true;
        self.forwarding_may_wait = true;
    }

    /// The next message of a class. The mailboxes are emptied of that class only when all that was
    /// taken before is handled: what waits in a mailbox is what holds its sender up.
    pub fn next(&mut self, class: Class) -> Option<T> {
        if self.taken.lane_mut(class).is_empty() && self.take_may_wait(class) {
            for mailbox in &self.mailboxes {
                mailbox.take_lane(class, &mut self.scratch);
                self.taken.lane_mut(class).append(&mut self.scratch);
            }
        }
        self.taken.pop(class)
    }

    /// Whether certainly nothing is there, of either class.
    #[must_use]
    #[inline]
    pub fn is_quiet(&self) -> bool {
        !self.may_hold(Class::Terminal) && !self.may_hold(Class::Forwarding)
    }

    /// Whether messages of a class may be there.
    #[must_use]
    #[inline]
    pub fn may_hold(&self, class: Class) -> bool {
        match class {
            Class::Terminal => self.terminal_may_wait || !self.taken.terminal.is_empty(),
            Class::Forwarding => self.forwarding_may_wait || !self.taken.forwarding.is_empty(),
        }
    }

    /// Clears the mark before the mailboxes are looked at: whatever is sent after that finds its lane
    /// empty and wakes the loop.
    fn take_may_wait(&mut self, class: Class) -> bool {
        std::mem::take(match class {
            Class::Terminal => &mut self.terminal_may_wait,
            Class::Forwarding => &mut self.forwarding_may_wait,
        })
    }
}

impl<T: MailItem> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.close());
    }
}
