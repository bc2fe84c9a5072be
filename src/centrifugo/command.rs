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

/// What an application gives along, never empty: JSON without line breaks from a client that speaks JSON, any
/// bytes from one that speaks Protobuf.
pub type Data<'c> = Cow<'c, [u8]>;

/// What a command asks for.
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
    pub data: Option<Data<'c>>,
    /// Subscriptions that the server made, and that were recoverable, sorted by the names of their channels.
    pub subs: Vec<(Cow<'c, str>, OwnSubscription<'c>)>,
    /// The name of the client's library.
    pub name: Cow<'c, str>,
    /// The version of that.
    pub version: Cow<'c, str>,
    /// Headers that the client could not set in its request, by their names: browsers let pages set none.
    pub headers: Vec<(Cow<'c, str>, Cow<'c, str>)>,
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
    pub data: Option<Data<'c>>,
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

impl Command<'_> {
    /// The same, apart from the frame that it came in.
    #[must_use]
    pub fn into_owned(self) -> Command<'static> {
        let Self { id, method } = self;
        Command { id, method: method.into_owned() }
    }

    /// Bytes that it takes in memory, as far as they may be many.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.method.text_bytes()
    }
}

impl Method<'_> {
    fn into_owned(self) -> Method<'static> {
        match self {
            Self::Connect(own) => Method::Connect(own.into_owned()),
            Self::Subscribe(own) => Method::Subscribe(own.into_owned()),
            Self::Unsubscribe(channel) => Method::Unsubscribe(owned(channel)),
            Self::Publish(own) => Method::Publish(own.into_owned()),
            Self::Presence(channel) => Method::Presence(owned(channel)),
            Self::PresenceStats(channel) => Method::PresenceStats(owned(channel)),
            Self::History(own) => Method::History(own.into_owned()),
            Self::Send => Method::Send,
            Self::Rpc(own) => Method::Rpc(own.into_owned()),
            Self::Refresh(token) => Method::Refresh(owned(token)),
            Self::SubRefresh(channel, token) => Method::SubRefresh(owned(channel), owned(token)),
            Self::Pong => Method::Pong,
            Self::Unknown => Method::Unknown,
        }
    }

    fn text_bytes(&self) -> usize {
        match self {
            Self::Connect(own) => {
                let subs = own.subs.iter().map(|(name, own)| name.len() + own.epoch.len());
                let headers = own.headers.iter().map(|(name, value)| name.len() + value.len());
                let data = own.data.as_ref().map_or(0, |own| own.len());
                let names = own.token.len() + own.name.len() + own.version.len();
                names + data + subs.sum::<usize>() + headers.sum::<usize>()
            }
            Self::Subscribe(own) => {
                let data = own.data.as_ref().map_or(0, |own| own.len());
                own.channel.len() + own.token.len() + own.epoch.len() + own.delta.len() + data
            }
            Self::Publish(own) => own.channel.len() + own.data.as_ref().map_or(0, |own| own.len()),
            Self::Rpc(own) => own.method.len() + own.data.as_ref().map_or(0, |own| own.len()),
            Self::History(own) => {
                own.channel.len() + own.since.as_ref().map_or(0, |own| own.epoch.len())
            }
            Self::Unsubscribe(text)
            | Self::Presence(text)
            | Self::PresenceStats(text)
            | Self::Refresh(text) => text.len(),
            Self::SubRefresh(channel, token) => channel.len() + token.len(),
            Self::Send | Self::Pong | Self::Unknown => 0,
        }
    }

    /// The channel that is spoken of, if there is one.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Subscribe(own) => Some(&own.channel),
            Self::Publish(own) => Some(&own.channel),
            Self::History(own) => Some(&own.channel),
            Self::Unsubscribe(channel)
            | Self::Presence(channel)
            | Self::PresenceStats(channel)
            | Self::SubRefresh(channel, _) => Some(channel),
            Self::Connect(_)
            | Self::Send
            | Self::Rpc(_)
            | Self::Refresh(_)
            | Self::Pong
            | Self::Unknown => None,
        }
    }
}

impl Connect<'_> {
    fn into_owned(self) -> Connect<'static> {
        let Self { token, data, subs, name, version, headers } = self;
        let subs = subs.into_iter().map(|(name, own)| (owned(name), own.into_owned()));
        let headers = headers.into_iter().map(|(name, value)| (owned(name), owned(value)));
        Connect {
            token: owned(token),
            data: data.map(owned),
            subs: subs.collect(),
            name: owned(name),
            version: owned(version),
            headers: headers.collect(),
        }
    }
}

impl OwnSubscription<'_> {
    /// The same, apart from the frame that it came in.
    #[must_use]
    pub fn into_owned(self) -> OwnSubscription<'static> {
        let Self { recover, offset, epoch } = self;
        OwnSubscription { recover, offset, epoch: owned(epoch) }
    }
}

impl SubscribeRequest<'_> {
    /// The same, apart from the frame that it came in.
    #[must_use]
    pub fn into_owned(self) -> SubscribeRequest<'static> {
        let Self { channel, token, epoch, data, delta, .. } = self;
        SubscribeRequest {
            channel: owned(channel),
            token: owned(token),
            recover: self.recover,
            offset: self.offset,
            epoch: owned(epoch),
            data: data.map(owned),
            positioned: self.positioned,
            recoverable: self.recoverable,
            join_leave: self.join_leave,
            delta: owned(delta),
            is_filtered: self.is_filtered,
            kind: self.kind,
            flag: self.flag,
        }
    }
}

impl Publish<'_> {
    /// The same, apart from the frame that it came in.
    #[must_use]
    pub fn into_owned(self) -> Publish<'static> {
        Publish { channel: owned(self.channel), data: self.data.map(owned) }
    }
}

impl HistoryRequest<'_> {
    fn into_owned(self) -> HistoryRequest<'static> {
        let Self { channel, limit, since, reverse } = self;
        let since = since
            .map(|SinceRequest { offset, epoch }| SinceRequest { offset, epoch: owned(epoch) });
        HistoryRequest { channel: owned(channel), limit, since, reverse }
    }
}

impl Rpc<'_> {
    fn into_owned(self) -> Rpc<'static> {
        Rpc { method: owned(self.method), data: self.data.map(owned) }
    }
}

fn owned<T: ToOwned + ?Sized>(own: Cow<'_, T>) -> Cow<'static, T> {
    Cow::Owned(own.into_owned())
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
    pub data: Option<Data<'c>>,
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
    pub data: Option<Data<'c>>,
}
