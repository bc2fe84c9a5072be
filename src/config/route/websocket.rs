//! The options of every route that speaks WebSocket, whatever its service does with messages.

use super::Origins;
use crate::config::ServerUrl;
use crate::config::declare::keys;
use crate::config::limits::{GIB, MESSAGE_BYTES};
use crate::config::rule::{Rule, integer};
use crate::config::word::{one_of, words};
use crate::effects::{CONTROL_FRAMES, MessageLimits, RatePolicy, SlowPolicy};
use crate::rate::Rate;
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
        /// The URL that hears, by POST, of connections of the route that open and end; its query is never
        /// printed.
        pub webhook: Option<ServerUrl> {
            default: None,
            shown: "none",
            rule: Rule::HttpUrl,
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
        /// Messages that each client may send per second, on average; 0 for any number.
        pub messages_per_s: u64 {
            default: 0,
            rule: PER_SECOND,
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Messages that it may send at once: at least two, and those of an eighth of a second.
        pub messages_burst: Option<usize> {
            default: None,
            shown: "those of a second",
            rule: integer(1, BURST_MAX),
            needs: Self::limits_messages => "messages_per_s is 0",
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Bytes of messages that each client may send per second, on average; 0 for any number.
        pub bytes_per_s: u64 {
            default: 0,
            rule: integer(0, GIB),
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Bytes of messages that it may send at once, at least those of an eighth of a second. Whatever
        /// its length, a message is let through while fewer have been.
        pub bytes_burst: Option<usize> {
            default: None,
            shown: "those of a second",
            rule: integer(1, GIB),
            needs: Self::limits_bytes => "bytes_per_s is 0",
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Messages that each user may send per second, on average, with all connections together; 0 for any
        /// number. Who has no identity is no user.
        pub user_messages_per_s: u64 {
            default: 0,
            rule: PER_SECOND,
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Messages that a user may send at once.
        pub user_messages_burst: Option<usize> {
            default: None,
            shown: "those of a second",
            rule: integer(1, BURST_MAX),
            needs: Self::limits_user_messages => "user_messages_per_s is 0",
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Bytes of messages that each user may send per second, on average, with all connections together; 0
        /// for any number.
        pub user_bytes_per_s: u64 {
            default: 0,
            rule: integer(0, GIB),
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Bytes of messages that a user may send at once.
        pub user_bytes_burst: Option<usize> {
            default: None,
            shown: "those of a second",
            rule: integer(1, GIB),
            needs: Self::limits_user_bytes => "user_bytes_per_s is 0",
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// Pings and pongs that each client may send per second, on average, and twice as many at once;
        /// 0 for any number.
        pub control_frames_per_s: u64 {
            default: u64::from(CONTROL_FRAMES.per_s),
            rule: PER_SECOND,
            reload: true,
            reached: "`route.rate_policy` decides.",
        }
        /// What becomes of what a client sends above these rates: it waits unread, it is thrown away, or
        /// the connection is closed.
        pub rate_policy: RatePolicy {
            default: RatePolicy::Pause,
            rule: one_of::<RatePolicy>(),
            reload: true,
        }
        /// Frames of one message; 0 for any number.
        pub fragments_max: usize {
            default: 0,
            rule: integer(0, 65_535),
            reload: true,
            reached: "The connection is closed with code 1008.",
        }
        /// Without a message from a client, in milliseconds; 0 for any time. Pings and pongs are none.
        pub message_idle_ms: u64 {
            default: 0,
            rule: MESSAGE_IDLE,
            reload: true,
            reached: "The connection is closed with code 1001.",
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

    fn limits_messages(&self) -> bool {
        self.messages_per_s > 0
    }

    fn limits_bytes(&self) -> bool {
        self.bytes_per_s > 0
    }

    fn limits_user_messages(&self) -> bool {
        self.user_messages_per_s > 0
    }

    fn limits_user_bytes(&self) -> bool {
        self.user_bytes_per_s > 0
    }

    /// What each client may send.
    pub(in crate::config) fn message_limits(&self) -> MessageLimits {
        let rate = |per_s: u64, burst: Option<usize>| {
            // Loading has refused what does not fit.
            let per_s = u32::try_from(per_s).ok().filter(|per_s| *per_s > 0)?;
            let burst = burst.and_then(|burst| u32::try_from(burst).ok()).unwrap_or(per_s);
            // Who waits is looked at with each tick of the wheel: a bucket that is empty before the second of
            // two ticks would make the rate lower than it is.
            Some(Rate { per_s, burst: burst.max(1 + per_s.div_ceil(BURSTS_PER_S_MAX)) })
        };
        let control_burst = usize::try_from(self.control_frames_per_s * 2).ok();
        MessageLimits {
            messages: rate(self.messages_per_s, self.messages_burst),
            bytes: rate(self.bytes_per_s, self.bytes_burst),
            user_messages: rate(self.user_messages_per_s, self.user_messages_burst),
            user_bytes: rate(self.user_bytes_per_s, self.user_bytes_burst),
            control_frames: rate(self.control_frames_per_s, control_burst),
            policy: self.rate_policy,
            fragments_max: u16::try_from(self.fragments_max).ok().filter(|max| *max > 0),
            message_idle_ms: Some(self.message_idle_ms).filter(|ms| *ms > 0),
        }
    }
}

words! { RatePolicy: "pause" = Pause, "drop" = Drop, "close" = Close }

words! {
    SlowPolicy:
    "disconnect" = Disconnect,
    "drop_newest" = DropNewest,
    "keep_latest" = KeepLatest,
}

/// What a record of 16 bits counts.
const BURST_MAX: u64 = 60_000;
const PER_SECOND: Rule = integer(0, BURST_MAX);
const MESSAGE_IDLE: Rule = integer(0, 86_400_000);
const BURSTS_PER_S_MAX: u32 = 8;
