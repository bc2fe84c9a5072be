//! Where a client states its name and shows the token that proves it.

use crate::config::declare::keys;
use crate::config::rule::Rule;
use crate::config::word::{one_of, words};

keys! {
    /// Where a client states its name and shows the token that proves it.
    "identity." pub struct TokenPlace {
        /// Where clients state their name and show their token: in the segments `:name` and `:token` of the
        /// path, in two parameters of the query, or in two cookies.
        pub place: PlaceKind {
            default: PlaceKind::Path,
            rule: one_of::<PlaceKind>(),
            reload: true,
        }
        /// The parameter or cookie with the name.
        pub name_key: String {
            default: "user".to_owned(),
            rule: Rule::Token,
            needs: Self::is_named => "the place is \"path\"",
            reload: true,
        }
        /// The parameter or cookie with the token.
        pub token_key: String {
            default: "token".to_owned(),
            rule: Rule::Token,
            needs: Self::is_named => "the place is \"path\"",
            reload: true,
        }
    }
}

impl TokenPlace {
    fn is_named(&self) -> bool {
        self.place != PlaceKind::Path
    }
}

/// The part of a request that holds a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlaceKind {
    /// Two cookies.
    Cookie,
    /// Two segments of the path.
    #[default]
    Path,
    /// Two parameters of the query.
    Query,
}

words! { PlaceKind: "cookie" = Cookie, "path" = Path, "query" = Query }
