//! The proxies in front: who they are, and what their connections begin with.

use std::net::IpAddr;

use crate::admission::NetworkSet;
use crate::http::ForwardedHeader;
use crate::proxy_protocol::HeaderPolicy;

/// The proxies in front, and how they name their clients.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// The addresses of proxies.
    pub trusted: NetworkSet,
    /// The header of their requests that counts.
    pub header: ForwardedHeader,
}

/// What a connection begins with, as far as its listener and its peer's address tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// What the listener speaks.
    Client,
    /// A header of the PROXY protocol, or what the listener speaks.
    MaybeHeader,
    /// A header of the PROXY protocol.
    Header,
    /// Nothing that counts: the listener is for trusted proxies, and the peer is none.
    Untrusted,
}

impl ProxySettings {
    /// What a connection of `peer` begins with, by a listener with this policy.
    #[must_use]
    pub fn opening(&self, policy: HeaderPolicy, peer: IpAddr) -> Opening {
        match policy {
            HeaderPolicy::Off => Opening::Client,
            HeaderPolicy::Optional if self.trusted.contains(peer) => Opening::MaybeHeader,
            HeaderPolicy::Optional => Opening::Client,
            // Without a list the network decides who reaches the listener.
            HeaderPolicy::Required if self.trusted.is_empty() => Opening::Header,
            HeaderPolicy::Required if self.trusted.contains(peer) => Opening::Header,
            HeaderPolicy::Required => Opening::Untrusted,
        }
    }
}
