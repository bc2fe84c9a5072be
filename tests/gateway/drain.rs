//! Signals: close frames to all, no new connections, and the exit codes.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::frames::{BINARY, CLOSE, client_frame, close_payload, sample_bytes};
use crate::gateway::Gateway;
use crate::messages::Request;
use crate::socket::{Frame, Socket};
use crate::wait::{NEVER_MS, now, pass, until};

/// A configuration under which nothing but the clients ends a drain: what ends, has ended by itself.
fn patient(loops: usize) -> String {
    format!("loops = {loops}\n[timeouts]\ndrain_ms = {NEVER_MS}\nclose_ms = {NEVER_MS}")
}

fn assert_closed_with_1001(socket: &mut Socket) {
    let Frame { first, payload } = socket.receive_frame();
    assert_eq!((first, &payload[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    assert!(!payload[2..].is_empty(), "a reason");
}

fn assert_refuses_connections(gateway: &Gateway) {
    until("connections are refused", || match TcpStream::connect(gateway.address()) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            Some(())
        }
        Ok(_) => None,
    });
}

#[test]
fn an_idle_gateway_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut gateway = Gateway::with_config(&patient(2));
        Socket::open(gateway.address()).close();
        gateway.signal(signal);
        assert_eq!(gateway.exit_status().code(), Some(0));
    }
}

#[test]
fn all_are_closed_with_1001_and_the_gateway_ends_with_the_last() {
    let mut gateway = Gateway::with_config(&patient(3));
    let mut sockets: Vec<Socket> = (0..50).map(|_| Socket::open(gateway.address())).collect();
    gateway.signal(Signal::TERM);
    for socket in &mut sockets {
        assert_closed_with_1001(socket);
    }
    assert_refuses_connections(&gateway);
    let mut last = sockets.pop().unwrap();
    for mut socket in sockets {
        socket.send(&client_frame(CLOSE, &close_payload(1001, "")));
        socket.assert_ended();
    }
    pass(Duration::from_millis(200));
    assert!(gateway.is_running(), "one client has not left yet");
    last.send(&client_frame(CLOSE, &close_payload(1001, "")));
    last.assert_ended();
    drop(last);
    assert_eq!(gateway.exit_status().code(), Some(0));
    let counters = gateway.logged("closed_drained=");
    assert!(counters.contains(" closed_drained=50 "), "{counters}");
}

#[test]
fn an_unfinished_request_is_answered_503() {
    let mut gateway = Gateway::start();
    let request = Request::upgrade("/echo").bytes();
    let mut silent = Socket::connect(gateway.address());
    let mut halfway = Socket::connect(gateway.address());
    halfway.send(&request[..request.len() / 2]);
    until("both are accepted", || (gateway.counter("half_open_now") == 2).then_some(()));
    gateway.signal(Signal::TERM);
    for socket in [&mut silent, &mut halfway] {
        let reply = socket.receive_head();
        assert_eq!(reply.status, 503);
        assert!(reply.header("Retry-After").is_some());
    }
    drop((silent, halfway));
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn replies_made_before_the_signal_arrive_before_the_close_frame() {
    const COUNT: u64 = 8;
    // Room for replies that the kernel does not take while this client does not read.
    let mut gateway = Gateway::with_config("loops = 1\n[limits]\nbacklog_high_bytes = 4194304");
    let mut socket = Socket::open(gateway.address());
    let message = sample_bytes(250_000);
    for _ in 0..COUNT {
        socket.send(&client_frame(BINARY, &message));
    }
    until("all was read", || (gateway.counter("messages_in") == COUNT).then_some(()));
    gateway.signal(Signal::TERM);
    gateway.logged("shutting down");
    for _ in 0..COUNT {
        let frame = socket.receive_frame();
        assert!(frame.first == BINARY && frame.payload == message);
    }
    assert_closed_with_1001(&mut socket);
    drop(socket);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn a_client_that_never_answers_is_dropped_at_drain_ms() {
    let mut gateway = Gateway::with_config(&format!(
        "loops = 2\n[timeouts]\ndrain_ms = 1500\nclose_ms = {NEVER_MS}"
    ));
    let mut socket = Socket::open(gateway.address());
    let started = now();
    gateway.signal(Signal::TERM);
    assert_closed_with_1001(&mut socket);
    assert_eq!(gateway.exit_status().code(), Some(0));
    let took = started.elapsed();
    assert!(took.as_millis() >= 1400, "{took:?}");
}

#[test]
fn closes_are_no_faster_than_configured() {
    const PER_SECOND: u32 = 40;
    let mut gateway = Gateway::with_config(&format!(
        "loops = 1\n[limits]\ndrain_closes_per_s = {PER_SECOND}\n[timeouts]\nclose_ms = {NEVER_MS}"
    ));
    let mut sockets: Vec<Socket> = (0..60).map(|_| Socket::open(gateway.address())).collect();
    let started = now();
    gateway.signal(Signal::TERM);
    // In the order of the table, which is that of their opening.
    for (number, socket) in (0..).zip(&mut sockets) {
        assert_closed_with_1001(socket);
        let earliest = Duration::from_secs(1) * number / PER_SECOND;
        let took = started.elapsed() + Duration::from_millis(20);
        assert!(took >= earliest, "close {number} after {took:?}");
    }
    drop(sockets);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, exit_code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::QUIT, 131)] {
        let mut gateway = Gateway::with_config(&patient(2));
        let mut socket = Socket::open(gateway.address());
        gateway.signal(Signal::TERM);
        assert_closed_with_1001(&mut socket);
        gateway.signal(signal);
        assert_eq!(gateway.exit_status().code(), Some(exit_code));
    }
}

#[test]
fn signals_without_a_meaning_are_logged_and_end_nothing() {
    let mut gateway = Gateway::start();
    let mut socket = Socket::open(gateway.address());
    for (signal, name) in [
        (Signal::ALARM, "SIGALRM"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::IO, "SIGIO"),
        (Signal::POWER, "SIGPWR"),
        (Signal::STKFLT, "SIGSTKFLT"),
    ] {
        gateway.signal(signal);
        gateway.logged(&format!("{name} is ignored"));
        socket.assert_echoes(name.as_bytes());
    }
    for signal in [Signal::PIPE, Signal::XFSZ] {
        gateway.signal(signal);
        // By the time that the counters are logged, the signal before has been delivered.
        gateway.assert_counter("open_now", 1);
        socket.assert_echoes(b"not even logged");
    }
    assert!(gateway.is_running());
    socket.close();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn sigusr1_logs_the_counters_and_changes_nothing() {
    let mut gateway = Gateway::start();
    let mut socket = Socket::open(gateway.address());
    socket.assert_echoes(b"12345");
    socket.assert_echoes(b"");
    for (name, value) in [
        ("connections_accepted", 1),
        ("open_now", 1),
        ("upgrades", 1),
        ("messages_in", 2),
        ("message_bytes_in", 5),
        ("closed_by_peer", 0),
    ] {
        gateway.assert_counter(name, value);
    }
    socket.assert_echoes(b"still here");
    assert!(gateway.is_running());
    socket.close();
}
