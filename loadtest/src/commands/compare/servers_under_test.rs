//! The servers of a run: tidegate, those of the catalogue, and those that the command line defines.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::str::FromStr;

use super::document::{ServerFacts, Skipped};
use crate::error::CommandError;
use crate::servers::process::shell;
use crate::servers::{
    DeflateSupport, Installation, Launch, SERVERS, ServerSpec, TIDEGATE, TLS_SERVERS,
};
use crate::system::file_limit;
use crate::tls::ServerCertificate;

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
    /// The most connections that it has descriptors for.
    connections_max: usize,
    deflate: DeflateSupport,
    /// Whether the server gets its option to compress, if it has one.
    is_deflating: bool,
    /// With whom clients trust it if it speaks TLS.
    pub(super) certificate: Option<Rc<ServerCertificate>>,
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
            connections_max: file_limit::raise().saturating_sub(file_limit::RESERVED_FILES)
                / spec.descriptors_per_connection(),
            deflate: spec.deflate_support(),
            is_deflating: false,
            certificate: None,
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
            connections_max: usize::MAX,
            deflate: if command.contains(DEFLATE_PLACEHOLDER) {
                DeflateSupport::WithFlag
            } else {
                DeflateSupport::None
            },
            is_deflating: false,
            certificate: None,
            start: Start::Shell(command.to_owned()),
        }
    }

    /// The same server with compression; `None` if it cannot compress.
    pub(super) fn deflating(&self) -> Option<Self> {
        (self.deflate != DeflateSupport::None).then(|| Self { is_deflating: true, ..self.clone() })
    }

    /// The same custom server with TLS if there is a certificate, for which its command must have a
    /// place.
    fn trusted_by(self, certificate: Option<&Rc<ServerCertificate>>) -> Result<Self, String> {
        let places = [CERTIFICATE_PLACEHOLDER, KEY_PLACEHOLDER];
        match (&self.start, certificate) {
            (Start::Shell(command), Some(_))
                if !places.iter().all(|place| command.contains(place)) =>
            {
                Err(format!("its command has no {}", places.join(" and ")))
            }
            _ => Ok(Self { certificate: certificate.cloned(), ..self }),
        }
    }

    /// Whether it has descriptors for this many connections.
    pub(super) fn has_room_for(&self, connections: usize) -> bool {
        connections <= self.connections_max
    }

    /// The command of the server behind it, which is started first on `second`, if it is a proxy.
    pub(super) fn backend_command(&self, second: SocketAddr) -> Option<Command> {
        match &self.start {
            Start::Launch(launch) => launch.backend_command(second),
            Start::Shell(_) => None,
        }
    }

    /// The command that makes the server listen on `listen`. A server that needs a second address
    /// gets `second`.
    ///
    /// # Errors
    /// Its configuration file cannot be written.
    pub(super) fn command(&self, listen: SocketAddr, second: SocketAddr) -> io::Result<Command> {
        Ok(match &self.start {
            Start::Launch(launch) => {
                let mut command = launch.command(listen, second)?;
                if self.is_deflating && self.deflate == DeflateSupport::WithFlag {
                    command.arg(DEFLATE_FLAG);
                }
                command
            }
            Start::Shell(command) => {
                let port = listen.port().to_string();
                let deflate = if self.is_deflating { DEFLATE_FLAG } else { "" };
                let mut command =
                    command.replace("{port}", &port).replace(DEFLATE_PLACEHOLDER, deflate);
                if let Some(certificate) = &self.certificate {
                    let path = |path: PathBuf| path.display().to_string();
                    command = command
                        .replace(CERTIFICATE_PLACEHOLDER, &path(certificate.certificate_path()))
                        .replace(KEY_PLACEHOLDER, &path(certificate.key_path()));
                }
                // `exec` replaces the shell, so that the pid of the child is that of the server.
                let mut shell = shell(&format!("exec {command}"));
                shell.env("PORT", port);
                shell
            }
        })
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
    /// Finds the programs of the chosen servers. Those without a program are skipped, and those that
    /// speak no TLS if there is a certificate.
    pub(super) fn find(
        choices: &[ServerChoice],
        descriptions: &[About],
        installation: &Installation,
        certificate: Option<&Rc<ServerCertificate>>,
    ) -> Result<Self, CommandError> {
        let spec = ServerSpec::find(TIDEGATE)
            .ok_or_else(|| CommandError::Usage("tidegate is not in the catalogue".to_owned()))?;
        let launch = spec.launch(installation, certificate.map(Rc::as_ref));
        let launch = launch.map_err(CommandError::Usage)?;
        let tidegate = ServerUnderTest::catalogued(spec, launch);
        let mut own = Self {
            tidegate: ServerUnderTest { certificate: certificate.cloned(), ..tidegate },
            others: Vec::new(),
            skipped: Vec::new(),
        };
        let named: Vec<&str> = choices.iter().filter_map(ServerChoice::catalogue_name).collect();
        let is_chosen = |spec: &&ServerSpec| {
            let among = match (named.is_empty(), certificate) {
                (false, _) => &named[..],
                (true, Some(_)) => TLS_SERVERS,
                (true, None) => DEFAULT_SERVERS,
            };
            spec.name != TIDEGATE && among.contains(&spec.name)
        };
        for spec in SERVERS.iter().filter(is_chosen) {
            let launch = spec.launch(installation, certificate.map(Rc::as_ref));
            let server = launch.map(|launch| ServerUnderTest {
                certificate: certificate.cloned(),
                ..ServerUnderTest::catalogued(spec, launch)
            });
            own.add(spec.name, server);
        }
        for choice in choices {
            if let ServerChoice::Custom { name, command } = choice {
                let server = ServerUnderTest::custom(name, command, descriptions);
                own.add(name, server.trusted_by(certificate));
            }
        }
        // In the order of the report, whatever that of the catalogue.
        let rank = |server: &ServerUnderTest| {
            let rank = TLS_SERVERS.iter().position(|name| *name == server.name);
            rank.unwrap_or(usize::MAX)
        };
        if certificate.is_some() {
            own.others.sort_by_key(rank);
        }
        Ok(own)
    }

    /// Adds a server, or the reason to skip it.
    fn add(&mut self, name: &str, server: Result<ServerUnderTest, String>) {
        match server {
            Ok(server) => self.others.push(server),
            Err(reason) => self.skipped.push(Skipped { name: name.to_owned(), reason }),
        }
    }

    /// Whether all of them speak TLS.
    pub(super) fn are_encrypted(&self) -> bool {
        self.tidegate.certificate.is_some()
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
/// The places for the files of TLS.
const CERTIFICATE_PLACEHOLDER: &str = "{certificate}";
const KEY_PLACEHOLDER: &str = "{key}";

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
        let command = server.command(listen, second).unwrap();
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
            let command = server.command(address, address).unwrap();
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
        let spec = |name: &&str| ServerSpec::find(name).unwrap();
        assert!(DEFAULT_SERVERS.iter().map(spec).all(ServerSpec::has_plain));
    }

    #[test]
    fn custom_servers_with_tls_have_a_place_for_the_certificate() {
        let certificate = Rc::new(ServerCertificate::make().unwrap());
        let encrypted =
            |command| ServerUnderTest::custom("mine", command, &[]).trusted_by(Some(&certificate));
        assert!(encrypted("./server {port}").unwrap_err().contains("{certificate}"));
        let server = encrypted("./server {port} {certificate} {key}").unwrap();
        let address = "127.0.0.1:81".parse().unwrap();
        let command = server.command(address, address).unwrap();
        let script = command.get_args().last().unwrap().to_str().unwrap().to_owned();
        assert!(script.ends_with("/key.pem") && !script.contains('{'), "{script}");
    }
}
