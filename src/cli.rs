//! The command line: what is to be done, and flags for the common keys, which win over the file.

#[cfg(feature = "acme")]
mod acme;
#[cfg(not(feature = "acme"))]
#[path = "cli/without_acme.rs"]
mod acme;
#[cfg(feature = "admin")]
mod admin;
#[cfg(not(feature = "admin"))]
#[path = "cli/without_admin.rs"]
mod admin;
#[cfg(any(feature = "acme", feature = "admin"))]
mod admin_thread;
#[cfg(not(any(feature = "acme", feature = "admin")))]
#[path = "cli/without_admin_thread.rs"]
mod admin_thread;
#[cfg(feature = "admin")]
mod api;
mod channel_proxies;
mod channel_snapshot;
mod engine;
mod events;
mod handover;
mod heartbeat;
mod identities;
mod import;
mod incidents;
mod lifecycle;
mod listen;
mod lookups;
#[cfg(feature = "admin")]
mod operated;
mod overload;
mod process;
mod reload;
mod report;
mod serve;
mod upstreams;
#[cfg(feature = "http-backends")]
mod webhooks;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use toml::Value;

#[cfg(feature = "client")]
use crate::client::ClientOptions;
use crate::config::{
    AcmeOptions, AdminAddress, CertificateFiles, Config, ConfigError, FilePath, Listener,
    ListenerKind, Refusal,
};

pub use import::{ImportFrom, ImportOptions, import};
pub use listen::{ListenAddresses, ListenError};
pub use reload::{ReloadError, Reloader};
pub use report::{check, fail};
pub use serve::{end_with_failing_loops, serve};

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(name = "tidegate", version, about, long_about = None)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// Listen on this address, such as 8080 (this machine only), 192.0.2.1:8080 or *:8080 (all
    /// addresses), instead of the HTTP listeners in the file; repeatable
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<ListenAddresses>,

    // A list although only one is allowed, so that two get the one-line error of configurations.
    /// Read the configuration from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,

    /// Run this many event loops; 0 is one per core
    #[arg(long, value_name = "N")]
    pub loops: Option<usize>,

    /// Where operators see and steer the gateway: an address such as 127.0.0.1:8090, the path of a Unix
    /// socket, or off
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<AdminAddress>,

    /// Speak TLS on all HTTP listeners, with the certificate in this PEM file, instead of the
    /// certificates in the file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The PEM file with the private key for --tls-certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// Check the configuration, print what it comes to, and exit
    #[arg(long)]
    pub check: bool,

    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does besides serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Talk to a WebSocket server from the terminal
    #[cfg(feature = "client")]
    Client(ClientOptions),
    /// Turn the configuration of another program into one for this
    Import(ImportOptions),
}

/// What a process that is no client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Print the resolved configuration and exit.
    Check,
    /// Serve until told to stop.
    Serve,
}

impl CommandLine {
    /// The options of `tidegate client`, if that is what the process is to be.
    #[cfg(feature = "client")]
    pub fn client(&self) -> Option<&ClientOptions> {
        match self.command.as_ref()? {
            Command::Client(options) => Some(options),
            Command::Import(_) => None,
        }
    }

    /// The options of `tidegate import`, if that is what the process is to do.
    pub fn import(&self) -> Option<&ImportOptions> {
        match self.command.as_ref()? {
            #[cfg(feature = "client")]
            Command::Client(_) => None,
            Command::Import(options) => Some(options),
        }
    }

    /// What a process that is no client is to do: serve, unless the command line says otherwise.
    pub fn action(&self) -> Action {
        if self.check { Action::Check } else { Action::Serve }
    }

    /// The validated configuration: the defaults, under the file if one is named, under the flags.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or breaks a rule, if a flag breaks one, or if two files are
    /// named. A file must be right by itself: flags do not excuse its mistakes.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        let mut config = match self.config.as_slice() {
            [] => Config::default(),
            [file] => Config::load(file)?,
            [_, second, ..] => {
                let value = Value::from(second.display().to_string());
                let refusal = Refusal::new("--config", &value, "must be given only once");
                return Err(refusal.of(SOURCE, None));
            }
        };
        if !self.listen.is_empty() {
            let is_http = |listener: &&Listener| listener.kind == ListenerKind::Http;
            // Another address makes no other host one of this gateway, and no plain listener of one
            // with TLS.
            let serves = |listener: &&Listener| is_http(listener) && !listener.redirects();
            let first = config.listeners.iter().find(serves).cloned();
            // No flag can say what line clients join, so their listeners stay.
            config.listeners.retain(|listener| !is_http(&listener));
            let addresses = self.listen.iter().flat_map(ListenAddresses::addresses);
            let listeners = addresses.map(|&address| match &first {
                Some(first) => Listener { address, ..first.clone() },
                None => Listener::http(address),
            });
            let listeners: Vec<Listener> = listeners.collect();
            config.listeners.splice(..0, listeners);
            if !config.listeners.iter().any(|listener| listener.tls) {
                // The listeners that they were for are replaced.
                config.certificates.clear();
            }
            if !config.listeners.iter().any(Listener::redirects) {
                // Nor is there one that answers challenges.
                config.acme = AcmeOptions::default();
            }
        }
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            let pair = CertificateFiles::new(FilePath::new(certificate), FilePath::new(key));
            config.certificates = vec![pair];
            let http = config.listeners.iter_mut().filter(|own| own.kind == ListenerKind::Http);
            let http = http.filter(|listener| !listener.redirects());
            http.for_each(|listener| listener.tls = true);
        }
        if let Some(address) = &self.admin {
            config.admin.address = Some(address.clone());
        }
        if let Some(loops) = self.loops {
            config.process.loops = loops;
        }
        config.validate(SOURCE)?;
        Ok(config)
    }
}

/// What messages name in place of a file.
const SOURCE: &str = "command line";

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::time::Duration;

    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::config::{ClientCertificates, Hosts};

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from([&["tidegate"], arguments].concat())
    }

    fn configuration(arguments: &[&str]) -> Result<Config, ConfigError> {
        parse(arguments).unwrap().configuration()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn nothing_given_serves_the_defaults() {
        let command_line = parse(&[]).unwrap();
        assert_eq!(command_line.action(), Action::Serve);
        assert_eq!(command_line.configuration(), Ok(Config::default()));
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file(
            "loops = 3\nshare_port = true\n[[listener]]\naddress = \"127.0.0.1:9000\"\nhosts = [\"a.example\"]\n",
        );
        let path = file.path().to_str().unwrap();
        let config = configuration(&["--config", path]).unwrap();
        assert_eq!(config.process.loops, 3);
        let config = configuration(&[
            "--loops",
            "2",
            "--listen",
            "[::1]:1",
            "--config",
            path,
            "--listen",
            "0.0.0.0:2",
        ])
        .unwrap();
        assert_eq!(config.process.loops, 2);
        let admin = configuration(&["--config", path, "--admin", "off"]).unwrap().admin;
        assert_eq!(admin.address, Some(AdminAddress::Off));
        assert!(config.process.share_port, "what no flag sets stays as in the file");
        let addresses: Vec<_> =
            config.listeners.iter().map(|listener| listener.address.to_string()).collect();
        assert_eq!(addresses, ["[::1]:1", "0.0.0.0:2"]);
        let hosts = Hosts::List(vec!["a.example".to_owned()]);
        assert!(config.listeners.iter().all(|listener| listener.hosts == hosts));
    }

    #[test]
    fn the_flags_of_tls_give_all_http_listeners_a_certificate() {
        let pair = ["--tls-certificate", "a.pem", "--tls-key", "a.key"];
        let config = configuration(&pair).unwrap();
        assert!(config.listeners.iter().all(|listener| listener.tls));
        let listen = configuration(&[&pair[..], &["--listen", "*:443"]].concat()).unwrap();
        assert_eq!(listen.listeners.len(), 2);
        assert!(listen.listeners.iter().all(|listener| listener.tls));
        for config in [&config, &listen] {
            assert_eq!(config.certificates.len(), 1);
            assert_eq!(config.certificates[0].key.path(), Path::new("a.key"));
        }
        for half in [&pair[..2], &pair[2..]] {
            assert_eq!(parse(half).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn another_address_keeps_what_the_file_asks_of_clients() {
        let tls = "tls = true\nclient_certificates = \"required\"\nclient_ca = \"ca.pem\"\n";
        let file = file(&format!(
            "[[listener]]\naddress = \"127.0.0.1:443\"\n{tls}\
             [[listener]]\naddress = \"127.0.0.1:80\"\n\
             [[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n"
        ));
        let path = file.path().to_str().unwrap();
        let config = configuration(&["--config", path, "--listen", "8443"]).unwrap();
        let [listener] = &config.listeners[..] else { panic!("{:?}", config.listeners) };
        assert!(listener.tls);
        assert_eq!(listener.client_certificates, ClientCertificates::Required);
    }

    #[test]
    fn check_is_an_action() {
        assert_eq!(parse(&["--check", "--loops=1"]).unwrap().action(), Action::Check);
    }

    #[test]
    fn the_client_has_flags_of_its_own() {
        let command_line = parse(&["client"]).unwrap();
        let options = command_line.client().unwrap();
        assert_eq!(options.url, None);
        assert_eq!((&options.user, &options.send), (&None, &None));
        assert_eq!(options.every, Duration::from_secs(6));

        let command_line = parse(&[
            "client",
            "ws://h/",
            "--user",
            "张三",
            "--header",
            "A: 1",
            "--header=B: 2",
            "--send",
            "hello",
            "--every",
            "500ms",
        ])
        .unwrap();
        let options = command_line.client().unwrap();
        assert_eq!(options.user.as_deref(), Some("张三"));
        assert_eq!(options.header.len(), 2);
        assert_eq!(options.every, Duration::from_millis(500));
    }

    #[test]
    fn bad_flags_name_the_command_line() {
        for (arguments, line) in [
            (&["--loops", "2000"][..], "command line: loops = 2000: must be between 0 and 1024"),
            (
                &["--listen", "[::1]:80", "--listen", "[::1]:80"],
                "command line: listener[1].address = \"[::1]:80\": must not be listed twice",
            ),
            (
                &["--config", "a.toml", "--config", "b.toml"],
                "command line: --config = \"b.toml\": must be given only once",
            ),
        ] {
            assert_eq!(configuration(arguments).unwrap_err().to_string(), line);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = configuration(&["--config", "/nonexistent/tidegate.toml"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nonexistent/tidegate.toml: cannot be read: No such file or directory (os error 2)"
        );
        let error = configuration(&["--config", "/"]).unwrap_err();
        assert_eq!(error.to_string(), "/: cannot be read: Is a directory (os error 21)");
    }

    #[test]
    fn misuse_is_a_usage_error_with_status_2() {
        for arguments in [
            &["--listen", "localhost"][..],
            &["--loops", "many"],
            &["--lisen", "127.0.0.1:1"],
            &["--admin", "localhost:1"],
            &["serve"],
            &["--loops", "1", "client"],
            &["client", "--loops", "1"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
        assert_eq!(parse(&["--version"]).unwrap_err().kind(), ErrorKind::DisplayVersion);
        for help in [&["--help"][..], &["help"], &["help", "client"], &["client", "--help"]] {
            assert_eq!(parse(help).unwrap_err().kind(), ErrorKind::DisplayHelp, "{help:?}");
        }
    }
}
