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
use crate::centrifugo::decode::{BadFrame, COMMANDS_MAX};

/// The commands of a frame, one after the other. An error is the last item: what came before it holds.
pub fn protobuf_commands(frame: &[u8]) -> impl Iterator<Item = Result<Command<'_>, BadFrame>> {
    // A frame without any command is none.
    let mut rest = Some(frame);
    let mut count = 0;
    std::iter::from_fn(move || {
        let mut frame = rest.take()?;
        count += 1;
        let found = read_delimited(&mut frame).and_then(command);
        if count > COMMANDS_MAX {
            return Some(Err(BadFrame));
        }
        rest = Some(frame).filter(|frame| found.is_ok() && !frame.is_empty());
        Some(found)
    })
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
    subs: BTreeMap<&'c str, OwnSubscription<'c>>,
    headers: BTreeMap<&'c str, &'c str>,
}

fn command(message: &[u8]) -> Result<Command<'_>, BadFrame> {
    let mut id = 0;
    let mut all = Methods::default();
    read_fields(message, |number, value| match number {
        1 => set(&mut id, value.u32()),
        4 => connect(all.connect.get_or_insert_default(), value.bytes()?),
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
    let method = method(all).unwrap_or(if id == 0 { Method::Pong } else { Method::Unknown });
    Ok(Command { id, method })
}

fn method<'c>(all: Methods<'c>) -> Option<Method<'c>> {
    if let Some(ConnectFields { mut own, subs, headers }) = all.connect {
        let header = |(name, value): (&'c str, &'c str)| (name.into(), value.into());
        own.headers = headers.into_iter().map(header).collect();
        own.subs = subs.into_iter().map(|(channel, own)| (channel.into(), own)).collect();
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

fn connect<'c>(fields: &mut ConnectFields<'c>, message: &'c [u8]) -> Result<(), BadFrame> {
    let ConnectFields { own, subs, headers } = fields;
    read_fields(message, |number, value| match number {
        1 => text(&mut own.token, value),
        2 => data(&mut own.data, value),
        3 => own_subscription(subs, value.bytes()?),
        4 => text(&mut own.name, value),
        5 => text(&mut own.version, value),
        6 => header(headers, value.bytes()?),
        _ => Ok(()),
    })
}

fn header<'c>(headers: &mut BTreeMap<&'c str, &'c str>, entry: &'c [u8]) -> Result<(), BadFrame> {
    let (mut name, mut text) = ("", "");
    read_fields(entry, |number, value| match number {
        1 => set(&mut name, value.text()),
        2 => set(&mut text, value.text()),
        _ => Ok(()),
    })?;
    headers.insert(name, text);
    Ok(())
}

fn own_subscription<'c>(
    subs: &mut BTreeMap<&'c str, OwnSubscription<'c>>,
    entry: &'c [u8],
) -> Result<(), BadFrame> {
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
    subs.insert(channel, own);
    Ok(())
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
