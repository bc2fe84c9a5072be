//! All mailboxes of a server: one for each ordered pair of loops, and one to each loop from the
//! threads that run none.

use std::sync::Arc;

use super::attendance::Attendance;
use super::inbox::Inbox;
use super::lane::{MailItem, MailLimits};
use super::mailbox::{Mailbox, Wake};

/// The mailboxes of one loop. A loop that ends before it takes its first turn drops them, which
/// closes those to it: other loops would keep messages for it otherwise, and read no more.
#[derive(Debug)]
pub struct LoopMailboxes<T: MailItem> {
    /// From threads that run no loop. It is the first of `inbox` as well.
    pub external: Arc<Mailbox<T>>,
    /// To this loop, the external one first.
    pub inbox: Inbox<T>,
    /// To all loops, by their number; there is none to the loop itself.
    pub outgoing: Vec<Option<Arc<Mailbox<T>>>>,
    /// Whether any loop still has connections.
    pub attendance: Attendance,
}

/// The mailboxes of all loops, by their number; `wakes` are what wakes them.
#[must_use]
pub fn mesh<T: MailItem>(wakes: &[Wake], limits: MailLimits) -> Vec<LoopMailboxes<T>> {
    let mailbox = |wake: &Wake| Arc::new(Mailbox::new(limits, Arc::clone(wake)));
    let pair = |from: usize, to: usize| (from != to).then(|| mailbox(&wakes[to]));
    let pairs: Vec<Vec<Option<Arc<Mailbox<T>>>>> =
        (0..wakes.len()).map(|from| (0..wakes.len()).map(|to| pair(from, to)).collect()).collect();
    let of_loop = |((own, wake), attendance): ((usize, &Wake), Attendance)| {
        let external = mailbox(wake);
        let from_loops = pairs.iter().filter_map(|row| row[own].clone());
        LoopMailboxes {
            inbox: Inbox::new([Arc::clone(&external)].into_iter().chain(from_loops).collect()),
            external,
            outgoing: pairs[own].clone(),
            attendance,
        }
    };
    wakes.iter().enumerate().zip(Attendance::of_loops(wakes)).map(of_loop).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lane::tests::terminal;
    use super::super::{Class, Outbox};
    use super::*;

    #[test]
    fn the_mailboxes_of_a_loop_that_never_ran_are_closed() {
        let limits = MailLimits { items_max: 1, bytes_max: 1000 };
        let wakes: Vec<Wake> = (0..2).map(|_| Arc::new(|| ()) as Wake).collect();
        let [own, other] = <[_; 2]>::try_from(mesh(&wakes, limits)).unwrap();
        let to_other = Arc::clone(&other.external);
        drop(other);
        let mut outbox = Outbox::new(own.outgoing, limits);
        (0..3).for_each(|serial| outbox.push(1, terminal(1, serial)));
        outbox.send();
        assert!(outbox.is_empty());
        assert!(to_other.is_closed());
    }

    #[test]
    fn every_loop_reaches_every_other() {
        let limits = MailLimits { items_max: 10, bytes_max: 1000 };
        let wakes: Vec<Wake> = (0..4).map(|_| Arc::new(|| ()) as Wake).collect();
        let (mut outboxes, mut inboxes) = (Vec::new(), Vec::new());
        for own in mesh(&wakes, limits) {
            own.external.send_reserved(terminal(1, 100));
            outboxes.push(Outbox::new(own.outgoing, limits));
            inboxes.push(own.inbox);
        }
        for (from, outbox) in outboxes.iter_mut().enumerate() {
            for to in (0..4).filter(|to| *to != from) {
                let serial = u32::try_from(10 * from + to).unwrap();
                outbox.push(u16::try_from(to).unwrap(), terminal(1, serial));
            }
            outbox.send();
        }
        for (to, inbox) in inboxes.iter_mut().enumerate() {
            let received: Vec<_> =
                std::iter::from_fn(|| inbox.next(Class::Terminal)).map(|item| item.2).collect();
            let expected = (0..4).filter(|from| *from != to).map(|from| 10 * from + to);
            let expected = expected.map(|serial| u32::try_from(serial).unwrap());
            assert!(received.iter().copied().eq([100].into_iter().chain(expected)), "{received:?}");
        }
    }
}
