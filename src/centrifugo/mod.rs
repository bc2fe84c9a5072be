//! The Centrifugo client protocol: what clients ask for and what they are told, as functions of bytes.
//!
//! A frame of a client holds one or more commands, and each command leads to one reply; what a client did not
//! ask for comes as a push. The types here are those of the protocol, whatever they are written in; `decode`
//! and `encode` read and write them as JSON, which clients speak unless they ask for Protobuf. The
//! protocol is that of `centrifugal/protocol` (`definitions/client.proto`), in its second generation.
//!
//! | file | what it is |
//! |---|---|
//! | `command` | what a client asks for |
//! | `reply` | what it is answered and told |
//! | `code` | the codes of errors, ends of subscriptions and ends of connections |
//! | `format` | JSON or Protobuf, as a client asks for |
//! | `commands` | the commands of a frame, one after the other |
//! | `decode` | commands in JSON |
//! | `encode` | replies and pushes in JSON |
//! | `protobuf` | both in Protobuf |
//! | `encoder` | replies and pushes in either |
//! | `subscription` | subscriptions that the server makes, as tokens and backends write them |
//! | `api` | what backends ask for over HTTP |
//! | `proxy_call` | what backends are asked about a connection |
//! | `proxy_reply` | what they answer |

mod api;
mod code;
mod command;
mod commands;
mod decode;
mod encode;
mod encoder;
mod format;
mod presence;
mod protobuf;
mod proxy_call;
mod proxy_reply;
mod reply;
mod subscription;

pub use api::{
    ApiCall, ApiClose, ApiDisconnect, ApiHistory, ApiPosition, ApiPublish, ApiRefresh, ApiRpc,
    ApiSubscribe, ApiUnsubscribe, BATCH_MAX, BROADCAST_MAX, BadCall, BatchCall, parse_batch,
    parse_call, parse_commands,
};
pub use code::{Disconnect, ErrorCode, Unsubscribed};
pub use command::{
    Command, Connect, Data, HistoryRequest, Method, OwnSubscription, Publish, Rpc, SinceRequest,
    SubscribeRequest,
};
pub use commands::{COMMANDS_MAX, Commands, commands, protobuf_commands};
pub use decode::{BadFrame, is_json, without_newlines};
pub use encoder::Encoder;
pub use format::{Encoded, Format, JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL};
pub use presence::parse_presence;
pub use proxy_call::{ProxyCall, ProxyQuestion};
pub use proxy_reply::{
    BadProxyReply, ConnectResult, MESSAGE_BYTES_MAX, PROXY_INFO_BYTES_MAX, PROXY_USER_BYTES_MAX,
    ProxyDisconnect, ProxyError, ProxyKind, ProxyReply, PublishResult, RefreshResult,
    parse_proxy_reply,
};
pub use reply::{Connected, HistoryPage, Reply, Subscribed, Ttl};
pub use subscription::{
    BadSubscription, SUBSCRIPTION_JSON_BYTES_MAX, ServerSubscription, SubscriptionOptions,
    info_of_claims, server_subscriptions,
};
