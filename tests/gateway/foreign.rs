//! Clients that came to the wrong port are told so in their own protocol.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::certificates::CertificateFolder;
use crate::clients::has;
use crate::gateway::{Gateway, Launch};
use crate::messages::{Ending, Reply, Request, connect, exchange};
use crate::wait::until;

fn with_tls(folder: &CertificateFolder) -> Gateway {
    let config = format!(
        "loops = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}",
        folder.table("server")
    );
    Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() })
}

fn counts(gateway: &Gateway, name: &str, value: u64) {
    until(&format!("{name} is {value}"), || (gateway.counter(name) == value).then_some(()));
}

#[test]
fn openssl_is_told_that_no_version_of_tls_is_spoken() {
    if !has("openssl", "version") {
        return;
    }
    let gateway = Gateway::start();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &gateway.address().to_string()]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alert protocol version"), "{said}");
    counts(&gateway, "refused_tls", 1);
}

#[test]
fn curl_is_told_to_use_http_1_1() {
    if !has("curl", "--version") {
        return;
    }
    let gateway = Gateway::start();
    let mut command = Command::new("curl");
    command.args(["--disable", "--noproxy", "*", "--verbose", "--http2-prior-knowledge"]);
    command.arg(format!("http://{}/", gateway.address()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    counts(&gateway, "refused_http2", 1);
    // What it makes of the frames depends on its version; these are they.
    let answer = exchange(gateway.address(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Ending::Open);
    assert!(answer.starts_with(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), "SETTINGS: {answer:?}");
    assert_eq!(answer[12..26], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13], "GOAWAY: {answer:?}");
}

#[test]
fn clients_are_recognised_by_their_first_bytes_on_both_kinds_of_ports() {
    let folder = CertificateFolder::new();
    for (gateway, speaks) in
        [(Gateway::start(), "HTTP/1.1 and WebSocket"), (with_tls(&folder), "TLS")]
    {
        for (bytes, answered, counter) in [
            (
                &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
                format!("This port speaks {speaks}, not SSH.\r\n"),
                "ssh",
            ),
            (
                b"EHLO a.example\r\n",
                format!("554 This port speaks {speaks}, not SMTP.\r\n"),
                "smtp",
            ),
        ] {
            let answer = exchange(gateway.address(), bytes, Ending::Open);
            assert_eq!(String::from_utf8_lossy(&answer), answered);
            counts(&gateway, &format!("refused_{counter}"), 1);
        }
        let answer =
            exchange(gateway.address(), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Ending::Open);
        let reply = Reply::parse(&answer);
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains("takes no PROXY protocol"), "{}", reply.text());
        counts(&gateway, "refused_proxy_header", 1);
        assert_eq!(gateway.counter("refused_malformed"), 0);
    }
}

#[test]
fn first_bytes_may_come_one_by_one() {
    let folder = CertificateFolder::new();
    for gateway in [Gateway::start(), with_tls(&folder)] {
        let mut stream = connect(gateway.address());
        for byte in b"SSH-2" {
            stream.write_all(&[*byte]).unwrap();
        }
        let mut received = String::new();
        std::io::Read::read_to_string(&mut stream, &mut received).unwrap();
        assert!(received.ends_with("not SSH.\r\n"), "{received}");
    }
    // Begins as HTTP/2 does, and is none.
    let gateway = Gateway::start();
    let mut stream = connect(gateway.address());
    for byte in Request::of_line("PROPFIND / HTTP/1.1").with("Host", "localhost").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut received = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut received).unwrap();
    assert_eq!(Reply::parse(&received).status, 405);
}
