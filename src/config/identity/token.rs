//! A name and its token, as the configuration holds them.

use crate::config::Secret;
use crate::config::declare::keys;
use crate::config::rule::Rule;

keys! {
    /// The token of one name.
    "identity.tokens." pub struct Token {
        /// The name that the token proves.
        pub name: String {
            rule: Rule::Name,
            reload: true,
        }
        /// What a client must show; never printed.
        pub token: Secret {
            rule: Rule::Secret { bytes_min: 1, bytes_max: 256 },
            reload: true,
            reached: "A request with another token is refused with 403.",
        }
    }
}
