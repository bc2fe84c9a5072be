//! How long everything may take.

use super::declare::keys;
use super::rule::{Rule, integer};

keys! {
    /// How long everything may take, in milliseconds.
    "timeouts." pub struct Timeouts {
        /// From accepting a connection to its complete upgrade request.
        pub handshake_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is closed.",
        }
        /// For a client above connections_max to ask for something before it is told 503.
        pub refuse_ms: u64 {
            default: 100,
            rule: integer(1, DAY_MS),
            reload: true,
            reached: "It is told 503 all the same.",
        }
        /// Silence of a client before it is sent a ping.
        pub ping_idle_ms: u64 {
            default: 25_000,
            rule: integer(1000, DAY_MS),
            reload: true,
            reached: "A ping is sent.",
        }
        /// From a ping to any sign of life.
        pub pong_ms: u64 {
            default: 8000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is given up.",
        }
        /// Without the kernel taking any of the bytes that wait for a client.
        pub write_stall_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is given up.",
        }
        /// For the closing handshake.
        pub close_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            reload: true,
            reached: "The socket is closed without the client's answer.",
        }
        /// For a shutdown in all.
        pub drain_ms: u64 {
            default: 20_000,
            rule: TIMEOUT,
            reload: true,
            reached: "Connections still open are dropped and the process ends.",
        }
        /// Before pooled memory that is not used is given back.
        pub pool_idle_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "It is given back.",
        }
        /// Rest from accepting after descriptors or memory ran out.
        pub accept_pause_ms: u64 {
            default: 50,
            rule: integer(1, DAY_MS),
            reload: true,
            reached: "Accepting goes on.",
        }
    }
}

/// Below 10 ms a deadline would measure the scheduler instead of the peer.
pub(super) const TIMEOUT: Rule = integer(10, DAY_MS);

const DAY_MS: u64 = 86_400_000;
