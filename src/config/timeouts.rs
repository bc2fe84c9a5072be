//! Timeouts: how long each step of a connection may take.

use super::declare::keys;
use super::rule::{Rule, integer};

keys! {
    /// The timeouts, in milliseconds.
    "timeouts." pub struct Timeouts {
        /// From accepting a connection to its complete upgrade request.
        pub handshake_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is closed.",
        }
        /// Wait for the request of a client above connections_max, before it gets 503.
        pub refuse_ms: u64 {
            default: 100,
            rule: integer(1, DAY_MS),
            reload: true,
            reached: "It gets 503 without a request.",
        }
        /// Silence of a client before it is sent a ping.
        pub ping_idle_ms: u64 {
            default: 25_000,
            rule: integer(1000, DAY_MS),
            reload: true,
            reached: "A ping is sent.",
        }
        /// From a ping to the next bytes from the client.
        pub pong_ms: u64 {
            default: 8000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is dropped.",
        }
        /// For the beginning of a message until its end, beyond what
        /// limits.message_bytes_per_s_min allows for its bytes; 0 for any time.
        pub message_grace_ms: u64 {
            default: 30_000,
            rule: integer(0, DAY_MS),
            reload: true,
            reached: "The connection is closed with code 1008.",
        }
        /// Without the kernel taking any of the bytes that wait for a client.
        pub write_stall_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is dropped.",
        }
        /// For the closing handshake.
        pub close_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            reload: true,
            reached: "The socket is closed without the client's answer.",
        }
        /// Of a relayed connection of which one side has ended its half, until the other does or
        /// something comes of it.
        pub half_close_ms: u64 {
            default: 30_000,
            rule: TIMEOUT,
            reload: true,
            reached: "Both sides are closed.",
        }
        /// Of a connection whose request was answered by a backend (`route.http`), until its next request.
        pub http_idle_ms: u64 {
            default: 75_000,
            rule: TIMEOUT,
            reload: true,
            reached: "The connection is closed.",
        }
        /// The age at which an open connection is closed, give or take a tenth, so that clients
        /// spread over all gateways by and by; 0 for any age.
        pub age_ms: u64 {
            default: 0,
            rule: integer(0, DAY_MS),
            reload: true,
            reached: "The connection is closed with code 1001.",
        }
        /// At the beginning of a shutdown, for balancers to see that the gateway is not ready: it
        /// goes on accepting. Longer than the interval of their probes; 0 where none asks.
        pub drain_grace_ms: u64 {
            default: 0,
            rule: integer(0, DAY_MS),
            reload: true,
            reached: "No more connections are accepted.",
        }
        /// For a shutdown in all, from the end of accepting.
        pub drain_ms: u64 {
            default: 20_000,
            rule: TIMEOUT,
            reload: true,
            reached: "Connections still open are dropped and the process ends.",
        }
        /// For the new process of SIGUSR2 to be ready.
        pub handover_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "It is killed, and the old one serves on.",
        }
        /// Before pooled memory that is not used is freed.
        pub pool_idle_ms: u64 {
            default: 10_000,
            rule: TIMEOUT,
            reload: true,
            reached: "It is freed.",
        }
        /// Pause of accepting after descriptors or memory ran out.
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
