//! The keys that every route takes.

use super::ServiceKind;
use crate::config::declare::keys;
use crate::config::rule::Rule;
use crate::config::word::{one_of, words};

keys! {
    /// The keys that every `[[route]]` takes.
    "route." pub(in crate::config) struct RouteKeys {
        /// Path of the request, as it reads when percent-decoded.
        pub(in crate::config) path: String {
            rule: Rule::Path,
            reload: true,
            reached: "A path without route is answered with 404.",
        }
        /// What answers.
        pub(in crate::config) service: ServiceKind {
            rule: one_of::<ServiceKind>(),
            reload: true,
        }
        /// The hosts that the route is for, `*.` before a name for all names below it; empty for any.
        pub(in crate::config) hosts: Vec<String> {
            default: Vec::new(),
            rule: Rule::RouteHosts,
            reload: true,
            reached: "A request for another host goes to the routes without hosts.",
        }
        /// Further paths of the same service.
        pub(in crate::config) aliases: Vec<String> {
            default: Vec::new(),
            rule: Rule::Paths,
            reload: true,
        }
    }
}

words! {
    ServiceKind:
    "broadcast" = Broadcast,
    "channels" = Channels,
    "chat" = Chat,
    "echo" = Echo,
    "events" = Events,
    "hall" = Hall,
    "page" = Page,
    "relay" = Relay,
    "room" = Room,
}
