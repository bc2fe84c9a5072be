//! At most one publication of a channel in a time goes to members, and it is the latest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::engine::StreamItem;
use crate::shrink::Shrink as _;
use crate::timer::Millis;

/// Publications that wait for their time, one for each channel. What is replaced by a later one is never given
/// out. A channel is known from a publication until nothing has followed it for an interval.
#[derive(Debug, Default)]
pub struct Conflation {
    channels: HashMap<Arc<str>, Held>,
    /// When to look at each channel, once for each.
    due: BinaryHeap<Reverse<(Millis, Arc<str>)>>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    interval_ms: u64,
    /// Before that nothing is given out.
    opens_at: Millis,
    latest: Option<StreamItem>,
}

impl Conflation {
    /// Takes a publication of a channel with this interval. Gives it back if it goes out now.
    pub fn take(&mut self, item: StreamItem, interval_ms: u64, now: Millis) -> Option<StreamItem> {
        let opens_at = now.plus(interval_ms);
        let Some(held) = self.channels.get_mut(&item.channel) else {
            self.due.push(Reverse((opens_at, Arc::clone(&item.channel))));
            let held = Held { interval_ms, opens_at, latest: None };
            self.channels.insert(Arc::clone(&item.channel), held);
            return Some(item);
        };
        held.interval_ms = interval_ms;
        self.bytes -= held_bytes(held.latest.take().as_ref());
        if held.opens_at <= now {
            held.opens_at = opens_at;
            return Some(item);
        }
        self.bytes += held_bytes(Some(&item));
        held.latest = Some(item);
        None
    }

    /// Takes out what waits for a channel, because it has to go out now; the next interval begins.
    pub fn flush(&mut self, channel: &str, now: Millis) -> Option<StreamItem> {
        let held = self.channels.get_mut(channel)?;
        let item = held.latest.take()?;
        self.bytes -= held_bytes(Some(&item));
        held.opens_at = now.plus(held.interval_ms);
        Some(item)
    }

    /// The next publication whose time has come.
    pub fn next_due(&mut self, now: Millis) -> Option<StreamItem> {
        while self.due.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((_, channel)) = self.due.pop()?;
            let Some(held) = self.channels.get_mut(&channel) else { continue };
            if held.opens_at > now {
                // Something went out meanwhile.
                self.due.push(Reverse((held.opens_at, channel)));
                continue;
            }
            let Some(item) = held.latest.take() else {
                self.channels.remove(&channel);
                self.channels.shrink_if_sparse(CHANNELS_KEPT);
                continue;
            };
            self.bytes -= held_bytes(Some(&item));
            held.opens_at = now.plus(held.interval_ms);
            self.due.push(Reverse((held.opens_at, channel)));
            return Some(item);
        }
        if self.due.is_empty() {
            self.due = BinaryHeap::new();
        }
        None
    }

    /// Whether nothing waits, and no interval goes on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.due.is_empty()
    }

    /// Bytes of what waits.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }
}

fn held_bytes(item: Option<&StreamItem>) -> usize {
    item.map_or(0, |own| own.publication.held_bytes())
}

/// Entries for which the map keeps room.
const CHANNELS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels::history::Publication;

    fn item(channel: u8, number: usize) -> StreamItem {
        let publication = Publication::new(number.to_string().into_bytes());
        StreamItem { channel: channel.to_string().into(), publication, position: None }
    }

    proptest! {
        /// Of each channel what goes out is in order and at least an interval apart, the latest goes out in
        /// the end, and then nothing is held.
        #[test]
        fn the_latest_goes_out_and_no_two_within_an_interval(
            steps in prop::collection::vec((0..3_u8, 0..60_u64, any::<bool>()), 1..80),
            interval_ms in 1..100_u64,
        ) {
            let mut own = Conflation::default();
            let (mut now, mut out, mut latest) = (0, HashMap::new(), HashMap::new());
            let mut note = |given: Option<StreamItem>, now: u64| {
                let Some(given) = given else { return Ok(()) };
                let number: usize =
                    std::str::from_utf8(&given.publication.data).unwrap().parse().unwrap();
                let all: &mut Vec<(u64, usize)> = out.entry(given.channel.to_string()).or_default();
                if let Some((before, earlier)) = all.last() {
                    prop_assert!(now >= before + interval_ms && number > *earlier, "{:?}", all);
                }
                all.push((now, number));
                Ok(())
            };
            for (number, (channel, ms, ticks)) in steps.into_iter().enumerate() {
                now += ms;
                while let Some(given) = ticks.then(|| own.next_due(Millis(now))).flatten() {
                    note(Some(given), now)?;
                }
                note(own.take(item(channel, number), interval_ms, Millis(now)), now)?;
                latest.insert(channel.to_string(), number);
            }
            for _ in 0..3 {
                now += interval_ms;
                while let Some(given) = own.next_due(Millis(now)) {
                    note(Some(given), now)?;
                }
            }
            for (channel, number) in latest {
                prop_assert_eq!(out[&channel].last().map(|own| own.1), Some(number));
            }
            prop_assert!(own.channels.is_empty() && own.due.is_empty() && own.held_bytes() == 0);
        }
    }

    #[test]
    fn what_has_to_go_out_begins_another_interval() {
        let mut own = Conflation::default();
        assert!(own.take(item(1, 1), 100, Millis(0)).is_some());
        assert!(own.take(item(1, 2), 100, Millis(10)).is_none());
        assert!(own.held_bytes() > 0);
        assert_eq!(own.flush("1", Millis(20)), Some(item(1, 2)));
        assert_eq!((own.flush("1", Millis(20)), own.held_bytes()), (None, 0));
        assert!(own.take(item(1, 3), 100, Millis(110)).is_none());
        assert_eq!(own.next_due(Millis(119)), None);
        assert_eq!(own.next_due(Millis(120)), Some(item(1, 3)));
    }
}
