//! The catalogue of the servers that can be measured, and how to start each of them.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::launch::{Launch, Setup, StatsEndpoint};
use crate::peers::{FLOOR_BYTES_MAX, PeerServer};
use crate::tls::ServerCertificate;

/// One server of the catalogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerSpec {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    pub(crate) server: &'static str,
    pub(crate) design: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bun,
    /// The program in `peers/go/bin` that has the server's name.
    Go,
    /// nginx, which ends TLS in front of a plain tidegate.
    Nginx,
    Node,
    Peer(PeerServer),
    Tidegate,
    /// tidegate with clients that offer compression.
    TidegateCompressed,
    UWebSockets,
}

/// When a server agrees to compression without context takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeflateSupport {
    /// Whenever a client offers it.
    Always,
    /// If its command line has `--deflate`.
    WithFlag,
    /// Never.
    None,
}

/// The paths of the servers' programs.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// This program, which holds the Rust servers.
    pub(crate) loadtest: PathBuf,
    pub(crate) tidegate: PathBuf,
    /// The directory that `scripts/install-peers` fills.
    pub(crate) peers: PathBuf,
    /// The target directory of cargo, for files that are kept.
    pub(crate) target: PathBuf,
}

/// The options for the paths of the servers' programs.
#[derive(Args, Clone, Debug)]
pub(crate) struct InstallationArguments {
    /// The tidegate to measure, instead of the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    tidegate: Option<PathBuf>,

    /// Where scripts/install-peers put the other servers, instead of target/peers
    #[arg(long, value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
}

impl InstallationArguments {
    pub(crate) fn find(&self) -> io::Result<Installation> {
        let loadtest = env::current_exe()?;
        let beside = loadtest.parent().unwrap_or_else(|| Path::new("."));
        // The parent of `debug` and `release`.
        let target = beside.parent().unwrap_or(beside).to_owned();
        let tidegate = self.tidegate.clone().unwrap_or_else(|| beside.join("tidegate"));
        let peers = self.peers.clone().unwrap_or_else(|| target.join("peers"));
        Ok(Installation { loadtest, tidegate, peers, target })
    }
}

impl ServerSpec {
    /// The server of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SERVERS.iter().find(|spec| spec.name == name)
    }

    /// Whether it starts a thread for each connection.
    pub(crate) fn has_thread_per_connection(&self) -> bool {
        matches!(self.kind, Kind::Peer(PeerServer::TungsteniteThreads))
    }

    /// Whether it has a broadcast: a message to `/broadcast` goes to all connections to
    /// `/broadcast`.
    pub(crate) fn has_broadcast(&self) -> bool {
        match self.kind {
            Kind::Bun
            | Kind::Tidegate
            | Kind::TidegateCompressed
            | Kind::Nginx
            | Kind::UWebSockets
            | Kind::Peer(PeerServer::Floor) => true,
            Kind::Go => self.name == "epoll-gobwas",
            Kind::Node | Kind::Peer(_) => false,
        }
    }

    /// Whether it speaks TLS. The Go servers on epoll read from descriptors, past any library of TLS.
    pub(crate) fn has_tls(&self) -> bool {
        match self.kind {
            Kind::Bun
            | Kind::Nginx
            | Kind::Node
            | Kind::Tidegate
            | Kind::TidegateCompressed
            | Kind::UWebSockets => true,
            Kind::Go => self.name == "goroutine-gorilla",
            Kind::Peer(peer) => peer.has_tls(),
        }
    }

    /// Whether it is measured without TLS too.
    pub(crate) fn has_plain(&self) -> bool {
        !matches!(self.kind, Kind::Nginx)
    }

    /// The most descriptors that it has open for each connection.
    pub(crate) fn descriptors_per_connection(&self) -> usize {
        if matches!(self.kind, Kind::Nginx) { 2 } else { 1 }
    }

    /// When it agrees to compression.
    pub(crate) fn deflate_support(&self) -> DeflateSupport {
        match self.kind {
            Kind::Tidegate | Kind::TidegateCompressed => DeflateSupport::Always,
            Kind::Bun | Kind::Node | Kind::UWebSockets => DeflateSupport::WithFlag,
            Kind::Go | Kind::Nginx | Kind::Peer(_) => DeflateSupport::None,
        }
    }

    /// Whether its idle connections agree on compression.
    pub(crate) fn is_compressed(&self) -> bool {
        matches!(self.kind, Kind::TidegateCompressed)
    }

    /// The most bytes that a client may have in flight.
    pub(crate) fn bytes_at_once_max(&self) -> usize {
        match self.kind {
            Kind::Peer(PeerServer::Floor) => FLOOR_BYTES_MAX,
            Kind::Bun
            | Kind::Go
            | Kind::Nginx
            | Kind::Node
            | Kind::Peer(_)
            | Kind::Tidegate
            | Kind::TidegateCompressed
            | Kind::UWebSockets => usize::MAX,
        }
    }

    /// Finds the server's program, and has it speak TLS if there is a certificate for it. An error is
    /// the reason to skip the server.
    pub(crate) fn launch(
        &self,
        installation: &Installation,
        certificate: Option<&ServerCertificate>,
    ) -> Result<Launch, String> {
        match certificate {
            Some(_) if !self.has_tls() => Err("it speaks no TLS".to_owned()),
            None if !self.has_plain() => Err("it is measured with --tls only".to_owned()),
            None => self.prepare(installation),
            Some(certificate) => {
                let mut launch = self.prepare(installation)?.encrypted(certificate);
                // The others' versions name the libraries of their TLS, or imply them.
                if let Kind::Peer(_) = self.kind {
                    launch.version = format!("{}, {}", launch.version, PeerServer::tls_version());
                }
                Ok(launch)
            }
        }
    }

    /// Finds the server's program, or gives the reason to skip the server.
    pub(crate) fn prepare(&self, installation: &Installation) -> Result<Launch, String> {
        let Installation { loadtest, tidegate, peers, .. } = installation;
        match self.kind {
            Kind::Bun => {
                let script = require(peers.join("node/bun.mjs"), INSTALL)?;
                let program = require(peers.join("node/bun"), INSTALL)?;
                launch_of(program, vec![script.into()], None, Setup::Options)
            }
            Kind::Go => {
                let program = require(peers.join("go/bin").join(self.name), INSTALL)?;
                launch_of(program, Vec::new(), Some(StatsEndpoint::Go), Setup::Options)
            }
            Kind::Nginx => {
                let program = require(peers.join("nginx"), INSTALL)?;
                let version = ask_version(&program, &[], "-v")?;
                let tidegate = require(tidegate.clone(), BUILD)?;
                let setup = Setup::Nginx { tidegate };
                Ok(Launch::new(version, None, program, Vec::new(), setup))
            }
            Kind::Node => {
                let script = require(peers.join("node/ws.mjs"), INSTALL)?;
                require(peers.join("node/node_modules/ws"), INSTALL)?;
                launch_of("node".into(), vec![script.into()], None, Setup::Options)
            }
            Kind::Peer(peer) => Ok(Launch::new(
                peer.version(),
                peer.has_tasks().then_some(StatsEndpoint::Tasks),
                loadtest.clone(),
                vec!["peer".into(), peer.name().into()],
                Setup::Options,
            )),
            Kind::Tidegate | Kind::TidegateCompressed => {
                let program = require(tidegate.clone(), BUILD)?;
                launch_of(program, Vec::new(), None, Setup::Tidegate)
            }
            Kind::UWebSockets => {
                let program = require(peers.join("uwebsockets/server"), INSTALL)?;
                launch_of(program, Vec::new(), None, Setup::Options)
            }
        }
    }
}

/// A program that prints its own version.
fn launch_of(
    program: PathBuf,
    arguments: Vec<OsString>,
    stats_endpoint: Option<StatsEndpoint>,
    setup: Setup,
) -> Result<Launch, String> {
    let version = ask_version(&program, &arguments, "--version")?;
    Ok(Launch::new(version, stats_endpoint, program, arguments, setup))
}

fn require(path: PathBuf, remedy: &str) -> Result<PathBuf, String> {
    if path.exists() { Ok(path) } else { Err(format!("{} is missing: {remedy}", shown(&path))) }
}

/// The path from `target/` on, short enough for a report.
fn shown(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let from = parts.iter().rposition(|part| part == "target").unwrap_or(0);
    parts[from..].join("/")
}

/// The first line that the program prints for `option`. nginx prints it to standard error.
fn ask_version(program: &Path, arguments: &[OsString], option: &str) -> Result<String, String> {
    let answer = Command::new(program)
        .args(arguments)
        .arg(option)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} does not run: {error}", shown(program)))?;
    let [text, errors] = [&answer.stdout, &answer.stderr].map(|text| String::from_utf8_lossy(text));
    match text.lines().chain(errors.lines()).next() {
        Some(version) if answer.status.success() => Ok(version.trim().to_owned()),
        Some(_) | None => Err(format!("{} {option} fails: {}", shown(program), answer.status)),
    }
}

const INSTALL: &str = "scripts/install-peers prepares it";
const BUILD: &str = "cargo build --release makes it; --tidegate names another one";

/// The name of tidegate in the catalogue.
pub(crate) const TIDEGATE: &str = "tidegate";

/// The servers that are measured with TLS, in the order of the reports.
pub(crate) const TLS_SERVERS: &[&str] = &[
    TIDEGATE,
    "tokio-tungstenite",
    "uwebsockets",
    "nginx",
    "bun",
    "fastwebsockets",
    "goroutine-gorilla",
    "node-ws",
];

/// All servers, in the order of the reports.
pub(crate) const SERVERS: &[ServerSpec] = &[
    ServerSpec {
        name: "goroutine-gorilla",
        server: "gorilla/websocket",
        design: "Go, a goroutine per connection",
        kind: Kind::Go,
    },
    ServerSpec {
        name: "epoll-gorilla",
        server: "epoll + gorilla/websocket",
        design: "Go, one goroutine for all",
        kind: Kind::Go,
    },
    ServerSpec {
        name: "epoll-gobwas",
        server: "epoll + gobwas/ws",
        design: "Go, one goroutine for all, no buffers",
        kind: Kind::Go,
    },
    ServerSpec {
        name: "tungstenite-threads",
        server: "tungstenite",
        design: "Rust, a thread per connection",
        kind: Kind::Peer(PeerServer::TungsteniteThreads),
    },
    ServerSpec {
        name: "tokio-tungstenite",
        server: "tokio-tungstenite",
        design: "Rust, a task per connection",
        kind: Kind::Peer(PeerServer::TokioTungstenite),
    },
    ServerSpec {
        name: "tokio-tungstenite-small",
        server: "tokio-tungstenite, tuned",
        design: "Rust, a task, a read buffer of 4 KiB",
        kind: Kind::Peer(PeerServer::TokioTungsteniteSmall),
    },
    ServerSpec {
        name: "fastwebsockets",
        server: "fastwebsockets",
        design: "Rust, a task per connection",
        kind: Kind::Peer(PeerServer::Fastwebsockets),
    },
    ServerSpec {
        name: "node-ws",
        server: "ws",
        design: "Node.js, an object per connection",
        kind: Kind::Node,
    },
    ServerSpec {
        name: "bun",
        server: "Bun",
        design: "uWebSockets inside, in C++",
        kind: Kind::Bun,
    },
    ServerSpec {
        name: "uwebsockets",
        server: "uWebSockets",
        design: "C++, an event loop, OpenSSL",
        kind: Kind::UWebSockets,
    },
    ServerSpec {
        name: "nginx",
        server: "nginx",
        design: "in front of a plain tidegate, which is not counted",
        kind: Kind::Nginx,
    },
    ServerSpec {
        name: "floor",
        server: "bare epoll",
        design: "Rust, keeps nothing: the floor",
        kind: Kind::Peer(PeerServer::Floor),
    },
    ServerSpec {
        name: TIDEGATE,
        server: "tidegate",
        design: "Rust, event loops, one table",
        kind: Kind::Tidegate,
    },
    ServerSpec {
        name: "tidegate-compressed",
        server: "tidegate, compressed",
        design: "permessage-deflate negotiated",
        kind: Kind::TidegateCompressed,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn nothing_installed(directory: &TempDir) -> Installation {
        Installation {
            loadtest: directory.path().join("target/release/loadtest"),
            tidegate: directory.path().join("target/release/tidegate"),
            peers: directory.path().join("target/peers"),
            target: directory.path().join("target"),
        }
    }

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = SERVERS.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), SERVERS.len());
        let spec = |name: &&str| ServerSpec::find(name).unwrap();
        assert!(TLS_SERVERS.iter().map(spec).all(ServerSpec::has_tls));
        assert!(ServerSpec::find(TIDEGATE).is_some());
    }

    #[test]
    fn a_missing_program_is_skipped_with_a_remedy() {
        let directory = TempDir::new().unwrap();
        let installation = nothing_installed(&directory);
        let reason = |name: &str| ServerSpec::find(name).unwrap().prepare(&installation).err();
        for name in ["goroutine-gorilla", "epoll-gobwas", "node-ws", "bun", "uwebsockets", "nginx"]
        {
            let reason = reason(name).unwrap();
            assert!(reason.starts_with("target/peers/"), "{reason}");
            assert!(reason.contains("scripts/install-peers"), "{reason}");
        }
        let missing = "target/release/tidegate is missing: cargo build";
        assert!(reason("tidegate").unwrap().starts_with(missing));
        for spec in SERVERS.iter().filter(|spec| matches!(spec.kind, Kind::Peer(_))) {
            assert_eq!(reason(spec.name), None, "is part of loadtest");
        }
    }

    #[test]
    fn a_program_that_does_not_run_is_skipped() {
        let directory = TempDir::new().unwrap();
        let installation = nothing_installed(&directory);
        fs::create_dir_all(installation.tidegate.parent().unwrap()).unwrap();
        fs::write(&installation.tidegate, "not a program").unwrap();
        let reason = ServerSpec::find(TIDEGATE).unwrap().prepare(&installation).err().unwrap();
        assert!(reason.contains("target/release/tidegate does not run"), "{reason}");

        let failing = Installation { tidegate: "/bin/false".into(), ..installation };
        let reason = ServerSpec::find(TIDEGATE).unwrap().prepare(&failing).err().unwrap();
        assert!(reason.contains("exit status: 1"), "{reason}");
    }

    #[test]
    fn servers_with_statistics_get_a_second_address() {
        let directory = TempDir::new().unwrap();
        let spec = ServerSpec::find("tokio-tungstenite").unwrap();
        let launch = spec.prepare(&nothing_installed(&directory)).unwrap();
        let [listen, stats_address] =
            ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
        let command = launch.command(listen, stats_address).unwrap();
        let arguments: Vec<_> = command.get_args().map(|part| part.to_str().unwrap()).collect();
        assert_eq!(
            arguments,
            ["peer", "tokio-tungstenite", "--listen", "127.0.0.1:1", "--counts", "127.0.0.1:2"]
        );
    }
}
