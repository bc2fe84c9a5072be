//! Pebble, a real ACME server, for one test: it verifies names on a port of this machine.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use crate::certificates::CertificateFolder;
use crate::clients::{below_root, curl};
use crate::port::reserved_address;
use crate::skip::{say, skip_without};
use crate::wait::until;

/// Where an ACME server is, or will be, whose own certificate is `server.pem` of a folder.
#[derive(Debug)]
pub(crate) struct AcmeServer {
    program: PathBuf,
    address: SocketAddr,
    management: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl AcmeServer {
    /// One that does not run yet; `None`, with a note, where Pebble or curl is not installed.
    pub(crate) fn new() -> Option<Self> {
        let Some(program) = program() else {
            skip_without("pebble, which scripts/install-servers installs");
            return None;
        };
        let (address, management) = (reserved_address(), reserved_address());
        let folder = TempDir::new().unwrap();
        Some(Self { program, address, management, folder, child: None })
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// Starts it. It verifies names at this port of theirs.
    pub(crate) fn start(&mut self, certificates: &CertificateFolder, http_port: u16) {
        let file = |name: &str| certificates.file(name).display().to_string();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": self.address.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": file("server.pem"),
            "privateKey": file("server.key"),
            "httpPort": http_port,
            "tlsPort": 1,
        }});
        let path = self.folder.path().join("config.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-config").arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(self.log_file()).unwrap());
        // Otherwise it waits for some seconds before it verifies. A fifth of all nonces is refused, and
        // asked for again.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "20");
        let mut child = command.spawn().unwrap();
        until("pebble starts", || {
            assert!(child.try_wait().unwrap().is_none(), "pebble ended: {}", self.log());
            let both = [self.address, self.management].map(|at| TcpStream::connect(at).is_ok());
            (both == [true, true]).then_some(())
        });
        self.child = Some(child);
    }

    /// Ends it, with all that it knows.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The authority that its certificates come from.
    pub(crate) fn root(&self, certificates: &CertificateFolder) -> CertificateDer<'static> {
        let ca = certificates.file("ca.pem").display().to_string();
        let url = format!("https://{}/roots/0", self.management);
        let pem = curl(&["--fail", "--cacert", &ca, &url]).stdout;
        CertificateDer::from_pem_slice(&pem).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for AcmeServer {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            say(&format!("pebble's log:\n{}", self.log()));
        }
    }
}

/// The program on the path, or the one that scripts/install-servers put below target/. It has no option
/// that only shows its version.
fn program() -> Option<PathBuf> {
    let own = below_root("target/servers/pebble");
    [PathBuf::from("pebble"), own].into_iter().find(|program| {
        let output = Command::new(program).arg("-h").stdin(Stdio::null()).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("-dnsserver"))
    })
}
