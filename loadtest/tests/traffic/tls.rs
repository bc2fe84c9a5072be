//! The commands over TLS, against servers that speak it and servers that do not.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::tls::Certificate;
use crate::support::{answer, idle, loadtest, outcome, pass, start, wait_for_end};
use crate::{run, run_failing, run_successfully};

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
const ONE: [&str; 6] = ["--connections", "1", "--seconds", "0.2", "--warm-up-seconds", "0.1"];
const CHURN: [&str; 6] = ["--concurrency", "4", "--seconds", "0.5", "--warm-up-seconds", "0.1"];

#[test]
fn echoes_of_any_size_come_back_over_both_versions() {
    let certificate = Certificate::new();
    let address = certificate.serve_echo(&BOTH);
    for (version, shown) in [("1.3", "TLSv1_3"), ("1.2", "TLSv1_2")] {
        for bytes in ["0", "128", "16384", "300000"] {
            let options = ["--connections", "3", "--in-flight", "4", "--bytes", bytes];
            let times = ["--seconds", "0.2", "--warm-up-seconds", "0.1", "--tls-version", version];
            let options = [&options[..], &times, &certificate.trust()].concat();
            let report = run_successfully("echo", address, &options);
            assert!(report["messages"].as_u64().unwrap() > 0, "{report:#}");
            let tls = &report["tls"];
            assert_eq!(tls["version"], shown);
            assert_eq!(tls["full_handshakes"], 3);
            assert_eq!(tls["is_certificate_verified"], true);
        }
    }
}

#[test]
fn a_server_that_asks_for_certificates_is_shown_one() {
    let (certificate, client) = (Certificate::new(), Certificate::naming("device"));
    let address = certificate.serve_echo_to(&client);
    let own = ["--client-certificate", client.certificate.to_str().unwrap()];
    let key = ["--client-key", client.key.to_str().unwrap()];
    for version in ["1.3", "1.2"] {
        let times = ["--tls-version", version];
        let options = [&ONE[..], &own, &key, &times, &certificate.trust()].concat();
        let report = run_successfully("echo", address, &options);
        assert_eq!(report["tls"]["full_handshakes"], 1);
    }
    let without = [&ONE[..], &certificate.trust()].concat();
    run_failing("echo", address, &without, "CertificateRequired");
}

#[test]
fn the_cipher_and_the_group_can_be_chosen() {
    let certificate = Certificate::new();
    let address = certificate.serve_echo(&BOTH);
    for (cipher, suite, group, shown) in [
        ("aes-128-gcm", "TLS13_AES_128_GCM_SHA256", "x25519", "X25519"),
        ("aes-256-gcm", "TLS13_AES_256_GCM_SHA384", "p-256", "secp256r1"),
        ("chacha20-poly1305", "TLS13_CHACHA20_POLY1305_SHA256", "p-384", "secp384r1"),
    ] {
        let options = ["--tls-cipher", cipher, "--tls-group", group];
        let options = [&ONE[..], &options, &certificate.trust()].concat();
        let report = run_successfully("echo", address, &options);
        assert_eq!(
            (&report["tls"]["cipher_suite"], &report["tls"]["group"]),
            (&suite.into(), &shown.into())
        );
    }
}

#[test]
fn sessions_are_resumed_only_on_request() {
    let certificate = Certificate::new();
    let address = certificate.serve_echo(&BOTH);
    for version in ["1.3", "1.2"] {
        let options = ["--tls-version", version];
        let options = [&CHURN[..], &options, &certificate.trust()].concat();
        let report = run_successfully("churn", address, &options);
        assert_eq!(report["tls"]["resumed_handshakes"], 0);
        assert!(report["connect_to_tls"]["count"].as_u64().unwrap() > 0);

        let report = run_successfully("churn", address, &[&options[..], &["--resume"]].concat());
        let [full, resumed] = ["full", "resumed"]
            .map(|kind| report["tls"][format!("{kind}_handshakes")].as_u64().unwrap());
        // Those that are under way before the first ticket arrives.
        assert!(full <= 4 && resumed > 0, "{full} full, {resumed} resumed");
    }
}

#[test]
fn idle_connections_are_held_and_close_properly() {
    let certificate = Certificate::new();
    let address = certificate.serve_echo(&BOTH);
    let options = [&["--connections", "20"][..], &certificate.trust()].concat();
    let run = outcome(&idle(address, &options).output().unwrap());
    assert_eq!(run.exit_code, 0, "{}\n{:#}", run.stderr, run.report);
    for cycle in run.report["cycle_reports"].as_array().unwrap() {
        assert_eq!(cycle["pongs_verified"], 20);
        assert_eq!(cycle["connections_closed"], 20);
    }
    assert!(run.report["tls"]["full_handshakes"].as_u64().unwrap() >= 40);
}

#[test]
fn a_certificate_must_be_trusted_and_be_for_the_host() {
    let certificate = Certificate::naming("gateway.example");
    let address = certificate.serve_echo(&BOTH);
    let other = Certificate::new();
    run_failing("echo", address, &[&ONE[..], &other.trust()].concat(), "invalid peer certificate");
    run_failing(
        "echo",
        address,
        &[&ONE[..], &certificate.trust()].concat(),
        "certificate not valid for name",
    );

    let insecure = run("echo", address, &[&ONE[..], &["--tls", "--insecure"]].concat());
    assert_eq!(insecure.exit_code, 0, "{}", insecure.stderr);
    assert!(insecure.stderr.contains("NOT verified"), "{}", insecure.stderr);
    assert_eq!(insecure.report["tls"]["is_certificate_verified"], false);
}

#[test]
fn a_secure_url_is_enough() {
    let certificate = Certificate::new();
    let address = certificate.serve_echo(&BOTH);
    let mut command = loadtest("echo", address);
    command.args(ONE).args(&certificate.trust()[1..]);
    command.args(["--address", &format!("wss://{address}/echo")]);
    let run = outcome(&command.output().unwrap());
    assert_eq!(run.exit_code, 0, "{}", run.stderr);
    assert_eq!(run.report["address"], address.to_string());
    assert_eq!(run.report["tls"]["full_handshakes"], 1);
}

#[test]
fn servers_that_break_off_or_speak_no_tls_are_caught() {
    let plain = start(|_, stream| answer(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let options = [&ONE[..], &["--tls", "--insecure"]].concat();
    run_failing("echo", plain, &options, "does not answer with TLS");

    let leaving = start(|_, mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    run_failing("echo", leaving, &options, "during the TLS handshake");

    let silent = start(|_, stream| wait_for_end(stream));
    let options = [&options[..], &["--timeout", "0.3"]].concat();
    run_failing("echo", silent, &options, "no complete TLS handshake within 0.3 s");

    let certificate = Certificate::new();
    let mute = certificate.serve(&BOTH, |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        pass(Duration::from_secs(1));
        let _ = stream.write_all(b"late");
    });
    run_failing("echo", mute, &options, "no complete answer to the upgrade request within 0.3 s");
}

#[test]
fn the_options_of_tls_need_it() {
    for options in [&["--insecure"][..], &["--ca", "x.pem"], &["--tls", "--ca", "/nowhere.pem"]] {
        let run = run("echo", ([127, 0, 0, 1], 9).into(), options);
        assert_eq!(run.exit_code, 2, "{options:?}: {}", run.stderr);
    }
}
