//! What answers on which paths.

mod built_in;
mod deflate;
mod origins;
mod room;
mod written;

use serde::{Deserialize, Serialize};

use crate::effects::{Order, SlowPolicy};

pub(super) use built_in::built_in;
pub use deflate::RouteDeflate;
pub use origins::Origins;
pub use room::{NameKind, RoomOptions, TokenSource};
use written::WrittenRoute;

/// A service, and the paths where it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenRoute", into = "WrittenRoute")]
pub struct Route {
    /// Path of the request, starting with `/`, without query. A segment `:name`, `:room` or
    /// `:token` of a room's path stands for any that is not empty. Required.
    pub path: String,
    /// What answers. Required.
    pub service: ServiceKind,
    /// Further paths of the same service. Default: none.
    pub aliases: Vec<String>,
    /// Which web pages may connect. Default: those of the same host.
    pub origins: Origins,
    /// Subprotocols offered, the preferred one first. Default `None`: none, and for a room
    /// `tidegate.chat.v1`.
    pub subprotocols: Option<Vec<String>>,
    /// Bytes of one message on this route. Default `None`: `limits.message_bytes_max`.
    pub message_bytes_max: Option<usize>,
    /// Pushed messages that may wait for one connection before they meet the
    /// [`SlowPolicy`]. Default `None`: as many as `limits.backlog_hard_bytes` holds.
    pub backlog_messages_max: Option<usize>,
    /// What becomes of pushed messages that a client is too slow for. Default: disconnect.
    pub slow_policy: SlowPolicy,
    /// Whether and how messages are compressed.
    pub deflate: RouteDeflate,
    /// In which order the members of a room or a broadcast see messages. Default: one for all.
    pub order: Order,
    /// How the room works, if the service is one.
    pub room: RoomOptions,
}

impl Route {
    /// A route with the default of every key that has one.
    pub fn new(path: impl Into<String>, service: ServiceKind) -> Self {
        Self {
            path: path.into(),
            service,
            aliases: Vec::new(),
            origins: Origins::default(),
            subprotocols: None,
            message_bytes_max: None,
            backlog_messages_max: None,
            slow_policy: SlowPolicy::default(),
            deflate: RouteDeflate::default(),
            order: Order::default(),
            room: RoomOptions::default(),
        }
    }

    /// Every path, the first one first.
    pub fn paths(&self) -> impl Iterator<Item = &str> + Clone {
        std::iter::once(&self.path).chain(&self.aliases).map(String::as_str)
    }
}

/// The built-in services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// Sends every message to everyone on the route, the sender too.
    Broadcast,
    /// Sends every message back.
    Echo,
    /// Answers a plain GET with the page of the hall, whose members log in with tokens.
    Hall,
    /// Answers a plain GET with the chat page.
    Page,
    /// Sends every message to everyone in the sender's room, under its name.
    Room,
}

impl ServiceKind {
    /// Whether it speaks WebSocket, rather than answering plain requests.
    pub fn is_websocket(self) -> bool {
        match self {
            Self::Broadcast | Self::Echo | Self::Room => true,
            Self::Hall | Self::Page => false,
        }
    }

    /// The word for it in a file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Echo => "echo",
            Self::Hall => "hall",
            Self::Page => "page",
            Self::Room => "room",
        }
    }
}
