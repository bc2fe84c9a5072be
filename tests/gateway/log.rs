//! The log: what `RUST_LOG` does, and standard error that is not read.

use std::io::{self, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process};

use crate::gateway::{Gateway, Log, PROGRAM};
use crate::messages::{Ending, Reply, exchange};
use crate::socket::Socket;
use crate::wait::until;

/// A gateway without a configuration whose standard error is this pipe.
fn start(rust_log: &str, stderr: io::PipeWriter) -> (Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut command = Command::new(PROGRAM);
    command.args(["--loops", "2", "--listen", &address.to_string()]).env("RUST_LOG", rust_log);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn().unwrap();
    until("the gateway listens", || {
        assert!(child.try_wait().unwrap().is_none(), "the gateway ended");
        TcpStream::connect(address).ok()
    });
    (child, address)
}

/// The lines that a gateway logs from its start to its end, which SIGTERM brings about.
fn lines_with(rust_log: &str) -> Vec<String> {
    let (reader, writer) = io::pipe().unwrap();
    let (mut child, _) = start(rust_log, writer);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = Log::follow(reader);
    until("the last line is there", || {
        let lines = log.lines();
        lines.iter().any(|line| line.contains("turns=") || rust_log == "error").then_some(lines)
    })
}

#[test]
fn an_empty_rust_log_is_as_if_unset() {
    let lines = lines_with("");
    assert!(lines.iter().any(|line| line.contains("listening on")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("RUST_LOG")), "{lines:?}");
}

#[test]
fn a_misspelt_level_is_said_in_one_line_and_ignored() {
    let lines = lines_with("inof");
    let said: Vec<_> = lines.iter().filter(|line| line.contains("`inof` is ignored")).collect();
    assert_eq!(said.len(), 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("listening on")), "{lines:?}");
}

#[test]
fn incidents_are_summed_up_in_the_log() {
    let gateway = Gateway::with_config("loops = 2\n[limits]\nconnections_max = 1");
    let inside = Socket::open(gateway.address());
    for _ in 0..3 {
        let reply = exchange(gateway.address(), b"", Ending::Open);
        assert_eq!(Reply::parse(&reply).status, 503);
    }
    let line = gateway.logged("refused_at_limit=3");
    assert!(line.contains("WARN") && line.contains("limits.connections_max is reached"), "{line}");
    inside.close();
    until("there is room", || {
        let reply = exchange(gateway.address(), b"nonsense\r\n\r\n", Ending::Open);
        (Reply::parse(&reply).status == 400).then_some(())
    });
    let line = gateway.logged("refused_malformed=1");
    assert!(line.contains("INFO") && line.contains("malformed requests"), "{line}");
}

#[test]
fn at_level_debug_the_log_says_what_each_connection_did() {
    let (reader, writer) = io::pipe().unwrap();
    let (mut child, address) = start("debug", writer);
    let log = Log::follow(reader);
    let mut socket = Socket::open(address);
    let own_address = socket.stream.local_addr().unwrap();
    socket.assert_echoes(b"hello");
    let refused = exchange(address, b"nonsense\r\n\r\n", Ending::Open);
    assert_eq!(Reply::parse(&refused).status, 400);
    socket.close();
    for part in [
        &format!(": accepted from {own_address}"),
        ": upgraded",
        ": refused: BadRequest",
        ": ended: ",
    ] {
        until(part, || log.lines().iter().any(|line| line.contains(part)).then_some(()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Fills a pipe to the last byte. It then is in blocking mode, as a pipe of a shell is.
fn fill(pipe: &mut io::PipeWriter) {
    ioctl_fionbio(&*pipe, true).unwrap();
    for size in [4096, 1] {
        loop {
            match pipe.write(&[b'\n'; 4096][..size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    ioctl_fionbio(&*pipe, false).unwrap();
}

#[test]
fn with_standard_error_unread_clients_are_served_and_sigterm_drains() {
    let (reader, mut writer) = io::pipe().unwrap();
    fill(&mut writer);
    let (mut child, address) = start("debug", writer);
    let mut socket = Socket::open(address);
    let mut say_much = |rounds: usize| {
        for _ in 0..rounds {
            // Both log a line for each client.
            let mut member = Socket::connect(address);
            member.send(&crate::messages::Request::upgrade("/broadcast").bytes());
            assert_eq!(member.receive_head().status, 101);
            member.close();
            socket.assert_echoes(b"served");
        }
    };
    // More than the queue of the log holds.
    say_much(2500);
    for signal in [Signal::USR1, Signal::HUP] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    say_much(10);

    // Read at last, and the log goes on, with a note about what is missing.
    let log = Log::follow(reader);
    let note = until("dropped lines are said", || {
        log.lines().into_iter().find(|line| line.contains("lines of the log were dropped"))
    });
    assert!(note.contains("ERROR") && note.contains("standard error was not read"), "{note}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(socket.receive_frame().first, crate::frames::CLOSE);
    drop(socket);
    assert_eq!(until("the gateway ends", || child.try_wait().unwrap()).code(), Some(0));
    let counters = until("the counters are logged", || {
        log.lines().into_iter().find(|line| line.contains(" turns="))
    });
    assert!(counters.contains("log_lines_dropped="), "{counters}");
}

#[test]
fn with_standard_error_unread_to_the_end_sigterm_ends_the_gateway() {
    let (_reader, mut writer) = io::pipe().unwrap();
    fill(&mut writer);
    let (mut child, address) = start("debug", writer);
    let mut socket = Socket::open(address);
    socket.assert_echoes(b"served");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(socket.receive_frame().first, crate::frames::CLOSE);
    drop(socket);
    assert_eq!(until("the gateway ends", || child.try_wait().unwrap()).code(), Some(0));
}
