//! Members whose first reply is not out yet, and what is published meanwhile.
//!
//! A client that connects is told of the channels that the server gives it in one reply, which needs an answer
//! of the home of each. The home lets it in at once, and keeps what comes next until the loop of the client has
//! sent that reply: so a publication can be neither lost nor ahead of it. This lasts for two messages between
//! loops, or until a shared engine has answered about all of these channels.
//!
//! Others the home cannot let in at once, as it has asked the engine about them, or will when it is their turn.

use std::collections::HashMap;

use super::to_home::{Dismissal, Told};
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
    /// Those about whom the engine is asked, or will be. When the link to the engine goes down, up to 65,536 are
    /// answered in one turn.
    expected: HashMap<Peer, Expected>,
}

/// One about whom the engine is asked, or will be.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// The number of its subscription.
    serial: u16,
    format: Format,
    told: Told,
    /// Why it is none that can be let in.
    dismissed: Option<Dismissal>,
}

/// A member whose reply is not out.
#[derive(Debug)]
struct Awaiting {
    format: Format,
    hears_joins: bool,
    /// What it gets once it has confirmed.
    frames: Vec<EncodedFrame>,
    bytes: usize,
    /// Why it cannot be given all: there was more than is kept, for one.
    dismissed: Option<Dismissal>,
}

/// What waited for a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waited {
    /// What it gets, or why it has to go instead.
    pub(super) frames: Result<Vec<EncodedFrame>, Dismissal>,
    pub(super) hears_joins: bool,
}

impl RareMembers {
    /// Whether nothing is known of any member.
    pub(super) fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.awaiting.is_empty() && self.expected.is_empty()
    }

    /// The engine is asked about one who becomes a member, or will be. The client is told of it in this way.
    pub(super) fn expect(&mut self, peer: Peer, format: Format, (serial, told): (u16, Told)) {
        self.expected.insert(peer, Expected { serial, format, told, dismissed: None });
    }

    /// The number of the subscription of one that is expected, and how its client will be told.
    pub(super) fn expected(&self, peer: Peer) -> Option<(u16, Told)> {
        self.expected.get(&peer).map(|own| (own.serial, own.told))
    }

    /// One that is expected is so no longer: whether it can be let in; `None` if it has left meanwhile.
    pub(super) fn take_expected(
        &mut self,
        peer: Peer,
        serial: u16,
    ) -> Option<Result<(), Dismissal>> {
        // It may have left and come again, so that an earlier question about it is answered now.
        let dismissed = self.expected.get(&peer).filter(|own| own.serial == serial)?.dismissed;
        self.expected.remove(&peer);
        self.expected.shrink_if_sparse(0);
        Some(dismissed.map_or(Ok(()), Err))
    }

    /// A member gets what comes once it has confirmed.
    pub(super) fn await_confirmation(&mut self, peer: Peer, format: Format, hears_joins: bool) {
        let (frames, bytes, dismissed) = (Vec::new(), 0, None);
        let awaiting = Awaiting { format, hears_joins, frames, bytes, dismissed };
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
                own.dismiss(Dismissal::PositionLost);
            }
            if own.dismissed.is_none() {
                // It goes out alone, whatever becomes of those behind it.
                own.frames.push(frame.clone().conflated_by(0));
                own.bytes = bytes;
            }
        }
    }

    /// Those who speak this have to go.
    pub(super) fn dismiss(&mut self, format: Format, why: Dismissal) {
        for own in self.awaiting.values_mut().filter(|own| own.format == format) {
            own.dismiss(why);
        }
        for own in self.expected.values_mut().filter(|own| own.format == format) {
            own.dismissed.get_or_insert(why);
        }
    }

    /// What a member gets that has confirmed; `None` if it is not awaited.
    pub(super) fn confirm(&mut self, peer: Peer) -> Option<Waited> {
        let Awaiting { hears_joins, frames, dismissed, .. } = self.awaiting.remove(&peer)?;
        self.awaiting.shrink_if_sparse(0);
        Some(Waited { frames: dismissed.map_or(Ok(frames), Err), hears_joins })
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

impl Awaiting {
    /// Nothing more is kept for it.
    fn dismiss(&mut self, why: Dismissal) {
        self.dismissed.get_or_insert(why);
        (self.frames, self.bytes) = (Vec::new(), 0);
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
        let waited = |frames, hears_joins| Some(Waited { frames: Ok(frames), hears_joins });
        assert_eq!(members.confirm(peer(1)), waited(vec![frame("a"), frame("c")], false));
        assert_eq!(members.confirm(peer(2)), waited(vec![frame("b"), frame("c")], true));
        assert_eq!(members.confirm(peer(1)), None);
        assert!(members.is_empty());
    }

    #[test]
    fn an_answer_about_an_earlier_subscription_is_not_expected() {
        let mut members = RareMembers::default();
        members.expect(peer(1), Format::Json, (7, Told::Push));
        members.expect(peer(2), Format::Json, (7, Told::Push));
        members.remove(peer(1));
        assert_eq!(members.take_expected(peer(1), 7), None);
        members.expect(peer(1), Format::Json, (8, Told::Push));
        assert_eq!(members.take_expected(peer(1), 7), None);
        assert_eq!(members.take_expected(peer(1), 8), Some(Ok(())));
        assert_eq!(members.take_expected(peer(1), 8), None);
        assert_eq!(members.take_expected(peer(2), 7), Some(Ok(())));
        assert!(members.is_empty());
    }

    #[test]
    fn those_who_speak_a_format_are_dismissed() {
        let mut members = RareMembers::default();
        for (number, format) in [(1, Format::Json), (2, Format::Protobuf)] {
            members.await_confirmation(peer(number), format, false);
            members.expect(peer(10 + number), format, (7, Told::Push));
        }
        members.keep(&EncodedFrame::text("a"), Format::Json, false);
        members.dismiss(Format::Json, Dismissal::Inappropriate);
        members.dismiss(Format::Json, Dismissal::PositionLost);
        members.keep(&EncodedFrame::text("b"), Format::Json, false);
        members.keep(&EncodedFrame::text("b"), Format::Protobuf, false);
        let frames = |own: Option<Waited>| own.unwrap().frames;
        assert_eq!(frames(members.confirm(peer(1))), Err(Dismissal::Inappropriate));
        assert_eq!(frames(members.confirm(peer(2))), Ok(vec![EncodedFrame::text("b")]));
        assert_eq!(members.take_expected(peer(11), 7), Some(Err(Dismissal::Inappropriate)));
        assert_eq!(members.take_expected(peer(12), 7), Some(Ok(())));
        assert!(members.is_empty());
    }

    #[test]
    fn tables_of_members_that_are_gone_hold_no_memory() {
        let mut members = RareMembers::default();
        let capacities = |own: &RareMembers| (own.awaiting.capacity(), own.expected.capacity());
        members.expect(peer(1), Format::Json, (1, Told::Push));
        members.await_confirmation(peer(1), Format::Json, false);
        members.remove(peer(1));
        assert_eq!(capacities(&members), (0, 0));
        for index in 0..1000 {
            members.expect(peer(index), Format::Json, (1, Told::Push));
            members.await_confirmation(peer(index), Format::Json, false);
        }
        for index in 0..500 {
            members.remove(peer(index));
        }
        for index in 500..1000 {
            assert!(members.take_expected(peer(index), 1).is_some());
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
        let wanted = Waited { frames: Err(Dismissal::PositionLost), hears_joins: false };
        assert_eq!(members.confirm(peer(1)), Some(wanted));
        members.await_confirmation(peer(2), Format::Json, false);
        members.keep(&EncodedFrame::text(&"x".repeat(BYTES_MAX + 1)), Format::Json, false);
        assert!(members.confirm(peer(2)).is_some_and(|own| own.frames.is_err()));
    }
}
