//! Where to listen, and for what kind of clients.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// One address to listen on. Every loop opens its own socket for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// IP address and port; port 0 lets the kernel choose, `[::]` takes IPv6 only. Required in a `[[listener]]`.
    pub address: SocketAddr,
    /// What clients speak. Default: HTTP.
    #[serde(default)]
    pub kind: ListenerKind,
    /// The path, or an alias, of the WebSocket route that line clients join. Required of a line
    /// listener, and `None` for every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

impl Listener {
    /// A listener for HTTP clients.
    pub fn http(address: SocketAddr) -> Self {
        Self { address, kind: ListenerKind::Http, route: None }
    }

    /// A listener for line clients, who join the WebSocket route with this path.
    pub fn line(address: SocketAddr, route: impl Into<String>) -> Self {
        Self { address, kind: ListenerKind::Line, route: Some(route.into()) }
    }
}

impl Default for Listener {
    /// HTTP on 127.0.0.1:8080: reachable from this machine only, until someone decides otherwise.
    fn default() -> Self {
        Self::http(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080))
    }
}

/// What the clients of a listener speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// HTTP, and WebSocket from there.
    #[default]
    Http,
    /// Plain TCP: every line is a message.
    Line,
}
