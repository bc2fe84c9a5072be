//! The last publications of one channel, and recovery from them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::position::{Epoch, NamedEpoch, Position};
use super::presence::ClientInfo;
use crate::timer::Millis;

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// What was published; shared by the history and all who get it.
    pub data: Arc<[u8]>,
    /// What few publications have.
    pub details: Option<Arc<PublicationDetails>>,
}

/// What few publications have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicationDetails {
    /// The client that has published it; `None` for a backend.
    pub info: Option<ClientInfo>,
    /// Words for filters and programs, in the order of the names.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Whether the data is not JSON, so that clients which speak JSON cannot be given it.
    pub is_binary: bool,
}

impl Publication {
    /// A publication of a backend without more.
    #[must_use]
    pub fn new(data: impl Into<Arc<[u8]>>) -> Self {
        Self { data: data.into(), details: None }
    }

    /// Whether its data is not JSON.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.details.as_ref().is_some_and(|own| own.is_binary)
    }

    /// Bytes of memory that it holds, beside its own size.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let details = self.details.as_ref().map_or(0, |own| own.held_bytes());
        self.data.len() + ARC_BYTES + details
    }
}

impl PublicationDetails {
    fn held_bytes(&self) -> usize {
        let info = self.info.as_ref().map_or(0, ClientInfo::held_bytes);
        let tag = |(name, value): &(Box<str>, Box<str>)| {
            size_of::<(Box<str>, Box<str>)>() + name.len() + value.len() + 2 * BLOCK_BYTES
        };
        size_of::<Self>() + ARC_BYTES + info + self.tags.iter().map(tag).sum::<usize>()
    }
}

/// The last publications of a channel, each with an offset one above that of the one before.
///
/// What a publication consists of lies in rings of their own, so that no entry holds room for what is rare or
/// only makes up an alignment.
#[derive(Debug)]
pub struct History {
    epoch: Epoch,
    /// The offset of the last publication that ever was.
    top: u64,
    /// The data of the last publications without a gap, up to `top`.
    data: VecDeque<Arc<[u8]>>,
    /// When each of them expires.
    expiries: VecDeque<Expiry>,
    /// What few of them have, by offset.
    details: BTreeMap<u64, Arc<PublicationDetails>>,
    bytes: usize,
    /// Entries of `expiries` that are earlier than the one before. There are some only where the options
    /// have changed in between.
    descents: u32,
}

/// A moment in units that fit in four bytes for 13 years, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expiry(u32);

impl Expiry {
    fn of(own: Millis) -> Self {
        Self(u32::try_from(own.0.div_ceil(EXPIRY_UNIT_MS)).unwrap_or(u32::MAX))
    }

    fn moment(self) -> Millis {
        Millis(u64::from(self.0) * EXPIRY_UNIT_MS)
    }
}

/// Where a page of publications begins, and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From the oldest that is kept, or from the first above this offset.
    Oldest(Option<u64>),
    /// From the latest downwards, or from the first below this offset.
    Latest(Option<u64>),
}

/// Publications with their offsets.
pub type Page = Vec<(u64, Publication)>;

/// What becomes of a member that comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// All that it has missed, in order; never a part of it.
    Recovered(Page),
    /// Some of it is gone.
    Lost,
}

impl History {
    /// A stream without publications.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        let (data, expiries) = (VecDeque::new(), VecDeque::new());
        Self { epoch, top: 0, data, expiries, details: BTreeMap::new(), bytes: 0, descents: 0 }
    }

    /// Where the stream is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { offset: self.top, epoch: self.epoch }
    }

    /// Bytes of memory that its publications hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let rings = self.data.capacity() * size_of::<Arc<[u8]>>()
            + self.expiries.capacity() * size_of::<Expiry>();
        self.bytes + rings
    }

    /// The number of publications that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Adds a publication, and forgets the oldest above `size`. Gives its offset. It expires up to a
    /// tenth of a second after `expires_at`.
    pub fn push(&mut self, publication: Publication, size: usize, expires_at: Millis) -> u64 {
        while self.data.len() >= size.max(1) {
            self.forget_oldest();
        }
        if self.data.len() == self.data.capacity() {
            // Doubling would leave up to an entry of room for each publication.
            let more = (self.data.len() / 4).max(4).min(size.max(1) - self.data.len());
            self.data.reserve_exact(more);
            self.expiries.reserve_exact(more);
        }
        self.add(publication, expires_at)
    }

    fn add(&mut self, publication: Publication, expires_at: Millis) -> u64 {
        self.top += 1;
        self.bytes += kept_bytes(&publication);
        self.data.push_back(publication.data);
        let expiry = Expiry::of(expires_at);
        let is_descent = self.expiries.back().is_some_and(|before| expiry < *before);
        self.descents += u32::from(is_descent);
        self.expiries.push_back(expiry);
        if let Some(details) = publication.details {
            self.details.insert(self.top, details);
        }
        self.top
    }

    /// Counts a publication that is not kept: what is kept has no gap, so all before it is forgotten.
    pub fn skip(&mut self) -> u64 {
        self.clear();
        self.top += 1;
        self.top
    }

    /// Forgets what has expired. The options may have changed in between, so that an older one may expire
    /// later: it goes with the younger, as nothing is kept below a gap.
    pub fn expire(&mut self, now: Millis) {
        if self.descents == 0 {
            // The expiries are in order. This is called with each publication and each read, so that it
            // must not look at all of up to 100,000 of them where none has expired.
            while self.expiries.front().is_some_and(|own| own.moment() <= now) {
                self.forget_oldest();
            }
        } else {
            let expired = self.expiries.iter().rposition(|own| own.moment() <= now);
            for _ in 0..expired.map_or(0, |last| last + 1) {
                self.forget_oldest();
            }
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets the oldest publication; whether there was one.
    pub fn forget_oldest(&mut self) -> bool {
        let first = self.first();
        let Some(data) = self.data.pop_front() else { return false };
        let expiry = self.expiries.pop_front();
        let is_descent = self.expiries.front().is_some_and(|next| Some(*next) < expiry);
        self.descents -= u32::from(is_descent);
        let details = self.details.remove(&first);
        self.bytes -= kept_bytes(&Publication { data, details });
        true
    }

    /// Forgets all publications. The position stays.
    pub fn clear(&mut self) {
        *self = Self { top: self.top, ..Self::new(self.epoch) };
    }

    /// Up to `limit` publications, and no more than one answer holds.
    #[must_use]
    pub fn page(&self, since: Since, limit: usize) -> Page {
        let first = self.first();
        match since {
            Since::Oldest(above) => {
                let above = above.unwrap_or(0);
                let skipped = above.saturating_add(1).saturating_sub(first);
                let kept = self.data.len();
                let skipped = usize::try_from(skipped).map_or(kept, |own| own.min(kept));
                page_of(self.numbered(skipped..skipped.saturating_add(limit).min(kept)))
            }
            Since::Latest(below) => {
                let below = below.unwrap_or(u64::MAX).min(self.top + 1);
                let count = usize::try_from(below.saturating_sub(first)).unwrap_or(usize::MAX);
                let count = count.min(self.data.len());
                page_of(self.numbered(count.saturating_sub(limit)..count).rev())
            }
        }
    }

    /// Those at these indices, with their offsets.
    fn numbered(
        &self,
        indices: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (u64, Publication)> {
        let first = self.first();
        indices.map(move |index| {
            let offset = first + index as u64;
            let details = self.details.get(&offset).cloned();
            (offset, Publication { data: Arc::clone(&self.data[index]), details })
        })
    }

    /// What a member that comes back with this position has missed. Without an epoch any matches.
    #[must_use]
    pub fn recover(&self, offset: u64, epoch: NamedEpoch) -> Recovery {
        if !epoch.admits(self.epoch) || offset > self.top {
            return Recovery::Lost;
        }
        let kept = self.data.len();
        let missed = usize::try_from(self.top - offset).unwrap_or(usize::MAX);
        if missed > kept {
            return Recovery::Lost;
        }
        recovered(self.numbered(kept - missed..kept)).map_or(Recovery::Lost, Recovery::Recovered)
    }

    /// As [`History::recover`] where a member wants the latest only.
    #[must_use]
    pub fn recover_latest(&self, offset: u64, epoch: NamedEpoch) -> Recovery {
        if epoch.names(self.epoch) && offset == self.top {
            return Recovery::Recovered(Vec::new());
        }
        let page = self.page(Since::Latest(None), 1);
        if page.is_empty() { Recovery::Lost } else { Recovery::Recovered(page) }
    }

    /// All that it is, for [`History::restored`].
    pub(super) fn copied(&self) -> (Epoch, u64, Vec<(Publication, Millis)>) {
        let moments = self.expiries.iter().map(|own| own.moment());
        let entries = self.numbered(0..self.len()).map(|(_, publication)| publication).zip(moments);
        (self.epoch, self.top, entries.collect())
    }

    /// The history that this was copied of. It has no more entries than its offset.
    pub(super) fn restored(epoch: Epoch, top: u64, entries: Vec<(Publication, Millis)>) -> Self {
        let before = top - entries.len() as u64;
        let mut own = Self { top: before, ..Self::new(epoch) };
        own.data.reserve_exact(entries.len());
        own.expiries.reserve_exact(entries.len());
        for (publication, expires_at) in entries {
            own.add(publication, expires_at);
        }
        own
    }

    /// Goes on as another stream, so that what members know of their positions holds no longer.
    pub(super) fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// The offset of the oldest that is kept, or would be.
    fn first(&self) -> u64 {
        self.top + 1 - self.data.len() as u64
    }
}

/// The first of these that one answer may hold. If it ends early, the next page begins behind its last.
pub(super) fn page_of(all: impl Iterator<Item = (u64, Publication)>) -> Page {
    let mut bytes: usize = 0;
    all.take_while(|(_, own)| {
        let is_first = bytes == 0;
        bytes += own.held_bytes();
        is_first || bytes <= PAGE_BYTES_MAX
    })
    .collect()
}

/// All of these, which a member has missed; `None` if they are more than one recovery gives back, as a part would be
/// taken for the whole.
pub(super) fn recovered(missed: impl Iterator<Item = (u64, Publication)>) -> Option<Page> {
    let (mut page, mut bytes) = (Page::new(), 0);
    for (offset, publication) in missed {
        bytes += publication.held_bytes();
        let is_first = page.is_empty();
        if page.len() >= RECOVERED_MAX || !(is_first || bytes <= RECOVERED_BYTES_MAX) {
            return None;
        }
        page.push((offset, publication));
    }
    Some(page)
}

/// Publications that one recovery gives back at most.
pub const RECOVERED_MAX: usize = 300;
/// Bytes of these, unless it is a single one: less than a connection may have unsent as a rule, or one that comes back
/// would be closed as too slow for what it is given.
pub const RECOVERED_BYTES_MAX: usize = 1 << 20;
/// Bytes of the publications in one page of a history, unless it is a single one. Unlike a recovery, the rest can be
/// had by the next.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// What the allocator needs for a block beside its bytes.
const BLOCK_BYTES: usize = 8;
/// The counts of an `Arc`, and its block.
const ARC_BYTES: usize = 16 + BLOCK_BYTES;
/// Bytes that a publication without details takes in a history, beside its data.
pub const ENTRY_BYTES_MAX: usize = size_of::<Arc<[u8]>>() + size_of::<Expiry>() + ARC_BYTES;
/// A unit of the moments at which publications expire.
pub(super) const EXPIRY_UNIT_MS: u64 = 100;
/// Bytes of an entry in the map of details, with its share of the room that nodes leave.
const DETAILS_ENTRY_BYTES: usize = 2 * (size_of::<u64>() + size_of::<usize>());

/// Bytes that it holds in a history, beside the rings.
fn kept_bytes(publication: &Publication) -> usize {
    let entry = publication.details.as_ref().map_or(0, |_| DETAILS_ENTRY_BYTES);
    publication.held_bytes() + entry
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    /// Every third has details.
    fn publication(number: u64) -> Publication {
        let tags = vec![("number".into(), number.to_string().into())];
        let details = PublicationDetails { tags, ..PublicationDetails::default() };
        Publication {
            data: number.to_string().into_bytes().into(),
            details: number.is_multiple_of(3).then(|| Arc::new(details)),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { size: usize, ttl_ms: u64 },
        Skip,
        Wait(u64),
        Clear,
    }

    fn step(ttl_ms: impl Strategy<Value = u64>) -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1..12_usize, ttl_ms).prop_map(|(size, ttl_ms)| Step::Push { size, ttl_ms }),
            1 => Just(Step::Skip),
            2 => (0..1200_u64).prop_map(Step::Wait),
            1 => Just(Step::Clear),
        ]
    }

    /// The options change seldom, so that expiries are in order for a while.
    fn seldom_changed_ttl() -> impl Strategy<Value = u64> {
        prop_oneof![9 => Just(2000_u64), 1 => 1..4000_u64]
    }

    proptest! {
        /// The naive twin keeps every publication that ever was, and which of them are gone.
        #[test]
        fn pages_and_recoveries_are_those_of_a_list(
            steps in prop::collection::vec(step(1..3000_u64), 0..60),
            asked in 0..70_u64,
            limit in 0..20_usize,
        ) {
            let mut own = History::new(EPOCH);
            let (mut now, mut all): (u64, Vec<(u64, Millis)>) = (0, Vec::new());
            let mut top = 0;
            for step in steps {
                match step {
                    Step::Push { size, ttl_ms } => {
                        top += 1;
                        let expires_at = Millis(now + ttl_ms);
                        prop_assert_eq!(own.push(publication(top), size, expires_at), top);
                        all.push((top, Millis(expires_at.0.next_multiple_of(EXPIRY_UNIT_MS))));
                        all.drain(..all.len().saturating_sub(size));
                    }
                    Step::Skip => {
                        top += 1;
                        prop_assert_eq!(own.skip(), top);
                        all.clear();
                    }
                    Step::Wait(ms) => {
                        now += ms;
                        own.expire(Millis(now));
                        if let Some(last) = all.iter().rposition(|(_, end)| end.0 <= now) {
                            all.drain(..=last);
                        }
                    }
                    Step::Clear => {
                        own.clear();
                        all.clear();
                    }
                }
            }
            let page = |offsets: Vec<u64>| -> Page {
                offsets.into_iter().map(|offset| (offset, publication(offset))).collect()
            };
            let offsets = || all.iter().map(|(offset, _)| *offset);
            let up = offsets().filter(|own| *own > asked).take(limit).collect();
            prop_assert_eq!(own.page(Since::Oldest(Some(asked)), limit), page(up));
            let down = offsets().rev().filter(|own| *own < asked).take(limit).collect();
            prop_assert_eq!(own.page(Since::Latest(Some(asked)), limit), page(down));
            let latest = offsets().rev().take(limit).collect();
            prop_assert_eq!(own.page(Since::Latest(None), limit), page(latest));

            let missed: Vec<u64> = (asked + 1..=top).collect();
            let has_all = asked <= top && missed.iter().all(|own| offsets().any(|has| has == *own));
            let wanted =
                if has_all { Recovery::Recovered(page(missed)) } else { Recovery::Lost };
            for epoch in [NamedEpoch::Any, NamedEpoch::Of(EPOCH)] {
                prop_assert_eq!(&own.recover(asked, epoch), &wanted);
            }
            prop_assert_eq!(own.recover(asked, NamedEpoch::Unknown), Recovery::Lost);
            let held: usize = all.iter().map(|(own, _)| kept_bytes(&publication(*own))).sum();
            prop_assert_eq!(own.bytes, held);
            prop_assert_eq!(own.details.len(), offsets().filter(|own| own.is_multiple_of(3)).count());
            let (epoch, offset, entries) = own.copied();
            let other = History::restored(epoch, offset, entries);
            prop_assert_eq!(other.copied(), own.copied());
            prop_assert_eq!(other.bytes, own.bytes);
        }

        /// The naive twin looks at every expiry each time.
        #[test]
        fn expire_forgets_what_a_look_at_every_expiry_finds(
            steps in prop::collection::vec(step(seldom_changed_ttl()), 0..120),
        ) {
            let mut own = History::new(EPOCH);
            let (mut now, mut naive): (u64, Vec<u64>) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Push { size, ttl_ms } => {
                        own.push(publication(1), size, Millis(now + ttl_ms));
                        naive.push((now + ttl_ms).next_multiple_of(EXPIRY_UNIT_MS));
                        naive.drain(..naive.len().saturating_sub(size));
                    }
                    Step::Skip => {
                        own.skip();
                        naive.clear();
                    }
                    Step::Wait(ms) => {
                        now += ms;
                        own.expire(Millis(now));
                        if let Some(last) = naive.iter().rposition(|end| *end <= now) {
                            naive.drain(..=last);
                        }
                    }
                    Step::Clear => {
                        own.clear();
                        naive.clear();
                    }
                }
                let kept: Vec<u64> = own.expiries.iter().map(|own| own.moment().0).collect();
                prop_assert_eq!(&kept, &naive);
                let descents = naive.windows(2).filter(|pair| pair[1] < pair[0]).count();
                prop_assert_eq!(own.descents as usize, descents);
            }
            let (epoch, top, entries) = own.copied();
            prop_assert_eq!(History::restored(epoch, top, entries).descents, own.descents);
        }
    }

    #[test]
    fn a_gap_above_the_limit_is_not_recovered_in_part() {
        let mut own = History::new(EPOCH);
        let size = RECOVERED_MAX + 10;
        for number in 0..size as u64 {
            own.push(publication(number), size, Millis(1));
        }
        assert_eq!(own.recover(9, NamedEpoch::Any), Recovery::Lost);
        let Recovery::Recovered(page) = own.recover(10, NamedEpoch::Any) else {
            panic!("it is kept")
        };
        assert_eq!((page.len(), page[0].0), (RECOVERED_MAX, 11));
    }

    /// A history of publications with this many bytes of data each.
    fn large(count: usize, bytes: usize) -> History {
        let mut own = History::new(EPOCH);
        for _ in 0..count {
            own.push(Publication::new(vec![b'1'; bytes]), count, Millis(1));
        }
        own
    }

    #[test]
    fn pages_are_bounded_in_bytes_and_give_all_one_after_the_other() {
        let own = large(30, 100_000);
        let mut all: Vec<u64> = Vec::new();
        while all.len() < 30 {
            let page = own.page(Since::Oldest(all.last().copied()), 300);
            let bytes: usize = page.iter().map(|(_, own)| own.held_bytes()).sum();
            assert!((1..=PAGE_BYTES_MAX).contains(&bytes), "{bytes}");
            all.extend(page.iter().map(|(offset, _)| *offset));
        }
        assert_eq!(all, (1..=30).collect::<Vec<u64>>());
        let latest = own.page(Since::Latest(None), 300);
        let offsets: Vec<u64> = latest.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (21..=30).rev().collect::<Vec<u64>>());
        assert!(own.page(Since::Oldest(Some(u64::MAX)), 300).is_empty());
        // The limit is below.
        assert_eq!(own.page(Since::Oldest(None), 3).len(), 3);
    }

    #[test]
    fn a_publication_that_is_larger_than_an_answer_is_one_by_itself() {
        let own = large(3, PAGE_BYTES_MAX + 1);
        assert_eq!(own.page(Since::Oldest(None), 300).len(), 1);
        assert_eq!(own.page(Since::Latest(None), 300).len(), 1);
        let own = large(3, RECOVERED_BYTES_MAX + 1);
        let count = |recovery| match recovery {
            Recovery::Recovered(page) => Some(page.len()),
            Recovery::Lost => None,
        };
        let recovered = [3, 2, 1].map(|offset| count(own.recover(offset, NamedEpoch::Any)));
        assert_eq!(recovered, [Some(0), Some(1), None]);
        assert_eq!(count(own.recover_latest(1, NamedEpoch::Any)), Some(1));
    }

    #[test]
    fn more_bytes_than_a_recovery_gives_back_are_not_recovered_in_part() {
        let own = large(30, 100_000);
        let recovered = (0..30).map(|offset| match own.recover(offset, NamedEpoch::Any) {
            Recovery::Recovered(page) => Some(page.len() as u64 + offset),
            Recovery::Lost => None,
        });
        let recovered: Vec<Option<u64>> = recovered.collect();
        assert!(recovered[..20].iter().all(Option::is_none), "{recovered:?}");
        assert!(recovered[20..].iter().all(|own| *own == Some(30)), "{recovered:?}");
    }

    #[test]
    fn the_latest_alone_is_recovered_where_it_is_lacking() {
        let mut own = History::new(EPOCH);
        let epoch = NamedEpoch::Of(EPOCH);
        assert_eq!(own.recover_latest(0, NamedEpoch::Any), Recovery::Lost);
        own.push(publication(1), 1, Millis(1));
        own.push(publication(2), 1, Millis(1));
        let latest = Recovery::Recovered(vec![(2, publication(2))]);
        assert_eq!(own.recover_latest(0, NamedEpoch::Any), latest);
        assert_eq!(own.recover_latest(2, epoch), Recovery::Recovered(vec![]));
        assert_eq!(own.recover_latest(2, NamedEpoch::Unknown), latest);
    }

    #[test]
    fn a_history_takes_at_most_112_bytes_beside_its_publications() {
        const { assert!(size_of::<History>() <= 112) };
    }

    #[test]
    fn a_kept_publication_takes_at_most_64_bytes_beside_its_data() {
        const { assert!(ENTRY_BYTES_MAX <= 64) };
        let mut own = History::new(EPOCH);
        for number in 100..200_u64 {
            own.push(Publication::new(number.to_string().into_bytes()), 100, Millis(1));
        }
        assert!(own.held_bytes() <= 100 * (64 + 3), "{}", own.held_bytes());
    }
}
