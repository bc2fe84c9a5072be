//! Limits: how many connections, how many bytes.

use super::declare::keys;
use super::rule::{Rule, integer};
use crate::http::{HEAD_BYTES_MAX, HEADER_LINES_MAX};

keys! {
    /// The limits. Counts and bytes are of the whole process unless said otherwise. An
    /// `Option` that is `None` means "derived", never "unlimited".
    "limits." pub struct Limits {
        /// Connections served at once.
        pub connections_max: Option<usize> {
            default: None,
            shown: "derived",
            rule: CONNECTIONS,
            reload: true,
            reached: "A further client gets 503 with `Retry-After` and is closed.",
        }
        /// Connections that have not finished their handshake.
        pub half_open_max: Option<usize> {
            default: None,
            shown: "derived",
            rule: CONNECTIONS,
            reload: true,
            reached: "The oldest of them is closed.",
        }
        /// Requests at once to the backends of all routes with events.
        pub event_requests_max: usize {
            default: 1024,
            rule: integer(1, 65_536),
            reload: false,
            reached: "Events wait for a request, in order.",
        }
        /// Bytes of one request head.
        pub head_bytes_max: usize {
            default: 8192,
            rule: integer(512, HEAD_BYTES_MAX as u64),
            reload: true,
            reached: "The request is refused with 431.",
        }
        /// Header lines of one request.
        pub header_lines_max: usize {
            default: 64,
            rule: integer(16, HEADER_LINES_MAX as u64),
            reload: true,
            reached: "The request is refused with 431.",
        }
        /// Bytes of one message after reassembly.
        pub message_bytes_max: usize {
            default: 1024 * 1024,
            rule: MESSAGE_BYTES,
            reload: true,
            reached: "The connection is closed with code 1009.",
        }
        /// The rate, in bytes per second, at which the beginning of a message must go on after
        /// timeouts.message_grace_ms.
        pub message_bytes_per_s_min: usize {
            default: 1024,
            rule: integer(1, GIB),
            reload: true,
            reached: "The connection is closed with code 1008.",
        }
        /// Unsent bytes of one connection at which it is no longer read.
        pub backlog_high_bytes: usize {
            default: 64 * 1024,
            rule: integer(1024, GIB / 4),
            reload: true,
            reached: "Nothing is read from the client until half of its backlog is sent; nothing \
                      is lost.",
        }
        /// Unsent bytes of one connection at which pushed messages meet its slow policy.
        pub backlog_hard_bytes: usize {
            default: 1024 * 1024,
            rule: integer(1024, 2 * GIB),
            reload: true,
            reached: "`route.slow_policy` decides.",
        }
        /// Bytes of all unfinished messages, backlogs, compressors and contexts together.
        pub pool_bytes_max: usize {
            default: 256 * 1024 * 1024,
            rule: integer(65_536, 1024 * GIB),
            reload: true,
            reached: "The connections that hold the most are closed with code 1013, then those that \
                      ask for more; what should be compressed is sent as it is.",
        }
        /// Messages of one class waiting from one loop to another.
        pub mailbox_items_max: usize {
            default: 4096,
            rule: integer(16, 1_048_576),
            // The mailboxes are made with the loops.
            reload: false,
            reached: "The sending loop keeps its mail and pauses reading from clients that publish.",
        }
        /// Bytes of the messages of one class waiting from one loop to another.
        pub mailbox_bytes_max: usize {
            default: 1024 * 1024,
            rule: integer(1024, GIB),
            // As above.
            reload: false,
            reached: "As with `limits.mailbox_items_max`; an empty mailbox takes any one message.",
        }
        /// Connections that a shutdown closes per second, of all loops together; 0 for as many as
        /// 500 for each loop. timeouts.drain_ms wins: all are closed within 70 % of it.
        pub drain_closes_per_s: u64 {
            default: 0,
            rule: integer(0, 1_000_000),
            reload: true,
            reached: "Further connections are closed later.",
        }
        /// Connections above connections_max that are held only for their reply 503.
        pub refusals_max: usize {
            default: 64,
            rule: integer(1, 65_536),
            reload: true,
            reached: "Further clients wait in the kernel's queue until one of these has gone.",
        }
    }
}

/// The most connections a process may be asked for: beyond any descriptor limit met in practice,
/// and small enough that slot indices stay 32 bits.
pub(super) const CONNECTIONS_MAX: usize = 1 << 24;
/// The floor is the longest control frame payload (RFC 6455 section 5.5), which must always fit. The
/// ceiling keeps backlogs within their 32-bit counters: as an event a message may be six times as long.
pub(super) const MESSAGE_BYTES: Rule = integer(125, GIB / 4);
pub(super) const GIB: u64 = 1 << 30;

const CONNECTIONS: Rule = integer(1, CONNECTIONS_MAX as u64);
