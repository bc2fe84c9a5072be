//! The members of one room on all gateways, as one of these knows them.
//!
//! All gateways read the same entries in the same order. The members of this one are told to the others by
//! entries, and are settled once these have come back. Of two logins with one name the one whose entry comes later
//! holds the name: a gateway that reads a login of another closes its own that is settled, and keeps the one that
//! is still on its way. What gateways tell after a cut is compared by the time of the login.
//!
//! A gateway may have very many members, so what concerns all of them is done in steps with an [`Allowance`]. The
//! state is whole after each step: connections here may come and go before the next. Entries are not read before
//! the last.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::allowance::{
    Allowance, ENTRY_WORK, KEY_WORK, LISTED_WORK, LOOK_WORK, MEMBER_WORK, MOVE_WORK, READ_WORK,
};
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
    /// Not said: it will be, as the first word of this gateway is not said either, or not to its end.
    Held,
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
    /// Those of whom nothing was said since a list of this gateway has begun. Who is left here at its end is gone.
    unlisted: BTreeMap<MemberKey, OtherMember>,
}

/// What comes of a login here.
#[derive(Debug)]
pub(super) struct Entered {
    /// What to tell the others.
    pub(super) entry: Entry,
    /// How many logins elsewhere it replaces.
    pub(super) elsewhere: usize,
    /// What to tell the others behind that, if it replaces a login here: one that has passed over the name of that
    /// login, for one of its own that was on its way, does not learn from the name that it is gone.
    pub(super) left: Option<Entry>,
}

/// A part of the list of another gateway, as far as it is not read yet.
#[derive(Debug)]
pub(super) struct ListPart {
    node: u64,
    is_first: bool,
    is_last: bool,
    asks: bool,
    /// Whether those whom it names are held for listed.
    are_kept: bool,
    members: std::vec::IntoIter<Listed>,
}

/// The own list, as far as it is not said yet.
#[derive(Debug)]
pub(super) struct Telling {
    asks: bool,
    is_first: bool,
    is_listed: bool,
    /// Those who are not listed yet, of those who were here when it began.
    rest: Vec<Peer>,
    /// Those whose entries follow the list.
    held: Vec<Peer>,
    part_max: usize,
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

    /// A connection here enters, or a member here takes a name. With `is_one` the login that holds the name is
    /// replaced.
    pub(super) fn enter(
        &mut self,
        peer: Peer,
        name: Option<&Arc<str>>,
        (is_one, is_claim, now): (bool, bool, u64),
        changes: &mut Vec<RoomChange>,
    ) -> Entered {
        let (mut since, mut elsewhere, mut left) = (now, 0, None);
        let holder = name.filter(|_| is_one).and_then(|name| self.holders.get(name).copied());
        match holder {
            Some(Holder::Other(node, key)) => {
                let known = self.others.get(&node).and_then(|own| own.get(key));
                since = since.max(known.map_or(0, |own| own.since.saturating_add(1)));
                self.remove_other(node, key, false, changes);
                elsewhere = 1;
            }
            Some(Holder::Own(own)) if own != peer => {
                let known = self.own.get(&own);
                since = since.max(known.map_or(0, |own| own.since.saturating_add(1)));
                self.settle(own, EntryState::Nowhere, changes);
                left = self.leave(own);
            }
            Some(Holder::Own(_)) | None => {}
        }
        let name = name.map(Arc::clone);
        if let Some(name) = &name {
            self.holders.insert(Arc::clone(name), Holder::Own(peer));
        }
        let member = self.listed(peer, name.as_ref(), since);
        self.own.insert(peer, OwnMember { name, since, state: EntryState::Ahead, is_claim });
        Entered { entry: Entry::Joined { node: self.node, member }, elsewhere, left }
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

    /// Takes what a gateway says, this one included. `is_one` says whether a name has one holder. A part of a list is
    /// given back, to be read with [`SharedRoom::take_part`] before the next entry.
    pub(super) fn on_entry(
        &mut self,
        entry: Entry,
        is_one: bool,
        changes: &mut Vec<RoomChange>,
    ) -> Option<ListPart> {
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
                let (are_kept, members) = (false, members.into_iter());
                return Some(ListPart { node, is_first, is_last, asks, are_kept, members });
            }
            Entry::Here { members, .. } => {
                for member in members {
                    self.settle(member.key.peer(), EntryState::Read, changes);
                }
            }
        }
        None
    }

    /// Reads on in a part of a list. Whether that is done.
    pub(super) fn take_part(
        &mut self,
        part: &mut ListPart,
        is_one: bool,
        allowance: &mut Allowance,
        changes: &mut Vec<RoomChange>,
    ) -> bool {
        let node = part.node;
        let other = self.others.entry(node).or_default();
        if part.is_first {
            if !other.unlist_all(allowance) {
                return false;
            }
            part.is_first = false;
        }
        if !part.are_kept {
            part.members.as_slice().iter().for_each(|own| other.keep(own.key));
            allowance.spend(part.members.len() as u64 * READ_WORK);
            part.are_kept = true;
        }
        if part.is_last && !self.remove_unlisted(node, allowance, changes) {
            return false;
        }
        while !allowance.is_spent() {
            let Some(member) = part.members.next() else {
                if part.asks && part.is_last {
                    changes.push(RoomChange::Asked);
                }
                return true;
            };
            let before = changes.len();
            self.on_joined(node, member, (is_one, true), changes);
            allowance.spend(LOOK_WORK + (changes.len() - before) as u64 * MEMBER_WORK);
        }
        false
    }

    /// A gateway is gone, with its members. Whether all of these are removed. It is asked for them again: if it was
    /// only not heard for a while, it hears that.
    pub(super) fn on_gone(
        &mut self,
        node: u64,
        allowance: &mut Allowance,
        changes: &mut Vec<RoomChange>,
    ) -> bool {
        let Some(other) = self.others.get_mut(&node) else { return true };
        if !other.unlist_all(allowance) || !self.remove_unlisted(node, allowance, changes) {
            return false;
        }
        self.others.remove(&node);
        changes.push(RoomChange::Doubted);
        true
    }

    /// What was said of this member may never come back: it is compared by its time.
    pub(super) fn abort_wait(&mut self, peer: Peer, changes: &mut Vec<RoomChange>) {
        self.settle(peer, EntryState::Nowhere, changes);
    }

    /// As [`SharedRoom::abort_wait`], for all of these, which are taken out. Whether none is left.
    pub(super) fn abort_waits(
        &mut self,
        peers: &mut Vec<Peer>,
        allowance: &mut Allowance,
        changes: &mut Vec<RoomChange>,
    ) -> bool {
        while !allowance.is_spent() {
            let Some(peer) = peers.pop() else { return true };
            let before = changes.len();
            self.abort_wait(peer, changes);
            allowance.spend(LOOK_WORK + (changes.len() - before) as u64 * MEMBER_WORK);
        }
        false
    }

    /// The members here.
    pub(super) fn peers(&self, allowance: &mut Allowance) -> Vec<Peer> {
        allowance.spend(self.own.len() as u64 * KEY_WORK);
        self.own.keys().copied().collect()
    }

    /// A member here is not told to the others before the first word is said.
    pub(super) fn hold(&mut self, peer: Peer) {
        if let Some(own) = self.own.get_mut(&peer) {
            own.state = EntryState::Held;
        }
    }

    /// What is said next in the course of `telling`, with the member where it is of one alone. At least one part of
    /// the list, and then the entries of those who are held, as many as the step may say.
    pub(super) fn tell(
        &mut self,
        telling: &mut Telling,
        allowance: &mut Allowance,
    ) -> Vec<(Option<Peer>, Entry)> {
        if !telling.is_listed {
            return vec![(None, self.tell_part(telling, allowance))];
        }
        let mut entries = Vec::new();
        while !allowance.is_spent()
            && let Some(peer) = telling.held.pop()
        {
            allowance.spend(LOOK_WORK);
            let own = self.own.get_mut(&peer).filter(|own| own.state == EntryState::Held);
            // One that is gone was never told, and one that has taken a name since was told with that.
            let Some(own) = own else { continue };
            own.state = EntryState::Ahead;
            let (name, since) = (own.name.clone(), own.since);
            let member = self.listed(peer, name.as_ref(), since);
            entries.push((Some(peer), Entry::Joined { node: self.node, member }));
            allowance.spend(ENTRY_WORK);
        }
        entries
    }

    fn tell_part(&self, telling: &mut Telling, allowance: &mut Allowance) -> Entry {
        let is_first = std::mem::take(&mut telling.is_first);
        if is_first {
            telling.rest = self.peers(allowance);
        }
        let from = telling.rest.len().saturating_sub(telling.part_max);
        let mut members = Vec::with_capacity(telling.rest.len() - from);
        for peer in telling.rest.drain(from..) {
            match self.own.get(&peer) {
                // That it is gone was said by itself.
                None => {}
                Some(own) if own.state == EntryState::Held => telling.held.push(peer),
                // Who is told already is listed as well, or it would be held for gone.
                Some(own) => members.push(self.listed(peer, own.name.as_ref(), own.since)),
            }
            allowance.spend(LISTED_WORK);
        }
        allowance.spend(ENTRY_WORK);
        telling.is_listed = telling.rest.is_empty();
        let (node, is_last, asks) = (self.node, telling.is_listed, telling.asks);
        Entry::Here { node, is_first, is_last, asks, members }
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

    /// Removes who was not listed. Whether that is done.
    fn remove_unlisted(
        &mut self,
        node: u64,
        allowance: &mut Allowance,
        changes: &mut Vec<RoomChange>,
    ) -> bool {
        while !allowance.is_spent() {
            let unlisted = self.others.get_mut(&node).and_then(|own| own.unlisted.pop_first());
            let Some((key, OtherMember { name, .. })) = unlisted else { return true };
            self.release(name.as_ref(), Holder::Other(node, key));
            changes.push(RoomChange::Left { name, is_told: true });
            allowance.spend(MEMBER_WORK);
        }
        false
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
        let other = self.others.entry(node).or_default();
        other.keep(key);
        let known = other.members.get(&key);
        let had_name = known.map(|own| own.name.is_some());
        if had_name == Some(true) || (had_name.is_some() && name.is_none()) {
            return;
        }
        let mut is_told = true;
        let holder = name.as_ref().filter(|_| is_one);
        match holder.and_then(|name| self.holders.get(name).copied()) {
            Some(Holder::Own(peer)) => {
                let Some(own) = self.own.get_mut(&peer) else { return };
                if matches!(own.state, EntryState::Ahead | EntryState::Held) {
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
                let known = self.others.get(&other).and_then(|own| own.get(holder));
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
        let Some(member) = self.others.get_mut(&node).and_then(|own| own.remove(key)) else {
            return;
        };
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

impl OtherNode {
    fn get(&self, key: MemberKey) -> Option<&OtherMember> {
        self.members.get(&key).or_else(|| self.unlisted.get(&key))
    }

    fn remove(&mut self, key: MemberKey) -> Option<OtherMember> {
        self.members.remove(&key).or_else(|| self.unlisted.remove(&key))
    }

    /// Something was said of a member, so it is there.
    fn keep(&mut self, key: MemberKey) {
        if let Some(member) = self.unlisted.remove(&key) {
            self.members.insert(key, member);
        }
    }

    /// Holds all members for unlisted. Whether that is done.
    fn unlist_all(&mut self, allowance: &mut Allowance) -> bool {
        if self.unlisted.is_empty() {
            std::mem::swap(&mut self.members, &mut self.unlisted);
            return true;
        }
        // The list before this one was not heard to its end.
        while !allowance.is_spent() {
            let Some((key, member)) = self.members.pop_first() else { return true };
            self.unlisted.insert(key, member);
            allowance.spend(MOVE_WORK);
        }
        false
    }
}

impl Telling {
    /// All members here, from the first on. With `asks` the others say theirs.
    pub(super) fn new(asks: bool) -> Self {
        let (rest, held) = (Vec::new(), Vec::new());
        Self { asks, is_first: true, is_listed: false, rest, held, part_max: PART_MAX }
    }

    /// Whether all is said.
    pub(super) fn is_done(&self) -> bool {
        self.is_listed && self.held.is_empty()
    }
}

/// Members in one part of a list: with names of 64 bytes far below what any broker takes.
const PART_MAX: usize = 200;

#[cfg(test)]
mod tests;
