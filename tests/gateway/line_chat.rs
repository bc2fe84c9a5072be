//! The console chat: plain TCP clients, one line for one message, in the same rooms as WebSocket
//! clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::chat_client::ChatClient;
use crate::gateway::{Gateway, Launch};
use crate::messages::connect;
use crate::skip::skip_without;

/// A gateway with a line listener on `/console`, whose names are addresses, and one on the hub's
/// room.
struct Console {
    gateway: Gateway,
    address: SocketAddr,
    hub: SocketAddr,
}

impl Console {
    fn start() -> Self {
        let gateway =
            Gateway::launch(&Launch { toml: Some(CONFIG), listen: None, ..Launch::default() });
        let [address, hub] = gateway.line_addresses(2)[..] else { panic!("two line listeners") };
        Self { gateway, address, hub }
    }
}

const CONFIG: &str = r#"
loops = 4
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
kind = "line"
route = "/console"
[[listener]]
address = "127.0.0.1:0"
kind = "line"
route = "/ws"
[[route]]
path = "/console"
service = "room"
name = "address"
line = "console"
[[route]]
path = "/ws"
service = "room"
name = "first"
line = "named"
newlines = "space"
message_bytes_max = 512
"#;

fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the connection ended");
    line
}

#[test]
fn a_line_goes_to_all_with_the_address_of_its_sender() {
    let console = Console::start();
    let mut one = connect(console.address);
    let mut other = connect(console.address);
    let mut one_reads = BufReader::new(one.try_clone().unwrap());
    let mut other_reads = BufReader::new(other.try_clone().unwrap());
    let names = [one.local_addr().unwrap(), other.local_addr().unwrap()];
    other.write_all(b"first\n").unwrap();
    assert_eq!(line(&mut other_reads), format!("{}:first\n", names[1]), "its sender hears it too");
    one.write_all(b"hello\r\n").unwrap();
    let expected = format!("{}:hello\n", names[0]);
    while line(&mut one_reads) != expected {}
    assert_eq!(line(&mut other_reads), expected);
    one.write_all(b"quit\n").unwrap();
    assert_eq!(one_reads.read(&mut [0]).unwrap(), 0, "quit ends it");
}

#[test]
fn lines_and_websockets_share_a_room() {
    let console = Console::start();
    let mut websocket = ChatClient::join(console.gateway.address(), "/ws");
    websocket.send_text("web");
    let mut plain = connect(console.hub);
    let mut plain_reads = BufReader::new(plain.try_clone().unwrap());
    plain.write_all(b"console\nhello\n").unwrap();
    assert_eq!(websocket.receive_text(), "console: hello");
    assert_eq!(line(&mut plain_reads), "console: hello\n");
    websocket.send_text("two\nlines");
    assert_eq!(line(&mut plain_reads), "web: two lines\n");
    // A FIN ends the last line, which has no line break.
    plain.write_all(b"last line").unwrap();
    plain.shutdown(Shutdown::Write).unwrap();
    assert_eq!(websocket.receive_text(), "web: two lines");
    assert_eq!(websocket.receive_text(), "console: last line");
}

#[test]
fn terminals_of_line_clients_get_no_control_characters() {
    let console = Console::start();
    let mut plain = connect(console.hub);
    let mut plain_reads = BufReader::new(plain.try_clone().unwrap());
    plain.write_all(b"console\nhello\n").unwrap();
    assert_eq!(line(&mut plain_reads), "console: hello\n");
    let mut websocket = ChatClient::join(console.gateway.address(), "/ws");
    websocket.send_text("web");
    websocket.send_text("\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}\ttab");
    let escaped = "web: \\u{1b}]0;x\\u{7}\\u{9b}2J\\u{7f}\\u{202e}\ttab\n";
    assert_eq!(line(&mut plain_reads), escaped);
    // A line client writes to other line clients too.
    plain.write_all(b"\x1b[2J\n").unwrap();
    assert_eq!(line(&mut plain_reads), "console: \\u{1b}[2J\n");
}

#[test]
fn clients_of_other_protocols_are_refused_with_one_line() {
    let console = Console::start();
    let mut witness = ChatClient::join(console.gateway.address(), "/ws");
    witness.send_text("witness");
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    ] {
        for address in [console.address, console.hub] {
            let mut plain = connect(address);
            plain.write_all(bytes).unwrap();
            let mut answer = String::new();
            plain.read_to_string(&mut answer).unwrap();
            assert_eq!(answer.lines().count(), 1, "{answer}");
            assert!(answer.contains("this port takes lines of text"), "{answer}");
        }
    }
    // Later lines may say anything, and the room has heard nothing before.
    let mut plain = connect(console.hub);
    plain.write_all(b"bob\nGET / HTTP/1.1\n").unwrap();
    assert_eq!(witness.receive_text(), "bob: GET / HTTP/1.1");
}

#[test]
fn a_bad_line_is_answered_with_one_line_and_the_connection_ends() {
    let console = Console::start();
    for bad in [&b"name\n\xFF\xFE\n"[..], &[b"name\n", &[b'x'; 600][..]].concat()] {
        let mut plain = connect(console.hub);
        plain.write_all(bad).unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.lines().count(), 1, "{answer}");
    }
}

#[test]
fn nc_can_join_a_room() {
    let console = Console::start();
    let mut witness = ChatClient::join(console.gateway.address(), "/ws");
    witness.send_text("witness");
    let port = console.hub.port().to_string();
    let nc = Command::new("nc")
        .args(["127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut nc) = nc else { return skip_without("nc") };
    let mut input = nc.stdin.take().unwrap();
    let mut output = BufReader::new(nc.stdout.take().unwrap());
    input.write_all(b"netcat\nhello from nc\n").unwrap();
    assert_eq!(witness.receive_text(), "netcat: hello from nc");
    let mut received = String::new();
    output.read_line(&mut received).unwrap();
    assert_eq!(received, "netcat: hello from nc\n");
    input.write_all(b"quit\n").unwrap();
    drop(input);
    assert!(nc.wait().unwrap().success());
}
