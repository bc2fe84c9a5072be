//! Replies and pushes, in the format of whom they are for.

use super::code::{ErrorCode, Unsubscribed};
use super::encode::JsonEncoder;
use super::format::{Encoded, Format};
use super::protobuf::ProtobufEncoder;
use super::proxy_reply::ProxyError;
use super::reply::{Reply, Subscribed, Ttl};
use crate::channels::{ClientInfo, Position, Publication};

/// Writes one reply or push after the other into buffers of its own.
#[derive(Debug, Default)]
pub struct Encoder {
    json: JsonEncoder,
    protobuf: ProtobufEncoder,
}

impl Encoder {
    /// Gives the memory back of what was far longer than most. To be called when that is sent.
    pub fn trim(&mut self) {
        self.json.trim();
        self.protobuf.trim();
    }

    /// The reply to the command with this ID.
    pub fn reply(&mut self, format: Format, id: u32, reply: &Reply<'_>) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.reply(id, reply),
            Format::Protobuf => self.protobuf.reply(id, reply),
        };
        Encoded { format, bytes }
    }

    /// The reply to a command that fails.
    pub fn error(&mut self, format: Format, id: u32, error: ErrorCode) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.error(id, error),
            Format::Protobuf => self.protobuf.error(id, error),
        };
        Encoded { format, bytes }
    }

    /// As above, to one that a backend has refused.
    pub fn backend_error(&mut self, format: Format, id: u32, error: &ProxyError) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.backend_error(id, error),
            Format::Protobuf => self.protobuf.backend_error(id, error),
        };
        Encoded { format, bytes }
    }

    /// What a call of a backend leads to, in JSON: the object of a reply alone, or the position of a
    /// publication. Data of publications that is not JSON is in `b64data`.
    pub fn result(&mut self, reply: &Reply<'_>, position: Option<Position>) -> &[u8] {
        self.json.result(reply, position)
    }

    /// A publication for the members of a channel.
    pub fn publication(
        &mut self,
        format: Format,
        channel: &str,
        offset: Option<u64>,
        publication: &Publication,
    ) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.publication(channel, offset, publication),
            Format::Protobuf => self.protobuf.publication(channel, offset, publication),
        };
        Encoded { format, bytes }
    }

    /// Tells the members of a channel that one has come.
    pub fn join(&mut self, format: Format, channel: &str, info: &ClientInfo) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.join(channel, info),
            Format::Protobuf => self.protobuf.join(channel, info),
        };
        Encoded { format, bytes }
    }

    /// Tells the members of a channel that one has left.
    pub fn leave(&mut self, format: Format, channel: &str, info: &ClientInfo) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.leave(channel, info),
            Format::Protobuf => self.protobuf.leave(channel, info),
        };
        Encoded { format, bytes }
    }

    /// Tells a client that its subscription has ended.
    pub fn unsubscribed(
        &mut self,
        format: Format,
        channel: &str,
        why: Unsubscribed,
    ) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.unsubscribed(channel, why),
            Format::Protobuf => self.protobuf.unsubscribed(channel, why),
        };
        Encoded { format, bytes }
    }

    /// Tells a client that a backend has renewed what its connection is allowed.
    pub fn refreshed(&mut self, format: Format, ttl: Ttl) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.refreshed(ttl),
            Format::Protobuf => self.protobuf.refreshed(ttl),
        };
        Encoded { format, bytes }
    }

    /// Tells a client that the server has subscribed it.
    pub fn server_subscribed(
        &mut self,
        format: Format,
        channel: &str,
        subscribed: &Subscribed,
    ) -> Encoded<'_> {
        let bytes = match format {
            Format::Json => self.json.server_subscribed(channel, subscribed),
            Format::Protobuf => self.protobuf.server_subscribed(channel, subscribed),
        };
        Encoded { format, bytes }
    }
}
