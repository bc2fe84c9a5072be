//! Certificates that the gateway gets itself, from a real ACME server.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::acme_server::AcmeServer;
use crate::admin_client::get;
use crate::certificates::{CertificateFolder, server_params};
use crate::clients::has;
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::tls_client::TlsClient;
use crate::wait::until;

/// Where a test keeps certificates, and the ACME server.
struct Setup {
    certificates: CertificateFolder,
    cache: TempDir,
    server: AcmeServer,
}

/// A gateway and its listeners.
struct Running {
    gateway: Gateway,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Setup {
    fn new() -> Option<Self> {
        if !has("curl", "--version") {
            return None;
        }
        let server = AcmeServer::new()?;
        let (certificates, cache) = (CertificateFolder::new(), TempDir::new().unwrap());
        Some(Self { certificates, cache, server })
    }

    /// A configuration that asks for a certificate for these names.
    fn config(&self, domains: &[&str]) -> String {
        format!(
            "loops = 2\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [acme]\ndomains = {domains:?}\ncontact = \"admin@example.com\"\ndirectory = {:?}\n\
             directory_ca = {:?}\ncache_dir = {:?}\n\
             [[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
            self.server.directory(),
            self.certificates.file("ca.pem").display().to_string(),
            self.cache_dir().display().to_string(),
        )
    }

    fn cache_dir(&self) -> std::path::PathBuf {
        self.cache.path().join("acme")
    }

    fn start_server(&mut self, running: &Running) {
        self.server.start(&self.certificates, running.plain.port());
    }

    /// A client that trusts the ACME server's authority.
    fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.server.root(&self.certificates))
    }
}

impl Running {
    fn start(config: &Path) -> Self {
        let launch = Launch { listen: None, toml: Some("[admin]"), ..Launch::default() };
        let gateway = Gateway::launch_with(&launch, Some(config));
        let address = |what: &str| {
            let line = gateway.logged(what);
            let (_, rest) = line.split_once("listening on ").unwrap();
            rest.split_once(": ").unwrap().0.parse().unwrap()
        };
        let (plain, tls) = (address(": redirects to https"), address(": WebSocket at /echo"));
        Self { gateway, plain, tls }
    }

    fn counts(&self, name: &str, value: u64) {
        until(&format!("{name} is {value}"), || {
            (self.gateway.counter(name) == value).then_some(())
        });
    }
}

#[test]
fn a_certificate_is_got_served_and_kept_over_a_restart() {
    let Some(mut setup) = Setup::new() else { return };
    let file = config_file(&setup.config(&["localhost"]));
    let running = Running::start(file.path());
    let gateway = &running.gateway;
    // The server is not there, and so is no certificate.
    gateway.logged("no certificate for localhost from");
    let error = TlsClient::new(&setup.certificates).connect(running.tls).unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    let ready = get(gateway.admin_address(), "/readyz");
    assert_eq!(ready.json()["away"], serde_json::json!(["certificate"]), "{ready:?}");

    setup.start_server(&running);
    gateway.signal(Signal::HUP);
    gateway.logged("got a certificate for localhost");
    gateway.logged("reloaded: certificate[0] for localhost");
    let client = setup.client();
    client.open(running.tls).unwrap().assert_echoes(b"secure");
    assert_eq!(get(gateway.admin_address(), "/readyz").json()["away"], serde_json::json!([]));
    assert!(gateway.counter("acme_challenges") >= 1);
    gateway.assert_counter("acme_certificates", 1);
    gateway.assert_counter("acme_failures", 1);
    for name in ["account.json", "certificate.pem"] {
        let mode = setup.cache_dir().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    // One more name needs another certificate.
    write_config(file.path(), &setup.config(&["localhost", "127.0.0.1"]));
    gateway.signal(Signal::HUP);
    gateway.logged("reloaded: certificate[0] for localhost, 127.0.0.1");
    client.open(running.tls).unwrap().assert_echoes(b"both");
    gateway.assert_counter("acme_certificates", 2);

    drop(running);
    setup.server.stop();
    let again = Running::start(file.path());
    client.open(again.tls).unwrap().assert_echoes(b"kept");
    assert_eq!(
        (again.gateway.counter("acme_failures"), again.gateway.counter("acme_certificates")),
        (0, 0)
    );
}

/// Two days from now.
#[expect(clippy::disallowed_methods, reason = "certificates end by the real clock")]
fn soon() -> (i32, u8, u8) {
    let time = SystemTime::now() + Duration::from_secs(2 * 86_400);
    let text = humantime::format_rfc3339(time).to_string();
    let mut parts = text.split(['-', 'T']);
    let mut next = || parts.next().unwrap();
    (next().parse().unwrap(), next().parse().unwrap(), next().parse().unwrap())
}

#[test]
fn a_certificate_is_renewed_before_its_end_and_served_on_until_then() {
    let Some(mut setup) = Setup::new() else { return };
    let mut params = server_params(&["localhost"]);
    let (year, month, day) = soon();
    params.not_after = date_time_ymd(year, month, day);
    let old = setup.certificates.authority.issue(&params, &PKCS_ECDSA_P256_SHA256);
    fs::create_dir(setup.cache_dir()).unwrap();
    let text =
        format!("ACME directory: {}\n{}\n{}", setup.server.directory(), old.key, old.certificate);
    fs::write(setup.cache_dir().join("certificate.pem"), text).unwrap();

    let file = config_file(&setup.config(&["localhost"]));
    let running = Running::start(file.path());
    let gateway = &running.gateway;
    gateway.logged("no certificate for localhost from");
    let trusts_old = TlsClient::new(&setup.certificates);
    let mut open = trusts_old.open(running.tls).unwrap();
    open.assert_echoes(b"old");
    // It fails again, and that is counted and not said again.
    gateway.signal(Signal::HUP);
    running.counts("acme_failures", 2);
    let said = |line: &String| line.contains("no certificate for localhost from");
    assert_eq!(gateway.log_lines().iter().filter(|line| said(line)).count(), 1);

    setup.start_server(&running);
    gateway.signal(Signal::HUP);
    gateway.logged("reloaded: certificate[0] for localhost");
    setup.client().open(running.tls).unwrap().assert_echoes(b"new");
    trusts_old.without_resumption().open(running.tls).unwrap_err();
    open.assert_echoes(b"still open");
}

#[test]
fn challenges_are_answered_for_the_account_and_everything_else_is_redirected() {
    let Some(mut setup) = Setup::new() else { return };
    let file = config_file(&setup.config(&["localhost"]));
    let running = Running::start(file.path());
    setup.start_server(&running);
    running.gateway.signal(Signal::HUP);
    running.gateway.logged("reloaded: certificate[0] for localhost");
    let ask = |path: &str| {
        Reply::parse(&exchange(running.plain, &Request::get(path).bytes(), Ending::Open))
    };
    let reply = ask("/.well-known/acme-challenge/token");
    assert_eq!(
        (reply.status, reply.header("Content-Type")),
        (200, Some("application/octet-stream"))
    );
    assert!(reply.text().starts_with("token.") && reply.body.len() == 49, "{reply:?}");
    reply.assert_is_last(false);
    for path in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/a.b", "/"] {
        assert_eq!(ask(path).status, 308, "{path}");
    }
}
