//! Where to listen, and for what kind of clients.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::declare::keys;
use super::file_path::FilePath;
use super::hosts::Hosts;
use super::rule::{Rule, integer};
use super::word::{one_of, words};
use crate::certificates::ClientCertificates;
use crate::proxy_protocol::HeaderPolicy;

keys! {
    /// One address to listen on. A reload opens sockets for those that are new, and closes those of
    /// addresses that are gone; connections stay.
    "listener." pub struct Listener {
        /// Where to listen; port 0 lets the kernel choose. `[::]` takes IPv6 only.
        pub address: SocketAddr {
            rule: Rule::Address,
            reload: true,
        }
        /// What clients speak: HTTP with WebSocket, or plain TCP where every line is a message.
        pub kind: ListenerKind {
            default: ListenerKind::Http,
            rule: one_of::<ListenerKind>(),
            reload: true,
        }
        /// The WebSocket route that line clients join, by its path or an alias.
        pub route: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::RoutePath,
            reload: true,
        }
        /// Which hosts the requests of HTTP clients may name, on any port. By default any, but on a
        /// loopback address only IP addresses and `localhost`.
        pub hosts: Hosts {
            default: Hosts::ByAddress,
            shown: "by address",
            rule: Rule::Hosts,
            needs: Self::is_http => "the kind is \"line\"",
            reload: true,
            reached: "The request is refused with 421.",
        }
        /// `https`: every request is redirected to the same host and target over TLS, and no route is
        /// served.
        pub redirect: Redirect {
            default: Redirect::Off,
            rule: one_of::<Redirect>(),
            needs: Self::is_plain_http => "clients speak TLS or lines",
            reload: true,
        }
        /// The port of the URLs that are redirected to, where it is not that of the first listener with
        /// TLS, as behind a mapping of ports.
        pub redirect_port: Option<u32> {
            default: None,
            shown: "derived",
            rule: integer(1, 65_535),
            needs: Self::redirects => "redirect is \"off\"",
            reload: true,
        }
        /// Whether clients speak TLS: `https` and `wss`, or lines over TLS.
        pub tls: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients are asked for a certificate and may go without one; one that does not
        /// verify is always refused.
        pub client_certificates: ClientCertificates {
            default: ClientCertificates::Off,
            rule: one_of::<ClientCertificates>(),
            needs: Self::is_tls => "tls is false",
            reload: true,
        }
        /// PEM file with the authorities that clients' certificates must come from; read again when
        /// it changes.
        pub client_ca: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            needs: Self::asks_for_certificates => "client_certificates is \"off\"",
            reload: true,
        }
        /// Whether connections begin with a header of the PROXY protocol, version 1 or 2, before any TLS:
        /// those of trusted proxies may, or all do.
        pub proxy_protocol: HeaderPolicy {
            default: HeaderPolicy::Off,
            rule: one_of::<HeaderPolicy>(),
            reload: true,
        }
    }
}

impl Listener {
    /// A listener for HTTP clients.
    pub fn http(address: SocketAddr) -> Self {
        Self {
            address,
            kind: ListenerKind::Http,
            route: None,
            hosts: Hosts::default(),
            redirect: Redirect::Off,
            redirect_port: None,
            tls: false,
            client_certificates: ClientCertificates::Off,
            client_ca: None,
            proxy_protocol: HeaderPolicy::Off,
        }
    }

    /// A listener for line clients, who join the WebSocket route with this path.
    pub fn line(address: SocketAddr, route: impl Into<String>) -> Self {
        let route = Some(route.into());
        Self { kind: ListenerKind::Line, route, ..Self::http(address) }
    }

    fn is_http(&self) -> bool {
        self.kind == ListenerKind::Http
    }

    fn is_plain_http(&self) -> bool {
        self.is_http() && !self.tls
    }

    /// Whether it redirects to listeners with TLS.
    pub fn redirects(&self) -> bool {
        self.redirect == Redirect::Https
    }

    /// Whether `https` is served there.
    pub fn is_https(&self) -> bool {
        self.is_http() && self.tls
    }

    fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it asks clients for certificates.
    pub(super) fn asks_for_certificates(&self) -> bool {
        self.client_certificates != ClientCertificates::Off
    }
}

impl Default for Listener {
    /// HTTP on 127.0.0.1:8080: reachable from this machine only, until a configuration says
    /// otherwise.
    fn default() -> Self {
        Self::http(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080))
    }
}

/// What the clients of a listener speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// HTTP, and WebSocket from there.
    #[default]
    Http,
    /// Plain TCP: every line is a message.
    Line,
}

/// Where requests are redirected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Redirect {
    /// Nowhere: they are served.
    #[default]
    Off,
    /// To `https`.
    Https,
}

words! { Redirect: "off" = Off, "https" = Https }
words! { ListenerKind: "http" = Http, "line" = Line }

words! { HeaderPolicy: "off" = Off, "optional" = Optional, "required" = Required }
