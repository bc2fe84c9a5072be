//! The keys at the top of the file.

use ipnet::IpNet;

use super::declare::keys;
use super::rule::{Rule, integer};
use super::word::{one_of, words};
use crate::http::ForwardedHeader;

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
        /// The proxies in front of the gateway: networks or addresses. What they say of their clients
        /// is believed, and what others say is not.
        pub trusted_proxies: Vec<IpNet> {
            default: Vec::new(),
            rule: Rule::Networks,
            reload: true,
        }
        /// The header in which requests of trusted proxies name the client.
        pub forwarded_header: ForwardedHeader {
            default: ForwardedHeader::XForwardedFor,
            rule: one_of::<ForwardedHeader>(),
            needs: Self::has_trusted_proxies => "trusted_proxies is empty",
            reload: true,
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

impl ProcessOptions {
    fn has_trusted_proxies(&self) -> bool {
        !self.trusted_proxies.is_empty()
    }
}

words! {
    ForwardedHeader:
    "off" = Off,
    "forwarded" = Forwarded,
    "x-forwarded-for" = XForwardedFor,
    "x-real-ip" = XRealIp,
}
