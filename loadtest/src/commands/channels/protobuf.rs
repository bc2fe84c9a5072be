//! What the command says and hears of the Centrifugo client protocol, in Protobuf: frames of one or more
//! messages, each with its length in front of it. What is published is JSON all the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost::{DecodeError, Message};

use super::protocol::{self, Reply, payload};
use crate::driver::Failure;

/// The first frame of a connection: it connects and, for a subscriber, subscribes.
pub(super) fn begin(token: Option<&str>, subscribe: Option<protocol::Subscribe<'_>>) -> Vec<u8> {
    let connect = Connect { token: token.unwrap_or_default().to_owned() };
    let connect = Command { id: 1, connect: Some(connect), ..Command::default() };
    let mut frame = connect.encode_length_delimited_to_vec();
    if let Some(protocol::Subscribe { channel, since }) = subscribe {
        let (offset, epoch) = since.unwrap_or_default();
        let subscribe = Subscribe {
            channel: channel.to_owned(),
            recover: since.is_some(),
            epoch: epoch.to_owned(),
            offset,
            recoverable: true,
        };
        let subscribe = Command { id: 2, subscribe: Some(subscribe), ..Command::default() };
        frame.extend(subscribe.encode_length_delimited_to_vec());
    }
    frame
}

/// A command to publish publication `number`.
pub(super) fn publish(id: u32, channel: &str, number: usize, bytes: usize) -> Vec<u8> {
    let data = format!("\"{}\"", payload(number, bytes)).into_bytes();
    let publish = Publish { channel: channel.to_owned(), data };
    Command { id, publish: Some(publish), ..Command::default() }.encode_length_delimited_to_vec()
}

/// A command to name the members of a channel.
pub(super) fn presence(id: u32, channel: &str) -> Vec<u8> {
    let presence = Channel { channel: channel.to_owned() };
    Command { id, presence: Some(presence), ..Command::default() }.encode_length_delimited_to_vec()
}

/// The answer to a ping: a message without any field.
pub(super) const PONG: &[u8] = &[0];

/// The next message of a frame, which is taken off its front.
pub(super) fn next_reply(frame: &mut &[u8]) -> Result<Reply<'static>, Failure> {
    let unreadable = |error: DecodeError| Failure::UnreadableReply(error.to_string());
    let own = ReplyMessage::decode_length_delimited(frame).map_err(unreadable)?;
    let ReplyMessage { id, error, push, connect, subscribe, presence } = own;
    let error = error.map(|own| protocol::ReplyError { code: own.code, message: own.message });
    let connect = connect.map(|own| protocol::Connected { pong: own.pong });
    let subscribe = subscribe.map(SubscribeResult::read).transpose()?;
    let presence = presence.map(|own| protocol::Presence { count: own.presence.len() });
    let push = push.map(Push::read).transpose()?;
    Ok(Reply { id, error, connect, subscribe, presence, push })
}

impl SubscribeResult {
    fn read(self) -> Result<protocol::Subscribed<'static>, Failure> {
        let publications = self.publications.into_iter().map(Publication::read);
        Ok(protocol::Subscribed {
            recovered: self.recovered,
            epoch: Cow::Owned(self.epoch),
            offset: self.offset,
            publications: publications.collect::<Result<_, _>>()?,
        })
    }
}

impl Push {
    fn read(self) -> Result<protocol::Push<'static>, Failure> {
        let unsubscribe =
            |own: Unsubscribe| protocol::ReplyError { code: own.code, message: own.reason };
        Ok(protocol::Push {
            publication: self.publication.map(Publication::read).transpose()?,
            unsubscribe: self.unsubscribe.map(unsubscribe),
        })
    }
}

impl Publication {
    fn read(self) -> Result<protocol::Publication<'static>, Failure> {
        let text: String = serde_json::from_slice(&self.data)
            .map_err(|error| Failure::UnreadableReply(error.to_string()))?;
        Ok(protocol::Publication { data: Cow::Owned(text), offset: self.offset })
    }
}

/// Declares messages with the fields that are used here. Their numbers are those of the protocol.
macro_rules! messages {
    ($($name:ident { $(#[$field:meta] $member:ident: $kind:ty,)* })*) => {
        $(
            #[derive(Clone, PartialEq, Message)]
            struct $name {
                $(#[$field] $member: $kind,)*
            }
        )*
    };
}

messages! {
    Command {
        #[prost(uint32, tag = "1")] id: u32,
        #[prost(message, optional, tag = "4")] connect: Option<Connect>,
        #[prost(message, optional, tag = "5")] subscribe: Option<Subscribe>,
        #[prost(message, optional, tag = "7")] publish: Option<Publish>,
        #[prost(message, optional, tag = "8")] presence: Option<Channel>,
    }
    Connect {
        #[prost(string, tag = "1")] token: String,
    }
    Subscribe {
        #[prost(string, tag = "1")] channel: String,
        #[prost(bool, tag = "3")] recover: bool,
        #[prost(string, tag = "6")] epoch: String,
        #[prost(uint64, tag = "7")] offset: u64,
        #[prost(bool, tag = "10")] recoverable: bool,
    }
    Publish {
        #[prost(string, tag = "1")] channel: String,
        #[prost(bytes = "vec", tag = "2")] data: Vec<u8>,
    }
    Channel {
        #[prost(string, tag = "1")] channel: String,
    }
    ReplyMessage {
        #[prost(uint32, tag = "1")] id: u32,
        #[prost(message, optional, tag = "2")] error: Option<ErrorMessage>,
        #[prost(message, optional, tag = "4")] push: Option<Push>,
        #[prost(message, optional, tag = "5")] connect: Option<ConnectResult>,
        #[prost(message, optional, tag = "6")] subscribe: Option<SubscribeResult>,
        #[prost(message, optional, tag = "9")] presence: Option<PresenceResult>,
    }
    ErrorMessage {
        #[prost(uint32, tag = "1")] code: u32,
        #[prost(string, tag = "2")] message: String,
    }
    Push {
        #[prost(message, optional, tag = "4")] publication: Option<Publication>,
        #[prost(message, optional, tag = "7")] unsubscribe: Option<Unsubscribe>,
    }
    Publication {
        #[prost(bytes = "vec", tag = "4")] data: Vec<u8>,
        #[prost(uint64, tag = "6")] offset: u64,
    }
    Unsubscribe {
        #[prost(uint32, tag = "2")] code: u32,
        #[prost(string, tag = "3")] reason: String,
    }
    ConnectResult {
        #[prost(bool, tag = "8")] pong: bool,
    }
    SubscribeResult {
        #[prost(string, tag = "6")] epoch: String,
        #[prost(message, repeated, tag = "7")] publications: Vec<Publication>,
        #[prost(bool, tag = "8")] recovered: bool,
        #[prost(uint64, tag = "9")] offset: u64,
    }
    PresenceResult {
        #[prost(btree_map = "string, message", tag = "1")] presence: BTreeMap<String, Empty>,
    }
    Empty {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_the_protocol_has_them() {
        let publication = Publication { data: b"\"a\"".to_vec(), offset: 4 };
        let subscribe = SubscribeResult {
            epoch: "x".to_owned(),
            publications: vec![publication.clone()],
            recovered: true,
            offset: 3,
        };
        let first = ReplyMessage { id: 2, subscribe: Some(subscribe), ..ReplyMessage::default() };
        let push = Push { publication: Some(publication), ..Push::default() };
        let second = ReplyMessage { push: Some(push), ..ReplyMessage::default() };
        let mut frame = first.encode_length_delimited_to_vec();
        frame.extend(second.encode_length_delimited_to_vec());
        frame.extend(PONG);
        let mut rest = &frame[..];
        let subscribed = next_reply(&mut rest).unwrap().subscribe.unwrap();
        assert_eq!((&*subscribed.epoch, subscribed.offset, subscribed.recovered), ("x", 3, true));
        assert_eq!(&*subscribed.publications[0].data, "a");
        let push = next_reply(&mut rest).unwrap().push.unwrap();
        assert_eq!(push.publication.unwrap().offset, 4);
        let ping = next_reply(&mut rest).unwrap();
        assert!(ping.id == 0 && ping.push.is_none() && rest.is_empty());
        assert!(next_reply(&mut &[5, 0][..]).is_err());
    }
}
