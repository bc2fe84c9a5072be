//! What a client asks for.

use std::borrow::Cow;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'c> {
    /// What the reply is told apart by; 0 for a command that has none.
    pub id: u32,
    /// What is asked for.
    pub method: Method<'c>,
}

/// What a command asks for. Texts called `data` are JSON, without line breaks.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'c> {
    /// The first command of every client.
    Connect(Connect<'c>),
    /// To become a member of a channel.
    Subscribe(SubscribeRequest<'c>),
    /// To leave this channel.
    Unsubscribe(Cow<'c, str>),
    /// To publish.
    Publish(Publish<'c>),
    /// Who is in this channel.
    Presence(Cow<'c, str>),
    /// How many are in this channel.
    PresenceStats(Cow<'c, str>),
    /// What was published.
    History(HistoryRequest<'c>),
    /// A message without a reply.
    Send,
    /// A call of the backend.
    Rpc(Rpc<'c>),
    /// A new token for the connection.
    Refresh(Cow<'c, str>),
    /// A new token for a channel: its name, and the token.
    SubRefresh(Cow<'c, str>, Cow<'c, str>),
    /// The answer to a ping; also a command without an ID that is none of the above.
    Pong,
    /// A command with an ID that is none of the above.
    Unknown,
}

/// The first command of a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect<'c> {
    /// Says who the client is; empty if it has none.
    pub token: Cow<'c, str>,
    /// For the backend.
    pub data: Option<Cow<'c, str>>,
    /// Subscriptions that the server made, and that were recoverable, with the name of their channel.
    pub subs: Vec<(Cow<'c, str>, OwnSubscription<'c>)>,
    /// The name of the client's library.
    pub name: Cow<'c, str>,
}

/// Where a client was in a channel to which the server has subscribed it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnSubscription<'c> {
    /// Whether what was missed is wanted.
    pub recover: bool,
    /// The offset of the last publication that it has.
    pub offset: u64,
    /// The epoch of that.
    pub epoch: Cow<'c, str>,
}

/// To become a member of a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeRequest<'c> {
    /// The channel.
    pub channel: Cow<'c, str>,
    /// Says that the client may; empty if it has none.
    pub token: Cow<'c, str>,
    /// Whether it was a member before, and wants what it has missed.
    pub recover: bool,
    /// The offset of the last publication that it has.
    pub offset: u64,
    /// The epoch of that.
    pub epoch: Cow<'c, str>,
    /// For the backend.
    pub data: Option<Cow<'c, str>>,
    /// Whether the position is to be watched.
    pub positioned: bool,
    /// Whether what is missed is to be recovered.
    pub recoverable: bool,
    /// Whether it is to be told who comes and goes.
    pub join_leave: bool,
    /// The format of differences between publications; empty for none.
    pub delta: Cow<'c, str>,
    /// Whether publications are to be chosen by a filter.
    pub is_filtered: bool,
    /// 0 for a stream of publications; others are not spoken here.
    pub kind: i64,
    /// Bits, of which the second refuses a subscription that cannot recover.
    pub flag: i64,
}

impl SubscribeRequest<'_> {
    /// Whether an error is wanted where what was missed is gone.
    #[must_use]
    pub fn rejects_unrecovered(&self) -> bool {
        self.flag & 2 != 0
    }
}

/// To publish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish<'c> {
    /// The channel.
    pub channel: Cow<'c, str>,
    /// What.
    pub data: Option<Cow<'c, str>>,
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryRequest<'c> {
    /// The channel.
    pub channel: Cow<'c, str>,
    /// Publications at most: 0 to know the position only, below 0 for all.
    pub limit: i32,
    /// Behind or before which.
    pub since: Option<SinceRequest<'c>>,
    /// Whether from the latest downwards.
    pub reverse: bool,
}

/// A position as a client writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinceRequest<'c> {
    /// The offset.
    pub offset: u64,
    /// The epoch; empty for any.
    pub epoch: Cow<'c, str>,
}

/// A call of the backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rpc<'c> {
    /// Which call.
    pub method: Cow<'c, str>,
    /// What it is given.
    pub data: Option<Cow<'c, str>>,
}
