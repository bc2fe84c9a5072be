//! The keys at the top of the file.

use super::declare::keys;
use super::rule::{Rule, integer};

keys! {
    /// How the process as a whole runs: the keys at the top of the file.
    "" pub struct ProcessOptions {
        /// Event loops, one thread each; 0 is one per core.
        pub loops: usize {
            default: 0,
            rule: integer(0, 1024),
            // Threads, and the connections that belong to them for life.
            reload: false,
        }
        /// Keeps each event loop's thread on a core of its own, while there are enough.
        pub pin_loops: bool {
            default: false,
            rule: Rule::Boolean,
            reload: false,
        }
        /// Lets other processes listen on the same addresses; if not, a port that is taken is an
        /// error at start.
        pub share_port: bool {
            default: false,
            rule: Rule::Boolean,
            reload: false,
        }
    }
}
