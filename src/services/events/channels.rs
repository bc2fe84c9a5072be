//! The channels of a route's connections on one loop, and their members.

use std::collections::HashMap;
use std::sync::Arc;

use crate::effects::Peer;

/// Who is a member of which channel. A connection without a channel takes no room.
#[derive(Debug, Default)]
pub(super) struct Channels {
    members: HashMap<Arc<str>, Vec<Peer>>,
    by_peer: HashMap<Peer, Vec<Arc<str>>>,
}

impl Channels {
    /// Makes a connection a member. `None` if it is one, or a member of as many as it may be.
    pub(super) fn subscribe(&mut self, peer: Peer, channel: &str) -> Option<Arc<str>> {
        let own = self.by_peer.entry(peer).or_default();
        if own.len() >= CHANNELS_MAX || own.iter().any(|own| **own == *channel) {
            return None;
        }
        let known = self.members.get_key_value(channel).map(|(name, _)| Arc::clone(name));
        let name = known.unwrap_or_else(|| channel.into());
        own.push(Arc::clone(&name));
        self.members.entry(Arc::clone(&name)).or_default().push(peer);
        Some(name)
    }

    /// Takes a connection out of a channel. `None` if it was not in it.
    pub(super) fn unsubscribe(&mut self, peer: Peer, channel: &str) -> Option<Arc<str>> {
        let own = self.by_peer.get_mut(&peer)?;
        let position = own.iter().position(|own| **own == *channel)?;
        let name = own.swap_remove(position);
        if own.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.leave(peer, &name);
        self.trim();
        Some(name)
    }

    /// Takes a connection that has ended out of all channels.
    pub(super) fn remove(&mut self, peer: Peer) {
        for name in self.by_peer.remove(&peer).unwrap_or_default() {
            self.leave(peer, &name);
        }
        self.trim();
    }

    fn leave(&mut self, peer: Peer, name: &Arc<str>) {
        let Some(members) = self.members.get_mut(name) else { return };
        if let Some(position) = members.iter().position(|own| *own == peer) {
            members.swap_remove(position);
        }
        if members.is_empty() {
            self.members.remove(name);
        }
    }

    /// Maps keep their peak otherwise.
    fn trim(&mut self) {
        if self.by_peer.is_empty() {
            *self = Self::default();
        }
    }

    /// The name of a channel that has members here, and the members.
    pub(super) fn get(&self, channel: &str) -> Option<(&Arc<str>, &[Peer])> {
        self.members.get_key_value(channel).map(|(name, members)| (name, members.as_slice()))
    }
}

/// Channels of one connection; further ones are left out, as Pushpin does.
const CHANNELS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    #[test]
    fn members_come_and_go() {
        let mut own = Channels::default();
        assert!(own.subscribe(peer(1), "a").is_some());
        assert!(own.subscribe(peer(1), "a").is_none(), "it is one");
        assert!(own.subscribe(peer(2), "a").is_some());
        assert!(own.subscribe(peer(1), "b").is_some());
        assert_eq!(own.get("a").unwrap().1, [peer(1), peer(2)]);
        assert!(own.unsubscribe(peer(2), "b").is_none());
        assert!(own.unsubscribe(peer(1), "a").is_some());
        own.remove(peer(1));
        assert_eq!((own.get("a").unwrap().1, own.get("b")), (&[peer(2)][..], None));
        own.remove(peer(2));
        assert!(own.members.is_empty() && own.members.capacity() == 0);
    }

    #[test]
    fn a_connection_is_a_member_of_so_many_channels() {
        let mut own = Channels::default();
        for number in 0..CHANNELS_MAX {
            assert!(own.subscribe(peer(1), &number.to_string()).is_some());
        }
        assert!(own.subscribe(peer(1), "more").is_none());
        own.unsubscribe(peer(1), "0");
        assert!(own.subscribe(peer(1), "more").is_some());
    }
}
