//! Echo servers on common Rust libraries, which study and compare measure beside tidegate.
//!
//! Each follows the documentation of its library and has the library's defaults, so the figures are
//! those that a user of the library gets. They are a part of this program so that they are built
//! like everything else that is measured.

mod counts;
mod fastwebsockets;
mod floor;
mod floor_relay;
mod listener;
mod tls;
mod tokio_tungstenite;
mod tungstenite_threads;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tungstenite::protocol::WebSocketConfig;

use crate::system::file_limit;
pub(crate) use floor::BYTES_AT_ONCE_MAX as FLOOR_BYTES_MAX;

/// Runs one of the servers that study and compare measure, until it is ended
#[derive(Args, Debug)]
pub(crate) struct PeerArguments {
    /// Which server
    #[arg(value_enum)]
    peer: PeerServer,

    /// Address for WebSockets
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Address at which to tell how many tasks there are, for the servers that have tasks
    #[arg(long, value_name = "ADDRESS")]
    counts: Option<SocketAddr>,

    /// Address of the server to relay to, for the relay
    #[arg(long, value_name = "ADDRESS")]
    backend: Option<SocketAddr>,

    /// PEM file of the certificate for TLS; plain TCP without it
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,

    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

/// The servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerServer {
    /// Tokio and fastwebsockets, a task for each connection
    Fastwebsockets,
    /// Bare epoll that keeps nothing for a connection: the floor
    Floor,
    /// Bare epoll that passes bytes on to a backend: the floor of relays
    FloorRelay,
    /// Tokio and tungstenite, a task for each connection
    TokioTungstenite,
    /// The same with a read buffer of 4 KiB in place of 128 KiB
    TokioTungsteniteSmall,
    /// Tungstenite, a thread for each connection
    TungsteniteThreads,
}

impl PeerServer {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fastwebsockets => "fastwebsockets",
            Self::Floor => "floor",
            Self::FloorRelay => "floor-relay",
            Self::TokioTungstenite => "tokio-tungstenite",
            Self::TokioTungsteniteSmall => "tokio-tungstenite-small",
            Self::TungsteniteThreads => "tungstenite-threads",
        }
    }

    /// Whether it can report its number of tasks.
    pub(crate) fn has_tasks(self) -> bool {
        match self {
            Self::Fastwebsockets | Self::TokioTungstenite | Self::TokioTungsteniteSmall => true,
            Self::Floor | Self::FloorRelay | Self::TungsteniteThreads => false,
        }
    }

    /// Whether it speaks TLS.
    pub(crate) fn has_tls(self) -> bool {
        match self {
            Self::Fastwebsockets | Self::TokioTungstenite | Self::TokioTungsteniteSmall => true,
            Self::Floor | Self::FloorRelay | Self::TungsteniteThreads => false,
        }
    }

    /// The libraries of its TLS, with their versions.
    pub(crate) fn tls_version() -> String {
        versions(&["tokio-rustls", "rustls", "ring"])
    }

    /// Its libraries, with their versions.
    pub(crate) fn version(self) -> String {
        let libraries: &[&str] = match self {
            Self::Fastwebsockets => &["fastwebsockets", "hyper", "tokio"],
            Self::Floor | Self::FloorRelay => &["nix"],
            Self::TokioTungstenite | Self::TokioTungsteniteSmall => {
                &["tokio-tungstenite", "tungstenite", "tokio"]
            }
            Self::TungsteniteThreads => &["tungstenite"],
        };
        versions(libraries)
    }
}

/// Serves until the process is ended.
pub(crate) fn run(arguments: &PeerArguments) -> io::Result<()> {
    file_limit::raise();
    let PeerArguments { peer, listen, counts, backend, certificate, key } = arguments;
    let acceptor = match certificate.as_ref().zip(key.as_ref()) {
        Some(_) if !peer.has_tls() => {
            return Err(io::Error::other(format!("{} speaks no TLS", peer.name())));
        }
        Some((certificate, key)) => Some(tls::acceptor(certificate, key)?),
        None => None,
    };
    match peer {
        PeerServer::Fastwebsockets => {
            counts::serve_async(*counts, fastwebsockets::serve(*listen, acceptor))
        }
        PeerServer::Floor => floor::serve(*listen),
        PeerServer::FloorRelay => {
            let missing = || io::Error::other("the relay needs --backend");
            floor_relay::serve(*listen, backend.ok_or_else(missing)?)
        }
        PeerServer::TokioTungstenite => {
            let config = WebSocketConfig::default();
            counts::serve_async(*counts, tokio_tungstenite::serve(*listen, config, acceptor))
        }
        PeerServer::TokioTungsteniteSmall => {
            let config = WebSocketConfig::default().read_buffer_size(SMALL_READ_BYTES);
            counts::serve_async(*counts, tokio_tungstenite::serve(*listen, config, acceptor))
        }
        PeerServer::TungsteniteThreads => tungstenite_threads::serve(*listen),
    }
}

fn versions(libraries: &[&str]) -> String {
    let versions: Vec<String> = libraries
        .iter()
        .map(|library| format!("{library} {}", locked_version(library).unwrap_or("?")))
        .collect();
    versions.join(", ")
}

/// The version of a library in this build.
fn locked_version(library: &str) -> Option<&'static str> {
    let name = format!("name = \"{library}\"");
    let mut lines = LOCK_FILE.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

/// The read buffer of most other servers.
const SMALL_READ_BYTES: usize = 4096;
const LOCK_FILE: &str = include_str!("../../../Cargo.lock");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_knows_the_versions_of_its_libraries() {
        for peer in PeerServer::value_variants() {
            let version = peer.version();
            assert!(!version.contains('?'), "{version}");
            assert_eq!(peer.to_possible_value().unwrap().get_name(), peer.name());
        }
        assert!(!PeerServer::tls_version().contains('?'));
        assert_eq!(locked_version("no such library"), None);
    }
}
