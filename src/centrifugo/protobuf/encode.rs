//! Replies and pushes in Protobuf: one message each, with its length in front of it.
//!
//! Messages are written from their ends, so the field with the highest number comes first here.

use super::wire::Writer;
use crate::centrifugo::code::{ErrorCode, Unsubscribed};
use crate::centrifugo::proxy_reply::ProxyError;
use crate::centrifugo::reply::{Connected, HistoryPage, Reply, Subscribed, Ttl};
use crate::channels::{ClientInfo, Position, Publication};

/// Writes one message after the other into a buffer of its own.
#[derive(Debug, Default)]
pub(in crate::centrifugo) struct ProtobufEncoder {
    writer: Writer,
}

impl ProtobufEncoder {
    /// Gives a buffer back that is far larger than most need.
    pub(in crate::centrifugo) fn trim(&mut self) {
        self.writer.trim();
    }

    /// The reply to the command with this ID.
    pub(in crate::centrifugo) fn reply(&mut self, id: u32, reply: &Reply<'_>) -> &[u8] {
        self.write(|writer| {
            match reply {
                Reply::Connected(own) => writer.message(5, |writer| connected(writer, own)),
                Reply::Subscribed(own) => writer.message(6, |writer| subscribed(writer, own)),
                Reply::Unsubscribed => writer.message(7, |_| {}),
                Reply::Published => writer.message(8, |_| {}),
                Reply::Presence(members) => writer.message(9, |writer| presence(writer, members)),
                Reply::PresenceStats(clients, users) => writer.message(10, |writer| {
                    writer.number(2, *users as u64);
                    writer.number(1, *clients as u64);
                }),
                Reply::History(page) => writer.message(11, |writer| history(writer, page)),
                Reply::Rpc(data) => writer.message(13, |writer| writer.bytes(1, data)),
                Reply::Refreshed(client, own) => writer.message(14, |writer| {
                    ttl(writer, *own, 3);
                    writer.short(1, client);
                }),
                Reply::SubRefreshed(own) => writer.message(15, |writer| ttl(writer, *own, 1)),
            }
            writer.number(1, id.into());
        })
    }

    /// The reply to a command that fails.
    pub(in crate::centrifugo) fn error(&mut self, id: u32, error: ErrorCode) -> &[u8] {
        self.write(|writer| {
            writer.message(2, |writer| {
                writer.flag(3, error.is_temporary());
                writer.text(2, error.text());
                writer.number(1, error.code().into());
            });
            writer.number(1, id.into());
        })
    }

    /// The reply to a command that a backend has refused.
    pub(in crate::centrifugo) fn backend_error(&mut self, id: u32, error: &ProxyError) -> &[u8] {
        let ProxyError { code, message, is_temporary } = error;
        self.write(|writer| {
            writer.message(2, |writer| {
                writer.flag(3, *is_temporary);
                writer.text(2, message);
                writer.number(1, u64::from(*code));
            });
            writer.number(1, id.into());
        })
    }

    /// A publication for the members of a channel.
    pub(in crate::centrifugo) fn publication(
        &mut self,
        channel: &str,
        offset: Option<u64>,
        own: &Publication,
    ) -> &[u8] {
        self.push(channel, 4, |writer| publication(writer, offset.unwrap_or(0), own))
    }

    /// Tells the members of a channel that one has come.
    pub(in crate::centrifugo) fn join(&mut self, channel: &str, info: &ClientInfo) -> &[u8] {
        self.push(channel, 5, |writer| writer.message(1, |writer| client_info(writer, info)))
    }

    /// Tells the members of a channel that one has left.
    pub(in crate::centrifugo) fn leave(&mut self, channel: &str, info: &ClientInfo) -> &[u8] {
        self.push(channel, 6, |writer| writer.message(1, |writer| client_info(writer, info)))
    }

    /// Tells a client that its subscription has ended.
    pub(in crate::centrifugo) fn unsubscribed(
        &mut self,
        channel: &str,
        why: Unsubscribed,
    ) -> &[u8] {
        self.push(channel, 7, |writer| {
            writer.text(3, why.text());
            writer.number(2, why.code().into());
        })
    }

    /// Tells a client that the server has subscribed it. What a reply says of recovery has no field here.
    pub(in crate::centrifugo) fn server_subscribed(
        &mut self,
        channel: &str,
        own: &Subscribed,
    ) -> &[u8] {
        self.push(channel, 9, |writer| {
            writer.bytes(7, own.data.as_deref().unwrap_or_default());
            writer.flag(6, own.is_positioned);
            position(writer, own.position, (4, 5));
            writer.flag(1, own.is_recoverable);
        })
    }

    /// Tells a client that a backend has renewed what its connection is allowed.
    pub(in crate::centrifugo) fn refreshed(&mut self, own: Ttl) -> &[u8] {
        self.write(|writer| {
            writer.message(4, |writer| writer.message(12, |writer| ttl(writer, own, 1)));
        })
    }

    fn push(&mut self, channel: &str, kind: u32, write: impl FnOnce(&mut Writer)) -> &[u8] {
        self.write(|writer| {
            writer.message(4, |writer| {
                writer.message(kind, write);
                writer.text(2, channel);
            });
        })
    }

    fn write(&mut self, write: impl FnOnce(&mut Writer)) -> &[u8] {
        self.writer.clear();
        self.writer.delimited(write);
        self.writer.as_bytes()
    }
}

fn connected(writer: &mut Writer, own: &Connected<'_>) {
    writer.flag(8, own.ping_s > 0 && own.pong);
    writer.number(7, own.ping_s.into());
    for (channel, own) in own.subs.iter().rev() {
        let value = |writer: &mut Writer| writer.message(2, |writer| subscribed(writer, own));
        writer.entry(6, |writer| writer.text(1, channel), value);
    }
    writer.bytes(5, own.data.unwrap_or_default());
    ttl(writer, own.ttl, 3);
    writer.text(2, own.version);
    writer.short(1, own.client);
}

fn subscribed(writer: &mut Writer, own: &Subscribed) {
    writer.flag(12, own.was_recovering);
    writer.bytes(11, own.data.as_deref().unwrap_or_default());
    writer.flag(10, own.is_positioned);
    writer.number(9, own.position.map_or(0, |own| own.offset));
    writer.flag(8, own.is_recovered);
    publications(writer, 7, &own.publications);
    if let Some(Position { epoch, .. }) = own.position {
        writer.short(6, epoch);
    }
    writer.flag(3, own.is_recoverable);
    ttl(writer, own.ttl, 1);
}

fn history(writer: &mut Writer, page: &HistoryPage) {
    position(writer, Some(page.position), (2, 3));
    publications(writer, 1, &page.publications);
}

fn publications(writer: &mut Writer, number: u32, page: &[(u64, Publication)]) {
    for (offset, own) in page.iter().rev() {
        writer.message(number, |writer| publication(writer, *offset, own));
    }
}

fn publication(writer: &mut Writer, offset: u64, own: &Publication) {
    let details = own.details.as_deref();
    for (name, value) in details.into_iter().flat_map(|own| own.tags.iter().rev()) {
        writer.entry(7, |writer| writer.text(1, name), |writer| writer.text(2, value));
    }
    writer.number(6, offset);
    if let Some(info) = details.and_then(|own| own.info.as_ref()) {
        writer.message(5, |writer| client_info(writer, info));
    }
    writer.bytes(4, &own.data);
}

fn presence(writer: &mut Writer, members: &[ClientInfo]) {
    for info in members.iter().rev() {
        let value = |writer: &mut Writer| writer.message(2, |writer| client_info(writer, info));
        writer.entry(1, |writer| writer.short(1, info.client), value);
    }
}

fn client_info(writer: &mut Writer, info: &ClientInfo) {
    writer.bytes(4, info.chan_info.as_deref().unwrap_or_default());
    writer.bytes(3, info.conn_info.as_deref().unwrap_or_default());
    writer.short(2, info.client);
    writer.text(1, &info.user);
}

/// The epoch and the offset, in fields with these numbers, of which that of the offset is the higher.
fn position(writer: &mut Writer, own: Option<Position>, (epoch, offset): (u32, u32)) {
    if let Some(own) = own {
        writer.number(offset, own.offset);
        writer.short(epoch, own.epoch);
    }
}

/// Whether it expires, in this field, and when, in the next.
fn ttl(writer: &mut Writer, Ttl(seconds): Ttl, number: u32) {
    writer.number(number + 1, seconds.into());
    writer.flag(number, seconds > 0);
}
