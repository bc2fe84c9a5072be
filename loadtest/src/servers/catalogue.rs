//! The catalogue of the servers that can be measured, and how to start each of them.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::peers::{FLOOR_BYTES_MAX, PeerServer};

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
    /// It cannot be measured yet, for this reason.
    Unsupported(&'static str),
    Node,
    Peer(PeerServer),
    Tidegate,
    /// tidegate with clients that offer compression.
    TidegateCompressed,
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

/// What a server reports about itself, on a second port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatsEndpoint {
    /// The pages of `net/http/pprof`, and the number of goroutines.
    Go,
    /// The number of tokio's tasks.
    Tasks,
}

/// A server whose program was found.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) version: String,
    pub(crate) stats_endpoint: Option<StatsEndpoint>,
    program: PathBuf,
    arguments: Vec<OsString>,
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
            | Kind::Peer(PeerServer::Floor) => true,
            Kind::Go => self.name == "epoll-gobwas",
            Kind::Unsupported(_) | Kind::Node | Kind::Peer(_) => false,
        }
    }

    /// When it agrees to compression.
    pub(crate) fn deflate_support(&self) -> DeflateSupport {
        match self.kind {
            Kind::Tidegate | Kind::TidegateCompressed => DeflateSupport::Always,
            Kind::Bun | Kind::Node => DeflateSupport::WithFlag,
            Kind::Go | Kind::Unsupported(_) | Kind::Peer(_) => DeflateSupport::None,
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
            | Kind::Unsupported(_)
            | Kind::Node
            | Kind::Peer(_)
            | Kind::Tidegate
            | Kind::TidegateCompressed => usize::MAX,
        }
    }

    /// Finds the server's program, or gives the reason to skip the server.
    pub(crate) fn prepare(&self, installation: &Installation) -> Result<Launch, String> {
        let Installation { loadtest, tidegate, peers, .. } = installation;
        match self.kind {
            Kind::Bun => {
                let script = require(peers.join("node/bun.mjs"), INSTALL)?;
                let program = require(peers.join("node/bun"), INSTALL)?;
                Launch::of(program, vec![script.into()], None)
            }
            Kind::Go => {
                let program = require(peers.join("go/bin").join(self.name), INSTALL)?;
                Launch::of(program, Vec::new(), Some(StatsEndpoint::Go))
            }
            Kind::Unsupported(reason) => Err(reason.to_owned()),
            Kind::Node => {
                let script = require(peers.join("node/ws.mjs"), INSTALL)?;
                require(peers.join("node/node_modules/ws"), INSTALL)?;
                Launch::of("node".into(), vec![script.into()], None)
            }
            Kind::Peer(peer) => Ok(Launch {
                version: peer.version(),
                stats_endpoint: peer.has_tasks().then_some(StatsEndpoint::Tasks),
                program: loadtest.clone(),
                arguments: vec!["peer".into(), peer.name().into()],
            }),
            Kind::Tidegate | Kind::TidegateCompressed => {
                let program = require(tidegate.clone(), BUILD)?;
                Launch::of(program, Vec::new(), None)
            }
        }
    }
}

impl Launch {
    /// A program that prints its own version.
    fn of(
        program: PathBuf,
        arguments: Vec<OsString>,
        stats_endpoint: Option<StatsEndpoint>,
    ) -> Result<Self, String> {
        let version = ask_version(&program, &arguments)?;
        Ok(Self { version, stats_endpoint, program, arguments })
    }

    /// The same program with further arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// The command that makes the server listen on `listen`, and serve its statistics on
    /// `stats_address`.
    pub(crate) fn command(&self, listen: SocketAddr, stats_address: SocketAddr) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--listen").arg(listen.to_string());
        match self.stats_endpoint {
            None => {}
            Some(StatsEndpoint::Go) => {
                command.arg("--profiles").arg(stats_address.to_string());
            }
            Some(StatsEndpoint::Tasks) => {
                command.arg("--counts").arg(stats_address.to_string());
            }
        }
        command
    }

    /// The program without arguments.
    pub(crate) fn program(&self) -> Command {
        Command::new(&self.program)
    }
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

fn ask_version(program: &Path, arguments: &[OsString]) -> Result<String, String> {
    let answer = Command::new(program)
        .args(arguments)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} does not run: {error}", shown(program)))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    match text.lines().next() {
        Some(version) if answer.status.success() => Ok(version.trim().to_owned()),
        Some(_) | None => Err(format!("{} --version fails: {}", shown(program), answer.status)),
    }
}

const INSTALL: &str = "scripts/install-peers prepares it";
const BUILD: &str = "cargo build --release makes it; --tidegate names another one";

/// The name of tidegate in the catalogue.
pub(crate) const TIDEGATE: &str = "tidegate";

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
    ServerSpec {
        name: "tidegate-tls",
        server: "tidegate, TLS",
        design: "each connection encrypted",
        kind: Kind::Unsupported("loadtest does not speak TLS yet"),
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
        assert!(ServerSpec::find(TIDEGATE).is_some());
    }

    #[test]
    fn a_missing_program_is_skipped_with_a_remedy() {
        let directory = TempDir::new().unwrap();
        let installation = nothing_installed(&directory);
        let reason = |name: &str| ServerSpec::find(name).unwrap().prepare(&installation).err();
        for name in ["goroutine-gorilla", "epoll-gobwas", "node-ws", "bun"] {
            let reason = reason(name).unwrap();
            assert!(reason.starts_with("target/peers/"), "{reason}");
            assert!(reason.contains("scripts/install-peers"), "{reason}");
        }
        let missing = "target/release/tidegate is missing: cargo build";
        assert!(reason("tidegate").unwrap().starts_with(missing));
        assert!(reason("tidegate-tls").unwrap().contains("TLS"));
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
        let command = launch.command(listen, stats_address);
        let arguments: Vec<_> = command.get_args().map(|part| part.to_str().unwrap()).collect();
        assert_eq!(
            arguments,
            ["peer", "tokio-tungstenite", "--listen", "127.0.0.1:1", "--counts", "127.0.0.1:2"]
        );
    }
}
