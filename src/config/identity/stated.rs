//! Users that are stated: by a proxy that has checked them, or by clients themselves.

use crate::config::declare::keys;
use crate::config::rule::Rule;

keys! {
    /// A cookie that states the user.
    "identity." pub struct CookieOptions {
        /// The cookie with the user. Any client can send it: it proves nothing.
        pub cookie: String {
            rule: Rule::Token,
            reload: true,
        }
    }
}

keys! {
    /// A header by which a proxy states the user.
    "identity." pub struct HeaderOptions {
        /// The header with the user. It counts only in requests that come straight from one of
        /// `trusted_proxies`.
        pub header: String {
            rule: Rule::Token,
            reload: true,
        }
    }
}

keys! {
    /// A parameter of the query that states the user.
    "identity." pub struct QueryOptions {
        /// The parameter of the query with the user. Any client can send it: it proves nothing.
        pub parameter: String {
            default: "user".to_owned(),
            rule: Rule::Token,
            reload: true,
        }
    }
}
