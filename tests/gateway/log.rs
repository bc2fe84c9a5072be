//! The log: what `RUST_LOG` does, and standard error that is not read.

use std::io::{self, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process};

use crate::gateway::{Gateway, Log, PROGRAM, config_file};
use crate::messages::{Ending, Reply, exchange};
use crate::port::reserved_address;
use crate::socket::Socket;
use crate::wait::until;

/// A gateway without a configuration, whose standard error is this pipe.
fn start(rust_log: &str, stderr: io::PipeWriter) -> (Child, SocketAddr) {
    start_with("", rust_log, stderr)
}

/// As [`start`], with this configuration.
fn start_with(toml: &str, rust_log: &str, stderr: io::PipeWriter) -> (Child, SocketAddr) {
    let address = reserved_address();
    let mut command = Command::new(PROGRAM);
    command.args(["--loops", "2", "--listen", &address.to_string()]).env("RUST_LOG", rust_log);
    let config = config_file(toml);
    command.arg("--config").arg(config.path());
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

/// Refuses `count` requests, each with a line of level debug.
fn refuse(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let refused = exchange(address, b"nonsense\r\n\r\n", Ending::Open);
        assert_eq!(Reply::parse(&refused).status, 400);
    }
}

/// The end of a gateway, with all lines that it has logged.
fn ended(mut child: Child, log: &Log) -> Vec<String> {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(until("the gateway ends", || child.try_wait().unwrap()).code(), Some(0));
    until("the last line is there", || {
        let lines = log.lines();
        lines.iter().any(|line| line.contains("loop 1: ")).then_some(lines)
    })
}

#[test]
fn repeated_lines_are_summed_up_and_none_is_lost() {
    let (reader, writer) = io::pipe().unwrap();
    let (child, address) = start_with("[log]\nlines_per_s = 5\nlevel = \"debug\"", "", writer);
    let log = Log::follow(reader);
    refuse(address, 300);
    let lines = ended(child, &log);
    let refused: Vec<&String> =
        lines.iter().filter(|line| line.contains(": refused: BadRequest")).collect();
    let stood_for = |line: &&String| {
        let more = line.split_once("(and ").and_then(|(_, rest)| rest.split_once(" more"));
        1 + more.map_or(0, |(more, _)| more.replace(',', "").parse::<usize>().unwrap())
    };
    assert_eq!(refused.iter().map(stood_for).sum::<usize>(), 300, "{lines:?}");
    assert!(refused.len() < 300, "{}", refused.len());
    assert!(lines.iter().any(|line| line.contains("listening on")), "{lines:?}");
}

#[test]
fn each_line_of_a_json_log_is_an_object() {
    let (reader, writer) = io::pipe().unwrap();
    let (child, address) = start_with("[log]\nformat = \"json\"\nlevel = \"debug\"", "", writer);
    let log = Log::follow(reader);
    refuse(address, 1);
    let lines = ended(child, &log);
    let objects: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for object in &objects {
        for field in ["time", "level", "target", "message"] {
            assert!(object[field].is_string(), "{object}");
        }
    }
    let refused = objects.iter().find(|object| object["message"] == "refused: BadRequest");
    assert!(refused.unwrap()["connection"].is_string());
    assert!(objects.iter().any(|object| object["level"] == "info"));
}

#[test]
fn a_log_of_pairs_names_the_connection() {
    let (reader, writer) = io::pipe().unwrap();
    let (child, address) =
        start_with("[log]\nformat = \"key_value\"\nlevel = \"debug\"", "", writer);
    let log = Log::follow(reader);
    refuse(address, 1);
    let lines = ended(child, &log);
    assert!(lines.iter().all(|line| line.starts_with("time=")), "{lines:?}");
    let refused = lines.iter().find(|line| line.ends_with("message=\"refused: BadRequest\""));
    assert!(refused.unwrap().contains(" connection="), "{lines:?}");
}

#[test]
fn rust_log_wins_over_the_configured_level() {
    let (reader, writer) = io::pipe().unwrap();
    let (child, address) = start_with("[log]\nlevel = \"off\"", "debug", writer);
    let log = Log::follow(reader);
    refuse(address, 1);
    let lines = ended(child, &log);
    assert!(lines.iter().any(|line| line.contains("refused: BadRequest")), "{lines:?}");
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
    // So that what fills the queue is not summed up before.
    let (mut child, address) = start_with("[log]\nlines_per_s = 1000000", "debug", writer);
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
