//! What backends with GRIP want of the gateway for the connections of a route on one loop: the channels
//! that they are in, what is kept about them, and what they are sent after a while.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::effects::Peer;
use crate::events::filter::{Filter, Member, Published, filtered};
use crate::events::grip::{KeepAliveMode, Timed};
use crate::key::slot_number;
use crate::shrink::Shrink as _;
use crate::timer::Millis;
use crate::work::meter;

/// Members of channels, and what is kept about them. A connection for which its backend wants nothing
/// takes no room.
///
/// The record of a connection says where in each of its channels the connection is, so joining and
/// leaving cost the same however many members a channel has. A publication to the topic is noted with the
/// channel and not with its members: whether one that is kept alive was sent it is found when its message
/// would be due.
#[derive(Debug, Default)]
pub(super) struct Members {
    channels: HashMap<Arc<str>, Channel>,
    by_peer: HashMap<Peer, Record>,
    /// Connections with a message that keeps them alive.
    kept_alive: usize,
}

#[derive(Debug, Default)]
struct Channel {
    /// The members of the topic.
    plain: Vec<PlainMember>,
    /// Those of whom each gets a message of its own.
    filtered: Vec<FilteredMember>,
    /// Publications to the topic while any connection was kept alive. It wraps: it is only asked whether there
    /// was one since a member has joined.
    publications: u32,
    /// When the last of these was.
    published_at: Millis,
}

#[derive(Debug)]
struct PlainMember {
    peer: Peer,
    /// What [`Channel::publications`] was when it joined.
    joined_at: u32,
}

#[derive(Debug)]
struct FilteredMember {
    peer: Peer,
    filters: Box<[Filter]>,
}

/// Where a connection is in one of its channels: an index of one of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemberIndex {
    Plain(u32),
    Filtered(u32),
}

/// What is kept about a connection.
#[derive(Debug, Default)]
struct Record {
    channels: Vec<Arc<str>>,
    /// For each of these channels where the connection is in it. A list of its own, because filters read
    /// the names as a slice.
    member_indexes: Vec<MemberIndex>,
    meta: Vec<(Box<str>, Box<str>)>,
    keep_alive: Option<KeptAlive>,
    /// A message, and when it is due.
    delayed: Option<(Timed, Millis)>,
    /// When the earliest of these is due for which a reminder was asked.
    reminder: Option<Millis>,
    /// Bytes that are charged to the pool for it.
    charged_bytes: usize,
    /// Whether it is to be closed, and whether its backend is to be asked about it.
    is_closing: bool,
    awaits_refresh: bool,
}

#[derive(Debug)]
struct KeptAlive {
    message: Timed,
    mode: KeepAliveMode,
    /// When the client was sent anything, or with [`KeepAliveMode::Interval`] this. Publications to its topics
    /// are not in it until a reminder comes, or until it leaves the topic.
    sent_at: Millis,
}

/// What joining or leaving a channel changes of the memberships of its topic. Members with filters are
/// in none: each gets a message of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) leaves: Option<Arc<str>>,
    pub(super) joins: Option<Arc<str>>,
}

impl Members {
    /// Makes a connection a member, with these filters in place of any before. One that is a member of
    /// as many channels as it may be stays out, and one that is to be closed.
    pub(super) fn subscribe(&mut self, peer: Peer, channel: &str, filters: &[Filter]) -> Change {
        let has_these = self.filters(peer, channel).map(|own| *own == *filters);
        if has_these == Some(true) {
            return Change::default();
        }
        let leaves = has_these.and_then(|_| self.unsubscribe(peer, channel));
        let record = self.by_peer.entry(peer).or_default();
        if record.channels.len() >= CHANNELS_MAX || record.is_closing {
            return Change { leaves, joins: None };
        }
        let known = self.channels.get_key_value(channel).map(|(name, _)| Arc::clone(name));
        let name = known.unwrap_or_else(|| channel.into());
        let member_index = self.channels.entry(Arc::clone(&name)).or_default().join(peer, filters);
        record.channels.push(Arc::clone(&name));
        record.member_indexes.push(member_index);
        Change { leaves, joins: filters.is_empty().then_some(name) }
    }

    /// Takes a connection out of a channel. Gives its name if it was a member of the topic.
    pub(super) fn unsubscribe(&mut self, peer: Peer, channel: &str) -> Option<Arc<str>> {
        let record = self.by_peer.get_mut(&peer)?;
        let index = record.index_of(channel)?;
        let name = record.channels.swap_remove(index);
        let member_index = record.member_indexes.swap_remove(index);
        if let Some(kept) = &mut record.keep_alive
            && let Some(sent_at) =
                self.channels.get(&name).and_then(|own| own.last_sent(member_index))
        {
            kept.note_sent(sent_at);
        }
        self.leave(&name, member_index);
        self.trim(peer);
        member_index.is_in_topic().then_some(name)
    }

    /// What is charged for a connection before and after this, which is to be called when more or less may be kept
    /// about it.
    pub(super) fn recount(&mut self, peer: Peer) -> (usize, usize) {
        let Some(record) = self.by_peer.get_mut(&peer) else { return (0, 0) };
        let held = record.held_bytes();
        let now = if held > UNCHARGED_BYTES_MAX { held } else { 0 };
        let before = std::mem::replace(&mut record.charged_bytes, now);
        self.trim(peer);
        (before, now)
    }

    /// A connection has ended. Gives the bytes that are charged for it.
    pub(super) fn remove(&mut self, peer: Peer) -> usize {
        let Some(record) = self.by_peer.remove(&peer) else { return 0 };
        self.kept_alive -= usize::from(record.keep_alive.is_some());
        for (name, member_index) in record.channels.iter().zip(&record.member_indexes) {
            self.leave(name, *member_index);
        }
        self.trim(peer);
        record.charged_bytes
    }

    /// Has all members of a channel closed. From now on each is in no channel, and nothing else is kept about
    /// it, as if it were closed already; `left` gets the topics that it leaves. Gives the members.
    pub(super) fn begin_close(
        &mut self,
        channel: &str,
        mut left: impl FnMut(Peer, &Arc<str>),
    ) -> Vec<Peer> {
        let Some((_, closed)) = self.channels.remove_entry(channel) else { return Vec::new() };
        self.channels.shrink_if_sparse(0);
        let members: Vec<Peer> = closed.members().collect();
        for peer in &members {
            let Some(own) = self.by_peer.get_mut(peer) else { continue };
            let (awaits_refresh, charged_bytes) = (own.awaits_refresh, own.charged_bytes);
            let closing =
                Record { is_closing: true, awaits_refresh, charged_bytes, ..Record::default() };
            let record = std::mem::replace(own, closing);
            self.kept_alive -= usize::from(record.keep_alive.is_some());
            for (other, member_index) in record.channels.iter().zip(&record.member_indexes) {
                // The one that is closed is gone already.
                self.leave(other, *member_index);
                if member_index.is_in_topic() {
                    left(*peer, other);
                }
            }
        }
        members
    }

    /// Whether a connection is still to be closed.
    pub(super) fn is_closing(&self, peer: Peer) -> bool {
        self.by_peer.get(&peer).is_some_and(|own| own.is_closing)
    }

    /// Has the backend asked about all members of a channel. Gives those about whom it was not to be asked
    /// before.
    pub(super) fn begin_refresh(&mut self, channel: &str) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.of(channel).collect();
        peers.retain(|peer| {
            let record = self.by_peer.get_mut(peer);
            record.is_some_and(|own| !std::mem::replace(&mut own.awaits_refresh, true))
        });
        peers
    }

    /// Whether the backend is still to be asked about a connection: it is now.
    pub(super) fn take_refresh(&mut self, peer: Peer) -> bool {
        let record = self.by_peer.get_mut(&peer);
        let is_due = record.is_some_and(|own| std::mem::take(&mut own.awaits_refresh));
        self.trim(peer);
        is_due
    }

    /// Keeps a value about a connection, or forgets it.
    pub(super) fn set_meta(&mut self, peer: Peer, name: &str, value: Option<&str>) {
        let record = self.by_peer.entry(peer).or_default();
        record.meta.retain(|(own, _)| **own != *name);
        if let Some(value) = value
            && record.meta.len() < META_MAX
        {
            record.meta.push((name.into(), value.into()));
        }
        self.trim(peer);
    }

    /// Keeps a connection alive by a message from now on, or no more.
    pub(super) fn keep_alive(
        &mut self,
        peer: Peer,
        message: Option<Timed>,
        mode: KeepAliveMode,
        now: Millis,
    ) {
        let record = self.by_peer.entry(peer).or_default();
        let kept = message.map(|message| KeptAlive { message, mode, sent_at: now });
        self.kept_alive += usize::from(kept.is_some());
        self.kept_alive -= usize::from(record.keep_alive.is_some());
        record.keep_alive = kept;
        self.trim(peer);
    }

    /// Has a message wait. Gives the one that has waited before, which is to be sent now.
    pub(super) fn delay(&mut self, peer: Peer, message: Timed, now: Millis) -> Option<Timed> {
        let due = now.plus(u64::from(message.timeout_s) * 1000);
        let before = self.by_peer.entry(peer).or_default().delayed.replace((message, due));
        before.map(|(message, _)| message)
    }

    /// The message that waits, which is to be sent now.
    pub(super) fn flush(&mut self, peer: Peer) -> Option<Timed> {
        let taken = self.by_peer.get_mut(&peer)?.delayed.take().map(|(message, _)| message);
        self.trim(peer);
        taken
    }

    /// A connection is sent something, by another way than a publication to its topics.
    pub(super) fn note_sent(&mut self, peer: Peer, now: Millis) {
        if self.kept_alive == 0 {
            return;
        }
        meter::spend(LOOK_WORK);
        if let Some(kept) = self.by_peer.get_mut(&peer).and_then(|own| own.keep_alive.as_mut()) {
            kept.note_sent(now);
        }
    }

    /// The members of a topic are sent a publication: it costs the same however many there are.
    pub(super) fn note_published(&mut self, channel: &str, now: Millis) {
        // Where none is kept alive yet, what keeps one alive begins later than this.
        if self.kept_alive > 0
            && let Some(channel) = self.channels.get_mut(channel)
        {
            channel.publications = channel.publications.wrapping_add(1);
            channel.published_at = now;
        }
    }

    /// After how long a reminder is to come, in milliseconds, if another is needed than the one that was
    /// asked for last.
    pub(super) fn next_reminder(&mut self, peer: Peer, now: Millis) -> Option<u64> {
        let record = self.by_peer.get_mut(&peer)?;
        // Without publications since the last reminder, which may put it off.
        let due = record.next_due()?;
        // An earlier one looks again, and asks for this.
        if record.reminder.is_some_and(|own| own <= due) {
            return None;
        }
        record.reminder = Some(due);
        Some(due.since(now))
    }

    /// The messages that are due. To be called when a reminder has come.
    pub(super) fn due(&mut self, peer: Peer, now: Millis) -> Vec<Timed> {
        let Some(record) = self.by_peer.get_mut(&peer) else { return Vec::new() };
        record.reminder = None;
        let mut due = Vec::new();
        if record.delayed.as_ref().is_some_and(|(_, at)| *at <= now) {
            due.extend(record.delayed.take().map(|(message, _)| message));
        }
        if let Some(kept) = &mut record.keep_alive {
            let channels = record.channels.iter().zip(&record.member_indexes);
            let published =
                channels.filter_map(|(name, own)| self.channels.get(name)?.last_sent(*own));
            let sent_at = if due.is_empty() { published.max() } else { Some(now) };
            sent_at.into_iter().for_each(|sent_at| kept.note_sent(sent_at));
            if kept.due() <= now {
                kept.sent_at = now;
                due.push(kept.message.clone());
            }
        }
        self.trim(peer);
        due
    }

    /// How many members a channel has.
    pub(super) fn count(&self, channel: &str) -> usize {
        self.channels.get(channel).map_or(0, |own| own.plain.len() + own.filtered.len())
    }

    /// All members of a channel.
    fn of(&self, channel: &str) -> impl Iterator<Item = Peer> {
        self.channels.get(channel).into_iter().flat_map(Channel::members)
    }

    /// The members of a channel that are in no topic, each with what it gets of a publication: it is noted
    /// that it was sent it.
    pub(super) fn filtered<'m>(
        &'m mut self,
        published: Published<'m>,
        content: &'m [u8],
        now: Millis,
    ) -> impl Iterator<Item = (Peer, Option<Cow<'m, [u8]>>)> {
        let Self { channels, by_peer, .. } = self;
        let members = channels.get(published.channel).map_or(&[][..], |own| &own.filtered);
        members.iter().map(move |own| {
            meter::spend(LOOK_WORK);
            let mut record = by_peer.get_mut(&own.peer);
            let member = Member {
                meta: record.as_ref().map_or(&[], |own| &own.meta),
                channels: record.as_ref().map_or(&[], |own| &own.channels),
            };
            let content = filtered(&own.filters, member, published, content);
            if content.is_some()
                && let Some(kept) = record.as_mut().and_then(|own| own.keep_alive.as_mut())
            {
                kept.note_sent(now);
            }
            (own.peer, content)
        })
    }

    /// The filters of a connection in a channel, if it is in it. Linear in the channels of the connection,
    /// not in the members of the channel.
    fn filters(&self, peer: Peer, channel: &str) -> Option<&[Filter]> {
        let record = self.by_peer.get(&peer)?;
        let member_index = record.member_indexes[record.index_of(channel)?];
        self.channels.get(channel)?.at(member_index).map(|(_, filters)| filters)
    }

    /// Takes the member with this index, whose record no longer lists the channel, out of it.
    fn leave(&mut self, name: &str, member_index: MemberIndex) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.remove(member_index);
        // Another one has taken its index.
        if let Some((moved, _)) = channel.at(member_index)
            && let Some(record) = self.by_peer.get_mut(&moved)
            && let Some(index) = record.index_of(name)
        {
            record.member_indexes[index] = member_index;
        }
        if channel.plain.is_empty() && channel.filtered.is_empty() {
            self.channels.remove(name);
            self.channels.shrink_if_sparse(0);
        }
    }

    /// Keeps nothing of a connection of which nothing is to be kept.
    fn trim(&mut self, peer: Peer) {
        if self.by_peer.get(&peer).is_some_and(Record::is_empty) {
            self.by_peer.remove(&peer);
        }
        self.by_peer.shrink_if_sparse(0);
    }
}

impl Channel {
    fn join(&mut self, peer: Peer, filters: &[Filter]) -> MemberIndex {
        if filters.is_empty() {
            self.plain.push(PlainMember { peer, joined_at: self.publications });
            return MemberIndex::Plain(slot_number(self.plain.len() - 1));
        }
        self.filtered.push(FilteredMember { peer, filters: filters.into() });
        MemberIndex::Filtered(slot_number(self.filtered.len() - 1))
    }

    fn members(&self) -> impl Iterator<Item = Peer> {
        let filtered = self.filtered.iter().map(|own| own.peer);
        self.plain.iter().map(|own| own.peer).chain(filtered)
    }

    /// The member with an index, and its filters.
    fn at(&self, member_index: MemberIndex) -> Option<(Peer, &[Filter])> {
        match member_index {
            MemberIndex::Plain(index) => {
                self.plain.get(index as usize).map(|own| (own.peer, Default::default()))
            }
            MemberIndex::Filtered(index) => {
                self.filtered.get(index as usize).map(|own| (own.peer, &*own.filters))
            }
        }
    }

    /// Takes a member out. Not by `remove`: that would move all members behind, and each has an index to
    /// correct.
    fn remove(&mut self, member_index: MemberIndex) {
        match member_index {
            MemberIndex::Plain(index) => {
                self.plain.swap_remove(index as usize);
                self.plain.shrink_if_sparse(MEMBERS_KEPT);
            }
            MemberIndex::Filtered(index) => {
                self.filtered.swap_remove(index as usize);
                self.filtered.shrink_if_sparse(MEMBERS_KEPT);
            }
        }
    }

    /// When the member with an index was last sent a publication to the topic. Of one with filters each is noted
    /// with it.
    fn last_sent(&self, member_index: MemberIndex) -> Option<Millis> {
        let MemberIndex::Plain(index) = member_index else { return None };
        let joined_at = self.plain.get(index as usize)?.joined_at;
        (joined_at != self.publications).then_some(self.published_at)
    }
}

impl MemberIndex {
    fn is_in_topic(self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Filtered(_) => false,
        }
    }
}

impl Record {
    fn is_empty(&self) -> bool {
        let Self { channels, member_indexes: _, meta, keep_alive, delayed, reminder: _, .. } = self;
        let Self { is_closing, awaits_refresh, charged_bytes, .. } = *self;
        let has_none = channels.is_empty() && meta.is_empty() && charged_bytes == 0;
        has_none && keep_alive.is_none() && delayed.is_none() && !is_closing && !awaits_refresh
    }

    /// Bytes of what backends have said, which may be many.
    fn held_bytes(&self) -> usize {
        let pair = |own: &(Box<str>, Box<str>)| size_of_val(own) + own.0.len() + own.1.len();
        let kept = self.keep_alive.as_ref().map_or(0, |own| own.message.content.len());
        let delayed = self.delayed.as_ref().map_or(0, |(own, _)| own.content.len());
        let names = self.channels.iter().map(|own| own.len()).sum::<usize>();
        names + kept + delayed + self.meta.iter().map(pair).sum::<usize>()
    }

    /// The index of a channel among those of the connection.
    fn index_of(&self, channel: &str) -> Option<usize> {
        self.channels.iter().position(|own| **own == *channel)
    }

    fn next_due(&self) -> Option<Millis> {
        let delayed = self.delayed.as_ref().map(|(_, at)| *at);
        let kept = self.keep_alive.as_ref().map(KeptAlive::due);
        delayed.into_iter().chain(kept).min()
    }
}

impl KeptAlive {
    fn note_sent(&mut self, at: Millis) {
        if self.mode == KeepAliveMode::Idle {
            self.sent_at = self.sent_at.max(at);
        }
    }

    fn due(&self) -> Millis {
        self.sent_at.plus(u64::from(self.message.timeout_s) * 1000)
    }
}

/// Channels of one connection; further ones are left out, as Pushpin does.
const CHANNELS_MAX: usize = 20;
/// 4 KiB, and 8 KiB of members with filters, which a channel keeps as long as it has a member.
const MEMBERS_KEPT: usize = 256;
/// What may be kept about one connection that is not charged.
const UNCHARGED_BYTES_MAX: usize = 256;
/// Values that are kept about one connection.
const META_MAX: usize = 32;
/// A member is looked up.
const LOOK_WORK: u64 = 100;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::events::ClientEvent;
    use crate::events::filter::Meta;
    use crate::key::ConnKey;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    fn peers(own: &Members, channel: &str) -> Vec<Peer> {
        own.of(channel).collect()
    }

    fn joins(own: &mut Members, number: u32, channel: &str) -> bool {
        own.subscribe(peer(number), channel, &[]).joins.is_some()
    }

    fn timed(content: &str, timeout_s: u32) -> Timed {
        Timed { event: ClientEvent::Text, content: content.into(), timeout_s }
    }

    fn contents(due: &[Timed]) -> Vec<&str> {
        due.iter().map(|own| std::str::from_utf8(&own.content).unwrap()).collect()
    }

    #[test]
    fn what_is_kept_about_a_connection_is_counted_until_it_goes() {
        let mut own = Members::default();
        assert_eq!(own.recount(peer(1)), (0, 0));
        own.set_meta(peer(1), "user", Some("ann"));
        assert_eq!(own.recount(peer(1)), (0, 0), "most keep little");
        own.set_meta(peer(1), "text", Some(&"x".repeat(1000)));
        own.delay(peer(1), timed(&"y".repeat(500), 9), Millis(0));
        let (before, all) = own.recount(peer(1));
        assert!(before == 0 && (1500..1600).contains(&all), "{all}");
        own.flush(peer(1));
        let (before, rest) = own.recount(peer(1));
        assert!(before == all && (1000..1100).contains(&rest), "{rest}");
        // One of which nothing is kept any more is charged until that is counted.
        own.set_meta(peer(1), "user", None);
        own.set_meta(peer(1), "text", None);
        assert_eq!(own.recount(peer(1)), (rest, 0));
        assert!(own.by_peer.is_empty());
        own.set_meta(peer(1), "text", Some(&"x".repeat(1000)));
        joins(&mut own, 1, "a");
        let (_, again) = own.recount(peer(1));
        own.begin_close("a", |_, _| {});
        assert_eq!((own.remove(peer(1)), own.remove(peer(1))), (again, 0));
    }

    #[test]
    fn members_come_and_go() {
        let mut own = Members::default();
        assert!(joins(&mut own, 1, "a"));
        assert!(!joins(&mut own, 1, "a"), "it is one");
        assert!(joins(&mut own, 2, "a"));
        assert!(joins(&mut own, 1, "b"));
        assert_eq!(peers(&own, "a"), [peer(1), peer(2)]);
        assert!(own.unsubscribe(peer(2), "b").is_none());
        assert!(own.unsubscribe(peer(1), "a").is_some());
        own.remove(peer(1));
        assert_eq!((peers(&own, "a"), peers(&own, "b")), (vec![peer(2)], vec![]));
        own.remove(peer(2));
        assert!(own.channels.is_empty() && own.channels.capacity() == 0);
    }

    #[test]
    fn a_peak_of_members_leaves_no_memory_behind() {
        let mut own = Members::default();
        let all = 20 * slot_number(MEMBERS_KEPT);
        for number in 0..all {
            assert!(joins(&mut own, number, "a"));
        }
        // One that leaves the channel, and one that ends, each as often.
        for number in 1..all {
            match number % 2 {
                0 => assert!(own.unsubscribe(peer(number), "a").is_some()),
                _ => assert_eq!(own.remove(peer(number)), 0),
            }
        }
        assert_eq!(peers(&own, "a"), [peer(0)]);
        assert_eq!(own.channels["a"].plain.capacity(), MEMBERS_KEPT);
        assert!(own.by_peer.capacity() < 8, "{}", own.by_peer.capacity());
        own.remove(peer(0));
        assert_eq!((own.channels.capacity(), own.by_peer.capacity()), (0, 0));
    }

    #[test]
    fn a_connection_with_the_most_channels_joins_no_other() {
        let mut own = Members::default();
        for number in 0..CHANNELS_MAX {
            assert!(joins(&mut own, 1, &number.to_string()));
        }
        assert!(!joins(&mut own, 1, "more"));
        let changed = own.subscribe(peer(1), "1", &[Filter::SkipSelf]);
        assert!(changed.leaves.is_some(), "it changes filters");
        assert_eq!(peers(&own, "1"), [peer(1)]);
        own.unsubscribe(peer(1), "0");
        assert!(joins(&mut own, 1, "more"));
    }

    #[test]
    fn a_member_with_filters_gets_messages_of_its_own() {
        let mut own = Members::default();
        assert_eq!(own.subscribe(peer(1), "a", &[Filter::SkipSelf]), Change::default());
        own.set_meta(peer(1), "user", Some("ann"));
        assert!(joins(&mut own, 2, "a"));
        let get = |own: &mut Members, sender: &str| -> Vec<bool> {
            let meta = Meta::new(vec![("sender".into(), sender.into())]);
            let published = Published { channel: "a", id: None, meta: &meta };
            let filtered = own.filtered(published, b"x", Millis(0));
            filtered.map(|(_, content)| content.is_some()).collect()
        };
        assert_eq!((get(&mut own, "ann"), get(&mut own, "bob")), (vec![false], vec![true]));
        own.set_meta(peer(1), "user", None);
        assert_eq!(get(&mut own, "ann"), [true]);
        // Without filters it is a member of the topic, and with them no more.
        let name: Arc<str> = "a".into();
        let joined = Change { leaves: None, joins: Some(Arc::clone(&name)) };
        assert_eq!(own.subscribe(peer(1), "a", &[]), joined);
        let left = Change { leaves: Some(name), joins: None };
        assert_eq!(own.subscribe(peer(1), "a", &[Filter::VarSubst]), left);
        assert_eq!(own.unsubscribe(peer(1), "a"), None);
    }

    #[test]
    fn a_quiet_connection_is_sent_its_message() {
        let mut own = Members::default();
        let now = Millis(0);
        own.keep_alive(peer(1), Some(timed("ka", 10)), KeepAliveMode::Idle, now);
        assert_eq!(own.next_reminder(peer(1), now), Some(10_000));
        assert_eq!(own.next_reminder(peer(1), now), None, "one was asked for");
        own.note_sent(peer(1), Millis(4000));
        assert!(own.due(peer(1), Millis(10_000)).is_empty());
        assert_eq!(own.next_reminder(peer(1), Millis(10_000)), Some(4000));
        assert_eq!(contents(&own.due(peer(1), Millis(14_000))), ["ka"]);
        assert_eq!(own.next_reminder(peer(1), Millis(14_000)), Some(10_000));
        own.keep_alive(peer(1), Some(timed("ka", 10)), KeepAliveMode::Interval, Millis(20_000));
        own.note_sent(peer(1), Millis(21_000));
        assert_eq!(contents(&own.due(peer(1), Millis(30_000))), ["ka"]);
        own.keep_alive(peer(1), None, KeepAliveMode::Idle, Millis(30_000));
        assert!(own.kept_alive == 0 && own.by_peer.is_empty());
    }

    #[test]
    fn a_publication_puts_off_the_messages_of_members_that_were_sent_it() {
        let mut own = Members::default();
        let keep = |own: &mut Members, number: u32, mode: KeepAliveMode| {
            own.keep_alive(peer(number), Some(timed("ka", 10)), mode, Millis(0));
        };
        (0..6).for_each(|number| keep(&mut own, number, KeepAliveMode::Idle));
        keep(&mut own, 6, KeepAliveMode::Interval);
        for (number, channel) in [(0, "a"), (1, "a"), (2, "a"), (2, "b"), (3, "a"), (6, "a")] {
            joins(&mut own, number, channel);
        }
        own.subscribe(peer(4), "a", &[Filter::SkipSelf]);
        own.set_meta(peer(4), "user", Some("ann"));
        let publish = |own: &mut Members, channel: &str, sender: &str, now: u64| {
            own.note_published(channel, Millis(now));
            let meta = Meta::new(vec![("sender".into(), sender.into())]);
            let published = Published { channel, id: None, meta: &meta };
            own.filtered(published, b"x", Millis(now)).count()
        };
        publish(&mut own, "a", "", 4000);
        // One leaves behind it, one joins, and one does both.
        own.unsubscribe(peer(1), "a");
        joins(&mut own, 5, "a");
        own.unsubscribe(peer(3), "a");
        joins(&mut own, 3, "a");
        let dues = |own: &mut Members| -> Vec<u64> {
            let due = |number| {
                assert!(own.due(peer(number), Millis(9_999)).is_empty(), "{number}");
                own.next_reminder(peer(number), Millis(0)).unwrap()
            };
            (0..7).map(due).collect()
        };
        assert_eq!(dues(&mut own), [14_000, 14_000, 14_000, 14_000, 14_000, 10_000, 10_000]);
        publish(&mut own, "a", "ann", 6000);
        publish(&mut own, "b", "", 7000);
        assert_eq!(dues(&mut own), [16_000, 14_000, 17_000, 16_000, 14_000, 16_000, 10_000]);
    }

    #[test]
    fn a_delayed_message_is_sent_when_it_is_due_or_pushed_out_by_the_next() {
        let mut own = Members::default();
        assert_eq!(own.delay(peer(1), timed("a", 5), Millis(0)), None);
        assert_eq!(own.next_reminder(peer(1), Millis(0)), Some(5000));
        assert_eq!(own.delay(peer(1), timed("b", 1), Millis(100)), Some(timed("a", 5)));
        assert_eq!(own.next_reminder(peer(1), Millis(100)), Some(1000));
        assert!(own.due(peer(1), Millis(1000)).is_empty());
        assert_eq!(contents(&own.due(peer(1), Millis(1100))), ["b"]);
        own.delay(peer(1), timed("c", 5), Millis(1100));
        assert_eq!(own.flush(peer(1)), Some(timed("c", 5)));
        assert!(own.by_peer.is_empty());
    }

    const FILTERS: [&[Filter]; 3] =
        [&[], &[Filter::SkipSelf], &[Filter::SkipSelf, Filter::VarSubst]];

    #[derive(Clone, Debug)]
    enum Step {
        /// Joins a channel with some of [`FILTERS`], or has them in place of those before.
        Join(u32, u8, usize),
        Leave(u32, u8),
        Close(u32),
        /// Has a value, with which its record outlives its memberships, or no more.
        SetMeta(u32, bool),
        CloseAll(u8),
        RefreshAll(u8),
        /// Its turn to be asked about has come.
        TakeRefresh(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..12u32, 0..5u8, 0..FILTERS.len())
                .prop_map(|(number, channel, filters)| Step::Join(number, channel, filters)),
            3 => (0..12u32, 0..5u8).prop_map(|(number, channel)| Step::Leave(number, channel)),
            1 => (0..12u32).prop_map(Step::Close),
            1 => (0..12u32, any::<bool>())
                .prop_map(|(number, has_value)| Step::SetMeta(number, has_value)),
            1 => (0..5u8).prop_map(Step::CloseAll),
            1 => (0..5u8).prop_map(Step::RefreshAll),
            1 => (0..12u32).prop_map(Step::TakeRefresh),
        ]
    }

    /// The naive twin: a map of the members of each channel, and sets of the connections with a value and of
    /// those with something left to do.
    #[derive(Debug, Default)]
    struct Twin {
        channels: BTreeMap<String, BTreeMap<u32, &'static [Filter]>>,
        with_value: BTreeSet<u32>,
        closing: BTreeSet<u32>,
        to_refresh: BTreeSet<u32>,
    }

    impl Twin {
        fn leave(&mut self, number: u32, channel: &str) {
            if let Some(members) = self.channels.get_mut(channel) {
                members.remove(&number);
            }
            self.channels.retain(|_, members| !members.is_empty());
        }

        fn close(&mut self, number: u32) {
            self.leave_all(number);
            self.closing.remove(&number);
            self.to_refresh.remove(&number);
        }

        fn leave_all(&mut self, number: u32) {
            self.with_value.remove(&number);
            for members in self.channels.values_mut() {
                members.remove(&number);
            }
            self.channels.retain(|_, members| !members.is_empty());
        }

        /// Each member is found at the index in its record, and there are no others: as many
        /// members in each channel, as many channels and indexes in all records.
        fn check(&self, own: &Members) -> Result<(), TestCaseError> {
            prop_assert_eq!(own.channels.len(), self.channels.len());
            for (channel, members) in &self.channels {
                prop_assert_eq!(own.of(channel).count(), members.len());
                for (number, filters) in members {
                    let record = &own.by_peer[&peer(*number)];
                    let member_index = record.member_indexes[record.index_of(channel).unwrap()];
                    let found = own.channels[&**channel].at(member_index);
                    prop_assert_eq!(found, Some((peer(*number), *filters)));
                }
            }
            let count: usize = self.channels.values().map(BTreeMap::len).sum();
            let names: usize = own.by_peer.values().map(|own| own.channels.len()).sum();
            let member_indexes: usize =
                own.by_peer.values().map(|own| own.member_indexes.len()).sum();
            prop_assert_eq!((names, member_indexes), (count, count));
            let known: BTreeSet<u32> = own.by_peer.keys().map(|own| own.key.index).collect();
            let mut wanted = self.with_value.clone();
            wanted.extend(self.channels.values().flat_map(BTreeMap::keys));
            wanted.extend(self.closing.iter().chain(&self.to_refresh));
            prop_assert_eq!(known, wanted);
            let closing = (0..12).filter(|number| own.is_closing(peer(*number)));
            prop_assert!(closing.eq(self.closing.iter().copied()));
            Ok(())
        }

        /// The members of a channel.
        fn of(&self, channel: &str) -> BTreeSet<u32> {
            self.channels.get(channel).into_iter().flatten().map(|own| *own.0).collect()
        }
    }

    fn numbers(peers: Vec<Peer>) -> BTreeSet<u32> {
        peers.into_iter().map(|own| own.key.index).collect()
    }

    proptest! {
        #[test]
        fn members_are_where_their_records_say(steps in prop::collection::vec(step(), 0..200)) {
            let (mut own, mut twin) = (Members::default(), Twin::default());
            for step in steps {
                match step {
                    Step::Join(number, channel, filters) => {
                        let (channel, filters) = (channel.to_string(), FILTERS[filters]);
                        own.subscribe(peer(number), &channel, filters);
                        if !twin.closing.contains(&number) {
                            twin.channels.entry(channel).or_default().insert(number, filters);
                        }
                    }
                    Step::Leave(number, channel) => {
                        let channel = channel.to_string();
                        own.unsubscribe(peer(number), &channel);
                        twin.leave(number, &channel);
                    }
                    Step::Close(number) => {
                        own.remove(peer(number));
                        twin.close(number);
                    }
                    Step::SetMeta(number, true) => {
                        own.set_meta(peer(number), "user", Some("ann"));
                        twin.with_value.insert(number);
                    }
                    Step::SetMeta(number, false) => {
                        own.set_meta(peer(number), "user", None);
                        twin.with_value.remove(&number);
                    }
                    Step::CloseAll(channel) => {
                        let channel = channel.to_string();
                        let members = twin.of(&channel);
                        prop_assert_eq!(numbers(own.begin_close(&channel, |_, _| {})), members.clone());
                        members.iter().for_each(|number| twin.leave_all(*number));
                        twin.closing.extend(members);
                    }
                    Step::RefreshAll(channel) => {
                        let channel = channel.to_string();
                        let members = &twin.of(&channel) - &twin.to_refresh;
                        prop_assert_eq!(numbers(own.begin_refresh(&channel)), members.clone());
                        twin.to_refresh.extend(members);
                    }
                    Step::TakeRefresh(number) => {
                        let was_due = twin.to_refresh.remove(&number);
                        prop_assert_eq!(own.take_refresh(peer(number)), was_due);
                    }
                }
                twin.check(&own)?;
            }
        }

        /// Whatever happens, the members of the topics are those of the channels without filters.
        #[test]
        fn topics_hold_the_members_without_filters(
            steps in prop::collection::vec((0..5u8, 1..4u32, 0..3u8, any::<bool>()), 0..60),
        ) {
            let mut own = Members::default();
            let mut closing = BTreeSet::new();
            let mut topics: BTreeSet<(String, u32)> = BTreeSet::new();
            let mut twin: BTreeMap<(String, u32), bool> = BTreeMap::new();
            for (step, number, channel, is_filtered) in steps {
                let key = (channel.to_string(), number);
                let filters: &[Filter] = if is_filtered { &[Filter::SkipSelf] } else { &[] };
                match step {
                    0 | 1 => {
                        let change = own.subscribe(peer(number), &key.0, filters);
                        if change.leaves.is_some() { topics.remove(&key); }
                        if change.joins.is_some() { topics.insert(key.clone()); }
                        if !closing.contains(&number) { twin.insert(key, is_filtered); }
                    }
                    2 => {
                        if own.unsubscribe(peer(number), &key.0).is_some() { topics.remove(&key); }
                        twin.remove(&key);
                    }
                    3 => {
                        let closed = own.begin_close(&key.0, |peer, topic| {
                            topics.remove(&(topic.to_string(), peer.key.index));
                        });
                        closing.extend(closed.iter().map(|own| own.key.index));
                        twin.retain(|(_, own), _| !closing.contains(own));
                    }
                    _ => {
                        own.remove(peer(number));
                        closing.remove(&number);
                        // The hub drops its members by itself.
                        topics.retain(|(_, own)| *own != number);
                        twin.retain(|(_, own), _| *own != number);
                    }
                }
                let unfiltered = twin.iter().filter(|(_, is_filtered)| !**is_filtered);
                let unfiltered: Vec<_> = unfiltered.map(|(key, _)| key.clone()).collect();
                prop_assert_eq!(topics.iter().cloned().collect::<Vec<_>>(), unfiltered);
                let all: usize = (0..3).map(|own_channel| own.of(&own_channel.to_string()).count()).sum();
                prop_assert_eq!(all, twin.len());
            }
        }
    }
}
