//! What backends ask of channels.

use std::sync::Arc;

use crate::centrifugo::{ErrorCode, ProxyError, SubscriptionOptions};
use crate::channels::{NamedEpoch, Publication, Since, StreamCopy};
use crate::timer::WallTime;

/// What a backend asks of channels.
#[derive(Clone, Debug)]
pub enum ChannelQuestion {
    /// To publish. For any loop.
    Publish {
        /// Where.
        channel: Arc<str>,
        /// What.
        publication: Publication,
        /// With the same key it is published once.
        idempotency_key: Option<Box<str>>,
        /// Whether it is not kept.
        skips_history: bool,
    },
    /// Who is in a channel. For any loop.
    Presence(Arc<str>),
    /// How many are in a channel. For any loop.
    PresenceStats(Arc<str>),
    /// What was published. For any loop.
    History {
        /// Where.
        channel: Arc<str>,
        /// From where on.
        since: Since,
        /// The epoch that it must be of.
        epoch: NamedEpoch,
        /// How many at most.
        limit: usize,
    },
    /// To forget what was published. For any loop.
    Forget(Arc<str>),
    /// To take all members out of a channel. For any loop.
    Close(Arc<str>),
    /// To pass a call on to the backend that answers those of clients. For any loop.
    Rpc {
        /// Which call.
        method: Arc<str>,
        /// What it is given, as JSON.
        params: Option<Arc<[u8]>>,
    },
    /// The channels with members whose home the loop is, up to this number.
    List(usize),
    /// How many connections there are. For every loop.
    Count,
    /// To subscribe the connections of a user. For every loop.
    Subscribe {
        /// Whose.
        user: Arc<str>,
        /// Where.
        channel: Arc<str>,
        /// The one connection; `None` for all.
        client: Option<Arc<str>>,
        /// The offset and the epoch behind which publications are wanted.
        recover: Option<(u64, NamedEpoch)>,
        /// What the subscription has.
        options: Box<SubscriptionOptions>,
    },
    /// To renew what connections of a user are allowed, or to end it. For every loop.
    Refresh {
        /// Whose.
        user: Arc<str>,
        /// The one connection; `None` for all.
        client: Option<Arc<str>>,
        /// Until when, or without an end.
        lasts: Lasting,
        /// What others are told of the connections from now on, as JSON; `None` to leave it.
        info: Option<Arc<[u8]>>,
    },
    /// To end subscriptions of a user. For every loop.
    Unsubscribe {
        /// Whose.
        user: Arc<str>,
        /// The one channel; `None` for all.
        channel: Option<Arc<str>>,
        /// The one connection; `None` for all.
        client: Option<Arc<str>>,
    },
    /// To end connections of a user. For every loop.
    Disconnect {
        /// Whose.
        user: Arc<str>,
        /// The one connection; `None` for all.
        client: Option<Arc<str>>,
        /// Connections that stay.
        except: Arc<[String]>,
        /// The code and the reason of the close frame.
        close: (u16, Arc<str>),
    },
    /// To publish, begin and forget nothing any more, until [`ChannelQuestion::Thaw`]: what asks for that is
    /// answered with error 100. For every loop.
    Freeze,
    /// Copies of the streams whose home the loop is, from a cursor on, which is 0 at first. For every loop,
    /// once all are frozen.
    Copies(usize),
    /// To go on. Where another process may have gone on from the copies, the streams `are_new` from here on.
    /// For every loop.
    Thaw {
        /// Whether each stream has another epoch.
        are_new: bool,
    },
    /// To tell each client that asks for something that it is to connect again. For every loop.
    Leave,
}

/// How long a connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It ends now.
    Over,
    /// Until this date.
    Until(WallTime),
    /// Until something else ends it.
    Unlimited,
}

/// What a loop answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelAnswer {
    /// The result as JSON.
    Json(Vec<u8>),
    /// Channels and how many members they have.
    Channels(Vec<(Arc<str>, u32)>),
    /// Connections, channels whose home the loop is, and members of those.
    Counts(usize, usize, usize),
    /// Copies of streams, and the cursor of those that follow.
    Copies(Vec<StreamCopy>, Option<usize>),
    /// It is done.
    Done,
    /// It is not done.
    Failed(ErrorCode),
    /// A backend that was asked has not done it.
    Refused(ProxyError),
}

impl ChannelQuestion {
    /// The channel whose home is to answer; `None` where it is for every loop. Whichever loop is asked passes
    /// such a question on to the home.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Publish { channel, .. }
            | Self::Presence(channel)
            | Self::PresenceStats(channel)
            | Self::History { channel, .. }
            | Self::Forget(channel)
            | Self::Close(channel) => Some(channel),
            Self::List(_)
            | Self::Count
            | Self::Rpc { .. }
            | Self::Subscribe { .. }
            | Self::Refresh { .. }
            | Self::Unsubscribe { .. }
            | Self::Disconnect { .. }
            | Self::Freeze
            | Self::Copies(_)
            | Self::Thaw { .. }
            | Self::Leave => None,
        }
    }

    /// Bytes of memory that it holds beside its own size.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Publish { channel, publication, .. } => channel.len() + publication.held_bytes(),
            Self::Presence(channel)
            | Self::PresenceStats(channel)
            | Self::History { channel, .. }
            | Self::Forget(channel)
            | Self::Close(channel) => channel.len(),
            Self::List(_)
            | Self::Count
            | Self::Freeze
            | Self::Copies(_)
            | Self::Thaw { .. }
            | Self::Leave => 0,
            Self::Rpc { method, params } => {
                method.len() + params.as_ref().map_or(0, |own| own.len())
            }
            Self::Subscribe { user, channel, options, .. } => {
                user.len() + channel.len() + options.held_bytes()
            }
            Self::Refresh { user, info, .. } => {
                user.len() + info.as_ref().map_or(0, |own| own.len())
            }
            Self::Unsubscribe { user, channel, .. } => {
                user.len() + channel.as_ref().map_or(0, |own| own.len())
            }
            Self::Disconnect { user, except, close: (_, reason), .. } => {
                let of_one = |own: &String| size_of::<String>() + own.len();
                user.len() + reason.len() + except.iter().map(of_one).sum::<usize>()
            }
        }
    }
}
