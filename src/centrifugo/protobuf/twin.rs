//! The protocol as another library reads and writes it (prost), to compare with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::encode::ProtobufEncoder;
use crate::centrifugo::command;
use crate::centrifugo::{
    BadFrame, COMMANDS_MAX, Command, Connected, ErrorCode, HistoryPage, Method, Reply, Subscribed,
    Ttl, Unsubscribed, protobuf_commands,
};
use crate::channels::{
    self, ClientId, ClientInfo, Epoch, Position, Publication, PublicationDetails,
};

/// Declares messages, with those fields that this gateway reads or writes, and some that it does not.
macro_rules! messages {
    ($($name:ident { $($(#[$field:meta])+ $member:ident: $kind:ty,)* })*) => {
        $(
            #[derive(Clone, PartialEq, Message)]
            struct $name {
                $($(#[$field])+ $member: $kind,)*
            }
        )*
    };
}

messages! {
    ErrorMessage {
        #[prost(uint32, tag = "1")] code: u32,
        #[prost(string, tag = "2")] message: String,
        #[prost(bool, tag = "3")] temporary: bool,
    }
    CommandMessage {
        #[prost(uint32, tag = "1")] id: u32,
        #[prost(message, optional, tag = "4")] connect: Option<ConnectRequest>,
        #[prost(message, optional, tag = "5")] subscribe: Option<SubscribeRequest>,
        #[prost(message, optional, tag = "6")] unsubscribe: Option<ChannelRequest>,
        #[prost(message, optional, tag = "7")] publish: Option<PublishRequest>,
        #[prost(message, optional, tag = "8")] presence: Option<ChannelRequest>,
        #[prost(message, optional, tag = "9")] presence_stats: Option<ChannelRequest>,
        #[prost(message, optional, tag = "10")] history: Option<HistoryRequest>,
        #[prost(message, optional, tag = "11")] ping: Option<Empty>,
        #[prost(message, optional, tag = "12")] send: Option<Data>,
        #[prost(message, optional, tag = "13")] rpc: Option<RpcRequest>,
        #[prost(message, optional, tag = "14")] refresh: Option<RefreshRequest>,
        #[prost(message, optional, tag = "15")] sub_refresh: Option<SubRefreshRequest>,
        // Of a later version.
        #[prost(message, optional, tag = "100")] later: Option<FilterNode>,
        #[prost(fixed64, tag = "2000")] wide: u64,
        #[prost(fixed32, tag = "2001")] narrow: u32,
    }
    Empty {}
    Data {
        #[prost(bytes = "vec", tag = "1")] data: Vec<u8>,
    }
    ConnectRequest {
        #[prost(string, tag = "1")] token: String,
        #[prost(bytes = "vec", tag = "2")] data: Vec<u8>,
        #[prost(btree_map = "string, message", tag = "3")] subs: BTreeMap<String, SubscribeRequest>,
        #[prost(string, tag = "4")] name: String,
        #[prost(string, tag = "5")] version: String,
        #[prost(btree_map = "string, string", tag = "6")] headers: BTreeMap<String, String>,
        #[prost(int64, tag = "7")] flag: i64,
    }
    SubscribeRequest {
        #[prost(string, tag = "1")] channel: String,
        #[prost(string, tag = "2")] token: String,
        #[prost(bool, tag = "3")] recover: bool,
        #[prost(string, tag = "6")] epoch: String,
        #[prost(uint64, tag = "7")] offset: u64,
        #[prost(bytes = "vec", tag = "8")] data: Vec<u8>,
        #[prost(bool, tag = "9")] positioned: bool,
        #[prost(bool, tag = "10")] recoverable: bool,
        #[prost(bool, tag = "11")] join_leave: bool,
        #[prost(string, tag = "12")] delta: String,
        #[prost(message, optional, tag = "13")] tf: Option<FilterNode>,
        #[prost(int64, tag = "14")] flag: i64,
        #[prost(int32, tag = "15")] kind: i32,
        #[prost(int32, tag = "16")] phase: i32,
        #[prost(string, tag = "17")] cursor: String,
    }
    FilterNode {
        #[prost(string, tag = "1")] op: String,
        #[prost(string, repeated, tag = "5")] vals: Vec<String>,
        #[prost(message, repeated, tag = "6")] nodes: Vec<FilterNode>,
    }
    ChannelRequest {
        #[prost(string, tag = "1")] channel: String,
    }
    PublishRequest {
        #[prost(string, tag = "1")] channel: String,
        #[prost(bytes = "vec", tag = "2")] data: Vec<u8>,
    }
    StreamPosition {
        #[prost(uint64, tag = "1")] offset: u64,
        #[prost(string, tag = "2")] epoch: String,
    }
    HistoryRequest {
        #[prost(string, tag = "1")] channel: String,
        #[prost(int32, tag = "7")] limit: i32,
        #[prost(message, optional, tag = "8")] since: Option<StreamPosition>,
        #[prost(bool, tag = "9")] reverse: bool,
    }
    RpcRequest {
        #[prost(bytes = "vec", tag = "1")] data: Vec<u8>,
        #[prost(string, tag = "2")] method: String,
    }
    RefreshRequest {
        #[prost(string, tag = "1")] token: String,
    }
    SubRefreshRequest {
        #[prost(string, tag = "1")] channel: String,
        #[prost(string, tag = "2")] token: String,
    }
    ReplyMessage {
        #[prost(uint32, tag = "1")] id: u32,
        #[prost(message, optional, tag = "2")] error: Option<ErrorMessage>,
        #[prost(message, optional, tag = "4")] push: Option<Push>,
        #[prost(message, optional, tag = "5")] connect: Option<ConnectResult>,
        #[prost(message, optional, tag = "6")] subscribe: Option<SubscribeResult>,
        #[prost(message, optional, tag = "7")] unsubscribe: Option<Empty>,
        #[prost(message, optional, tag = "8")] publish: Option<Empty>,
        #[prost(message, optional, tag = "9")] presence: Option<PresenceResult>,
        #[prost(message, optional, tag = "10")] presence_stats: Option<PresenceStatsResult>,
        #[prost(message, optional, tag = "11")] history: Option<HistoryResult>,
        #[prost(message, optional, tag = "13")] rpc: Option<Data>,
        #[prost(message, optional, tag = "14")] refresh: Option<RefreshResult>,
        #[prost(message, optional, tag = "15")] sub_refresh: Option<SubRefreshResult>,
    }
    Push {
        #[prost(string, tag = "2")] channel: String,
        #[prost(message, optional, tag = "4")] publication: Option<PublicationMessage>,
        #[prost(message, optional, tag = "5")] join: Option<InfoMessage>,
        #[prost(message, optional, tag = "6")] leave: Option<InfoMessage>,
        #[prost(message, optional, tag = "7")] unsubscribe: Option<UnsubscribeMessage>,
        #[prost(message, optional, tag = "9")] subscribe: Option<SubscribeMessage>,
        #[prost(message, optional, tag = "12")] refresh: Option<SubRefreshResult>,
    }
    InfoMessage {
        #[prost(message, optional, tag = "1")] info: Option<Info>,
    }
    Info {
        #[prost(string, tag = "1")] user: String,
        #[prost(string, tag = "2")] client: String,
        #[prost(bytes = "vec", tag = "3")] conn_info: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")] chan_info: Vec<u8>,
    }
    PublicationMessage {
        #[prost(bytes = "vec", tag = "4")] data: Vec<u8>,
        #[prost(message, optional, tag = "5")] info: Option<Info>,
        #[prost(uint64, tag = "6")] offset: u64,
        #[prost(btree_map = "string, string", tag = "7")] tags: BTreeMap<String, String>,
    }
    UnsubscribeMessage {
        #[prost(uint32, tag = "2")] code: u32,
        #[prost(string, tag = "3")] reason: String,
    }
    SubscribeMessage {
        #[prost(bool, tag = "1")] recoverable: bool,
        #[prost(string, tag = "4")] epoch: String,
        #[prost(uint64, tag = "5")] offset: u64,
        #[prost(bool, tag = "6")] positioned: bool,
        #[prost(bytes = "vec", tag = "7")] data: Vec<u8>,
    }
    ConnectResult {
        #[prost(string, tag = "1")] client: String,
        #[prost(string, tag = "2")] version: String,
        #[prost(bool, tag = "3")] expires: bool,
        #[prost(uint32, tag = "4")] ttl: u32,
        #[prost(bytes = "vec", tag = "5")] data: Vec<u8>,
        #[prost(btree_map = "string, message", tag = "6")] subs: BTreeMap<String, SubscribeResult>,
        #[prost(uint32, tag = "7")] ping: u32,
        #[prost(bool, tag = "8")] pong: bool,
    }
    SubscribeResult {
        #[prost(bool, tag = "1")] expires: bool,
        #[prost(uint32, tag = "2")] ttl: u32,
        #[prost(bool, tag = "3")] recoverable: bool,
        #[prost(string, tag = "6")] epoch: String,
        #[prost(message, repeated, tag = "7")] publications: Vec<PublicationMessage>,
        #[prost(bool, tag = "8")] recovered: bool,
        #[prost(uint64, tag = "9")] offset: u64,
        #[prost(bool, tag = "10")] positioned: bool,
        #[prost(bytes = "vec", tag = "11")] data: Vec<u8>,
        #[prost(bool, tag = "12")] was_recovering: bool,
    }
    PresenceResult {
        #[prost(btree_map = "string, message", tag = "1")] presence: BTreeMap<String, Info>,
    }
    PresenceStatsResult {
        #[prost(uint32, tag = "1")] num_clients: u32,
        #[prost(uint32, tag = "2")] num_users: u32,
    }
    HistoryResult {
        #[prost(message, repeated, tag = "1")] publications: Vec<PublicationMessage>,
        #[prost(string, tag = "2")] epoch: String,
        #[prost(uint64, tag = "3")] offset: u64,
    }
    RefreshResult {
        #[prost(string, tag = "1")] client: String,
        #[prost(string, tag = "2")] version: String,
        #[prost(bool, tag = "3")] expires: bool,
        #[prost(uint32, tag = "4")] ttl: u32,
    }
    SubRefreshResult {
        #[prost(bool, tag = "1")] expires: bool,
        #[prost(uint32, tag = "2")] ttl: u32,
    }
}

fn some_bytes(own: &[u8]) -> Option<command::Data<'_>> {
    (!own.is_empty()).then_some(Cow::Borrowed(own))
}

/// What a command of the twin asks for.
fn meant(own: &CommandMessage) -> Command<'_> {
    let channel = |own: &ChannelRequest| Cow::Owned(own.channel.clone());
    let method = if let Some(own) = &own.connect {
        let subs = own.subs.iter().map(|(channel, own)| {
            let SubscribeRequest { recover, offset, epoch, .. } = own;
            let own = command::OwnSubscription {
                recover: *recover,
                offset: *offset,
                epoch: epoch.as_str().into(),
            };
            (channel.as_str().into(), own)
        });
        Method::Connect(command::Connect {
            token: own.token.as_str().into(),
            data: some_bytes(&own.data),
            subs: subs.collect(),
            name: own.name.as_str().into(),
            version: own.version.as_str().into(),
            headers: own
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
        })
    } else if let Some(own) = &own.subscribe {
        Method::Subscribe(command::SubscribeRequest {
            channel: own.channel.as_str().into(),
            token: own.token.as_str().into(),
            recover: own.recover,
            offset: own.offset,
            epoch: own.epoch.as_str().into(),
            data: some_bytes(&own.data),
            positioned: own.positioned,
            recoverable: own.recoverable,
            join_leave: own.join_leave,
            delta: own.delta.as_str().into(),
            is_filtered: own.tf.is_some(),
            kind: own.kind.into(),
            flag: own.flag,
        })
    } else if let Some(own) = &own.unsubscribe {
        Method::Unsubscribe(channel(own))
    } else if let Some(own) = &own.publish {
        let data = some_bytes(&own.data);
        Method::Publish(command::Publish { channel: own.channel.as_str().into(), data })
    } else if let Some(own) = &own.presence {
        Method::Presence(channel(own))
    } else if let Some(own) = &own.presence_stats {
        Method::PresenceStats(channel(own))
    } else if let Some(own) = &own.history {
        let since = |own: &StreamPosition| command::SinceRequest {
            offset: own.offset,
            epoch: own.epoch.clone().into(),
        };
        Method::History(command::HistoryRequest {
            channel: own.channel.as_str().into(),
            limit: own.limit,
            since: own.since.as_ref().map(since),
            reverse: own.reverse,
        })
    } else {
        return Command { id: own.id, method: meant_later(own) };
    };
    Command { id: own.id, method }
}

/// As above, of the methods that come behind those.
fn meant_later(own: &CommandMessage) -> Method<'_> {
    let none = if own.id == 0 { Method::Pong } else { Method::Unknown };
    if own.ping.is_some() {
        none
    } else if own.send.is_some() {
        Method::Send
    } else if let Some(own) = &own.rpc {
        let data = some_bytes(&own.data);
        Method::Rpc(command::Rpc { method: own.method.as_str().into(), data })
    } else if let Some(own) = &own.refresh {
        Method::Refresh(own.token.as_str().into())
    } else if let Some(own) = &own.sub_refresh {
        Method::SubRefresh(own.channel.as_str().into(), own.token.as_str().into())
    } else {
        none
    }
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,6}|[a-z]{0,200}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn filter() -> impl Strategy<Value = FilterNode> {
    let leaf = (text(), prop::collection::vec(text(), 0..3));
    let leaf = leaf.prop_map(|(op, vals)| FilterNode { op, vals, nodes: Vec::new() });
    leaf.prop_recursive(4, 12, 3, |inner| {
        (text(), prop::collection::vec(inner, 0..3)).prop_map(|(op, nodes)| FilterNode {
            op,
            vals: Vec::new(),
            nodes,
        })
    })
}

prop_compose! {
    fn subscribe_request()(
        (channel, token, epoch, delta, cursor) in (text(), text(), text(), text(), text()),
        [recover, positioned, recoverable, join_leave] in any::<[bool; 4]>(),
        (offset, flag, kind, phase) in any::<(u64, i64, i32, i32)>(),
        (data, tf) in (bytes(), prop::option::of(filter())),
    ) -> SubscribeRequest {
        SubscribeRequest { channel, token, recover, epoch, offset, data, positioned, recoverable,
            join_leave, delta, tf, flag, kind, phase, cursor }
    }
}

prop_compose! {
    fn connect_request()(
        (token, name, version) in (text(), text(), text()),
        data in bytes(),
        subs in prop::collection::btree_map(text(), subscribe_request(), 0..3),
        headers in prop::collection::btree_map(text(), text(), 0..3),
        flag: i64,
    ) -> ConnectRequest {
        ConnectRequest { token, data, subs, name, version, headers, flag }
    }
}

prop_compose! {
    fn rare_methods()(
        (channel, token) in (text(), text()),
        (limit, reverse, since) in (any::<i32>(), any::<bool>(), prop::option::of((any::<u64>(), text()))),
        data in bytes(),
        later in prop::option::of(filter()),
        (wide, narrow) in any::<(u64, u32)>(),
        which in prop::collection::vec(0..11_u8, 0..3),
    ) -> CommandMessage {
        let since = since.map(|(offset, epoch)| StreamPosition { offset, epoch });
        let has = |number: u8| which.contains(&number);
        let request = ChannelRequest { channel: channel.clone() };
        CommandMessage {
            unsubscribe: has(0).then(|| request.clone()),
            publish: has(1).then(|| PublishRequest { channel: channel.clone(), data: data.clone() }),
            presence: has(2).then(|| request.clone()),
            presence_stats: has(3).then_some(request),
            history: has(4).then(|| HistoryRequest { channel: channel.clone(), limit, since, reverse }),
            ping: has(5).then_some(Empty {}),
            send: has(6).then(|| Data { data: data.clone() }),
            rpc: has(7).then(|| RpcRequest { data, method: channel.clone() }),
            refresh: has(8).then(|| RefreshRequest { token: token.clone() }),
            sub_refresh: has(9).then_some(SubRefreshRequest { channel, token }),
            later, wide, narrow,
            ..CommandMessage::default()
        }
    }
}

prop_compose! {
    fn command_message()(
        id in prop_oneof![Just(0), any::<u32>()],
        connect in prop::option::weighted(0.2, connect_request()),
        subscribe in prop::option::weighted(0.3, subscribe_request()),
        rest in rare_methods(),
    ) -> CommandMessage {
        CommandMessage { id, connect, subscribe, ..rest }
    }
}

fn info() -> impl Strategy<Value = ClientInfo> {
    let raw = || prop::option::of(prop::collection::vec(any::<u8>(), 1..9).prop_map(Arc::from));
    (text(), any::<[u8; 16]>(), raw(), raw()).prop_map(|(user, id, conn_info, chan_info)| {
        ClientInfo { user: user.into(), client: ClientId::new(id), conn_info, chan_info }
    })
}

fn twin_info(own: &ClientInfo) -> Info {
    let raw = |own: &Option<Arc<[u8]>>| own.as_deref().unwrap_or_default().to_vec();
    Info {
        user: own.user.to_string(),
        client: own.client.to_string(),
        conn_info: raw(&own.conn_info),
        chan_info: raw(&own.chan_info),
    }
}

prop_compose! {
    fn publication()(
        data in bytes(),
        details in prop::option::of((prop::option::of(info()),
            prop::collection::btree_map(text(), text(), 0..3), any::<bool>())),
    ) -> Publication {
        let details = details.map(|(info, tags, is_binary)| {
            let tags = tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            Arc::new(PublicationDetails { info, tags, is_binary })
        });
        Publication { data: data.into(), details }
    }
}

fn twin_publication(offset: u64, own: &Publication) -> PublicationMessage {
    let details = own.details.as_deref().cloned().unwrap_or_default();
    let tags = details.tags.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    PublicationMessage {
        data: own.data.to_vec(),
        info: details.info.as_ref().map(twin_info),
        offset,
        tags: tags.collect(),
    }
}

prop_compose! {
    fn subscribed()(
        [is_recoverable, is_positioned, was_recovering, is_recovered] in any::<[bool; 4]>(),
        ttl in 0..3_u32,
        publications in prop::collection::vec((any::<u64>(), publication()), 0..3),
        position in prop::option::of(any::<(u64, u32)>()),
        data in prop::option::of(bytes()),
    ) -> Subscribed {
        let position = position.map(|(offset, epoch)| Position { offset, epoch: Epoch(epoch) });
        Subscribed { ttl: Ttl(ttl), is_recoverable, is_positioned, position, was_recovering,
            is_recovered, publications, data: data.map(Into::into) }
    }
}

fn twin_page(page: &channels::Page) -> Vec<PublicationMessage> {
    page.iter().map(|(offset, own)| twin_publication(*offset, own)).collect()
}

fn twin_subscribed(own: &Subscribed) -> SubscribeResult {
    SubscribeResult {
        expires: own.ttl.0 > 0,
        ttl: own.ttl.0,
        recoverable: own.is_recoverable,
        epoch: own.position.map_or_else(String::new, |own| own.epoch.to_string()),
        publications: twin_page(&own.publications),
        recovered: own.is_recovered,
        offset: own.position.map_or(0, |own| own.offset),
        positioned: own.is_positioned,
        data: own.data.as_deref().unwrap_or_default().to_vec(),
        was_recovering: own.was_recovering,
    }
}

/// What is written is what the twin writes, to the byte, and so is read by it.
fn assert_same(written: &[u8], twin: &ReplyMessage) -> Result<(), TestCaseError> {
    prop_assert_eq!(&ReplyMessage::decode_length_delimited(written).unwrap(), twin);
    prop_assert_eq!(written, twin.encode_length_delimited_to_vec());
    Ok(())
}

fn push(channel: &str, own: Push) -> ReplyMessage {
    let push = Push { channel: channel.to_owned(), ..own };
    ReplyMessage { push: Some(push), ..ReplyMessage::default() }
}

proptest! {
    #[test]
    fn commands_say_what_the_twin_has_written(all in prop::collection::vec(command_message(), 1..4)) {
        let frame: Vec<u8> =
            all.iter().flat_map(Message::encode_length_delimited_to_vec).collect();
        let found: Result<Vec<_>, _> = protobuf_commands(&frame).collect();
        let wanted: Vec<_> = all.iter().map(meant).collect();
        prop_assert_eq!(found, Ok(wanted));
    }

    /// Two messages behind each other are one message with the fields of both.
    #[test]
    fn a_message_in_two_parts_is_joined_as_the_twin_joins_it(
        first in command_message(),
        second in command_message(),
    ) {
        let mut both = first.encode_to_vec();
        both.extend(second.encode_to_vec());
        let twin = CommandMessage::decode(&both[..]).unwrap();
        let mut frame = Vec::new();
        prost::encode_length_delimiter(both.len(), &mut frame).unwrap();
        frame.extend(&both);
        let found: Result<Vec<_>, _> = protobuf_commands(&frame).collect();
        prop_assert_eq!(found, Ok(vec![meant(&twin)]));
    }

    /// What the twin refuses is refused, and else both read the same; but for groups, and for those parts that are
    /// not read here.
    #[test]
    fn damaged_commands_are_refused_or_mean_the_same(
        own in command_message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut message = own.encode_to_vec();
        prop_assume!(!message.is_empty());
        for (index, byte) in changes {
            let at = index.index(message.len());
            message[at] = byte;
        }
        let mut frame = Vec::new();
        prost::encode_length_delimiter(message.len(), &mut frame).unwrap();
        frame.extend(&message);
        let found: Vec<_> = protobuf_commands(&frame).collect();
        prop_assert_eq!(found.len(), 1);
        if let (Ok(twin), Ok(found)) = (CommandMessage::decode(&message[..]), &found[0]) {
            prop_assert_eq!(found, &meant(&twin));
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(frame: Vec<u8>) {
        let all: Vec<_> = protobuf_commands(&frame).collect();
        prop_assert!(!all.is_empty());
        prop_assert!(all.iter().rev().skip(1).all(Result::is_ok));
    }

    #[test]
    fn replies_are_those_of_the_twin(
        id in 1..u32::MAX,
        (channel, version) in (text(), text()),
        (own, members) in (subscribed(), prop::collection::vec(info(), 0..3)),
        (ttl, ping_s, pong, data) in (0..3_u32, 0..3_u32, any::<bool>(), "[a-z]{0,9}"),
    ) {
        let mut encoder = ProtobufEncoder::default();
        let none = ReplyMessage { id, ..ReplyMessage::default() };
        let mut same = |reply: &Reply<'_>, twin: ReplyMessage| assert_same(encoder.reply(id, reply), &twin);
        let result = twin_subscribed(&own);
        let subscribe = Some(result.clone());
        same(&Reply::Subscribed(&own), ReplyMessage { subscribe, ..none.clone() })?;
        let empty = Some(Empty {});
        same(&Reply::Unsubscribed, ReplyMessage { unsubscribe: empty.clone(), ..none.clone() })?;
        same(&Reply::Published, ReplyMessage { publish: empty, ..none.clone() })?;
        let mut members = members;
        // A map of the twin is in the order of its keys.
        members.sort_by_key(|own| own.client);
        members.dedup_by_key(|own| own.client);
        let presence = members.iter().map(|own| (own.client.to_string(), twin_info(own))).collect();
        let presence = Some(PresenceResult { presence });
        same(&Reply::Presence(&members), ReplyMessage { presence, ..none.clone() })?;
        let stats = Some(PresenceStatsResult { num_clients: ttl, num_users: ping_s });
        let stats = ReplyMessage { presence_stats: stats, ..none.clone() };
        same(&Reply::PresenceStats(ttl as usize, ping_s as usize), stats)?;
        let position = Position { offset: u64::from(id), epoch: Epoch(id) };
        let page = HistoryPage { publications: own.publications.clone(), position };
        let history = Some(HistoryResult {
            publications: twin_page(&page.publications),
            epoch: position.epoch.to_string(),
            offset: position.offset,
        });
        same(&Reply::History(&page), ReplyMessage { history, ..none.clone() })?;
        let rpc = Some(Data { data: data.clone().into_bytes() });
        same(&Reply::Rpc(data.as_bytes()), ReplyMessage { rpc, ..none.clone() })?;
        let client = ClientId::new([7; 16]);
        let (expires, name) = (ttl > 0, client.to_string());
        let refresh =
            Some(RefreshResult { client: name.clone(), version: String::new(), expires, ttl });
        same(&Reply::Refreshed(client, Ttl(ttl)), ReplyMessage { refresh, ..none.clone() })?;
        let sub_refresh = Some(SubRefreshResult { expires, ttl });
        same(&Reply::SubRefreshed(Ttl(ttl)), ReplyMessage { sub_refresh, ..none.clone() })?;

        let subs = [(channel.as_str().into(), own.clone())];
        let data_of = Some(data.as_bytes()).filter(|data| !data.is_empty());
        let connected = Connected {
            client, version: &version, ttl: Ttl(ttl), data: data_of, subs: &subs, ping_s, pong,
        };
        let is_empty = result == SubscribeResult::default();
        let connect = Some(ConnectResult {
            client: name,
            version: version.clone(),
            expires,
            ttl,
            data: data.clone().into_bytes(),
            subs: [(channel, result)].into(),
            ping: ping_s,
            pong: ping_s > 0 && pong,
        });
        let twin = ReplyMessage { connect, ..none };
        let written = encoder.reply(id, &Reply::Connected(connected));
        prop_assert_eq!(&ReplyMessage::decode_length_delimited(written).unwrap(), &twin);
        // The twin leaves out an entry's value that is a message without fields, which means the same.
        if !is_empty {
            prop_assert_eq!(written, twin.encode_length_delimited_to_vec());
        }
    }

    #[test]
    fn pushes_are_those_of_the_twin(
        channel in text(),
        (offset, own) in (prop::option::of(1..u64::MAX), publication()),
        (member, subscribed) in (info(), subscribed()),
    ) {
        let mut encoder = ProtobufEncoder::default();
        let publication = Some(twin_publication(offset.unwrap_or(0), &own));
        let twin = push(&channel, Push { publication, ..Push::default() });
        assert_same(encoder.publication(&channel, offset, &own), &twin)?;
        let info = Some(InfoMessage { info: Some(twin_info(&member)) });
        let twin = push(&channel, Push { join: info.clone(), ..Push::default() });
        assert_same(encoder.join(&channel, &member), &twin)?;
        let twin = push(&channel, Push { leave: info, ..Push::default() });
        assert_same(encoder.leave(&channel, &member), &twin)?;
        let SubscribeResult { recoverable, epoch, offset, positioned, data, .. } =
            twin_subscribed(&subscribed);
        let subscribe = Some(SubscribeMessage { recoverable, epoch, offset, positioned, data });
        let twin = push(&channel, Push { subscribe, ..Push::default() });
        assert_same(encoder.server_subscribed(&channel, &subscribed), &twin)?;
        let Ttl(ttl) = subscribed.ttl;
        let refresh = Some(SubRefreshResult { expires: ttl > 0, ttl });
        let twin = push("", Push { refresh, ..Push::default() });
        assert_same(encoder.refreshed(Ttl(ttl)), &twin)?;
    }
}

#[test]
fn errors_and_ends_are_those_of_the_twin() {
    let mut encoder = ProtobufEncoder::default();
    for own in ErrorCode::ALL {
        let error = ErrorMessage {
            code: own.code().into(),
            message: own.text().to_owned(),
            temporary: own.is_temporary(),
        };
        let twin = ReplyMessage { id: 7, error: Some(error), ..ReplyMessage::default() };
        assert_same(encoder.error(7, *own), &twin).unwrap();
    }
    for why in Unsubscribed::ALL {
        let (code, reason) = (why.code().into(), why.text().to_owned());
        let unsubscribe = Some(UnsubscribeMessage { code, reason });
        let twin = push("a", Push { unsubscribe, ..Push::default() });
        assert_same(encoder.unsubscribed("a", *why), &twin).unwrap();
    }
}

#[test]
fn no_more_channels_are_read_than_show_that_there_are_too_many() {
    let connect = |names: &mut dyn Iterator<Item = usize>, headers: usize| {
        // Entry by entry, as a map has each name once.
        let mut message = Vec::new();
        for name in names {
            let subs = [(name.to_string(), SubscribeRequest::default())].into();
            message.extend(ConnectRequest { subs, ..ConnectRequest::default() }.encode_to_vec());
        }
        let headers = (0..headers).map(|own| (own.to_string(), "x".to_owned())).collect();
        message.extend(ConnectRequest { headers, ..ConnectRequest::default() }.encode_to_vec());
        let mut frame = vec![0x22];
        prost::encode_length_delimiter(message.len(), &mut frame).unwrap();
        frame.extend(message);
        let mut whole = Vec::new();
        prost::encode_length_delimiter(frame.len(), &mut whole).unwrap();
        whole.extend(frame);
        let Method::Connect(own) = super::first_command(&whole, 3).0?.method else { panic!() };
        Ok(own.subs.len())
    };
    assert_eq!(connect(&mut (0..3), 64), Ok(3));
    assert_eq!(connect(&mut (0..50_000), 0), Ok(4));
    assert_eq!(connect(&mut [1, 1].into_iter(), 0), Ok(1));
    assert_eq!(connect(&mut [1, 1, 1, 1].into_iter(), 0), Err(BadFrame));
    assert_eq!(connect(&mut (0..0), 65), Err(BadFrame));
}

#[test]
fn a_frame_holds_commands_with_their_lengths_in_front() {
    let ids = |frame: &[u8]| -> Vec<Result<u32, BadFrame>> {
        protobuf_commands(frame).map(|own| own.map(|own| own.id)).collect()
    };
    assert_eq!(ids(&[2, 8, 1, 2, 8, 2]), [Ok(1), Ok(2)]);
    assert_eq!(ids(&[0]), [Ok(0)]);
    assert_eq!(ids(&[]), [Err(BadFrame)]);
    assert_eq!(ids(&[2, 8, 1, 3, 8, 2]), [Ok(1), Err(BadFrame)]);
    assert_eq!(ids(&[2, 8, 1, 0x80]), [Ok(1), Err(BadFrame)]);
    // Text that is none, a group, and a number where a message belongs.
    assert_eq!(ids(&[5, 0x32, 3, 0x0A, 1, 0xFF]), [Err(BadFrame)]);
    assert_eq!(ids(&[2, 0x0B, 0x0C]), [Err(BadFrame)]);
    assert_eq!(ids(&[2, 0x20, 1]), [Err(BadFrame)]);
    let found = ids(&[0; COMMANDS_MAX + 5]);
    assert_eq!((found.len(), found.last()), (COMMANDS_MAX + 1, Some(&Err(BadFrame))));
}
