//! Members whose first reply is not out yet, and what is published meanwhile.
//!
//! A client that connects is told of the channels that the server gives it in one reply, which needs an answer
//! of the home of each. The home lets it in at once, and keeps what comes next until the loop of the client has
//! sent that reply: so a publication can be neither lost nor ahead of it. This lasts for two messages between
//! loops.

use std::collections::HashMap;

use crate::centrifugo::Format;
use crate::channels::{ClientInfo, Presence};
use crate::services::Peer;
use crate::shrink::Shrink as _;
use crate::ws::EncodedFrame;

/// What few channels have of their members at home.
///
/// A connection becomes a member again only after it has left, so that each table has one entry of it at most.
#[derive(Debug, Default)]
pub(super) struct RareMembers {
    /// Members of whom others are told, and that are not listed.
    pub(super) unlisted: Presence<Peer>,
    awaiting: HashMap<Peer, Awaiting>,
    /// Those about whom the engine is asked, and the numbers of their subscriptions. When the link to the engine
    /// goes down, up to 65,536 are answered in one turn.
    expected: HashMap<Peer, u16>,
}

/// A member whose reply is not out.
#[derive(Debug)]
struct Awaiting {
    format: Format,
    hears_joins: bool,
    /// What it gets once it has confirmed.
    frames: Vec<EncodedFrame>,
    bytes: usize,
    /// Whether there was more than is kept.
    is_cut: bool,
}

/// What waited for a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waited {
    pub(super) frames: Vec<EncodedFrame>,
    /// Whether there was more, which is lost.
    pub(super) is_cut: bool,
    pub(super) hears_joins: bool,
}

impl RareMembers {
    /// Whether nothing is known of any member.
    pub(super) fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.awaiting.is_empty() && self.expected.is_empty()
    }

    /// The engine is asked about one who becomes a member.
    pub(super) fn expect(&mut self, peer: Peer, serial: u16) {
        self.expected.insert(peer, serial);
    }

    /// The engine has answered. Whether it was asked about one who has not left meanwhile.
    pub(super) fn take_expected(&mut self, peer: Peer, serial: u16) -> bool {
        // It may have left and come again, so that an earlier question about it is answered now.
        let is_expected = self.expected.get(&peer) == Some(&serial);
        if is_expected {
            self.expected.remove(&peer);
            self.expected.shrink_if_sparse(0);
        }
        is_expected
    }

    /// A member gets what comes once it has confirmed.
    pub(super) fn await_confirmation(&mut self, peer: Peer, format: Format, hears_joins: bool) {
        let (frames, bytes, is_cut) = (Vec::new(), 0, false);
        let awaiting = Awaiting { format, hears_joins, frames, bytes, is_cut };
        self.awaiting.insert(peer, awaiting);
    }

    /// Keeps a frame for the members that have not confirmed and speak this; one that is apart is for those who
    /// hear joins.
    pub(super) fn keep(&mut self, frame: &EncodedFrame, format: Format, is_apart: bool) {
        for own in self.awaiting.values_mut() {
            if own.format != format || (is_apart && !own.hears_joins) {
                continue;
            }
            let bytes = own.bytes + frame.as_bytes().len();
            if own.frames.len() >= FRAMES_MAX || bytes > BYTES_MAX {
                (own.frames, own.is_cut) = (Vec::new(), true);
            }
            if !own.is_cut {
                // It goes out alone, whatever becomes of those behind it.
                own.frames.push(frame.clone().conflated_by(0));
                own.bytes = bytes;
            }
        }
    }

    /// What comes for the members that have not confirmed is not kept for them.
    pub(super) fn cut(&mut self) {
        for own in self.awaiting.values_mut() {
            (own.frames, own.bytes, own.is_cut) = (Vec::new(), 0, true);
        }
    }

    /// What a member gets that has confirmed; `None` if it is not awaited.
    pub(super) fn confirm(&mut self, peer: Peer) -> Option<Waited> {
        let Awaiting { hears_joins, frames, is_cut, .. } = self.awaiting.remove(&peer)?;
        self.awaiting.shrink_if_sparse(0);
        Some(Waited { frames, is_cut, hears_joins })
    }

    /// A member is none any more; what it was known as.
    pub(super) fn remove(&mut self, peer: Peer) -> Option<ClientInfo> {
        if self.awaiting.remove(&peer).is_some() {
            self.awaiting.shrink_if_sparse(0);
        }
        if self.expected.remove(&peer).is_some() {
            self.expected.shrink_if_sparse(0);
        }
        self.unlisted.remove(peer)
    }
}

/// Frames that wait for one member. A round trip between loops is far shorter than it takes to publish them.
const FRAMES_MAX: usize = 1024;
/// Bytes of these.
const BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 0 } }
    }

    #[test]
    fn what_comes_before_the_confirmation_waits_in_order() {
        let mut members = RareMembers::default();
        members.await_confirmation(peer(1), Format::Json, false);
        let frame = |text| EncodedFrame::text(text);
        members.keep(&frame("a"), Format::Json, false);
        members.await_confirmation(peer(2), Format::Json, true);
        members.keep(&frame("other"), Format::Protobuf, false);
        members.keep(&frame("b"), Format::Json, true);
        members.keep(&frame("c"), Format::Json, false);
        assert_eq!(members.confirm(peer(3)), None);
        let waited = |frames, hears_joins| Some(Waited { frames, is_cut: false, hears_joins });
        assert_eq!(members.confirm(peer(1)), waited(vec![frame("a"), frame("c")], false));
        assert_eq!(members.confirm(peer(2)), waited(vec![frame("b"), frame("c")], true));
        assert_eq!(members.confirm(peer(1)), None);
        assert!(members.is_empty());
    }

    #[test]
    fn an_answer_about_an_earlier_subscription_is_not_expected() {
        let mut members = RareMembers::default();
        members.expect(peer(1), 7);
        members.expect(peer(2), 7);
        members.remove(peer(1));
        assert!(!members.take_expected(peer(1), 7));
        members.expect(peer(1), 8);
        assert!(!members.take_expected(peer(1), 7));
        assert!(members.take_expected(peer(1), 8));
        assert!(!members.take_expected(peer(1), 8));
        assert!(members.take_expected(peer(2), 7));
        assert!(members.is_empty());
    }

    #[test]
    fn tables_of_members_that_are_gone_hold_no_memory() {
        let mut members = RareMembers::default();
        let capacities = |own: &RareMembers| (own.awaiting.capacity(), own.expected.capacity());
        members.expect(peer(1), 1);
        members.await_confirmation(peer(1), Format::Json, false);
        members.remove(peer(1));
        assert_eq!(capacities(&members), (0, 0));
        for index in 0..1000 {
            members.expect(peer(index), 1);
            members.await_confirmation(peer(index), Format::Json, false);
        }
        for index in 0..500 {
            members.remove(peer(index));
        }
        for index in 500..1000 {
            assert!(members.take_expected(peer(index), 1));
            assert!(members.confirm(peer(index)).is_some());
        }
        assert!(members.is_empty());
        assert_eq!(capacities(&members), (0, 0));
    }

    #[test]
    fn more_than_is_kept_is_lost_as_a_whole() {
        let mut members = RareMembers::default();
        members.await_confirmation(peer(1), Format::Json, false);
        for _ in 0..=FRAMES_MAX {
            members.keep(&EncodedFrame::text("x"), Format::Json, false);
        }
        let wanted = Waited { frames: Vec::new(), is_cut: true, hears_joins: false };
        assert_eq!(members.confirm(peer(1)), Some(wanted));
        members.await_confirmation(peer(2), Format::Json, false);
        members.keep(&EncodedFrame::text(&"x".repeat(BYTES_MAX + 1)), Format::Json, false);
        assert!(members.confirm(peer(2)).is_some_and(|own| own.is_cut));
    }
}
