//! TLS: what clients get who do everything right, and each case of those who do not.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};

use crate::certificates::CertificateFolder;
use crate::clients::{below_root, curl, has, run};
use crate::frames::{BINARY, client_frame, sample_bytes};
use crate::gateway::{Gateway, Launch};
use crate::messages::{Reply, Request, connect};
use crate::skip::skip_without;
use crate::socket::Socket;
use crate::tls_client::TlsClient;
use crate::wait::until;

/// A gateway with one TLS listener, which has these further keys, behind these tables.
fn start(folder: &CertificateFolder, tables: &str, listener: &str) -> Gateway {
    let config = format!(
        "{tables}\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{listener}\n{}\n\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
         subprotocols = [\"v2.echo\", \"v1.echo\"]\n\
         [[route]]\npath = \"/takeover\"\nservice = \"echo\"\ndeflate_bytes_min = 1\n\
         deflate_context_takeover = true\ndeflate_window_bits_max = 11\n\
         [[route]]\npath = \"/\"\nservice = \"page\"\n",
        folder.table("server"),
    );
    Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() })
}

fn usual(folder: &CertificateFolder) -> Gateway {
    start(folder, "loops = 2", "")
}

#[test]
fn messages_are_echoed_in_both_versions() {
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    for version in [&TLS12, &TLS13] {
        let client = TlsClient::of_versions(&folder, &[version]);
        let mut socket = client.open(gateway.address()).unwrap();
        for bytes in [0, 1, 125, 126, 16_000, 16_384, 65_536, 1_000_000] {
            socket.assert_echoes(&sample_bytes(bytes));
        }
        assert_eq!(socket.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(!socket.is_resumed());
        drop(socket);
        let mut socket = client.open(gateway.address()).unwrap();
        socket.assert_echoes(b"again");
        assert!(socket.is_resumed(), "{version:?}");
    }
    let count = |name| gateway.counter(name);
    assert_eq!((count("tls_full"), count("tls_resumed")), (2, 2));
    assert_eq!((count("tls_12"), count("tls_13")), (2, 2));
}

#[test]
fn bytes_may_come_one_by_one() {
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut conn = TlsClient::new(&folder).connection();
    let mut stream = connect(gateway.address());
    let send = |conn: &mut ClientConnection, stream: &mut TcpStream| {
        let mut bytes = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut bytes).unwrap();
        }
        for byte in bytes {
            stream.write_all(&[byte]).unwrap();
        }
    };
    while conn.is_handshaking() {
        send(&mut conn, &mut stream);
        if conn.is_handshaking() && conn.wants_read() {
            assert!(conn.read_tls(&mut stream).unwrap() > 0);
            conn.process_new_packets().unwrap();
        }
    }
    conn.writer().write_all(&Request::upgrade("/echo").bytes()).unwrap();
    conn.writer().write_all(&client_frame(BINARY, b"one by one")).unwrap();
    send(&mut conn, &mut stream);
    let mut received = Vec::new();
    while !received.ends_with(b"one by one") {
        assert!(conn.read_tls(&mut stream).unwrap() > 0);
        conn.process_new_packets().unwrap();
        let mut room = [0; 4096];
        while let Ok(count @ 1..) = conn.reader().read(&mut room) {
            received.extend_from_slice(&room[..count]);
        }
    }
}

#[test]
fn plain_http_on_a_tls_port_is_told_so() {
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut stream = connect(gateway.address());
    stream.write_all(&Request::get("/").bytes()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("an orderly end");
    let reply = Reply::parse(&received);
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("https://"), "{}", reply.text());
    gateway.assert_counter("tls_failed_plain_http", 1);
}

#[test]
fn tls_on_a_plain_port_ends_at_once() {
    let folder = CertificateFolder::new();
    let gateway = Gateway::start();
    let error = TlsClient::new(&folder).connect(gateway.address()).unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    gateway.assert_counter("refused_tls", 1);
}

#[test]
fn garbage_is_answered_by_an_alert() {
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut garbage = vec![0x80, 0x2E, 1, 0, 2];
    garbage.extend([0; 600]);
    // No record; a record that is none of the handshake; a handshake record of nonsense; one that is
    // longer than any may be.
    for bytes in
        [&garbage[..], &[23, 3, 3, 0, 1, 0], &[22, 3, 1, 0, 4, 9, 9, 9, 9], &[22, 3, 1, 255, 255]]
    {
        let mut stream = connect(gateway.address());
        stream.write_all(bytes).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("an orderly end");
        assert_eq!(received.get(..3), Some(&[21, 3, 3][..]), "{received:?} for {bytes:?}");
    }
    gateway.assert_counter("tls_failed_malformed", 4);
    TlsClient::new(&folder).open(gateway.address()).unwrap().assert_echoes(b"still there");
}

#[test]
fn handshakes_that_stop_end_in_time() {
    let folder = CertificateFolder::new();
    let gateway = start(&folder, "[timeouts]\nhandshake_ms = 100", "");
    let hello = {
        let mut bytes = Vec::new();
        TlsClient::new(&folder).connection().write_tls(&mut bytes).unwrap();
        bytes
    };
    let received = |bytes: &[u8]| -> Vec<u8> {
        let mut stream = connect(gateway.address());
        // On a busy machine it may be over before this is written.
        let _ = stream.write_all(bytes);
        let mut received = Vec::new();
        // Closed, or reset where bytes of it lay unread.
        let _ = stream.read_to_end(&mut received);
        received
    };
    for bytes in [&[][..], &hello[..3], &hello[..100]] {
        assert_eq!(received(bytes), b"");
    }
    let mut count: u64 = 3;
    until("the hello came in time", || {
        count += 1;
        (!received(&hello).is_empty()).then_some(())
    });
    gateway.assert_counter("handshakes_timed_out", count);
}

#[test]
fn versions_below_the_least_are_refused() {
    let folder = CertificateFolder::new();
    let gateway = start(&folder, "[tls]\nversion_min = \"1.3\"", "");
    let error = TlsClient::of_versions(&folder, &[&TLS12]).connect(gateway.address()).unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    TlsClient::new(&folder).open(gateway.address()).unwrap();
    gateway.assert_counter("tls_failed_incompatible", 1);
}

#[test]
fn unknown_names_get_the_first_certificate_or_none() {
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    // The client looks at the certificate that it gets, and that is for another name.
    let other = TlsClient::new(&folder).asking_for("other.example");
    let error = other.connect(gateway.address()).unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    gateway.assert_counter("tls_failed_by_peer", 1);

    let gateway = start(&folder, "[tls]\nunknown_sni = \"refuse\"", "");
    let error = other.connect(gateway.address()).unwrap_err();
    // RFC 6066 §3.
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    gateway.assert_counter("tls_failed_name", 1);
    TlsClient::new(&folder).open(gateway.address()).unwrap();
}

#[test]
fn certificates_of_clients_are_asked_for_and_verified() {
    let folder = CertificateFolder::new();
    folder.write_pair("stranger", &folder.authority.client("stranger"));
    let keys = |mode: &str| {
        let file = folder.file("client-ca.pem");
        format!("client_certificates = {mode:?}\nclient_ca = {:?}", file.display().to_string())
    };
    let (none, own, stranger) = (
        TlsClient::new(&folder),
        TlsClient::new(&folder).with_certificate(&folder, "client"),
        TlsClient::new(&folder).with_certificate(&folder, "stranger"),
    );
    // With TLS 1.3 a client hears of its refusal only when it reads.
    let is_let_in = |client: &TlsClient, address| client.open(address).is_ok();
    for (mode, lets_in) in [("optional", [true, true, false]), ("required", [false, true, false])] {
        let gateway = start(&folder, "loops = 1", &keys(mode));
        for (client, lets_in) in [&none, &own, &stranger].into_iter().zip(lets_in) {
            assert_eq!(is_let_in(client, gateway.address()), lets_in, "{mode}");
        }
        let failed = lets_in.iter().filter(|own| !**own).count();
        gateway.assert_counter("tls_failed_certificate", failed as u64);
    }
}

#[test]
fn an_end_without_a_notice_is_counted() {
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let socket = TlsClient::new(&folder).open(gateway.address()).unwrap();
    socket.stream.sock.shutdown(Shutdown::Write).unwrap();
    let mut stream = socket.stream;
    let mut rest = Vec::new();
    // Our own end is announced.
    stream.read_to_end(&mut rest).expect("a notice of the end");
    gateway.assert_counter("tls_truncated", 1);

    let mut socket = TlsClient::new(&folder).open(gateway.address()).unwrap();
    socket.stream.conn.send_close_notify();
    socket.stream.conn.complete_io(&mut socket.stream.sock).unwrap();
    socket.stream.read_to_end(&mut rest).expect("a notice of the end");
    gateway.assert_counter("closed_gone", 2);
    gateway.assert_counter("tls_truncated", 1);
}

#[test]
fn line_clients_speak_tls_too() {
    let folder = CertificateFolder::new();
    let gateway = {
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nkind = \"line\"\nroute = \"/echo\"\ntls = true\n\
             {}[[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
            folder.table("server"),
        );
        Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() })
    };
    let address = gateway.line_addresses(1)[0];
    let mut socket = TlsClient::new(&folder).connect(address).unwrap();
    socket.stream.write_all(b"first\nsecond\n").unwrap();
    let mut received = Vec::new();
    while received.len() < b"first\nsecond\n".len() {
        let mut room = [0; 100];
        let count = socket.stream.read(&mut room).unwrap();
        received.extend_from_slice(&room[..count]);
    }
    assert_eq!(received, b"first\nsecond\n");
    // Who is silent is no member yet.
    let _silent = connect(address);
    gateway.assert_counter("line_clients", 1);
}

#[test]
fn plain_and_tls_listeners_stand_side_by_side() {
    let folder = CertificateFolder::new();
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}\
         [[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
        folder.table("server"),
    );
    let gateway =
        Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() });
    let addresses: Vec<SocketAddr> = until("both listen", || {
        let lines = gateway.log_lines();
        let found = lines.iter().filter_map(|line| {
            line.split_once("listening on ")?.1.split_once(": ")?.0.parse().ok()
        });
        Some(found.collect::<Vec<_>>()).filter(|found| found.len() == 2)
    });
    Socket::open(addresses[0]).assert_echoes(b"plain");
    TlsClient::new(&folder).open(addresses[1]).unwrap().assert_echoes(b"sealed");
}

#[test]
fn curl_gets_a_page() {
    if !has("curl", "--version") {
        return;
    }
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let ca = folder.file("ca.pem").display().to_string();
    let url = format!("https://localhost:{}/", gateway.address().port());
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let arguments = [&["--fail", "--cacert", &ca][..], version, &[&url]].concat();
        assert!(curl(&arguments).stdout.starts_with(b"<!doctype html>"));
    }
}

#[test]
fn python_websockets_passes_its_battery_over_tls() {
    let python = below_root("target/clients/python/bin/python");
    if !python.exists() {
        return skip_without("Python websockets, which scripts/install-clients installs");
    }
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/battery.py"));
    command.arg(format!("wss://localhost:{}/echo", gateway.address().port()));
    command.env("SSL_CERT_FILE", folder.file("ca.pem"));
    run(command);
}

#[test]
fn node_ws_passes_its_battery_over_tls() {
    let clients = below_root("target/clients");
    if !clients.join("node_modules/ws").exists() {
        return skip_without("Node ws, which scripts/install-clients installs");
    }
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut command = Command::new("node");
    command.arg(below_root("tests/clients/battery.mjs"));
    command.arg(format!("wss://localhost:{}/echo", gateway.address().port())).arg(clients);
    command.env("NODE_EXTRA_CA_CERTS", folder.file("ca.pem"));
    run(command);
}

#[test]
fn the_http_client_of_java_is_echoed() {
    if !has("java", "--version") {
        return;
    }
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut command = Command::new("java");
    command.arg(below_root("tests/clients/Echo.java"));
    command.arg(format!("wss://localhost:{}/echo", gateway.address().port()));
    command.arg(folder.file("ca.pem"));
    run(command);
}

/// `K` makes new keys and asks for new ones of ours, `k` makes only its own (openssl-s_client(1)).
#[test]
fn openssl_updates_keys_both_ways() {
    if !has("openssl", "version") {
        return;
    }
    let folder = CertificateFolder::new();
    let gateway = usual(&folder);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &gateway.address().to_string(), "-CAfile"]);
    command.arg(folder.file("ca.pem")).args(["-verify_return_error", "-tls1_3", "-crlf"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    gateway.assert_counter("tls_13", 1);
    for (number, command) in (1..).zip(["K", "k", "K"]) {
        // A command counts only at the start of what the program reads at once.
        stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
        gateway.assert_counter("tls_key_updates", number);
    }
    stdin.write_all(b"GET / HTTP/1.1\nHost: localhost\n\n").unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.wait().unwrap();
    assert!(output.contains("HTTP/1.1 200 OK"), "{output}");
    assert!(output.trim_end().ends_with("closed"), "{output}");
}
