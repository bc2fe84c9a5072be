//! What the loop of a connection asks of the home of a channel, and what it is answered.

use std::sync::Arc;

use super::channel_ref::ChannelRef;
use crate::centrifugo::{Disconnect, ErrorCode, Format, Subscribed, Ttl, Unsubscribed};
use crate::channels::{ClientInfo, NamedEpoch, Position, Publication, Since};
use crate::inspect::{ChannelAnswer, ChannelQuestion};
use crate::mail::Reply;
use crate::services::Peer;

/// What the loop of a connection sends to the home of a channel.
#[derive(Debug)]
pub(super) struct ToHome {
    pub(super) channel: Arc<ChannelRef>,
    pub(super) peer: Peer,
    /// What the connection speaks.
    pub(super) format: Format,
    pub(super) action: ChannelAction,
}

/// What a connection does in a channel. To each `Subscribe` there is one `Leave` behind it, whether the
/// home has let the member in or not.
#[derive(Debug)]
pub(super) enum ChannelAction {
    /// Becomes a member.
    Subscribe(Box<Subscribe>),
    /// Has been told that it is a member, so that publications may follow. Behind a [`ChannelAction::Subscribe`]
    /// with [`Told::Connect`].
    Confirm,
    /// Is a member no longer.
    Leave(LeaveReply),
    /// Publishes, in the command with this ID.
    Publish(u32, Publication),
    /// As above, as a backend has it that was asked.
    PublishAs(u32, Box<ProxiedPublication>),
    /// Asks who is there, in the command with this ID.
    Presence(u32),
    /// Asks how many are there, in the command with this ID.
    PresenceStats(u32),
    /// Reads the history, in the command with this ID.
    History(u32, HistoryQuestion),
}

impl ChannelAction {
    /// The ID of a command that asks for what may be long. With a shared engine all members are gathered to count
    /// them. One that becomes a member is looked at more closely.
    pub(super) fn listing(&self, is_shared: bool) -> Option<u32> {
        match self {
            Self::Presence(id) | Self::History(id, _) => Some(*id),
            Self::PresenceStats(id) => Some(*id).filter(|_| is_shared),
            Self::Subscribe(_)
            | Self::Confirm
            | Self::Leave(_)
            | Self::Publish(..)
            | Self::PublishAs(..) => None,
        }
    }
}

/// What a client publishes as a backend has it.
#[derive(Debug)]
pub(super) struct ProxiedPublication {
    pub(super) publication: Publication,
    /// With the same key it is published once.
    pub(super) idempotency_key: Option<Box<str>>,
    /// Whether it is not kept.
    pub(super) skips_history: bool,
}

/// What is to be known of one who becomes a member.
#[derive(Debug)]
pub(super) struct Subscribe {
    /// How the client learns of it.
    pub(super) told: Told,
    /// The number of the subscription.
    pub(super) serial: u16,
    /// What others are told of it, if they are.
    pub(super) info: Option<ClientInfo>,
    pub(super) ttl: Ttl,
    pub(super) is_recoverable: bool,
    pub(super) is_positioned: bool,
    /// Where it was before.
    pub(super) recover: Option<(u64, NamedEpoch)>,
    /// Whether it wants an error where what it has missed is gone.
    pub(super) rejects_unrecovered: bool,
    /// Whether it hears who comes and goes.
    pub(super) hears_joins: bool,
    /// What the client learns of its subscription, as JSON.
    pub(super) data: Option<Arc<[u8]>>,
}

/// How a client learns that it is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// By the reply to the command with this ID.
    Reply(u32),
    /// By a push, as the server has made the subscription.
    Push,
    /// By the reply to its first command, which its loop sends once all channels have answered. What is
    /// published before [`ChannelAction::Confirm`] waits at the home.
    Connect,
}

/// What a member is told that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaveReply {
    /// The reply to the command with this ID.
    Command(u32),
    /// That its subscription has ended, for this reason.
    Push(Unsubscribed),
    /// Nothing, as it was told.
    Nothing,
    /// Nothing, as it is gone.
    Gone,
}

/// What of a history is wanted.
#[derive(Debug)]
pub(super) struct HistoryQuestion {
    pub(super) since: Since,
    /// The epoch that it must be of.
    pub(super) epoch: NamedEpoch,
    pub(super) limit: usize,
}

/// A connection is gone that has asked a home for long answers, and may be a member of none of its channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskerGone(pub(super) Peer);

/// The home of a channel has not let a connection in, and has told it why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) peer: Peer,
    /// The number of the subscription.
    pub(super) serial: u16,
}

/// Why all members of a channel that hear one of its topics are members no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dismissal {
    /// Something was published that clients which speak JSON cannot be given.
    Inappropriate,
    /// What was published cannot be had without a hole: they have to come again.
    PositionLost,
    /// A backend has closed it.
    Closed,
}

impl Dismissal {
    /// As effects have it.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Inappropriate => 0,
            Self::PositionLost => 1,
            Self::Closed => 2,
        }
    }

    /// What such a number stands for.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        let all = [Self::Inappropriate, Self::PositionLost, Self::Closed];
        all.into_iter().find(|own| own.number() == number)
    }

    /// With what a connection is closed that cannot be told of the channel alone.
    pub(super) const fn disconnect(self) -> Disconnect {
        match self {
            Self::Inappropriate => Disconnect::InappropriateProtocol,
            Self::PositionLost | Self::Closed => Disconnect::InsufficientState,
        }
    }
}

/// What the home of a channel says to a subscription that the reply to the first command tells of.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) peer: Peer,
    /// The number of the subscription.
    pub(super) serial: u16,
    /// What the client is told, and where the stream is.
    pub(super) outcome: Result<(Subscribed, Option<Position>), ErrorCode>,
}

/// A question on its way to the home of its channel.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) question: ChannelQuestion,
    pub(super) reply: Reply<ChannelAnswer>,
}

impl ToHome {
    /// Bytes on the heap, as far as they may be many.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.action {
            ChannelAction::Subscribe(own) => {
                let info = own.info.as_ref().map_or(0, ClientInfo::held_bytes);
                size_of::<Subscribe>() + info + own.data.as_ref().map_or(0, |own| own.len())
            }
            ChannelAction::Publish(_, publication) => publication.held_bytes(),
            ChannelAction::PublishAs(_, own) => {
                size_of::<ProxiedPublication>() + own.publication.held_bytes()
            }
            ChannelAction::Confirm
            | ChannelAction::Leave(_)
            | ChannelAction::Presence(_)
            | ChannelAction::PresenceStats(_)
            | ChannelAction::History(..) => 0,
        }
    }
}
