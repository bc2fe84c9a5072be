//! Certificates of a process: what is wrong at start, `--check`, and files that change.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};

use crate::certificates::{CertificateFolder, Issued};
use crate::gateway::{Gateway, Launch, config_file, run_to_end};
use crate::tls_client::TlsClient;
use crate::wait::until;

fn config(folder: &CertificateFolder) -> String {
    format!(
        "loops = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}",
        folder.table("server")
    )
}

#[test]
fn a_pair_that_does_not_belong_together_ends_the_start_with_status_2() {
    let folder = CertificateFolder::new();
    let key = std::fs::read_to_string(folder.file("client.key")).unwrap();
    folder.write("server.key", &key);
    let file = config_file(&config(&folder));
    let path = file.path().to_str().unwrap();
    for arguments in [&["--config", path][..], &["--check", "--config", path]] {
        let output = run_to_end(arguments);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        let reason = "the file holds a key that does not belong to the certificate\n";
        assert!(said.ends_with(reason), "{said}");
        assert!(said.contains("tidegate: certificate[0].key = "), "{said}");
    }
}

#[test]
fn check_shows_the_certificates_with_their_names_and_ends() {
    let folder = CertificateFolder::new();
    folder.write_pair("server", &folder.authority.server_until(&["a.example"], 2020, 1, 1));
    let file = config_file(&config(&folder));
    let output = run_to_end(&["--check", "--config", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = "certificate[0] for a.example is valid until 2020-01-01T00:00:00Z";
    assert!(text.contains("# TLS on 127.0.0.1:0, with:\n"), "{text}");
    assert!(text.contains(&format!("#   {line}\n")), "{text}");
    assert!(text.contains(&format!("# Warning: {line}: it HAS EXPIRED")), "{text}");
}

#[test]
fn changed_files_are_taken_over_and_bad_ones_are_said() {
    let folder = CertificateFolder::new();
    let mut gateway = Gateway::launch(&Launch {
        toml: Some(&config(&folder)),
        listen: None,
        ..Launch::default()
    });
    gateway.logged("certificate[0] for localhost, 127.0.0.1, ::1 is valid until");
    folder.write_pair("server", &folder.authority.server(&["first.example"]));
    gateway.logged("reloaded: certificate[0] for first.example is valid until");

    // Links are replaced, as certbot does it.
    for (name, ending) in [("server", "pem"), ("server", "key")] {
        let issued = folder.file(&format!("{name}.{ending}"));
        let target = folder.file(&format!("archive.{ending}"));
        std::fs::rename(&issued, &target).unwrap();
        std::os::unix::fs::symlink(&target, &issued).unwrap();
    }
    folder.write_pair("archive", &folder.authority.server(&["second.example"]));
    gateway.logged("reloaded: certificate[0] for second.example is valid until");
    gateway.signal(Signal::USR1);
    // As it is now, and without a word about a change.
    gateway.logged("] certificate[0] for second.example is valid until");

    folder.write("server.pem", "no certificate");
    gateway.logged("the file holds no certificate in PEM; what was loaded before is served on");
    gateway.signal(Signal::HUP);
    gateway.logged("SIGHUP: certificates are looked at again");
    gateway.assert_counter("certificates_reloaded", 2);
    assert!(gateway.counter("certificate_reloads_failed") >= 1);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

/// Connects, has a message echoed and leaves, over and over with full handshakes, and tells the
/// certificate of each. Returns how often, once no one listens any more.
fn connect_over_and_over(
    client: &TlsClient,
    address: SocketAddr,
    shown: &Sender<CertificateDer<'static>>,
) -> u64 {
    for count in 1.. {
        let mut socket = client.open(address).expect("a handshake");
        assert!(!socket.is_resumed());
        socket.assert_echoes(b"under load");
        let certificate = socket.certificate();
        socket.stream.conn.send_close_notify();
        socket.stream.conn.complete_io(&mut socket.stream.sock).unwrap();
        if shown.send(certificate).is_err() {
            return count;
        }
    }
    unreachable!("the count ends before")
}

/// Waits until a client is shown this certificate.
fn sees(shown: &Receiver<CertificateDer<'static>>, issued: &Issued) {
    let expected = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    until("the certificate is shown", || {
        shown.try_iter().any(|certificate| certificate == expected).then_some(())
    });
}

#[test]
fn a_hundred_swaps_under_load_fail_no_handshake() {
    const SWAPS: u64 = 100;
    let folder = CertificateFolder::new();
    // However long it takes, the connection that stays is sent nothing meanwhile.
    let routes =
        "[[route]]\npath = \"/echo\"\nservice = \"echo\"\n[timeouts]\nping_idle_ms = 3600000\n";
    let config = format!("{}{routes}", config(&folder));
    let gateway =
        Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() });
    let address = gateway.address();
    let mut stays = TlsClient::new(&folder).open(address).unwrap();
    let clients = [&TLS12, &TLS13]
        .map(|version| TlsClient::of_versions(&folder, &[version]).without_resumption());
    let connected: u64 = thread::scope(|scope| {
        let (threads, shown): (Vec<_>, Vec<_>) = clients
            .iter()
            .map(|client| {
                let (sender, receiver) = mpsc::channel();
                (scope.spawn(move || connect_over_and_over(client, address, &sender)), receiver)
            })
            .unzip();
        for number in 1..=SWAPS {
            let issued = folder.authority.server(&["localhost"]);
            folder.write_pair("server", &issued);
            // Some are found only by the watch of the folder, which may see half of a pair first.
            if number % 10 != 0 {
                gateway.signal(Signal::HUP);
            }
            for shown in &shown {
                sees(shown, &issued);
            }
        }
        drop(shown);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(connected >= 2 * SWAPS);
    stays.assert_echoes(b"open since before the first");
    gateway.assert_counter("certificates_reloaded", SWAPS);
    gateway.assert_counter("tls_full", connected + 1);
    let failed = gateway.log_lines().into_iter().rfind(|line| line.contains(" tls_failed_"));
    assert_eq!(failed, None);
}
