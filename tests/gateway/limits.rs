//! Descriptors, places and handshakes run out: those inside are served as before, those outside
//! are told or wait, and the gateway does not burn the processor over it.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::gateway::{Gateway, Launch};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::patience::{now, pass, until};
use crate::skip::skip_without;
use crate::socket::Socket;

/// A client that asked for an upgrade and may be let in, refused, dropped or left waiting.
#[derive(Debug)]
struct Hopeful {
    stream: TcpStream,
    arrived: Vec<u8>,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    LetIn,
    Refused,
    /// The connection ended without a word: there was no descriptor to answer with.
    Shed,
    Waiting,
}

impl Hopeful {
    fn ask(address: SocketAddr) -> Self {
        let mut socket = Socket::connect(address);
        socket.send(&Request::upgrade("/echo").bytes());
        socket.stream.set_nonblocking(true).unwrap();
        Self { stream: socket.stream, arrived: Vec::new(), has_ended: false }
    }

    /// Looks at what came until now.
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
            Outcome::LetIn
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

fn count(hopefuls: &mut [Hopeful], outcome: Outcome) -> usize {
    hopefuls.iter_mut().filter_map(|own| (own.outcome() == outcome).then_some(())).count()
}

fn assert_all_echo(sockets: &mut [Socket], text: &str) {
    for socket in sockets {
        socket.assert_echoes(text.as_bytes());
    }
}

/// Watches the gateway for a while in which its clients do nothing but hold on.
fn assert_idles(gateway: &Gateway) {
    const WATCHED: Duration = Duration::from_secs(2);
    let before = gateway.cpu_seconds();
    pass(WATCHED);
    let share = (gateway.cpu_seconds() - before) / WATCHED.as_secs_f64();
    assert!(share < 0.20, "{:.0} % of a core over clients that do nothing", share * 100.0);
}

/// A newcomer tries until it is let in, as clients do that were told to come again.
fn assert_newcomer_gets_in(gateway: &Gateway) {
    let mut newcomer = Hopeful::ask(gateway.address());
    until("a newcomer is let in", || match newcomer.outcome() {
        Outcome::LetIn => Some(()),
        Outcome::Waiting => None,
        Outcome::Refused | Outcome::Shed => {
            newcomer = Hopeful::ask(gateway.address());
            None
        }
    });
}

/// `connections_max` as the log tells it.
fn connections_max(gateway: &Gateway) -> usize {
    let line = gateway.logged("listening on");
    let (_, rest) = line.split_once("connections_max = ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn with_256_descriptors_and_400_clients_those_inside_notice_nothing() {
    let toml = Some("loops = 2");
    let gateway = Gateway::launch(&Launch { toml, ulimit: Some("-n 256"), ..Launch::default() });
    let places = connections_max(&gateway);
    assert!((64..256).contains(&places), "{places} of 256");
    let address = gateway.address();

    let mut inside: Vec<Socket> = (0..places / 2).map(|_| Socket::open(address)).collect();
    let mut hopefuls: Vec<Hopeful> = (inside.len()..400).map(|_| Hopeful::ask(address)).collect();
    // Some get the places that are left, some are told, and the rest waits: those who were told
    // hold on to their connections.
    until("every place is taken and somebody was told", || {
        let let_in = count(&mut hopefuls, Outcome::LetIn) + inside.len();
        assert!(let_in <= places, "{let_in} of {places}");
        (let_in == places && count(&mut hopefuls, Outcome::Refused) > 0).then_some(())
    });
    assert!(gateway.descriptor_count() <= 256);
    assert_all_echo(&mut inside, "while others wait");
    assert_idles(&gateway);
    assert_all_echo(&mut inside, "after a while");
    assert_eq!(count(&mut hopefuls, Outcome::Shed), 0, "the reserve is enough to answer everyone");

    drop(hopefuls);
    assert_newcomer_gets_in(&gateway);
    assert_all_echo(&mut inside, "when others left");
    assert_eq!(gateway.counter("accept_failures"), 0);
}

#[test]
fn clients_that_leave_when_told_are_all_told() {
    let gateway =
        Gateway::with_config("loops = 2\n[limits]\nconnections_max = 8\nrefusals_max = 4");
    let address = gateway.address();
    let mut inside: Vec<Socket> = (0..8).map(|_| Socket::open(address)).collect();
    let mut hopefuls: Vec<Hopeful> = (0..100).map(|_| Hopeful::ask(address)).collect();
    until("all were told 503 and left", || {
        hopefuls.retain_mut(|own| own.outcome() == Outcome::Waiting);
        hopefuls.is_empty().then_some(())
    });
    assert_eq!(gateway.counter("refused_at_limit"), 100);
    assert_all_echo(&mut inside, "inside");
}

#[test]
fn a_place_that_becomes_free_is_given_to_the_next_whichever_loop_it_meets() {
    let gateway = Gateway::with_config("loops = 4\n[limits]\nconnections_max = 3");
    let mut inside: Vec<Socket> = (0..3).map(|_| Socket::open(gateway.address())).collect();
    for _ in 0..12 {
        inside.remove(0).close();
        let mut newcomer = until("a place is free", || {
            let mut newcomer = Socket::connect(gateway.address());
            newcomer.send(&Request::upgrade("/echo").bytes());
            (newcomer.receive_head().status == 101).then_some(newcomer)
        });
        newcomer.assert_echoes(b"in");
        inside.push(newcomer);
        let reply = exchange(gateway.address(), &Request::get("/").bytes(), Ending::Open);
        assert_eq!(Reply::parse(&reply).status, 503);
    }
}

#[test]
fn at_the_limit_even_a_silent_client_is_told_soon() {
    let gateway = Gateway::with_config("loops = 1\n[limits]\nconnections_max = 1");
    let mut inside = Socket::open(gateway.address());
    let started = now();
    let reply = Reply::parse(&exchange(gateway.address(), b"", Ending::Open));
    // refuse_ms is 100; only a fault makes it wait for handshake_ms, 5000.
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("Retry-After"), Some("1"));
    reply.assert_is_last(false);
    inside.assert_echoes(b"inside");
}

#[test]
fn at_the_limit_a_head_request_is_refused_without_a_body() {
    let gateway = Gateway::with_config("loops = 1\n[limits]\nconnections_max = 1");
    let _inside = Socket::open(gateway.address());
    let request = Request::get("/").line("HEAD / HTTP/1.1");
    let reply = Reply::parse(&exchange(gateway.address(), &request.bytes(), Ending::Open));
    assert_eq!(reply.status, 503);
    reply.assert_is_last(true);
}

#[test]
fn a_descriptor_limit_lowered_below_what_is_open_harms_only_newcomers() {
    for loops in [1, 2] {
        let gateway = Gateway::with_config(&format!("loops = {loops}"));
        let granted = gateway.descriptor_limit();
        let address = gateway.address();
        let mut inside: Vec<Socket> = (0..100).map(|_| Socket::open(address)).collect();
        gateway.limit_descriptors(60);

        let mut hopefuls: Vec<Hopeful> = (0..200).map(|_| Hopeful::ask(address)).collect();
        until("accepting fails", || (gateway.counter("accept_failures") > 0).then_some(()));
        assert_all_echo(&mut inside, "without descriptors");
        assert_idles(&gateway);
        assert_all_echo(&mut inside, "after a while");
        // With its reserve descriptor a loop sends one after the other away. When it gives it up
        // for a moment another loop may take it, and let somebody in with it.
        let let_in = count(&mut hopefuls, Outcome::LetIn);
        assert!(if loops == 1 { let_in == 0 } else { let_in <= loops }, "{let_in} let in");
        assert!(count(&mut hopefuls, Outcome::Shed) + let_in > 0);
        assert_eq!(gateway.counter("open_now"), 100 + let_in as u64);

        // As soon as there are descriptors again, whoever still waits is let in.
        gateway.limit_descriptors(granted);
        until("nobody waits", || (count(&mut hopefuls, Outcome::Waiting) == 0).then_some(()));
        assert!(count(&mut hopefuls, Outcome::LetIn) > 0);
        assert_newcomer_gets_in(&gateway);
        assert_all_echo(&mut inside, "in the end");
    }
}

#[test]
fn two_thousand_half_open_handshakes_end_at_their_deadline_and_nobody_else_does() {
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
            // Some say nothing, the others any part of a request.
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
                assert_eq!(ended.unwrap(), 0, "an orderly end without a word");
                assert!(began.elapsed() >= Duration::from_millis(HANDSHAKE_MS));
                false
            }
        });
        half_open.is_empty().then_some(())
    });
    assert_eq!(gateway.counter("handshakes_timed_out"), COUNT as u64);
    assert_eq!(gateway.counter("half_open_dropped"), 0);
    assert_eq!(gateway.counter("half_open_now"), 0);
    inside.close();
}

#[test]
fn a_flood_of_half_open_handshakes_pushes_out_only_its_own_oldest() {
    let gateway = Gateway::with_config("loops = 1\n[limits]\nhalf_open_max = 10");
    let mut inside: Vec<Socket> = (0..20).map(|_| Socket::open(gateway.address())).collect();
    let mut silent: Vec<Socket> = (0..30).map(|_| Socket::connect(gateway.address())).collect();
    for dropped in &mut silent[..20] {
        dropped.assert_ended();
    }
    // The youngest may still finish.
    for youngest in &mut silent[20..] {
        youngest.send(&Request::upgrade("/echo").bytes());
        assert_eq!(youngest.receive_head().status, 101);
    }
    assert_all_echo(&mut inside, "inside");
    assert_eq!(gateway.counter("half_open_dropped"), 20);
}

#[test]
fn the_gauge_of_buffers_falls_though_nobody_comes() {
    let gateway = Gateway::with_config("loops = 1\n[timeouts]\npool_idle_ms = 300\n");
    let mut socket = Socket::open(gateway.address());
    // The beginning of a message of 1,000 bytes.
    socket.send(b"\x82\xfe\x03\xe8mask and a little more");
    until("the beginning is kept", || (gateway.counter("pool_bytes_now") > 0).then_some(()));
    drop(socket);
    until("unused memory goes", || (gateway.counter("pool_bytes_now") == 0).then_some(()));
}
