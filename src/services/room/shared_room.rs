//! The members of one room on all gateways, as one of these knows them.
//!
//! All gateways read the same entries in the same order. The members of this one are told to the others by
//! entries, and are settled once these have come back. Of two logins with one name the one whose entry comes later
//! holds the name: a gateway that reads a login of another closes its own that is settled, and keeps the one that
//! is still on its way. What gateways tell after a cut is compared by the time of the login.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::entry::{Entry, Listed, MemberKey};
use crate::services::Peer;

/// The members of a room, here and elsewhere.
#[derive(Debug)]
pub(super) struct SharedRoom {
    node: u64,
    own: HashMap<Peer, OwnMember>,
    others: BTreeMap<u64, OtherNode>,
    /// Who has taken each name last.
    holders: HashMap<Arc<str>, Holder>,
}

#[derive(Debug)]
struct OwnMember {
    name: Option<Arc<str>>,
    since: u64,
    state: EntryState,
    /// Whether a connection waits until it is settled.
    is_claim: bool,
}

/// Where the entry of a member here is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    /// On its way: it comes behind all that was read.
    Ahead,
    /// It was read.
    Read,
    /// Nowhere, as far as is known.
    Nowhere,
}

#[derive(Debug, Default)]
struct OtherNode {
    members: BTreeMap<MemberKey, OtherMember>,
    /// The parts of a list that have come so far.
    parts: Vec<Listed>,
}

#[derive(Debug)]
struct OtherMember {
    name: Option<Arc<str>>,
    since: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Own(Peer),
    Other(u64, MemberKey),
}

/// What comes of what others say. Changes that are not told are those of a login that replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoomChange {
    /// A member elsewhere has come.
    Entered { name: Option<Arc<str>>, is_told: bool },
    /// A member elsewhere that was counted without a name has taken one.
    Named { name: Arc<str>, is_told: bool },
    /// A member elsewhere has gone.
    Left { name: Option<Arc<str>>, is_told: bool },
    /// A member here is replaced by a login elsewhere. The others are told [`SharedRoom::left`], as one that has
    /// not seen both may hold it for there.
    Replaced(Peer),
    /// The claim of a connection here holds.
    Granted(Peer),
    /// A member has sent this: of this gateway, or of another.
    Said { by: Option<Peer>, name: Box<str>, text: Box<str> },
    /// An operator says this.
    Noticed { is_own: bool, text: Box<str> },
    /// Another gateway asks who is here.
    Asked,
    /// A login was passed over for a later one, which may be gone by now: the others are to be asked again.
    Doubted,
    /// The first word of a gateway: its end is to be watched.
    Watch(u64),
}

impl SharedRoom {
    pub(super) fn new(node: u64) -> Self {
        let (own, others, holders) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        Self { node, own, others, holders }
    }

    /// A connection here enters, or a member here takes a name. With `is_one` the login elsewhere that holds
    /// the name is replaced. Returns what to tell the others, and how many logins elsewhere are replaced.
    pub(super) fn enter(
        &mut self,
        peer: Peer,
        name: Option<&Arc<str>>,
        (is_one, is_claim, now): (bool, bool, u64),
        changes: &mut Vec<RoomChange>,
    ) -> (Entry, usize) {
        let (mut since, mut replaced) = (now, 0);
        let holder = name.filter(|_| is_one).and_then(|name| self.holders.get(name).copied());
        match holder {
            Some(Holder::Other(node, key)) => {
                let known = self.others.get(&node).and_then(|own| own.members.get(&key));
                since = since.max(known.map_or(0, |own| own.since.saturating_add(1)));
                self.remove_other(node, key, false, changes);
                replaced = 1;
            }
            Some(Holder::Own(own)) if own != peer => {
                let known = self.own.get(&own);
                since = since.max(known.map_or(0, |own| own.since.saturating_add(1)));
                self.settle(own, EntryState::Nowhere, changes);
                self.leave(own);
            }
            Some(Holder::Own(_)) | None => {}
        }
        let name = name.map(Arc::clone);
        if let Some(name) = &name {
            self.holders.insert(Arc::clone(name), Holder::Own(peer));
        }
        let member = self.listed(peer, name.as_ref(), since);
        self.own.insert(peer, OwnMember { name, since, state: EntryState::Ahead, is_claim });
        (Entry::Joined { node: self.node, member }, replaced)
    }

    /// A member here is gone: what to tell the others, if they know of it.
    pub(super) fn leave(&mut self, peer: Peer) -> Option<Entry> {
        let member = self.own.remove(&peer)?;
        self.release(member.name.as_ref(), Holder::Own(peer));
        Some(self.left(peer))
    }

    /// That a member here is gone.
    pub(super) fn left(&self, peer: Peer) -> Entry {
        Entry::Left { node: self.node, key: MemberKey::of(peer) }
    }

    /// Takes what a gateway says, this one included. `is_one` says whether a name has one holder.
    pub(super) fn on_entry(&mut self, entry: Entry, is_one: bool, changes: &mut Vec<RoomChange>) {
        match entry {
            Entry::Say { node, key, name, text } => {
                if !is_one || self.may_say(node, key, &name) {
                    let by = (node == self.node).then(|| key.peer());
                    changes.push(RoomChange::Said { by, name, text });
                }
            }
            Entry::Notice { node, text } => {
                changes.push(RoomChange::Noticed { is_own: node == self.node, text });
            }
            Entry::Joined { node, member } if node == self.node => {
                self.settle(member.key.peer(), EntryState::Read, changes);
            }
            Entry::Joined { node, member } => {
                self.meet(node, changes);
                self.on_joined(node, member, (is_one, false), changes);
            }
            Entry::Left { node, key } => self.remove_other(node, key, true, changes),
            Entry::Here { node, is_first, is_last, asks, members } if node != self.node => {
                self.meet(node, changes);
                let other = self.others.entry(node).or_default();
                if is_first {
                    other.parts.clear();
                }
                other.parts.extend(members);
                if is_last {
                    let all = std::mem::take(&mut other.parts);
                    self.on_list(node, all, is_one, changes);
                }
                if asks && is_last {
                    changes.push(RoomChange::Asked);
                }
            }
            Entry::Here { members, .. } => {
                for member in members {
                    self.settle(member.key.peer(), EntryState::Read, changes);
                }
            }
        }
    }

    /// A gateway is gone, with its members. Whether it had any.
    pub(super) fn on_gone(&mut self, node: u64, changes: &mut Vec<RoomChange>) -> bool {
        let Some(other) = self.others.remove(&node) else { return false };
        for (key, member) in other.members {
            self.release(member.name.as_ref(), Holder::Other(node, key));
            changes.push(RoomChange::Left { name: member.name, is_told: true });
        }
        true
    }

    /// What was said of these members, or of all, may never come back: they are compared by their times.
    pub(super) fn abort_wait(&mut self, peer: Option<Peer>, changes: &mut Vec<RoomChange>) {
        let peers: Vec<Peer> = match peer {
            Some(peer) => vec![peer],
            None => self.own.keys().copied().collect(),
        };
        for peer in peers {
            self.settle(peer, EntryState::Nowhere, changes);
        }
    }

    /// All members here, in parts; only those that are settled if the others have heard nothing yet. With `asks`
    /// the others say theirs.
    pub(super) fn here(&self, asks: bool, is_first_word: bool) -> Vec<Entry> {
        // Who is told already is listed as well, or it would be held for gone.
        let told =
            self.own.iter().filter(|(_, own)| own.state != EntryState::Ahead || !is_first_word);
        let members: Vec<Listed> =
            told.map(|(peer, own)| self.listed(*peer, own.name.as_ref(), own.since)).collect();
        let count = members.len().div_ceil(PART_MAX).max(1);
        let mut members = members.into_iter();
        let part = |index| Entry::Here {
            node: self.node,
            is_first: index == 0,
            is_last: index + 1 == count,
            asks,
            members: members.by_ref().take(PART_MAX).collect(),
        };
        (0..count).map(part).collect()
    }

    /// What members here have to tell that are not settled.
    pub(super) fn unsettled(&self) -> Vec<(Peer, Entry)> {
        let unsettled = self.own.iter().filter(|(_, own)| own.state == EntryState::Ahead);
        let entry = |(peer, own): (&Peer, &OwnMember)| {
            let member = self.listed(*peer, own.name.as_ref(), own.since);
            (*peer, Entry::Joined { node: self.node, member })
        };
        unsettled.map(entry).collect()
    }

    fn listed(&self, peer: Peer, name: Option<&Arc<str>>, since: u64) -> Listed {
        Listed { key: MemberKey::of(peer), name: name.map(|name| (**name).into()), since }
    }

    fn settle(&mut self, peer: Peer, state: EntryState, changes: &mut Vec<RoomChange>) {
        let Some(own) = self.own.get_mut(&peer) else { return };
        own.state = state;
        if std::mem::take(&mut own.is_claim) {
            changes.push(RoomChange::Granted(peer));
        }
    }

    fn meet(&mut self, node: u64, changes: &mut Vec<RoomChange>) {
        self.others.entry(node).or_insert_with(|| {
            changes.push(RoomChange::Watch(node));
            OtherNode::default()
        });
    }

    /// A message of one whose name has another holder by now came behind its end.
    fn may_say(&self, node: u64, key: MemberKey, name: &str) -> bool {
        match self.holders.get(name) {
            None => true,
            Some(Holder::Own(peer)) if node == self.node => MemberKey::of(*peer) == key,
            Some(Holder::Own(peer)) => {
                self.own.get(peer).is_none_or(|own| own.state != EntryState::Read)
            }
            Some(Holder::Other(other, own)) => (*other, *own) == (node, key),
        }
    }

    fn on_list(
        &mut self,
        node: u64,
        all: Vec<Listed>,
        is_one: bool,
        changes: &mut Vec<RoomChange>,
    ) {
        let Some(other) = self.others.get(&node) else { return };
        let listed: HashSet<MemberKey> = all.iter().map(|own| own.key).collect();
        let gone = other.members.keys().filter(|key| !listed.contains(key));
        for key in gone.copied().collect::<Vec<_>>() {
            self.remove_other(node, key, true, changes);
        }
        for member in all {
            self.on_joined(node, member, (is_one, true), changes);
        }
    }

    fn on_joined(
        &mut self,
        node: u64,
        member: Listed,
        (is_one, by_time): (bool, bool),
        changes: &mut Vec<RoomChange>,
    ) {
        let Listed { key, name, mut since } = member;
        let name: Option<Arc<str>> = name.map(Arc::from);
        let known = self.others.get(&node).and_then(|own| own.members.get(&key));
        let had_name = known.map(|own| own.name.is_some());
        if had_name == Some(true) || (had_name.is_some() && name.is_none()) {
            return;
        }
        let mut is_told = true;
        let holder = name.as_ref().filter(|_| is_one);
        match holder.and_then(|name| self.holders.get(name).copied()) {
            Some(Holder::Own(peer)) => {
                let Some(own) = self.own.get_mut(&peer) else { return };
                if own.state == EntryState::Ahead {
                    // It comes later in the stream, and so it is.
                    own.since = own.since.max(since.saturating_add(1));
                    return;
                }
                let by_time = by_time || own.state == EntryState::Nowhere;
                if by_time && (since, node) <= (own.since, self.node) {
                    return changes.push(RoomChange::Doubted);
                }
                since = since.max(own.since.saturating_add(u64::from(!by_time)));
                self.leave(peer);
                changes.push(RoomChange::Replaced(peer));
                is_told = false;
            }
            Some(Holder::Other(other, holder)) => {
                let known = self.others.get(&other).and_then(|own| own.members.get(&holder));
                let known = known.map_or(0, |own| own.since);
                if by_time && (known, other) > (since, node) {
                    return changes.push(RoomChange::Doubted);
                }
                since = since.max(known.saturating_add(u64::from(!by_time)));
                self.remove_other(other, holder, false, changes);
                is_told = false;
            }
            None => {}
        }
        if let Some(name) = &name {
            self.holders.insert(Arc::clone(name), Holder::Other(node, key));
        }
        let members = &mut self.others.entry(node).or_default().members;
        members.insert(key, OtherMember { name: name.clone(), since });
        changes.push(match (had_name, name) {
            (Some(_), Some(name)) => RoomChange::Named { name, is_told },
            (_, name) => RoomChange::Entered { name, is_told },
        });
    }

    fn remove_other(
        &mut self,
        node: u64,
        key: MemberKey,
        is_told: bool,
        changes: &mut Vec<RoomChange>,
    ) {
        let members = self.others.get_mut(&node).map(|own| &mut own.members);
        let Some(member) = members.and_then(|own| own.remove(&key)) else { return };
        self.release(member.name.as_ref(), Holder::Other(node, key));
        changes.push(RoomChange::Left { name: member.name, is_told });
    }

    fn release(&mut self, name: Option<&Arc<str>>, holder: Holder) {
        if let Some(name) = name
            && self.holders.get(name) == Some(&holder)
        {
            self.holders.remove(name);
        }
    }
}

/// Members in one part of a list: with names of 64 bytes far below what any broker takes.
const PART_MAX: usize = 200;

#[cfg(test)]
mod tests;
