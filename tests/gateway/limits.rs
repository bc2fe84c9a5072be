//! Descriptors, connection slots and half-open slots run out: open connections are served as
//! before, further ones are refused or wait, and the gateway does not spin.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::gateway::{Gateway, Launch};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::skip::skip_without;
use crate::socket::Socket;
use crate::wait::{NEVER_MS, now, pass, until};

/// A client that has requested an upgrade and may be accepted, refused, dropped or left waiting.
#[derive(Debug)]
struct Attempt {
    stream: TcpStream,
    arrived: Vec<u8>,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    /// Closed without a reply, for want of a descriptor to answer with.
    Shed,
    Waiting,
}

impl Attempt {
    fn ask(address: SocketAddr) -> Self {
        let mut socket = Socket::connect(address);
        socket.send(&Request::upgrade("/echo").bytes());
        socket.stream.set_nonblocking(true).unwrap();
        Self { stream: socket.stream, arrived: Vec::new(), has_ended: false }
    }

    /// The outcome according to what has arrived so far.
    fn outcome(&mut self) -> Outcome {
        let mut room = [0; 1024];
        while !self.has_ended {
            match self.stream.read(&mut room) {
                Ok(count) if count > 0 => self.arrived.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // Where a descriptor was lacking even the request was not read: a reset.
                Ok(_) | Err(_) => self.has_ended = true,
            }
        }
        if self.arrived.starts_with(b"HTTP/1.1 101 ") {
            Outcome::Accepted
        } else if self.has_ended && self.arrived.is_empty() {
            Outcome::Shed
        } else if self.has_ended {
            let reply = Reply::parse(&self.arrived);
            assert_eq!(reply.status, 503, "{reply:?}");
            reply.assert_is_last(false);
            Outcome::Refused
        } else {
            Outcome::Waiting
        }
    }
}

fn count(attempts: &mut [Attempt], outcome: Outcome) -> usize {
    attempts.iter_mut().filter_map(|own| (own.outcome() == outcome).then_some(())).count()
}

fn assert_all_echo(sockets: &mut [Socket], text: &str) {
    for socket in sockets {
        socket.assert_echoes(text.as_bytes());
    }
}

/// Checks that the gateway uses little processor time while its clients are idle.
fn assert_idles(gateway: &Gateway) {
    const WATCHED: Duration = Duration::from_secs(2);
    let before = gateway.cpu_seconds();
    pass(WATCHED);
    let share = (gateway.cpu_seconds() - before) / WATCHED.as_secs_f64();
    assert!(share < 0.20, "{:.0} % of a core over clients that do nothing", share * 100.0);
}

/// Connects anew after each refusal until a connection is accepted.
fn assert_new_client_is_accepted(gateway: &Gateway) {
    let mut attempt = Attempt::ask(gateway.address());
    until("a new client is accepted", || match attempt.outcome() {
        Outcome::Accepted => Some(()),
        Outcome::Waiting => None,
        Outcome::Refused | Outcome::Shed => {
            attempt = Attempt::ask(gateway.address());
            None
        }
    });
}

/// `connections_max` as the gateway logs it.
fn connections_max(gateway: &Gateway) -> usize {
    let line = gateway.logged("connections_max = ");
    let (_, rest) = line.split_once("connections_max = ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn with_256_descriptors_and_400_clients_open_connections_are_served() {
    let toml = Some("loops = 2");
    let gateway = Gateway::launch(&Launch { toml, ulimit: Some("-n 256"), ..Launch::default() });
    let slots = connections_max(&gateway);
    assert!((64..256).contains(&slots), "{slots} of 256");
    let address = gateway.address();

    let mut inside: Vec<Socket> = (0..slots / 2).map(|_| Socket::open(address)).collect();
    let mut attempts: Vec<Attempt> = (inside.len()..400).map(|_| Attempt::ask(address)).collect();
    // Some attempts get the slots that are left, some are refused, and the rest waits, since the
    // refused ones do not close.
    until("all slots are taken and an attempt was refused", || {
        let accepted = count(&mut attempts, Outcome::Accepted) + inside.len();
        assert!(accepted <= slots, "{accepted} of {slots}");
        (accepted == slots && count(&mut attempts, Outcome::Refused) > 0).then_some(())
    });
    assert!(gateway.descriptor_count() <= 256);
    assert_all_echo(&mut inside, "while others wait");
    assert_idles(&gateway);
    assert_all_echo(&mut inside, "after a while");
    assert_eq!(count(&mut attempts, Outcome::Shed), 0, "all refusals were sent");

    drop(attempts);
    assert_new_client_is_accepted(&gateway);
    assert_all_echo(&mut inside, "when others left");
    assert_eq!(gateway.counter("accept_failures"), 0);
}

#[test]
fn all_clients_beyond_the_limit_are_refused_if_refused_ones_leave() {
    let gateway =
        Gateway::with_config("loops = 2\n[limits]\nconnections_max = 8\nrefusals_max = 4");
    let address = gateway.address();
    let mut inside: Vec<Socket> = (0..8).map(|_| Socket::open(address)).collect();
    let mut attempts: Vec<Attempt> = (0..100).map(|_| Attempt::ask(address)).collect();
    until("all were answered 503 and left", || {
        attempts.retain_mut(|own| own.outcome() == Outcome::Waiting);
        attempts.is_empty().then_some(())
    });
    gateway.assert_counter("refused_at_limit", 100);
    assert_all_echo(&mut inside, "inside");
}

#[test]
fn a_slot_that_becomes_free_can_be_used_by_any_loop() {
    let gateway = Gateway::with_config("loops = 4\n[limits]\nconnections_max = 3");
    let mut inside: Vec<Socket> = (0..3).map(|_| Socket::open(gateway.address())).collect();
    for _ in 0..12 {
        inside.remove(0).close();
        let mut attempt = until("a slot is free", || {
            let mut attempt = Socket::connect(gateway.address());
            attempt.send(&Request::upgrade("/echo").bytes());
            (attempt.receive_head().status == 101).then_some(attempt)
        });
        attempt.assert_echoes(b"in");
        inside.push(attempt);
        let reply = exchange(gateway.address(), &Request::get("/").bytes(), Ending::Open);
        assert_eq!(Reply::parse(&reply).status, 503);
    }
}

#[test]
fn at_the_limit_a_silent_client_is_answered_503_after_refuse_ms() {
    let gateway = Gateway::with_config(&format!(
        "loops = 1\n[limits]\nconnections_max = 1\n[timeouts]\nhandshake_ms = {NEVER_MS}"
    ));
    let mut inside = Socket::open(gateway.address());
    let reply = Reply::parse(&exchange(gateway.address(), b"", Ending::Open));
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("Retry-After"), Some("1"));
    reply.assert_is_last(false);
    inside.assert_echoes(b"inside");
}

#[test]
fn at_the_limit_a_head_request_is_refused_without_a_body() {
    // It is answered by what it asks, not because it was late to ask.
    let gateway = Gateway::with_config(&format!(
        "loops = 1\n[limits]\nconnections_max = 1\n[timeouts]\nrefuse_ms = {NEVER_MS}"
    ));
    let _inside = Socket::open(gateway.address());
    let request = Request::get("/").line("HEAD / HTTP/1.1");
    let reply = Reply::parse(&exchange(gateway.address(), &request.bytes(), Ending::Open));
    assert_eq!(reply.status, 503);
    reply.assert_is_last(true);
}

#[test]
fn a_descriptor_limit_below_the_open_descriptors_affects_new_connections_only() {
    for loops in [1, 2] {
        let gateway = Gateway::with_config(&format!("loops = {loops}"));
        let granted = gateway.descriptor_limit();
        let address = gateway.address();
        let mut inside: Vec<Socket> = (0..100).map(|_| Socket::open(address)).collect();
        gateway.limit_descriptors(60);

        let mut attempts: Vec<Attempt> = (0..200).map(|_| Attempt::ask(address)).collect();
        until("accepting fails", || (gateway.counter("accept_failures") > 0).then_some(()));
        assert_all_echo(&mut inside, "without descriptors");
        assert_idles(&gateway);
        assert_all_echo(&mut inside, "after a while");
        // A loop closes its reserve descriptor, accepts and closes one connection, and reopens the
        // reserve. In between another loop may take the descriptor and accept a connection with it.
        let accepted = count(&mut attempts, Outcome::Accepted);
        assert!(if loops == 1 { accepted == 0 } else { accepted <= loops }, "{accepted} accepted");
        assert!(count(&mut attempts, Outcome::Shed) + accepted > 0);
        gateway.assert_counter("open_now", 100 + accepted as u64);

        // Waiting connections are accepted once there are descriptors again.
        gateway.limit_descriptors(granted);
        until("no attempt waits", || (count(&mut attempts, Outcome::Waiting) == 0).then_some(()));
        assert!(count(&mut attempts, Outcome::Accepted) > 0);
        assert_new_client_is_accepted(&gateway);
        assert_all_echo(&mut inside, "in the end");
    }
}

#[test]
fn two_thousand_half_open_handshakes_end_at_their_deadline_and_open_connections_stay() {
    const COUNT: usize = 2000;
    const HANDSHAKE_MS: u64 = 1000;
    let granted = tidegate::os::raise_descriptor_limit().granted;
    if granted < 2 * COUNT as u64 {
        return skip_without("a hard limit of 4000 descriptors");
    }
    let gateway = Gateway::with_config(&format!(
        "loops = 2\n\
         [limits]\nconnections_max = 2500\nhalf_open_max = 2500\n\
         [timeouts]\nhandshake_ms = {HANDSHAKE_MS}\n"
    ));
    let mut inside = Socket::open(gateway.address());
    let request = Request::upgrade("/echo").bytes();
    let mut half_open: Vec<_> = (0..COUNT)
        .map(|number| {
            let began = now();
            let mut socket = Socket::connect(gateway.address());
            // Some send nothing, the others a part of a request.
            socket.send(&request[..number % request.len()]);
            socket.stream.set_nonblocking(true).unwrap();
            (began, socket.stream)
        })
        .collect();
    until("all have ended", || {
        inside.assert_echoes(b"meanwhile");
        half_open.retain_mut(|(began, stream)| match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
            ended => {
                assert_eq!(ended.unwrap(), 0, "an orderly end without a reply");
                assert!(began.elapsed() >= Duration::from_millis(HANDSHAKE_MS));
                false
            }
        });
        half_open.is_empty().then_some(())
    });
    gateway.assert_counter("handshakes_timed_out", COUNT as u64);
    assert_eq!(gateway.counter("half_open_dropped"), 0);
    assert_eq!(gateway.counter("half_open_now"), 0);
    inside.close();
}

#[test]
fn at_half_open_max_the_oldest_half_open_connection_is_dropped() {
    let gateway = Gateway::with_config("loops = 1\n[limits]\nhalf_open_max = 10");
    let mut inside: Vec<Socket> = (0..20).map(|_| Socket::open(gateway.address())).collect();
    let mut silent: Vec<Socket> = (0..30).map(|_| Socket::connect(gateway.address())).collect();
    for dropped in &mut silent[..20] {
        dropped.assert_ended();
    }
    // The newest ones can still complete their handshake.
    for newest in &mut silent[20..] {
        newest.send(&Request::upgrade("/echo").bytes());
        assert_eq!(newest.receive_head().status, 101);
    }
    assert_all_echo(&mut inside, "inside");
    gateway.assert_counter("half_open_dropped", 20);
}

#[test]
fn unused_buffers_are_freed_without_further_connections() {
    let gateway = Gateway::with_config("loops = 1\n[timeouts]\npool_idle_ms = 300\n");
    let mut socket = Socket::open(gateway.address());
    // The first bytes of a message of 1,000 bytes.
    socket.send(b"\x82\xfe\x03\xe8mask and a little more");
    until("they are buffered", || (gateway.counter("pool_bytes_now") > 0).then_some(()));
    drop(socket);
    until("the buffer is freed", || (gateway.counter("pool_bytes_now") == 0).then_some(()));
}
