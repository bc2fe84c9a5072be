//! The chat on channels: who is logged in, and for how long.

use crate::config::declare::keys;
use crate::config::rule::{Rule, integer};
use crate::config::secret::Secret;
use crate::rate::Rate;

keys! {
    /// The options that only the service `chat` takes.
    "route." pub struct ChatOptions {
        /// The secret that signs the cookies of who is logged in. Gateways with the same one know each other's
        /// users, and so does one that is started again.
        pub session_key: Option<Secret> {
            default: None,
            shown: "one that is made at start",
            rule: Rule::Secret { bytes_min: 16, bytes_max: 256 },
            reload: true,
        }
        /// How long a login lasts after the page was opened last.
        pub session_ttl_s: u64 {
            default: 2_592_000,
            rule: integer(60, 31_536_000),
            reload: true,
            reached: "The user logs in again, as another one.",
        }
        /// How often a user may connect, per second on average, with all pages that are logged in.
        pub user_connections_per_s: u64 {
            default: 1,
            rule: integer(1, 10_000),
            reload: true,
            reached: "The request is refused with 429.",
        }
        /// How often at once.
        pub user_connections_burst: u64 {
            default: 20,
            rule: integer(1, 10_000),
            reload: true,
            reached: "The request is refused with 429.",
        }
    }
}

impl ChatOptions {
    /// How often a user may connect.
    #[must_use]
    pub fn connects(&self) -> Rate {
        // Loading has refused what does not fit.
        let number = |own: u64| u32::try_from(own).unwrap_or(u32::MAX);
        Rate {
            per_s: number(self.user_connections_per_s),
            burst: number(self.user_connections_burst),
        }
    }
}
