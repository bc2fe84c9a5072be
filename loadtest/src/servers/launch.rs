//! How a server whose program was found is started: its command, its configuration, and the server
//! behind it if it is a proxy.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tls::ServerCertificate;

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
    setup: Setup,
    tls: Option<TlsFiles>,
}

/// How a server learns where to listen, and its certificate.
#[derive(Clone, Debug)]
pub(super) enum Setup {
    /// By `--listen`, `--certificate` and `--key`.
    Options,
    /// By `--listen`, or with TLS by a configuration file of tidegate.
    Tidegate,
    /// By a configuration file of nginx, which passes everything on to this program.
    Nginx { tidegate: PathBuf },
}

/// The files of a certificate, and a directory for configuration files.
#[derive(Clone, Debug)]
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    directory: PathBuf,
}

impl Launch {
    pub(super) fn new(
        version: String,
        stats_endpoint: Option<StatsEndpoint>,
        program: PathBuf,
        arguments: Vec<OsString>,
        setup: Setup,
    ) -> Self {
        Self { version, stats_endpoint, program, arguments, setup, tls: None }
    }

    /// The same program with further arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// The same program with TLS. The certificate must outlive the server.
    pub(crate) fn encrypted(self, certificate: &ServerCertificate) -> Self {
        let files = TlsFiles {
            certificate: certificate.certificate_path(),
            key: certificate.key_path(),
            directory: certificate.directory().to_owned(),
        };
        Self { tls: Some(files), ..self }
    }

    /// The command that makes the server listen on `listen`. `second` is for its statistics, or for
    /// the server behind it.
    ///
    /// # Errors
    /// The configuration file cannot be written.
    pub(crate) fn command(&self, listen: SocketAddr, second: SocketAddr) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        match (&self.setup, &self.tls) {
            (Setup::Nginx { .. }, Some(files)) => {
                let place = &files.directory;
                let config = place.join(format!("nginx-{}.conf", listen.port()));
                fs::write(&config, nginx_config(files, listen, second))?;
                command.arg("-p").arg(place).args(["-e", "stderr", "-c"]).arg(config);
            }
            (Setup::Nginx { .. }, None) => {
                return Err(io::Error::other("nginx is measured with TLS only"));
            }
            (Setup::Tidegate, Some(files)) => {
                let config = files.directory.join(format!("tidegate-{}.toml", listen.port()));
                fs::write(&config, tidegate_config(files, listen))?;
                command.arg("--config").arg(config);
            }
            (Setup::Options, Some(files)) => {
                command.arg("--listen").arg(listen.to_string());
                command.arg("--certificate").arg(&files.certificate);
                command.arg("--key").arg(&files.key);
            }
            (Setup::Options | Setup::Tidegate, None) => {
                command.arg("--listen").arg(listen.to_string());
            }
        }
        match self.stats_endpoint {
            None => {}
            Some(StatsEndpoint::Go) => {
                command.arg("--profiles").arg(second.to_string());
            }
            Some(StatsEndpoint::Tasks) => {
                command.arg("--counts").arg(second.to_string());
            }
        }
        Ok(command)
    }

    /// The command of the server behind a proxy, which must listen on `second` first.
    pub(crate) fn backend_command(&self, second: SocketAddr) -> Option<Command> {
        let Setup::Nginx { tidegate } = &self.setup else {
            return None;
        };
        let mut command = Command::new(tidegate);
        command.args(["--loops", "1", "--listen"]).arg(second.to_string());
        Some(command)
    }

    /// The program without arguments.
    pub(crate) fn program(&self) -> Command {
        Command::new(&self.program)
    }
}

/// A listener with TLS, and the routes of the measurements.
fn tidegate_config(files: &TlsFiles, listen: SocketAddr) -> String {
    let TlsFiles { certificate, key, .. } = files;
    format!(
        "[[listener]]\naddress = \"{listen}\"\ntls = true\n\n\
         [[certificate]]\ncertificate = {}\nkey = {}\n\n\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\n\n\
         [[route]]\npath = \"/broadcast\"\nservice = \"broadcast\"\n",
        quoted(certificate),
        quoted(key)
    )
}

/// nginx as its documentation shows it for WebSockets, with its defaults but for what the measurement
/// needs: one process, room for all connections, an accept queue that is never full, and no end of
/// connections that are idle.
fn nginx_config(files: &TlsFiles, listen: SocketAddr, backend: SocketAddr) -> String {
    let TlsFiles { certificate, key, directory } = files;
    let place = directory.display();
    // Without these it would write where only root may.
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {place}/{name};\n"))
        .concat();
    let (certificate, key) = (certificate.display(), key.display());
    format!(
        "daemon off;\nmaster_process off;\npid {place}/nginx-{}.pid;\nerror_log stderr;\n\
         events {{ worker_connections 100000; }}\n\
         http {{\n  access_log off;\n{temporary}  server {{\n    listen {listen} ssl backlog=4096;\n    \
         ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    \
         ssl_protocols TLSv1.2 TLSv1.3;\n    location / {{\n      proxy_pass http://{backend};\n      \
         proxy_http_version 1.1;\n      proxy_set_header Upgrade $http_upgrade;\n      \
         proxy_set_header Connection \"upgrade\";\n      proxy_set_header Host $host;\n      \
         proxy_read_timeout 1h;\n      proxy_send_timeout 1h;\n    }}\n  }}\n}}\n",
        listen.port()
    )
}

/// The path as a basic string of TOML.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(setup: Setup) -> Launch {
        Launch::new("1".to_owned(), None, "server".into(), vec!["--loops".into()], setup)
    }

    fn arguments(command: &Command) -> Vec<&str> {
        command.get_args().map(|part| part.to_str().unwrap()).collect()
    }

    #[test]
    fn each_server_gets_its_certificate_in_its_own_way() {
        let certificate = ServerCertificate::make().unwrap();
        let [listen, second] = ["127.0.0.1:81", "127.0.0.1:82"].map(|at| at.parse().unwrap());
        let path = certificate.certificate_path().display().to_string();

        let command = launch(Setup::Options).encrypted(&certificate).command(listen, second);
        let command = command.unwrap();
        let found = arguments(&command);
        assert_eq!(found[..4], ["--loops", "--listen", "127.0.0.1:81", "--certificate"]);
        assert_eq!(found[4], path);

        let command = launch(Setup::Tidegate).command(listen, second).unwrap();
        assert_eq!(arguments(&command), ["--loops", "--listen", "127.0.0.1:81"]);

        let command = launch(Setup::Tidegate).encrypted(&certificate).command(listen, second);
        let command = command.unwrap();
        let config = fs::read_to_string(arguments(&command)[2]).unwrap();
        assert!(config.contains("address = \"127.0.0.1:81\"\ntls = true\n"), "{config}");
        assert!(config.contains(&format!("certificate = \"{path}\"\n")), "{config}");

        let nginx = launch(Setup::Nginx { tidegate: "tidegate".into() });
        assert!(nginx.command(listen, second).is_err());
        let nginx = nginx.encrypted(&certificate);
        let config = fs::read_to_string(arguments(&nginx.command(listen, second).unwrap())[6]);
        assert!(config.unwrap().contains("proxy_pass http://127.0.0.1:82;"));
        let backend = nginx.backend_command(second).unwrap();
        assert_eq!(arguments(&backend), ["--loops", "1", "--listen", "127.0.0.1:82"]);
    }
}
