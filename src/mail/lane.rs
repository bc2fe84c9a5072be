//! Queues of messages that know how many bytes they hold, one for each class of message.

use std::collections::VecDeque;

/// What handling a message may ask of other loops, which decides when it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Handling it ends in the loop that it is for, but for a bounded number of messages about the
    /// life of one connection. It is taken in every turn.
    Terminal,
    /// Handling it sends messages on to other loops. It is taken only while those have room.
    Forwarding,
}

impl Class {
    pub(super) const ALL: [Self; 2] = [Self::Terminal, Self::Forwarding];
}

/// Something that a mailbox takes.
pub trait MailItem {
    /// When it is taken.
    fn class(&self) -> Class;

    /// Bytes of memory that it holds. They stay the same for as long as it waits.
    fn bytes(&self) -> usize;
}

/// How much may wait in one place, for each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailLimits {
    /// Messages.
    pub items_max: usize,
    /// Bytes that the messages hold.
    pub bytes_max: usize,
}

/// Messages of one class, first in, first out.
#[derive(Debug)]
pub(super) struct Lane<T> {
    items: VecDeque<T>,
    bytes: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0 }
    }
}

impl<T: MailItem> Lane<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, item: T) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        self.shrink_if_empty();
        Some(item)
    }

    /// Moves everything that waits in `source` behind what waits here.
    pub(super) fn append(&mut self, source: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, source);
        } else {
            self.items.append(&mut source.items);
            self.bytes += std::mem::take(&mut source.bytes);
        }
        source.shrink_if_empty();
    }

    /// Whether one more item of this size is within the limits. An empty lane takes any one item:
    /// otherwise one that is larger than the limit would wait for ever.
    pub(super) fn has_room(&self, item_bytes: usize, limits: MailLimits) -> bool {
        self.is_empty()
            || (self.len() < limits.items_max && self.bytes + item_bytes <= limits.bytes_max)
    }

    /// Moves items from the front of `source` as long as there is room for them.
    pub(super) fn fill_from(&mut self, source: &mut Self, limits: MailLimits) {
        if self.len() + source.len() <= limits.items_max
            && self.bytes + source.bytes <= limits.bytes_max
        {
            return self.append(source);
        }
        while let Some(item_bytes) = source.items.front().map(MailItem::bytes)
            && self.has_room(item_bytes, limits)
            && let Some(item) = source.pop()
        {
            self.push(item);
        }
    }

    /// Gives memory back after a burst.
    fn shrink_if_empty(&mut self) {
        if self.is_empty() && self.items.capacity() > ITEMS_KEPT {
            self.items.shrink_to(ITEMS_KEPT);
        }
    }
}

/// Messages by their class.
#[derive(Debug)]
pub struct Lanes<T> {
    pub(super) terminal: Lane<T>,
    pub(super) forwarding: Lane<T>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { terminal: Lane::default(), forwarding: Lane::default() }
    }
}

impl<T: MailItem> Lanes<T> {
    /// Puts an item behind those of its class.
    pub fn push(&mut self, item: T) {
        self.lane_mut(item.class()).push(item);
    }

    /// Takes the oldest item of a class.
    pub fn pop(&mut self, class: Class) -> Option<T> {
        self.lane_mut(class).pop()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terminal.is_empty() && self.forwarding.is_empty()
    }

    pub(super) fn lane_mut(&mut self, class: Class) -> &mut Lane<T> {
        match class {
            Class::Terminal => &mut self.terminal,
            Class::Forwarding => &mut self.forwarding,
        }
    }
}

/// Items that an empty lane keeps its memory for: about 14 KiB of messages between loops.
const ITEMS_KEPT: usize = 128;

#[cfg(all(test, not(interleavings)))]
pub(super) mod tests {
    use super::*;

    /// An item of this class and size, with a serial number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Item(pub(crate) Class, pub(crate) usize, pub(crate) u32);

    impl MailItem for Item {
        fn class(&self) -> Class {
            self.0
        }

        fn bytes(&self) -> usize {
            self.1
        }
    }

    pub(crate) fn terminal(bytes: usize, serial: u32) -> Item {
        Item(Class::Terminal, bytes, serial)
    }

    pub(crate) fn forwarding(bytes: usize, serial: u32) -> Item {
        Item(Class::Forwarding, bytes, serial)
    }

    fn lane(sizes: &[usize]) -> Lane<Item> {
        let mut lane = Lane::default();
        sizes.iter().zip(0..).for_each(|(bytes, serial)| lane.push(terminal(*bytes, serial)));
        lane
    }

    #[test]
    fn a_lane_takes_what_fits_in_items_and_in_bytes() {
        let limits = MailLimits { items_max: 3, bytes_max: 100 };
        for (sizes, taken) in [
            (&[10, 10, 10, 10][..], 3),
            (&[60, 30, 30], 2),
            (&[60, 30], 2),
            // Larger than the limit, and alone.
            (&[500, 1], 1),
        ] {
            let (mut target, mut source) = (Lane::default(), lane(sizes));
            target.fill_from(&mut source, limits);
            assert_eq!((target.len(), source.len()), (taken, sizes.len() - taken), "{sizes:?}");
            assert_eq!(target.bytes() + source.bytes(), sizes.iter().sum::<usize>());
        }
    }

    #[test]
    fn order_is_kept_over_every_way_of_moving() {
        let limits = MailLimits { items_max: 4, bytes_max: 1000 };
        let (mut target, mut source) = (Lane::default(), lane(&[1; 10]));
        let mut seen = Vec::new();
        while !source.is_empty() || !target.is_empty() {
            target.fill_from(&mut source, limits);
            seen.extend(target.pop().map(|item| item.2));
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!((target.bytes(), source.bytes()), (0, 0));
    }

    #[test]
    fn memory_goes_back_after_a_burst() {
        let mut lane = lane(&[1; 100_000]);
        while lane.pop().is_some() {}
        assert!(lane.items.capacity() <= 2 * ITEMS_KEPT, "{}", lane.items.capacity());
    }
}
