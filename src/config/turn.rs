//! How much of each kind of work one turn of a loop does.

use super::declare::keys;
use super::rule::{Rule, integer};

keys! {
    /// How much of each kind of work one turn of a loop does before the other kinds get theirs.
    "turn." pub struct Turn {
        /// Work of one turn, in microseconds of a usual machine: it is counted, not timed.
        pub turn_us: u64 {
            default: 4_000,
            rule: integer(100, 1_000_000),
            reload: true,
            reached: "The rest waits for the next turn.",
        }
        /// Work for one connection, or of one fan-out, counted in the same way.
        pub share_us: u64 {
            default: 500,
            rule: integer(10, 1_000_000),
            reload: true,
            reached: "The rest waits until the others had their turn.",
        }
        /// Connections accepted.
        pub accepts_per_turn: usize {
            default: 64,
            rule: PER_TURN,
            reload: true,
            reached: "The rest waits for the next turn.",
        }
        /// Receive buffers that one connection may fill.
        pub reads_per_turn: usize {
            default: 4,
            rule: integer(1, 1024),
            reload: true,
            reached: "The rest waits until the others had their turn.",
        }
        /// Connections flushed after a fan-out.
        pub flushes_per_turn: usize {
            default: 1024,
            rule: PER_TURN,
            reload: true,
            reached: "The rest waits for the next turn; later messages join it.",
        }
        /// Closed connections freed.
        pub reaps_per_turn: usize {
            default: 256,
            rule: PER_TURN,
            reload: true,
            reached: "The rest waits for the next turn.",
        }
        /// Mailbox items handled.
        pub mail_per_turn: usize {
            default: 1024,
            rule: PER_TURN,
            reload: true,
            reached: "The rest waits for the next turn.",
        }
        /// Bytes of the receive buffer, one for each loop.
        pub receive_buffer_bytes: usize {
            default: 512 * 1024,
            // The floor leaves room for a whole request head and the frames right behind it.
            rule: integer(16_384, 16 * 1024 * 1024),
            // A loop allocates it once.
            reload: false,
            reached: "One read is never longer; the rest is read next.",
        }
    }
}

const PER_TURN: Rule = integer(1, 1_048_576);
