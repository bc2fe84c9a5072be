//! The options of every route that speaks WebSocket, whatever its service does with messages.

use super::Origins;
use crate::config::declare::keys;
use crate::config::limits::{GIB, MESSAGE_BYTES};
use crate::config::rule::{Rule, integer};
use crate::config::word::{one_of, words};
use crate::effects::SlowPolicy;
use crate::services::{DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL};

keys! {
    /// The options of a route that speaks WebSocket.
    "route." pub struct WebSocketOptions {
        /// Which web pages may connect.
        pub origins: Origins {
            default: Origins::SameHost,
            shown: "same host",
            rule: Rule::Origins,
            reload: true,
            reached: "The request is refused with 403.",
        }
        /// The `[[identity]]` tables by which a client may prove who it is, in order: the first whose
        /// credential it presents decides.
        pub identity: Option<Vec<String>> {
            default: None,
            shown: "none; where `route.name` is `token`, the first of kind `tokens`",
            rule: Rule::Identities,
            reload: true,
            reached: "A request without a credential is refused with 401, one with a wrong credential with 403.",
        }
        /// Whether a client that presents no credential at all is let in as well, without an identity.
        pub identity_optional: bool {
            default: false,
            rule: Rule::Boolean,
            needs: Self::asks_identity => "identity names none",
            reload: true,
        }
        /// Subprotocols offered, the preferred one first.
        pub subprotocols: Option<Vec<String>> {
            default: None,
            shown: "by service",
            rule: Rule::Subprotocols,
            reload: true,
            reached: "A client that offers none of them is served without one.",
        }
        /// Bytes of one message on this route.
        pub message_bytes_max: Option<usize> {
            default: None,
            shown: "limits.message_bytes_max",
            rule: MESSAGE_BYTES,
            reload: true,
            reached: "The connection is closed with code 1009.",
        }
        /// Pushed messages that may wait for one connection before they meet its slow policy.
        pub backlog_messages_max: Option<usize> {
            default: None,
            shown: "by bytes",
            rule: integer(1, 1_048_576),
            reload: true,
            reached: "`route.slow_policy` decides.",
        }
        /// What becomes of pushed messages that a client is too slow for.
        pub slow_policy: SlowPolicy {
            default: SlowPolicy::Disconnect,
            rule: one_of::<SlowPolicy>(),
            reload: true,
        }
        /// Whether messages are compressed for clients that offer it (permessage-deflate).
        pub deflate: bool {
            default: true,
            rule: Rule::Boolean,
            reload: true,
        }
        /// How hard compression tries: 1 is fastest, 9 smallest.
        pub deflate_level: usize {
            default: usize::from(DEFLATE_LEVEL),
            rule: integer(1, 9),
            reload: true,
        }
        /// Bytes of the shortest message that is compressed.
        pub deflate_bytes_min: usize {
            default: DEFLATE_BYTES_MIN,
            rule: integer(0, GIB),
            reload: true,
            reached: "A shorter one is sent as it is.",
        }
        /// Whether compressed messages may refer back to those before them, at a cost in memory for
        /// each connection.
        pub deflate_context_takeover: bool {
            default: false,
            rule: Rule::Boolean,
            needs: Self::compresses => "deflate is false",
            reload: true,
        }
        /// How far they may, in bytes as a power of two: what each side of a connection remembers at
        /// most.
        pub deflate_window_bits_max: usize {
            default: usize::from(DEFLATE_CONTEXT_BITS),
            rule: integer(9, 15),
            needs: Self::takes_over => "deflate_context_takeover is not true",
            reload: true,
            reached: "What lies further back is forgotten.",
        }
    }
}

impl WebSocketOptions {
    /// Whether clients must prove who they are.
    pub fn asks_identity(&self) -> bool {
        self.identity.as_ref().is_some_and(|names| !names.is_empty())
    }

    fn compresses(&self) -> bool {
        self.deflate
    }

    fn takes_over(&self) -> bool {
        self.deflate_context_takeover
    }
}

words! {
    SlowPolicy:
    "disconnect" = Disconnect,
    "drop_newest" = DropNewest,
    "keep_latest" = KeepLatest,
}
