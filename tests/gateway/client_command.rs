//! `tidegate client` as a process: at a terminal, in pipes, and with servers that misbehave.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

use crate::gateway::{Gateway, Log, PROGRAM, run_to_end};
use crate::wait::until;

/// A running client.
#[derive(Debug)]
struct Client {
    child: Child,
    stdout: Log,
    stderr: Log,
}

impl Client {
    /// Starts the program against this address and path, with a pipe to type into.
    fn start(address: SocketAddr, path: &str, arguments: &[&str]) -> Self {
        Self::start_with_input(address, path, arguments, Stdio::piped())
    }

    fn start_with_input(address: SocketAddr, path: &str, arguments: &[&str], input: Stdio) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("client").arg(format!("ws://{address}{path}")).args(arguments);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = Log::follow(child.stdout.take().unwrap());
        let stderr = Log::follow(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn end_input(&mut self) {
        self.child.stdin = None;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line with `text` on standard error.
    fn logs(&self, text: &str) {
        until(&format!("`{text}` on standard error: {:?}", self.stderr.lines()), || {
            self.stderr.lines().iter().any(|line| line.contains(text)).then_some(())
        });
    }

    /// Waits for exactly these lines on standard output.
    fn prints(&self, lines: &[&str]) {
        until(&format!("{lines:?} on standard output"), || {
            (self.stdout.lines() == lines).then_some(())
        });
    }

    fn exit_status(&mut self) -> ExitStatus {
        until("the client ends", || self.child.try_wait().unwrap())
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.exit_status().code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves one connection on a free port.
fn serve_one<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Reads a request's head and answers with these pieces, one write for each. `ACCEPT` in a piece
/// stands for the value that belongs to the request's key.
fn answer(stream: &mut TcpStream, pieces: &[&str]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    for piece in pieces {
        stream.write_all(piece.replace("ACCEPT", &accept).as_bytes()).unwrap();
    }
}

/// Reads until the client has closed.
fn read_to_end(mut websocket: WebSocket<TcpStream>) {
    while websocket.read().is_ok() {}
}

#[test]
fn lines_are_echoed_and_the_end_of_a_pipe_closes_with_1000() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/echo", &[]);
    client.logs(&format!("connected to ws://{}/echo", gateway.address()));
    client.send("hello\n张三".as_bytes());
    client.prints(&["hello"]);
    client.send(" 你好\r\n\nno end".as_bytes());
    client.prints(&["hello", "张三 你好", ""]);
    client.end_input();
    assert_eq!(client.exit_code(), Some(0));
    client.prints(&["hello", "张三 你好", "", "no end"]);
    client.logs("closed with 1000");
    gateway.assert_counter("closed_by_peer", 1);
}

#[test]
fn much_input_comes_back_whole() {
    const LINES: usize = 4000;
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/echo", &[]);
    let mut lines: Vec<String> = (0..LINES).map(|at| format!("{at} {}", "x".repeat(at))).collect();
    lines.push("y".repeat(1 << 20));
    lines.push("last".to_owned());
    client.send((lines.join("\n") + "\n").as_bytes());
    client.end_input();
    assert_eq!(client.exit_code(), Some(0));
    until("all lines are printed", || (client.stdout.lines().len() >= lines.len()).then_some(()));
    assert!(client.stdout.lines() == lines, "the same lines in the same order");
}

#[test]
fn a_line_that_cannot_be_a_text_message_is_named_and_not_sent() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/echo", &[]);
    client.send(b"one\n\xff\xfe\n");
    client.send(&[b'x'; (1 << 20) + 1]);
    client.send(b"\nfour\n");
    client.logs("line 2 of the input was not sent: it is not UTF-8");
    client.logs("line 3 of the input was not sent: it is longer than 1048576 bytes");
    client.prints(&["one", "four"]);
    client.end_input();
    assert_eq!(client.exit_code(), Some(0));
    gateway.assert_counter("messages_in", 2);
}

#[test]
fn send_goes_on_until_it_is_interrupted() {
    let gateway = Gateway::start();
    for signal in [Signal::INT, Signal::TERM] {
        let arguments = ["--send", "hello", "--every", "20ms"];
        let input = Stdio::null();
        let mut client = Client::start_with_input(gateway.address(), "/echo", &arguments, input);
        until("several are sent", || (client.stdout.lines().len() >= 4).then_some(()));
        client.signal(signal);
        assert_eq!(client.exit_code(), Some(0));
        client.logs("closed with 1000");
        assert!(client.stdout.lines().iter().all(|line| line == "hello"));
    }
    gateway.assert_counter("closed_by_peer", 2);
}

#[test]
fn text_of_send_goes_out_first_and_input_is_sent_too() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/echo", &["--send=hi", "--every=1h"]);
    client.prints(&["hi"]);
    client.send(b"typed\n");
    client.prints(&["hi", "typed"]);
}

/// A terminal: what is written to the first is typed at the second.
fn terminal() -> (File, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap());
    (File::from(master), terminal.unwrap())
}

#[test]
fn at_a_terminal_control_d_closes_even_with_send() {
    const CONTROL_D: &[u8] = b"\x04";
    let gateway = Gateway::start();
    let (mut keyboard, terminal) = terminal();
    let arguments = ["--send", "hi", "--every", "1h"];
    let input = Stdio::from(terminal);
    let mut client = Client::start_with_input(gateway.address(), "/echo", &arguments, input);
    keyboard.write_all(b"typed\n").unwrap();
    until("both come back", || {
        let mut printed = client.stdout.lines();
        printed.sort_unstable();
        (printed == ["hi", "typed"]).then_some(())
    });
    keyboard.write_all(CONTROL_D).unwrap();
    assert_eq!(client.exit_code(), Some(0));
    client.logs("closed with 1000");
}

#[test]
fn control_characters_are_printed_as_escapes() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/echo", &[]);
    client.send("\u{1b}[2Jgone\ttab \u{9b}5m\u{7}\n".as_bytes());
    client.prints(&["\\u{1b}[2Jgone\ttab \\u{9b}5m\\u{7}"]);
}

#[test]
fn a_draining_gateway_is_exit_0() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/echo", &[]);
    client.logs("connected");
    gateway.signal(Signal::TERM);
    assert_eq!(client.exit_code(), Some(0));
    client.logs("closed by the server with 1001: ");
}

#[test]
fn a_refused_handshake_is_exit_3_with_status_and_reason() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/nowhere", &[]);
    assert_eq!(client.exit_code(), Some(3));
    client.logs("refused with HTTP 404 Not Found: nothing is served on this path");

    let (address, server) = serve_one(|mut stream| {
        let head = "HTTP/1.1 503 Busy\r\nContent-Length: 30\r\n\r\n";
        answer(&mut stream, &[head, "come ", "back \u{1b}[1mlater"]);
        stream.write_all(b"\nsecond line").unwrap();
    });
    let mut client = Client::start(address, "/", &[]);
    assert_eq!(client.exit_code(), Some(3));
    client.logs("refused with HTTP 503 Service Unavailable: come back \\u{1b}[1mlater");
    server.join().unwrap();
}

#[test]
fn lists_in_a_reply_are_read_as_lists() {
    for headers in [
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\n",
        "upgrade: h2c,WebSocket\r\nconnection: ,Upgrade, close\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: ,\r\n",
    ] {
        let (address, server) = serve_one(move |mut stream| {
            let head = format!("HTTP/1.1 101 OK\r\n{headers}Sec-WebSocket-Accept: ACCEPT\r\n\r");
            // The first message comes with the end of the head.
            answer(&mut stream, &[&head]);
            stream.write_all(b"\n\x81\x02hi").unwrap();
            let mut websocket = WebSocket::from_raw_socket(stream, Role::Server, None);
            websocket.close(None).unwrap();
            read_to_end(websocket);
        });
        let mut client = Client::start(address, "/", &[]);
        assert_eq!(client.exit_code(), Some(0), "{headers}");
        client.prints(&["hi"]);
        server.join().unwrap();
    }
}

#[test]
fn a_refusal_for_want_of_a_name_leads_to_the_option() {
    let gateway = Gateway::start();
    let mut client = Client::start(gateway.address(), "/chat", &[]);
    assert_eq!(client.exit_code(), Some(3));
    client.logs("?user=NAME (the option --user NAME adds it to the URL)");
}

#[test]
fn a_client_that_only_listens_as_documented_receives() {
    let gateway = Gateway::start();
    // In place of `tail -f /dev/null`: a pipe that stays open.
    let listener = Client::start(gateway.address(), "/chat", &["--user", "listener"]);
    listener.logs("connected");
    let mut speaker = Client::start(gateway.address(), "/chat", &["--user", "speaker"]);
    speaker.send(b"hello\n");
    listener.prints(&["hello -- FROM speaker"]);
    speaker.end_input();
    assert_eq!(speaker.exit_code(), Some(0));
}

#[test]
fn without_a_websocket_server_it_is_exit_1() {
    // Bound and not listening, so that no other process gets the port.
    let domain = socket2::Domain::IPV4;
    let taken = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let mut client = Client::start(address, "/echo", &[]);
    assert_eq!(client.exit_code(), Some(1));
    client.logs(&format!("cannot connect: {address}: Connection refused"));

    for (reply, message) in [
        ("", "Handshake not finished"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "not the answer of a WebSocket server"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "not the answer of a WebSocket server"),
    ] {
        let (address, server) = serve_one(move |mut stream| answer(&mut stream, &[reply]));
        let mut client = Client::start(address, "/", &[]);
        assert_eq!(client.exit_code(), Some(1), "{reply}");
        client.logs("cannot connect: ");
        client.logs(message);
        server.join().unwrap();
    }
}

#[test]
fn a_close_with_another_code_is_exit_4_and_is_logged() {
    for (code, exit_code) in [(4001, 4), (1011, 4), (1000, 0)] {
        let (address, server) = serve_one(move |stream| {
            let mut websocket = tungstenite::accept(stream).unwrap();
            websocket.send(Message::text("one thing more")).unwrap();
            websocket.send(Message::binary(vec![0; 300])).unwrap();
            let reason = "replaced\u{1b}c".into();
            websocket.close(Some(CloseFrame { code: code.into(), reason })).unwrap();
            read_to_end(websocket);
        });
        let mut client = Client::start(address, "/", &[]);
        assert_eq!(client.exit_code(), Some(exit_code));
        client.logs(&format!("closed by the server with {code}: replaced\\u{{1b}}c"));
        client.logs("binary, 300 bytes");
        client.prints(&["one thing more"]);
        server.join().unwrap();
    }
}

#[test]
fn a_connection_lost_without_a_close_frame_is_exit_1() {
    let (address, server) = serve_one(|stream| drop(tungstenite::accept(stream).unwrap()));
    let mut client = Client::start(address, "/", &[]);
    assert_eq!(client.exit_code(), Some(1));
    client.logs("connection lost: the server ended it without a close");
    server.join().unwrap();
}

#[test]
fn a_server_that_breaks_the_protocol_is_closed_with_1007_and_exit_1() {
    let (address, server) = serve_one(|stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        // A text message that is not UTF-8.
        websocket.get_mut().write_all(&[0x81, 1, 0xff]).unwrap();
        websocket.read().unwrap()
    });
    let mut client = Client::start(address, "/", &[]);
    assert_eq!(client.exit_code(), Some(1));
    client.logs("connection lost: UTF-8");
    let Message::Close(Some(frame)) = server.join().unwrap() else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1007);
}

#[test]
fn pings_are_answered_without_other_traffic() {
    let (address, server) = serve_one(|stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        websocket.send(Message::Ping("there?".into())).unwrap();
        let pong = websocket.read().unwrap();
        websocket.close(None).unwrap();
        read_to_end(websocket);
        pong
    });
    let mut client = Client::start(address, "/", &[]);
    assert_eq!(client.exit_code(), Some(0));
    client.logs("closed by the server without a code");
    assert_eq!(server.join().unwrap(), Message::Pong("there?".into()));
}

#[test]
fn user_headers_and_subprotocol_reach_the_server() {
    let (address, server) = serve_one(|stream| {
        let mut seen = None;
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let see = |request: &Request, mut response: Response| {
            seen = Some((request.uri().to_string(), request.headers().clone()));
            response.headers_mut().insert("Sec-WebSocket-Protocol", "v2".parse().unwrap());
            Ok(response)
        };
        let mut websocket = tungstenite::accept_hdr(stream, see).unwrap();
        websocket.close(None).unwrap();
        read_to_end(websocket);
        seen.unwrap()
    });
    let mut arguments =
        vec!["--user", "张 三", "--header", "X-Token: a: b", "--header", "Origin: null"];
    arguments.extend(["--header", "Sec-WebSocket-Protocol: v1, v2"]);
    let mut client = Client::start(address, "/chat?room=1", &arguments);
    assert_eq!(client.exit_code(), Some(0));
    let target = "/chat?room=1&user=%E5%BC%A0%20%E4%B8%89";
    client.logs(&format!("connected to ws://{address}{target}, subprotocol v2"));
    let (seen_target, headers) = server.join().unwrap();
    assert_eq!(seen_target, target);
    assert_eq!(headers["X-Token"], "a: b");
    assert_eq!(headers["Origin"], "null");
    assert_eq!(headers["Host"], address.to_string());
}

#[test]
fn a_second_signal_does_not_wait_for_the_close_frame() {
    let (address, server) = serve_one(|stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        // Reads the close frame without answering it: tungstenite would send the answer at the next
        // read.
        assert!(matches!(websocket.read(), Ok(Message::Close(Some(_)))));
        websocket
    });
    let mut client = Client::start(address, "/", &[]);
    client.logs("connected");
    client.signal(Signal::INT);
    let _stays_open = server.join().unwrap();
    client.signal(Signal::INT);
    assert_eq!(client.exit_status().signal(), Some(2));
}

#[test]
fn a_closed_standard_output_is_exit_1_after_a_close_frame() {
    let gateway = Gateway::start();
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(PROGRAM);
    command.arg("client").arg(format!("ws://{}/echo", gateway.address()));
    command.args(["--send", "hi"]).stdin(Stdio::null()).stdout(pipe).stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot print: Broken pipe"), "{stderr}");
    gateway.assert_counter("closed_by_peer", 1);
}

#[test]
fn wrong_usage_is_exit_2_with_a_message() {
    for (arguments, message) in [
        (&["client", "http://example.com/"][..], "must begin with ws://"),
        (&["client", "--insecure", "ws://h/"], "are for wss:// URLs"),
        (&["client", "--ca", "/nowhere.pem", "wss://h/"], "--ca /nowhere.pem: No such file"),
        (&["client", "--user", "ann", "ws://h/?user=bob"], "names a user already"),
        (&["client", "--user", ""], "--user"),
        (&["client", "--header", "X"], "must be written as `Name: value`"),
        (&["client", "--send", "hi", "--every", "6"], "time unit needed"),
        (&["client", "--every", "6s"], "--send"),
        (&["--check", "client"], "cannot be used with"),
        (&["client", "--listen", "127.0.0.1:0"], "--listen"),
    ] {
        let output = run_to_end(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    }
}
