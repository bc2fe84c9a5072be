//! Frames with commands in Protobuf.
//!
//! Unknown fields are passed over, a field that comes twice counts as it does last, and the parts of a message
//! that comes in two are joined, as the encoding wants it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::wire::{Value, read_delimited, read_fields};
use crate::centrifugo::command::{
    Command, Connect, Data, HistoryRequest, Method, OwnSubscription, Publish, Rpc, SinceRequest,
    SubscribeRequest,
};
use crate::centrifugo::decode::{BadFrame, HEADERS_MAX};

/// The first command of a frame, and what is behind it if there is anything. Its list of channels has up to one entry
/// more than `channels_max`.
pub(in crate::centrifugo) fn first_command(
    mut frame: &[u8],
    channels_max: usize,
) -> (Result<Command<'_>, BadFrame>, Option<&[u8]>) {
    let found = read_delimited(&mut frame).and_then(|message| command(message, channels_max));
    (found, Some(frame).filter(|frame| !frame.is_empty()))
}

/// The methods of a command, of which the first in this order counts.
#[derive(Debug, Default)]
struct Methods<'c> {
    connect: Option<ConnectFields<'c>>,
    subscribe: Option<SubscribeRequest<'c>>,
    unsubscribe: Option<Cow<'c, str>>,
    publish: Option<Publish<'c>>,
    presence: Option<Cow<'c, str>>,
    presence_stats: Option<Cow<'c, str>>,
    history: Option<HistoryRequest<'c>>,
    has_ping: bool,
    has_send: bool,
    rpc: Option<Rpc<'c>>,
    refresh: Option<Cow<'c, str>>,
    sub_refresh: Option<(Cow<'c, str>, Cow<'c, str>)>,
}

/// The first command, whose subscriptions are a map, so that what follows does not depend on their order.
#[derive(Debug, Default)]
struct ConnectFields<'c> {
    own: Connect<'c>,
    subs: Entries<'c, OwnSubscription<'c>>,
    headers: Entries<'c, &'c str>,
}

/// A map that has up to one entry more than is allowed.
#[derive(Debug)]
struct Entries<'c, T> {
    all: BTreeMap<&'c str, T>,
    /// Entries that were read, those included whose names had come before.
    count: usize,
}

impl<T> Default for Entries<'_, T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), count: 0 }
    }
}

impl<'c, T> Entries<'c, T> {
    /// Adds an entry of which `read` gives the name and the value, unless it shows already that there are too many.
    fn add(
        &mut self,
        count_max: usize,
        read: impl FnOnce() -> Result<(&'c str, T), BadFrame>,
    ) -> Result<(), BadFrame> {
        if self.all.len() > count_max {
            return Ok(());
        }
        let (name, value) = read()?;
        self.all.insert(name, value);
        self.count += 1;
        // The same name may stand there any number of times.
        let repeats = self.count > count_max && self.all.len() <= count_max;
        if repeats { Err(BadFrame) } else { Ok(()) }
    }
}

fn command(message: &[u8], channels_max: usize) -> Result<Command<'_>, BadFrame> {
    let mut id = 0;
    let mut all = Methods::default();
    read_fields(message, |number, value| match number {
        1 => set(&mut id, value.u32()),
        4 => connect(all.connect.get_or_insert_default(), value.bytes()?, channels_max),
        5 => subscribe(all.subscribe.get_or_insert_default(), value.bytes()?),
        6 => channel(all.unsubscribe.get_or_insert_default(), value.bytes()?),
        7 => publish(all.publish.get_or_insert_default(), value.bytes()?),
        8 => channel(all.presence.get_or_insert_default(), value.bytes()?),
        9 => channel(all.presence_stats.get_or_insert_default(), value.bytes()?),
        10 => history(all.history.get_or_insert_default(), value.bytes()?),
        11 => set(&mut all.has_ping, value.bytes().map(|_| true)),
        12 => set(&mut all.has_send, value.bytes().map(|_| true)),
        13 => rpc(all.rpc.get_or_insert_default(), value.bytes()?),
        14 => token(all.refresh.get_or_insert_default(), value.bytes()?),
        15 => sub_refresh(all.sub_refresh.get_or_insert_default(), value.bytes()?),
        _ => Ok(()),
    })?;
    if all.connect.as_ref().is_some_and(|own| own.headers.all.len() > HEADERS_MAX) {
        return Err(BadFrame);
    }
    let method = method(all).unwrap_or(if id == 0 { Method::Pong } else { Method::Unknown });
    Ok(Command { id, method })
}

fn method<'c>(all: Methods<'c>) -> Option<Method<'c>> {
    if let Some(ConnectFields { mut own, subs, headers }) = all.connect {
        let header = |(name, value): (&'c str, &'c str)| (name.into(), value.into());
        own.headers = headers.all.into_iter().map(header).collect();
        own.subs = subs.all.into_iter().map(|(channel, own)| (channel.into(), own)).collect();
        return Some(Method::Connect(own));
    }
    let first = (all.subscribe.map(Method::Subscribe))
        .or_else(|| all.unsubscribe.map(Method::Unsubscribe))
        .or_else(|| all.publish.map(Method::Publish))
        .or_else(|| all.presence.map(Method::Presence))
        .or_else(|| all.presence_stats.map(Method::PresenceStats))
        .or_else(|| all.history.map(Method::History));
    if first.is_some() || all.has_ping {
        // A ping has no handler, so it is no command (sheet of the protocol: §12).
        return first;
    }
    let send = all.has_send.then_some(Method::Send);
    send.or_else(|| all.rpc.map(Method::Rpc))
        .or_else(|| all.refresh.map(Method::Refresh))
        .or_else(|| all.sub_refresh.map(|(channel, token)| Method::SubRefresh(channel, token)))
}

fn set<T>(place: &mut T, value: Result<T, BadFrame>) -> Result<(), BadFrame> {
    value.map(|own| *place = own)
}

fn text<'c>(place: &mut Cow<'c, str>, value: Value<'c>) -> Result<(), BadFrame> {
    set(place, value.text().map(Cow::Borrowed))
}

/// Bytes that are empty are the same as none.
fn data<'c>(place: &mut Option<Data<'c>>, value: Value<'c>) -> Result<(), BadFrame> {
    let bytes = value.bytes()?;
    *place = Some(Cow::Borrowed(bytes)).filter(|_| !bytes.is_empty());
    Ok(())
}

fn channel<'c>(own: &mut Cow<'c, str>, message: &'c [u8]) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => text(own, value),
        _ => Ok(()),
    })
}

fn token<'c>(own: &mut Cow<'c, str>, message: &'c [u8]) -> Result<(), BadFrame> {
    // It is the first field there, as a channel is elsewhere.
    channel(own, message)
}

fn connect<'c>(
    fields: &mut ConnectFields<'c>,
    message: &'c [u8],
    channels_max: usize,
) -> Result<(), BadFrame> {
    let ConnectFields { own, subs, headers } = fields;
    read_fields(message, |number, value| match number {
        1 => text(&mut own.token, value),
        2 => data(&mut own.data, value),
        3 => subs.add(channels_max, || own_subscription(value.bytes()?)),
        4 => text(&mut own.name, value),
        5 => text(&mut own.version, value),
        6 => headers.add(HEADERS_MAX, || header(value.bytes()?)),
        _ => Ok(()),
    })
}

fn header(entry: &[u8]) -> Result<(&str, &str), BadFrame> {
    let (mut name, mut text) = ("", "");
    read_fields(entry, |number, value| match number {
        1 => set(&mut name, value.text()),
        2 => set(&mut text, value.text()),
        _ => Ok(()),
    })?;
    Ok((name, text))
}

fn own_subscription(entry: &[u8]) -> Result<(&str, OwnSubscription<'_>), BadFrame> {
    let (mut channel, mut own) = ("", OwnSubscription::default());
    read_fields(entry, |number, value| match number {
        1 => set(&mut channel, value.text()),
        2 => read_fields(value.bytes()?, |number, value| match number {
            3 => set(&mut own.recover, value.bool()),
            6 => text(&mut own.epoch, value),
            7 => set(&mut own.offset, value.u64()),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })?;
    Ok((channel, own))
}

fn subscribe<'c>(own: &mut SubscribeRequest<'c>, message: &'c [u8]) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => text(&mut own.channel, value),
        2 => text(&mut own.token, value),
        3 => set(&mut own.recover, value.bool()),
        6 => text(&mut own.epoch, value),
        7 => set(&mut own.offset, value.u64()),
        8 => data(&mut own.data, value),
        9 => set(&mut own.positioned, value.bool()),
        10 => set(&mut own.recoverable, value.bool()),
        11 => set(&mut own.join_leave, value.bool()),
        12 => text(&mut own.delta, value),
        // A tree of any depth, of which no more is read than that it is there.
        13 => set(&mut own.is_filtered, value.bytes().map(|_| true)),
        14 => set(&mut own.flag, value.i64()),
        15 => set(&mut own.kind, value.i32().map(i64::from)),
        _ => Ok(()),
    })
}

fn publish<'c>(own: &mut Publish<'c>, message: &'c [u8]) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => text(&mut own.channel, value),
        2 => data(&mut own.data, value),
        _ => Ok(()),
    })
}

fn history<'c>(own: &mut HistoryRequest<'c>, message: &'c [u8]) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => text(&mut own.channel, value),
        7 => set(&mut own.limit, value.i32()),
        8 => since(own.since.get_or_insert_default(), value.bytes()?),
        9 => set(&mut own.reverse, value.bool()),
        _ => Ok(()),
    })
}

fn since<'c>(own: &mut SinceRequest<'c>, message: &'c [u8]) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => set(&mut own.offset, value.u64()),
        2 => text(&mut own.epoch, value),
        _ => Ok(()),
    })
}

fn rpc<'c>(own: &mut Rpc<'c>, message: &'c [u8]) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => data(&mut own.data, value),
        2 => text(&mut own.method, value),
        _ => Ok(()),
    })
}

fn sub_refresh<'c>(
    (channel, token): &mut (Cow<'c, str>, Cow<'c, str>),
    message: &'c [u8],
) -> Result<(), BadFrame> {
    read_fields(message, |number, value| match number {
        1 => text(channel, value),
        2 => text(token, value),
        _ => Ok(()),
    })
}
