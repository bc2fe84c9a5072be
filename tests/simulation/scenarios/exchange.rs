//! Requests that upgrade nothing, on their way to a backend and back: every body arrives as it was sent,
//! however it comes in parts and is framed, and whatever becomes of either side.

use std::sync::Arc;

use tidegate::services::{HttpOptions, RelayMode, RouteOptions};
use tidegate::sim::{Faults, OnConnect, Random, ServerSettings, SimClient};
use tidegate::upstream::Upstream;

use super::LATE_MS;
use super::backend::{address, assert_bare, faults, routes_in, status, switched, upstream};
use crate::wire::upgrade_request;
use crate::world::{Setup, World};

const OPTIONS: HttpOptions = HttpOptions { body_bytes_max: 1 << 20, response_ms: 5_000 };

/// A gateway that passes on plain requests to an upstream whose first server accepts.
fn world(setup: &Setup, upstream: &Arc<Upstream>) -> World {
    let options = RouteOptions { http: Some(OPTIONS), ..RouteOptions::default() };
    let world =
        World::serving(setup, |journal| routes_in(RelayMode::Bytes, &options, journal, upstream));
    world.network.set_backend(&address(1), OnConnect::Accepts);
    world
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Chunked,
    /// By the end of the connection; of replies only.
    End,
}

/// A message, as one side writes it.
fn written(first_line: &str, framing: Framing, body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = format!("{first_line}\r\n").into_bytes();
    match framing {
        Framing::None | Framing::End => out.extend_from_slice(b"\r\n"),
        Framing::Length => out.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes()),
        Framing::Chunked => out.extend_from_slice(b"Transfer-encoding: chunked\r\n\r\n"),
    }
    if framing != Framing::Chunked {
        out.extend_from_slice(body);
        return out;
    }
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((1 + random.below(9_000)).min(rest.len()));
        let extension = ["", ";a=b"][random.below(2)];
        out.extend(format!("{:X}{extension}\r\n", chunk.len()).bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = behind;
    }
    out.extend_from_slice([&b"0\r\n\r\n"[..], b"000\r\nTrailer: x\r\n\r\n"][random.below(2)]);
    out
}

/// A message as the other side reads it: the first line, and the body, and what follows.
fn read(bytes: &[u8], has_body: bool, has_ended: bool) -> Option<(String, Vec<u8>, usize)> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&bytes[..end]).unwrap();
    let line = head.lines().next().unwrap().to_owned();
    let value = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|own| own.0.eq_ignore_ascii_case(name)).map(|own| own.1)
    };
    let is_reply = line.starts_with("HTTP/");
    if !has_body {
        return Some((line, Vec::new(), end));
    }
    if let Some(length) = value("content-length") {
        let until = end + length.parse::<usize>().unwrap();
        return Some((line, bytes.get(end..until)?.to_vec(), until));
    }
    if value("transfer-encoding").is_none() {
        if !is_reply {
            return Some((line, Vec::new(), end));
        }
        return has_ended.then(|| (line, bytes[end..].to_vec(), bytes.len()));
    }
    let (mut body, mut at) = (Vec::new(), end);
    loop {
        let digits = bytes[at..].windows(2).position(|part| part == b"\r\n")?;
        let size = str::from_utf8(&bytes[at..at + digits]).unwrap();
        let size = usize::from_str_radix(size, 16).expect("a size and no extension");
        at += digits + 2;
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        assert_eq!(bytes.get(at..at + 2)?, b"\r\n");
        at += 2;
        if size == 0 {
            return Some((line, body, at));
        }
    }
}

/// A request that a client makes, and the reply to it.
struct Exchange {
    method: &'static str,
    body: Vec<u8>,
    code: u16,
    reply: Vec<u8>,
    reply_framing: Framing,
}

impl Exchange {
    fn any(random: &mut Random, is_last: bool) -> Self {
        let method = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"][random.below(7)];
        let (bytes, reply_bytes) = (random.below(30_000), random.below(60_000));
        let code = if random.percent(20) { 204 } else { 200 };
        let framing = match random.below(3) {
            0 => Framing::Length,
            1 => Framing::Chunked,
            _ if is_last => Framing::End,
            _ => Framing::Length,
        };
        let has_body = method != "HEAD" && code != 204;
        let reply = if has_body { random.bytes(reply_bytes) } else { Vec::new() };
        let reply_framing = match (has_body, method) {
            (true, _) => framing,
            (false, "HEAD") if code == 200 => Framing::Length,
            (false, _) => Framing::None,
        };
        Self { method, body: random.bytes(bytes), code, reply, reply_framing }
    }
}

/// A socket, what it still sends, and what it has received.
struct Side {
    socket: SimClient,
    to_send: Vec<u8>,
    received: Vec<u8>,
}

impl Side {
    fn new(socket: SimClient, to_send: Vec<u8>) -> Self {
        Self { socket, to_send, received: Vec::new() }
    }

    fn step(&mut self, random: &mut Random) {
        let count = (1 + random.below(20_000)).min(self.to_send.len());
        let part: Vec<u8> = self.to_send.drain(..count).collect();
        self.socket.send(&part);
        self.received.extend(self.socket.receive(1 + random.below(40_000)));
    }
}

/// A backend goes on, or another one begins: it reads one request, and answers it as planned.
fn serve(
    world: &World,
    planned: &[Exchange],
    backends: &mut Vec<(Side, bool)>,
    random: &mut Random,
) {
    if let Some(socket) = world.network.accept_at(&address(1)) {
        backends.push((Side::new(socket, Vec::new()), false));
    }
    let number = backends.len();
    let Some((backend, is_answered)) = backends.last_mut() else { return };
    backend.step(random);
    let own = &planned[number - 1];
    let request = read(&backend.received, true, false);
    if let Some((line, body, end)) = request.filter(|_| !*is_answered) {
        assert_eq!(line, format!("{} /app/{} HTTP/1.1", own.method, number - 1));
        assert!(body == own.body, "the body of a request");
        assert_eq!(end, backend.received.len(), "one request alone");
        let line = format!("HTTP/1.1 {} X\r\nX-Number: {number}", own.code);
        backend.to_send = written(&line, own.reply_framing, &own.reply, random);
        *is_answered = true;
    }
    if *is_answered && backend.to_send.is_empty() && own.reply_framing == Framing::End {
        backend.socket.shutdown();
    }
}

/// Several requests on one connection, one behind the other without waiting for the replies.
fn exchanges(seed: u64) {
    let mut random = Random::new(seed);
    let mut server = ServerSettings::default();
    server.connections.receive_buffer_bytes = [300, 5_000, 512 << 10][random.below(3)];
    server.connections.backlog_high_bytes = [1 << 10, 64 << 10][random.below(2)];
    let faults = faults(&mut random);
    let upstream = upstream(1);
    let mut world = world(&Setup { seed, server, faults, ..Setup::default() }, &upstream);
    world.network.set_send_buffer_bytes([700, 3_000, 64 << 10][random.below(3)]);
    let count = 1 + random.below(4);
    let planned = (1..=count).map(|number| Exchange::any(&mut random, number == count));
    let planned: Vec<Exchange> = planned.collect();
    let mut to_send = Vec::new();
    for (number, own) in planned.iter().enumerate() {
        let line = format!("{} /app/{number} HTTP/1.1\r\nHost: a", own.method);
        let framing = match own.body.is_empty() {
            true => Framing::None,
            false => [Framing::Length, Framing::Chunked][random.below(2)],
        };
        to_send.extend(written(&line, framing, &own.body, &mut random));
    }
    let mut client = Side::new(world.network.connect(0, 0).unwrap(), to_send);
    let mut backends: Vec<(Side, bool)> = Vec::new();
    let mut replies = 0;
    for round in 0.. {
        assert!(round < 100_000, "seed {seed}: a reply that never comes");
        match random.below(4) {
            0 => client.step(&mut random),
            1 => world.pass(random.below(20) as u64),
            2 => world.settle(),
            _ => serve(&world, &planned, &mut backends, &mut random),
        }
        let Some(own) = planned.get(replies) else { break };
        let has_body = own.method != "HEAD" && own.code != 204;
        let has_ended = client.socket.has_ended();
        if let Some((line, body, end)) = read(&client.received, has_body, has_ended) {
            assert_eq!(line, format!("HTTP/1.1 {} X", own.code), "seed {seed}");
            assert!(body == own.reply, "seed {seed}: the body of a reply");
            client.received.drain(..end);
            replies += 1;
        }
    }
    assert!(client.received.is_empty(), "seed {seed}: bytes behind the last reply");
    assert_eq!(backends.len(), count, "seed {seed}");
    client.socket.shutdown();
    world.network.set_faults(Faults::default());
    assert_bare(&mut world, &upstream);
    assert_eq!(world.counter("http_requests"), count as u64);
}

#[test]
fn requests_of_one_connection_are_answered_in_order_with_every_byte() {
    (0..150).for_each(exchanges);
}

fn ask(world: &mut World, request: &str) -> SimClient {
    let client = world.network.connect(0, 0).unwrap();
    client.send(request.as_bytes());
    world.settle();
    client
}

const GET: &str = "GET /app/a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /app/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The backend's end of the connection that has just been made, and what it was asked.
fn asked(world: &World) -> (SimClient, String) {
    let backend = world.network.accept_at(&address(1)).expect("the gateway has connected");
    let request = String::from_utf8(backend.receive(usize::MAX)).unwrap();
    (backend, request)
}

fn text(client: &SimClient) -> String {
    String::from_utf8(client.receive(usize::MAX)).unwrap()
}

#[test]
fn a_websocket_is_opened_on_a_connection_that_carried_a_plain_request() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    backend.send(OK);
    world.settle();
    assert!(text(&client).ends_with("\r\n\r\nok"));
    assert!(backend.is_closed_by_server(), "one request for each connection to a backend");
    client.send(&upgrade_request("/app/chat"));
    world.settle();
    let (backend, request) = asked(&world);
    backend.send(&switched(request.as_bytes()));
    world.settle();
    assert!(text(&client).starts_with("HTTP/1.1 101 "));
    client.send(b"bytes");
    world.settle();
    assert_eq!(backend.receive(usize::MAX), b"bytes");
    client.shutdown();
    backend.shutdown();
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_backend_that_dies_is_a_502_before_its_reply_and_cuts_the_client_after() {
    for (sent, expected) in [
        ("", "502"),
        ("HTTP/1.1 200 OK\r\nContent-", "502"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "502"),
        ("HTTP/1.1 101 S\r\n\r\n", "502"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "200"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "200"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "200"),
    ] {
        for resets in [false, true] {
            let upstream = upstream(1);
            let mut world = world(&Setup::default(), &upstream);
            let client = ask(&mut world, GET);
            let (backend, _) = asked(&world);
            backend.send(sent.as_bytes());
            world.settle();
            match resets {
                true => backend.reset(),
                false => backend.shutdown(),
            }
            world.settle();
            let reply = text(&client);
            assert_eq!(reply.split(' ').nth(1), Some(expected), "{sent:?}");
            assert!(!reply.ends_with("0\r\n\r\n"), "{sent:?}");
            client.shutdown();
            world.settle();
            assert!(client.is_closed_by_server(), "{sent:?}");
            assert_bare(&mut world, &upstream);
        }
    }
}

#[test]
fn a_reply_by_the_end_of_the_connection_is_whole_only_without_a_reset() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    backend.send(b"HTTP/1.0 200 OK\r\n\r\nhello");
    backend.shutdown();
    world.settle();
    let reply = text(&client);
    assert!(reply.contains("Connection: close\r\n") && reply.ends_with("\r\n\r\nhello"), "{reply}");
    assert!(client.has_ended() && !client.was_reset());
    client.shutdown();
    assert_bare(&mut world, &upstream);
    assert_eq!(world.counter("http_cut"), 0);
}

#[test]
fn only_what_no_backend_has_seen_goes_to_another() {
    let upstream = upstream(2);
    let mut world = world(&Setup::default(), &upstream);
    world.network.set_backend(&address(2), OnConnect::Accepts);
    world.network.set_backend(&address(1), OnConnect::Refuses);
    let mut others = 0;
    for _ in 0..8 {
        let client = ask(&mut world, POST);
        client.send(b"0123456789");
        world.settle();
        world.pass(50);
        let backend = world.network.accept_at(&address(2)).expect("the other has been asked");
        let request = String::from_utf8(backend.receive(usize::MAX)).unwrap();
        assert!(request.ends_with("\r\n\r\n0123456789"), "{request}");
        others += 1;
        backend.reset();
        world.settle();
        assert_eq!(status(&client), "502", "it has been seen");
        client.shutdown();
    }
    assert_eq!(others, 8);
    world.network.set_backend(&address(1), OnConnect::Accepts);
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_backend_that_says_nothing_is_a_504() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    world.pass(OPTIONS.response_ms - LATE_MS);
    assert_eq!(client.unread_bytes(), 0);
    world.pass(3 * LATE_MS);
    assert_eq!(status(&client), "504");
    client.shutdown();
    world.settle();
    assert!(backend.is_closed_by_server());
    // Behind its head it may not fall silent either.
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    for _ in 0..5 {
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n");
        world.pass(OPTIONS.response_ms / 2);
        assert!(!client.is_closed_by_server());
    }
    world.pass(OPTIONS.response_ms + LATE_MS);
    assert!(client.is_closed_by_server());
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_client_that_stops_within_a_body_is_closed_and_its_backend_waits_no_longer() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, POST);
    let (backend, _) = asked(&world);
    client.send(b"01");
    // Longer than a reply may take: the backend owes none yet.
    let grace_ms = ServerSettings::default().connections.message_grace_ms;
    world.pass(grace_ms - LATE_MS);
    assert!(!client.is_closed_by_server());
    world.pass(3 * LATE_MS + 1000);
    assert!(client.is_closed_by_server() && backend.is_closed_by_server());
    assert_eq!(world.counter("http_unfinished"), 1);
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_connection_at_rest_is_closed_without_a_word() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    backend.send(OK);
    world.settle();
    assert!(text(&client).ends_with("ok"));
    let idle_ms = ServerSettings::default().connections.http_idle_ms;
    world.pass(idle_ms - LATE_MS);
    assert!(!client.has_ended());
    world.pass(3 * LATE_MS);
    assert!(client.has_ended() && client.receive(1).is_empty());
    client.shutdown();
    assert_bare(&mut world, &upstream);
    assert_eq!(world.counter("handshakes_timed_out"), 0);
}

#[test]
fn the_head_of_a_further_request_has_the_time_of_the_first() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    backend.send(OK);
    world.settle();
    client.send(&GET.as_bytes()[..9]);
    world.pass(ServerSettings::default().connections.handshake_ms + 3 * LATE_MS);
    assert!(client.is_closed_by_server());
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_client_that_ends_its_half_behind_the_request_gets_the_reply() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let client = ask(&mut world, GET);
    client.shutdown();
    world.settle();
    let (backend, _) = asked(&world);
    world.settle();
    backend.send(OK);
    world.settle();
    assert!(text(&client).ends_with("ok"));
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_client_that_leaves_takes_its_backend_along() {
    for request in [GET, POST] {
        let upstream = upstream(1);
        let mut world = world(&Setup::default(), &upstream);
        let client = ask(&mut world, request);
        let (backend, _) = asked(&world);
        client.reset();
        world.settle();
        assert!(backend.is_closed_by_server(), "{request:?}");
        assert_bare(&mut world, &upstream);
    }
}

#[test]
fn what_is_no_valid_request_is_refused_and_the_connection_ends() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let line = "POST /app/a HTTP/1.1\r\nHost: a\r\n";
    for (request, expected) in [
        (
            format!("{line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}"),
            "400",
        ),
        (format!("{line}Content-Length: 1048577\r\n\r\n"), "413"),
        (format!("{line}Transfer-Encoding: gzip, chunked\r\n\r\n"), "501"),
        ("POST /app/a HTTP/1.0\r\n\r\n".to_owned(), "411"),
        ("BREW /app/a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "501"),
    ] {
        let client = ask(&mut world, &request);
        assert_eq!(status(&client), expected, "{request}");
        client.shutdown();
        world.settle();
        assert!(client.is_closed_by_server());
        assert!(world.network.accept_at(&address(1)).is_none(), "{request}");
    }
    // Found within the body, of which the backend knows a part.
    for (body, expected) in [("5\nhello", "400"), ("ffffff\r\n", "413")] {
        let client = ask(&mut world, &format!("{line}Transfer-Encoding: chunked\r\n\r\n"));
        let (backend, _) = asked(&world);
        client.send(body.as_bytes());
        client.send(&[b'a'; 1_100_000]);
        for _ in 0..100 {
            world.settle();
            let _ = backend.receive(usize::MAX);
        }
        assert_eq!(status(&client), expected, "{body:?}");
        assert!(backend.is_closed_by_server());
        client.shutdown();
    }
    assert_eq!(world.counter("http_refused"), 7);
    assert_bare(&mut world, &upstream);
}

#[test]
fn interim_replies_reach_those_who_know_them() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let expects = POST.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let client = ask(&mut world, &expects);
    let (backend, request) = asked(&world);
    assert!(request.contains("\r\nExpect: 100-continue\r\n"), "{request}");
    backend.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n");
    world.settle();
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n";
    assert_eq!(text(&client), interim);
    client.send(b"0123456789");
    world.settle();
    assert_eq!(backend.receive(usize::MAX), b"0123456789");
    backend.send(OK);
    world.settle();
    assert!(text(&client).ends_with("ok"));
    let old = "GET /app/a HTTP/1.0\r\nExpect: 100-continue\r\n\r\n";
    let client = ask(&mut world, old);
    let (backend, request) = asked(&world);
    assert!(!request.contains("Expect"), "{request}");
    backend.send(b"HTTP/1.1 100 Continue\r\n\r\n");
    backend.send(OK);
    world.settle();
    assert!(text(&client).starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"));
    assert!(client.has_ended());
}

#[test]
fn a_drain_lets_replies_end_and_closes_connections_at_rest() {
    let upstream = upstream(1);
    let mut world = world(&Setup::default(), &upstream);
    let resting = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    backend.send(OK);
    world.settle();
    assert!(text(&resting).ends_with("ok"));
    let client = ask(&mut world, GET);
    let (backend, _) = asked(&world);
    backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    world.settle();
    world.drain(60_000, false);
    world.settle();
    assert!(resting.has_ended() && resting.receive(1).is_empty());
    backend.send(b"cde");
    world.settle();
    assert!(text(&client).ends_with("abcde") && client.has_ended());
    for own in [&resting, &client] {
        own.shutdown();
    }
    world.settle();
    assert_eq!(world.server.connection_count(), 0);
}

#[test]
fn neither_side_is_read_while_the_other_reads_nothing() {
    let upstream = upstream(1);
    let mut server = ServerSettings::default();
    server.connections.backlog_high_bytes = 64 << 10;
    server.connections.receive_buffer_bytes = 64 << 10;
    let mut world = world(&Setup { server, ..Setup::default() }, &upstream);
    world.network.set_send_buffer_bytes(1_000);
    let pool = ServerSettings::default().pool_bytes_max;
    let request = "POST /app/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let client = ask(&mut world, request);
    client.send(&[b'a'; 1_000_000]);
    world.settle();
    let held = pool - world.server.pool.available();
    // What waits, and what was read before that was noticed.
    assert!(held <= 256 << 10, "{held} bytes");
    let backend = world.network.accept_at(&address(1)).unwrap();
    let mut received = 0;
    while client.pending_bytes() > 0 || backend.unread_bytes() > 0 {
        let count = backend.receive(usize::MAX).len();
        assert!(count > 0, "the body stalls after {received} bytes");
        received += count;
        world.settle();
    }
    assert!(received > 1_000_000);
    backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    backend.send(&[b'b'; 1_000_000]);
    world.settle();
    let held = pool - world.server.pool.available();
    // What waits, and what was read before that was noticed.
    assert!(held <= 256 << 10, "{held} bytes");
    let mut received = 0;
    while received < 1_000_000 {
        let count = client.receive(usize::MAX).len();
        assert!(count > 0, "the reply stalls after {received} bytes");
        received += count;
        world.settle();
    }
    client.shutdown();
    assert_bare(&mut world, &upstream);
}
