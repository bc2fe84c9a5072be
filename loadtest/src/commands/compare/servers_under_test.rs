//! The servers of a run: tidegate, those of the catalogue, and those that the command line defines.

use std::net::SocketAddr;
use std::process::Command;
use std::str::FromStr;

use super::document::{ServerFacts, Skipped};
use crate::error::CommandError;
use crate::servers::process::shell;
use crate::servers::{DeflateSupport, Installation, Launch, SERVERS, ServerSpec, TIDEGATE};

/// A value of `--server`.
#[derive(Clone, Debug)]
pub(super) enum ServerChoice {
    Catalogued(&'static ServerSpec),
    Custom { name: String, command: String },
}

impl FromStr for ServerChoice {
    type Err = String;

    fn from_str(choice: &str) -> Result<Self, String> {
        if let Some((name, command)) = choice.split_once('=') {
            if name.is_empty() || ServerSpec::find(name).is_some() {
                return Err("a custom server needs a name that is not in the catalogue".to_owned());
            }
            return Ok(Self::Custom { name: name.to_owned(), command: command.to_owned() });
        }
        ServerSpec::find(choice).map(Self::Catalogued).ok_or_else(|| {
            let names: Vec<_> = SERVERS.iter().map(|spec| spec.name).collect();
            format!("must be NAME=COMMAND or one of {}", names.join(", "))
        })
    }
}

/// A value of `--about`.
#[derive(Clone, Debug)]
pub(super) struct About {
    name: String,
    text: String,
}

impl FromStr for About {
    type Err = String;

    fn from_str(about: &str) -> Result<Self, String> {
        let (name, text) = about.split_once('=').ok_or("must be NAME=TEXT")?;
        Ok(Self { name: name.to_owned(), text: text.to_owned() })
    }
}

/// A server that can be started.
#[derive(Clone, Debug)]
pub(super) struct ServerUnderTest {
    pub(super) name: String,
    about: String,
    design: String,
    pub(super) has_broadcast: bool,
    /// The most bytes that a client may have in flight.
    pub(super) bytes_at_once_max: usize,
    deflate: DeflateSupport,
    /// Whether the server gets its option to compress, if it has one.
    is_deflating: bool,
    start: Start,
}

#[derive(Clone, Debug)]
enum Start {
    Launch(Launch),
    Shell(String),
}

impl ServerUnderTest {
    fn catalogued(spec: &ServerSpec, launch: Launch) -> Self {
        Self {
            name: spec.name.to_owned(),
            about: launch.version.clone(),
            design: spec.design.to_owned(),
            has_broadcast: spec.has_broadcast(),
            bytes_at_once_max: spec.bytes_at_once_max(),
            deflate: spec.deflate_support(),
            is_deflating: false,
            start: Start::Launch(launch),
        }
    }

    /// A custom server counts as capable of everything but compression: its failures show what it
    /// cannot do. It compresses if its command has a place for the option.
    fn custom(name: &str, command: &str, descriptions: &[About]) -> Self {
        let about = descriptions.iter().rev().find(|about| about.name == name);
        Self {
            name: name.to_owned(),
            about: about.map_or_else(|| command.to_owned(), |about| about.text.clone()),
            design: CUSTOM.to_owned(),
            has_broadcast: true,
            bytes_at_once_max: usize::MAX,
            deflate: if command.contains(DEFLATE_PLACEHOLDER) {
                DeflateSupport::WithFlag
            } else {
                DeflateSupport::None
            },
            is_deflating: false,
            start: Start::Shell(command.to_owned()),
        }
    }

    /// The same server with compression; `None` if it cannot compress.
    pub(super) fn deflating(&self) -> Option<Self> {
        (self.deflate != DeflateSupport::None).then(|| Self { is_deflating: true, ..self.clone() })
    }

    /// The command that makes the server listen on `listen`. A server that needs a second address
    /// gets `second`.
    pub(super) fn command(&self, listen: SocketAddr, second: SocketAddr) -> Command {
        match &self.start {
            Start::Launch(launch) => {
                let mut command = launch.command(listen, second);
                if self.is_deflating && self.deflate == DeflateSupport::WithFlag {
                    command.arg(DEFLATE_FLAG);
                }
                command
            }
            Start::Shell(command) => {
                let port = listen.port().to_string();
                let deflate = if self.is_deflating { DEFLATE_FLAG } else { "" };
                let command =
                    command.replace("{port}", &port).replace(DEFLATE_PLACEHOLDER, deflate);
                // `exec` replaces the shell, so that the pid of the child is that of the server.
                let mut shell = shell(&format!("exec {command}"));
                shell.env("PORT", port);
                shell
            }
        }
    }
}

/// All servers of a run.
#[derive(Clone, Debug)]
pub(super) struct ServersUnderTest {
    /// Without an option for the number of its event loops.
    tidegate: ServerUnderTest,
    pub(super) others: Vec<ServerUnderTest>,
    pub(super) skipped: Vec<Skipped>,
}

impl ServersUnderTest {
    /// Finds the programs of the chosen servers. Those without a program are skipped.
    pub(super) fn find(
        choices: &[ServerChoice],
        descriptions: &[About],
        installation: &Installation,
    ) -> Result<Self, CommandError> {
        let spec = ServerSpec::find(TIDEGATE)
            .ok_or_else(|| CommandError::Usage("tidegate is not in the catalogue".to_owned()))?;
        let launch = spec.prepare(installation).map_err(CommandError::Usage)?;
        let mut own = Self {
            tidegate: ServerUnderTest::catalogued(spec, launch),
            others: Vec::new(),
            skipped: Vec::new(),
        };
        let named: Vec<&str> = choices.iter().filter_map(ServerChoice::catalogue_name).collect();
        let is_chosen = |spec: &&ServerSpec| {
            let among = if named.is_empty() { DEFAULT_SERVERS } else { &named };
            spec.name != TIDEGATE && among.contains(&spec.name)
        };
        for spec in SERVERS.iter().filter(is_chosen) {
            match spec.prepare(installation) {
                Ok(launch) => own.others.push(ServerUnderTest::catalogued(spec, launch)),
                Err(reason) => own.skipped.push(Skipped { name: spec.name.to_owned(), reason }),
            }
        }
        for choice in choices {
            if let ServerChoice::Custom { name, command } = choice {
                own.others.push(ServerUnderTest::custom(name, command, descriptions));
            }
        }
        Ok(own)
    }

    /// tidegate with `loops` event loops.
    pub(super) fn tidegate(&self, loops: usize) -> ServerUnderTest {
        let mut server = self.tidegate.clone();
        if let Start::Launch(launch) = server.start {
            server.start = Start::Launch(launch.with(&["--loops", &loops.to_string()]));
        }
        server
    }

    /// The description of each server for the report.
    pub(super) fn facts(&self) -> Vec<ServerFacts> {
        let facts = |server: &ServerUnderTest| ServerFacts {
            name: server.name.clone(),
            design: server.design.clone(),
            about: server.about.clone(),
        };
        std::iter::once(&self.tidegate).chain(&self.others).map(facts).collect()
    }
}

impl ServerChoice {
    fn catalogue_name(&self) -> Option<&'static str> {
        match self {
            Self::Catalogued(spec) => Some(spec.name),
            Self::Custom { .. } => None,
        }
    }
}

/// The servers that are measured if the command line names none.
const DEFAULT_SERVERS: &[&str] = &[
    "goroutine-gorilla",
    "epoll-gobwas",
    "tungstenite-threads",
    "tokio-tungstenite",
    "fastwebsockets",
    "node-ws",
    "bun",
    "floor",
];
const CUSTOM: &str = "named on the command line";
const DEFLATE_FLAG: &str = "--deflate";
/// The place for the option in the command of a custom server.
const DEFLATE_PLACEHOLDER: &str = "{deflate}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_in_the_catalogue_or_has_a_command() {
        assert!(matches!("bun".parse(), Ok(ServerChoice::Catalogued(spec)) if spec.name == "bun"));
        let custom = "mine=./server --port {port}".parse::<ServerChoice>().unwrap();
        let ServerChoice::Custom { name, command } = custom else {
            panic!("{custom:?} is not a custom one");
        };
        let server = ServerUnderTest::custom(&name, &command, &["mine=C".parse().unwrap()]);
        assert_eq!(server.about, "C");
        let [listen, second] = ["127.0.0.1:81", "127.0.0.1:82"].map(|at| at.parse().unwrap());
        let command = server.command(listen, second);
        let arguments: Vec<_> = command.get_args().map(|part| part.to_str().unwrap()).collect();
        assert_eq!(arguments, ["-c", "exec ./server --port 81"]);
        for choice in ["", "unknown", "=true", "bun=true"] {
            assert!(choice.parse::<ServerChoice>().is_err(), "{choice:?}");
        }
    }

    #[test]
    fn servers_that_can_compress_get_their_option() {
        let address = "127.0.0.1:81".parse().unwrap();
        let arguments = |server: &ServerUnderTest| {
            let command = server.command(address, address);
            let last = command.get_args().last().map(|part| part.to_str().unwrap().to_owned());
            last.unwrap()
        };
        let plain = ServerUnderTest::custom("mine", "./server {port}", &[]);
        assert!(plain.deflating().is_none());
        let both = ServerUnderTest::custom("mine", "./server {port} {deflate}", &[]);
        assert_eq!(arguments(&both), "exec ./server 81 ");
        assert_eq!(arguments(&both.deflating().unwrap()), "exec ./server 81 --deflate");
    }

    #[test]
    fn the_default_servers_are_in_the_catalogue() {
        assert!(DEFAULT_SERVERS.iter().all(|name| ServerSpec::find(name).is_some()));
    }
}
