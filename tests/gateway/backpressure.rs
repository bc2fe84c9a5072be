//! A client that sends and does not read: the gateway's memory stays bounded, and no reply is lost.

use std::io::{ErrorKind, Write as _};
use std::thread;
use std::time::Duration;

use crate::frames::{BINARY, client_frame, sample_bytes};
use crate::gateway::Gateway;
use crate::socket::Socket;
use crate::wait::{NEVER_MS, now, pass, until};

/// The largest growth that is accepted. One connection may hold far less by its configuration:
/// `backlog_high_bytes`, a message, and the receive buffer.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
const TRAFFIC_BYTES: usize = 50 << 20;

#[test]
fn a_client_that_does_not_read_costs_bounded_memory_and_loses_no_reply() {
    let gateway = Gateway::with_config("loops = 1");
    let mut socket = Socket::open(gateway.address());
    socket.assert_echoes(&sample_bytes(1 << 20));
    let before = gateway.anonymous_bytes();
    let grown = || gateway.anonymous_bytes().saturating_sub(before);

    let (payload, count) = (sample_bytes(100_000), TRAFFIC_BYTES / 100_000);
    let frame = client_frame(BINARY, &payload);
    let mut writer = socket.stream.try_clone().unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for _ in 0..count {
                writer.write_all(&frame).unwrap();
            }
        });
        until("the gateway no longer reads", || {
            (gateway.counter("reading_paused") > 0).then_some(())
        });
        // Long enough for all of it, if the gateway took it.
        for _ in 0..10 {
            pass(Duration::from_millis(50));
            assert!(grown() < GROWTH_BYTES_MAX, "grown by {} bytes", grown());
        }
        assert!(!writing.is_finished(), "more was taken than all buffers should hold");

        for number in 0..count {
            let frame = socket.receive_frame();
            assert!(frame.first == BINARY && frame.payload == payload, "message {number}");
        }
        assert!(grown() < GROWTH_BYTES_MAX, "grown by {} bytes", grown());
    });
    gateway.assert_counter("messages_in", count as u64 + 1);
    assert_eq!(gateway.counter("closed_stalled"), 0);
    socket.close();
}

#[test]
fn clients_that_do_not_read_do_not_delay_one_that_does() {
    let gateway =
        Gateway::with_config(&format!("loops = 1\n[timeouts]\nwrite_stall_ms = {NEVER_MS}"));
    let frame = client_frame(BINARY, &sample_bytes(30_000));
    let _stuck: Vec<Socket> = (0..20)
        .map(|_| {
            let mut socket = Socket::open(gateway.address());
            socket.stream.set_nonblocking(true).unwrap();
            // Until neither the kernel nor the gateway takes more; a frame may be cut.
            until("the connection is stuck", || {
                let mut written = 0;
                loop {
                    match socket.stream.write(&frame[written % frame.len()..]) {
                        Ok(count) => written += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                (written == 0).then_some(())
            });
            socket
        })
        .collect();
    let mut reader = Socket::open(gateway.address());
    // Each echo comes while all the others are stuck for ever.
    for _ in 0..100 {
        reader.assert_echoes(b"quick");
    }
    assert_eq!(gateway.counter("closed_stalled"), 0);
    reader.close();
}

#[test]
fn a_client_that_never_reads_is_dropped_after_write_stall_ms() {
    let gateway = Gateway::with_config("loops = 1\n[timeouts]\nwrite_stall_ms = 500");
    let mut socket = Socket::open(gateway.address());
    let frame = client_frame(BINARY, &sample_bytes(1 << 20));
    let started = now();
    // The gateway drops the connection during one of these writes.
    let failure = until("the connection is cut", || socket.stream.write_all(&frame).err());
    assert!(matches!(failure.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    assert!(started.elapsed() >= Duration::from_millis(500));
    gateway.assert_counter("closed_stalled", 1);
}
