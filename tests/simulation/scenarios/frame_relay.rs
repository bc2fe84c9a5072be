//! Relays of frames: messages pass between client and backend as they are, however they are cut, and each
//! side is told how the other ends. A naive model joins the frames of either side by itself.

use std::sync::Arc;

use tidegate::services::{DeflateOptions, MessageLimits, RatePolicy, RelayMode, RouteOptions};
use tidegate::sim::{Faults, OnConnect, Random, ServerSettings, SimClient};
use tidegate::upstream::Upstream;
use tidegate::ws::{CloseCode, FrameHeader, Opcode, apply_mask, parse_close, parse_header};

use super::LATE_MS;
use super::backend::{
    address, ask, assert_bare, faults, open, routes_in, status, switched, upstream,
};
use crate::wire::{deflated, upgrade_request_offering_deflate};
use crate::world::{Setup, World};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Backend,
}

fn encoded(side: Side, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame_with(side, FrameHeader { fin, rsv1: false, opcode, mask: None, payload_len: 0 }, payload)
}

fn frame_with(side: Side, header: FrameHeader, payload: &[u8]) -> Vec<u8> {
    let key = [7, 11, 13, 17];
    let mask = (side == Side::Client).then_some(key);
    let mut bytes = Vec::new();
    FrameHeader { mask, payload_len: payload.len() as u64, ..header }.append_to(&mut bytes);
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    if mask.is_some() {
        apply_mask(&mut bytes[at..], key, 0);
    }
    bytes
}

fn text(side: Side, payload: &[u8]) -> Vec<u8> {
    encoded(side, true, Opcode::Text, payload)
}

fn close(side: Side, code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
    encoded(side, true, Opcode::Close, &payload)
}

/// Reads what one side receives, frame by frame, as an endpoint of another make does.
#[derive(Debug, Default)]
struct Reader {
    bytes: Vec<u8>,
    /// Frames so far.
    frames: usize,
    /// A message in fragments.
    begun: Option<(Opcode, Vec<u8>)>,
    messages: Vec<(Opcode, Vec<u8>)>,
    pings: usize,
    pongs: Vec<Vec<u8>>,
    /// The code and the reason.
    close: Option<(Option<u16>, String)>,
    masks: Vec<[u8; 4]>,
}

impl Reader {
    /// Takes all that has come; `of` says who is reading.
    fn read(&mut self, of: Side, socket: &SimClient, bytes_max: usize) {
        self.bytes.extend(socket.receive(bytes_max));
        while let Some((header, header_len)) = parse_header(&self.bytes).unwrap() {
            let end = header_len + usize::try_from(header.payload_len).unwrap();
            if self.bytes.len() < end {
                break;
            }
            assert_eq!(header.mask.is_some(), of == Side::Backend, "{header:?}");
            assert!(!header.rsv1 || of == Side::Client, "{header:?}");
            let mut payload: Vec<u8> = self.bytes.drain(..end).skip(header_len).collect();
            if let Some(key) = header.mask {
                apply_mask(&mut payload, key, 0);
                self.masks.push(key);
            }
            assert_eq!(self.close, None, "{header:?} behind a close frame");
            self.take(&header, payload);
        }
    }

    fn take(&mut self, header: &FrameHeader, payload: Vec<u8>) {
        self.frames += 1;
        match header.opcode {
            Opcode::Ping => self.pings += 1,
            Opcode::Pong => self.pongs.push(payload),
            Opcode::Close => {
                let close = parse_close(&payload).unwrap();
                self.close = Some((close.code.map(CloseCode::number), close.reason.to_owned()));
            }
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {
                let (opcode, mut message) = match (self.begun.take(), header.opcode) {
                    (Some(begun), Opcode::Continuation) => begun,
                    (None, Opcode::Text | Opcode::Binary) => (header.opcode, Vec::new()),
                    other => panic!("{other:?}"),
                };
                message.extend(payload);
                if header.rsv1 {
                    message = inflated(&message);
                }
                match header.fin {
                    true => self.messages.push((opcode, message)),
                    false => self.begun = Some((opcode, message)),
                }
            }
        }
    }
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut stream = flate2::Decompress::new(false);
    let mut message = Vec::with_capacity(1 << 20);
    let input = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    stream.decompress_vec(&input, &mut message, flate2::FlushDecompress::Sync).unwrap();
    message
}

fn world(setup: &Setup, options: &RouteOptions, upstream: &Arc<Upstream>) -> World {
    let world =
        World::serving(setup, |journal| routes_in(RelayMode::Frames, options, journal, upstream));
    world.network.set_backend(&address(1), OnConnect::Accepts);
    world
}

fn calm(options: &RouteOptions, upstream: &Arc<Upstream>) -> World {
    world(&Setup::default(), options, upstream)
}

/// What an end receives until nothing more comes.
fn read(world: &mut World, of: Side, socket: &SimClient) -> Reader {
    let mut reader = Reader::default();
    loop {
        world.settle();
        if socket.unread_bytes() == 0 {
            return reader;
        }
        reader.read(of, socket, usize::MAX);
    }
}

/// One side, with what it is yet to send.
struct End {
    side: Side,
    socket: SimClient,
    to_send: Vec<u8>,
    sent: usize,
    messages: Vec<(Opcode, Vec<u8>)>,
    pings: Vec<Vec<u8>>,
    reader: Reader,
}

impl End {
    fn new(side: Side, socket: SimClient, random: &mut Random) -> Self {
        let (mut to_send, mut messages, mut pings) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..random.below(30) {
            let opcode = if random.percent(50) { Opcode::Text } else { Opcode::Binary };
            let most = [1, 100, 3_000, 200_000][random.below(4)];
            let fragments = 1 + random.below(4) * random.below(2);
            let mut message = Vec::new();
            for number in 0..fragments {
                let count = random.below(most);
                let part = if opcode == Opcode::Text {
                    "é".repeat(count / 2).into_bytes()
                } else {
                    random.bytes(count)
                };
                let own = if number == 0 { opcode } else { Opcode::Continuation };
                to_send.extend(encoded(side, number + 1 == fragments, own, &part));
                message.extend(part);
                if random.percent(20) {
                    let count = random.below(126);
                    let ping = random.bytes(count);
                    to_send.extend(encoded(side, true, Opcode::Ping, &ping));
                    pings.push(ping);
                }
                if random.percent(10) {
                    to_send.extend(encoded(side, true, Opcode::Pong, b"unsolicited"));
                }
            }
            messages.push((opcode, message));
        }
        Self { side, socket, to_send, sent: 0, messages, pings, reader: Reader::default() }
    }

    fn send(&mut self, count: usize) {
        let end = self.sent.saturating_add(count).min(self.to_send.len());
        self.socket.send(&self.to_send[self.sent..end]);
        self.sent = end;
    }

    fn receive(&mut self, bytes_max: usize) {
        self.reader.read(self.side, &self.socket, bytes_max);
    }

    fn has_all_of(&self, other: &Self) -> bool {
        self.sent == self.to_send.len() && self.reader.messages.len() == other.messages.len()
    }
}

fn relay(seed: u64) {
    let mut random = Random::new(seed);
    let mut server = ServerSettings::default();
    server.connections.receive_buffer_bytes = [300, 5_000, 512 << 10][random.below(3)];
    server.connections.backlog_high_bytes = [1 << 10, 64 << 10][random.below(2)];
    // Neither end answers pings.
    server.connections.ping_idle_ms = 600_000;
    let faults = faults(&mut random);
    let upstream = upstream(1);
    let options = RouteOptions::default();
    let mut world = world(&Setup { seed, server, faults, ..Setup::default() }, &options, &upstream);
    let mut pairs: Vec<[End; 2]> = Vec::new();
    for _ in 0..=random.below(3) {
        world.network.set_faults(Faults::default());
        let (client, backend) = open(&mut world);
        world.network.set_faults(faults);
        let client = End::new(Side::Client, client, &mut random);
        pairs.push([client, End::new(Side::Backend, backend, &mut random)]);
    }
    world.network.set_send_buffer_bytes([700, 3_000, 64 << 10][random.below(3)]);
    for round in 0.. {
        assert!(round < 100_000, "seed {seed}: messages that never arrive");
        let (pair, side) = (random.below(pairs.len()), random.below(2));
        let end = &mut pairs[pair][side];
        match random.below(4) {
            0 => end.send(1 + random.below(40_000)),
            1 => end.receive(1 + random.below(80_000)),
            2 => world.pass(random.below(20) as u64),
            _ => world.settle(),
        }
        if pairs.iter().all(|[one, other]| one.has_all_of(other) && other.has_all_of(one)) {
            break;
        }
    }
    world.network.set_faults(Faults::default());
    for [client, backend] in &mut pairs {
        let (first, second, side) = match random.percent(50) {
            true => (client, backend, Side::Client),
            false => (backend, client, Side::Backend),
        };
        assert!(first.reader.messages == second.messages, "seed {seed}: messages");
        assert!(second.reader.messages == first.messages, "seed {seed}: messages");
        let code = 4000 + u16::try_from(random.below(900)).unwrap();
        first.socket.send(&close(side, code, "enough"));
        let mut calm = 0;
        while calm < 3 {
            world.settle();
            let unread = first.socket.unread_bytes() + second.socket.unread_bytes();
            calm = if unread == 0 { calm + 1 } else { 0 };
            first.receive(usize::MAX);
            second.receive(usize::MAX);
        }
        for end in [&*first, &*second] {
            let how = (end.socket.has_ended(), end.socket.was_reset(), &end.reader.close);
            assert!(how.0 && !how.1, "seed {seed}: {:?} {how:?}", end.side);
            let mut pings = end.pings.iter();
            // Who reads little gets fewer answers, and never others.
            let all = end.reader.pongs.iter().all(|pong| pings.any(|ping| ping == pong));
            assert!(all, "seed {seed}: pongs");
        }
        assert_eq!(first.reader.close, Some((Some(code), String::new())), "seed {seed}");
        assert_eq!(second.reader.close, Some((Some(code), "enough".to_owned())), "seed {seed}");
        first.socket.shutdown();
        second.socket.shutdown();
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn messages_pass_between_client_and_backend_unchanged() {
    (0..60).for_each(relay);
}

/// Short frames and those that arrive whole are not even cut.
#[test]
fn frames_and_fragments_stay_what_they_are() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let (client, backend) = open(&mut world);
    for (from, to, side, other) in [
        (&client, &backend, Side::Client, Side::Backend),
        (&backend, &client, Side::Backend, Side::Client),
    ] {
        from.send(&encoded(side, false, Opcode::Text, b""));
        from.send(&encoded(side, false, Opcode::Continuation, b"a"));
        from.send(&encoded(side, true, Opcode::Continuation, b""));
        from.send(&encoded(side, true, Opcode::Binary, b""));
        let large = encoded(side, true, Opcode::Binary, &[3; 60_000]);
        for part in large.chunks(7_000) {
            from.send(part);
            world.settle();
        }
        let reader = read(&mut world, other, to);
        assert_eq!(reader.frames, 5);
        assert_eq!(reader.messages.len(), 3);
        assert_eq!(reader.messages[0], (Opcode::Text, b"a".to_vec()));
        assert_eq!(reader.messages[1], (Opcode::Binary, Vec::new()));
        assert_eq!(reader.messages[2], (Opcode::Binary, vec![3; 60_000]));
    }
}

#[test]
fn a_large_message_is_not_collected() {
    let upstream = upstream(1);
    let options = RouteOptions { message_bytes_max: 16 << 20, ..RouteOptions::default() };
    let mut world = calm(&options, &upstream);
    let (client, backend) = open(&mut world);
    let message: Vec<u8> = (0..16 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    for (from, to, side, other) in [
        (&client, &backend, Side::Client, Side::Backend),
        (&backend, &client, Side::Backend, Side::Client),
    ] {
        let (mut reader, mut held_max) = (Reader::default(), 0);
        for part in encoded(side, true, Opcode::Binary, &message).chunks(100_000) {
            from.send(part);
            world.settle();
            reader.read(other, to, usize::MAX);
            let held = ServerSettings::default().pool_bytes_max - world.server.pool.available();
            held_max = held_max.max(held);
        }
        world.settle();
        while to.unread_bytes() > 0 {
            reader.read(other, to, usize::MAX);
            world.settle();
        }
        assert!(held_max < 1 << 20, "{held_max} bytes");
        let begun = reader.begun.as_ref().map(|own| own.1.len());
        assert_eq!((begun, &reader.close, from.pending_bytes()), (None, &None, 0), "{side:?}");
        assert!(reader.messages == [(Opcode::Binary, message.clone())]);
        // 64 KiB or more each.
        assert!((2..=256).contains(&reader.frames), "{}", reader.frames);
    }
    client.reset();
    assert_bare(&mut world, &upstream);
}

/// Every frame to a backend has a key of its own.
#[test]
fn frames_to_a_backend_are_masked_with_keys_of_their_own() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let (client, backend) = open(&mut world);
    for _ in 0..1_000 {
        client.send(&text(Side::Client, b"hello"));
    }
    let mut masks = read(&mut world, Side::Backend, &backend).masks;
    assert_eq!(masks.len(), 1_000);
    masks.sort_unstable();
    masks.dedup();
    assert!(masks.len() > 990, "{}", masks.len());
}

#[test]
fn each_side_is_pinged_and_neither_hears_of_the_others_pongs() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let (client, backend) = open(&mut world);
    let mut readers = [Reader::default(), Reader::default()];
    for _ in 0..40 {
        world.pass(2_000);
        let ends = [(&client, Side::Client), (&backend, Side::Backend)];
        for ((socket, side), reader) in ends.into_iter().zip(&mut readers) {
            let before = reader.pings;
            reader.read(side, socket, usize::MAX);
            for _ in before..reader.pings {
                socket.send(&encoded(side, true, Opcode::Pong, b""));
            }
        }
    }
    for reader in &readers {
        assert!((3..=4).contains(&reader.pings), "{}", reader.pings);
        assert_eq!((reader.frames, &reader.pongs[..]), (reader.pings, &[][..]));
    }
    // A backend that answers no ping is as good as gone.
    let mut reader = Reader::default();
    for _ in 0..20 {
        world.pass(2_000);
        client.send(&encoded(Side::Client, true, Opcode::Pong, b""));
        reader.read(Side::Client, &client, usize::MAX);
    }
    assert_eq!(reader.close.map(|own| own.0), Some(Some(1011)));
    assert!(backend.is_closed_by_server());
}

#[test]
fn pings_are_answered_by_the_gateway_alone() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let (client, backend) = open(&mut world);
    for (from, to, side, other) in [
        (&client, &backend, Side::Client, Side::Backend),
        (&backend, &client, Side::Backend, Side::Client),
    ] {
        from.send(&encoded(side, true, Opcode::Ping, b"there?"));
        assert_eq!(read(&mut world, side, from).pongs, [b"there?".to_vec()]);
        assert_eq!(read(&mut world, other, to).frames, 0);
    }
}

#[test]
fn close_codes_are_carried_to_the_other_side() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    for side in [Side::Client, Side::Backend] {
        for said in [Some((1000, "")), Some((4321, "enough")), None] {
            let (client, backend) = open(&mut world);
            let (first, second, other) = match side {
                Side::Client => (&client, &backend, Side::Backend),
                Side::Backend => (&backend, &client, Side::Client),
            };
            first.send(&text(side, b"last"));
            first.send(&match said {
                Some((code, reason)) => close(side, code, reason),
                None => encoded(side, true, Opcode::Close, b""),
            });
            let reader = read(&mut world, other, second);
            assert_eq!(reader.messages, [(Opcode::Text, b"last".to_vec())]);
            let expected = said.map_or((None, ""), |(code, reason)| (Some(code), reason));
            assert_eq!(reader.close, Some((expected.0, expected.1.to_owned())));
            let answer = read(&mut world, side, first);
            assert_eq!(answer.close, Some((expected.0, String::new())));
            second.shutdown();
            first.shutdown();
        }
    }
    assert_eq!((world.counter("closed_by_peer"), world.counter("closed_by_service")), (3, 2));
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_side_that_vanishes_is_told_to_the_other() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    for is_reset in [true, false] {
        for side in [Side::Client, Side::Backend] {
            let (client, backend) = open(&mut world);
            let (first, second, other, code) = match side {
                Side::Client => (client, backend, Side::Backend, 1001),
                Side::Backend => (backend, client, Side::Client, 1011),
            };
            // In the middle of a long frame and of a character.
            let long = text(side, "é".repeat(100_000).as_bytes());
            first.send(&long[..90_001]);
            world.settle();
            if is_reset {
                first.reset();
            } else {
                first.shutdown();
            }
            let reader = read(&mut world, other, &second);
            assert_eq!(reader.close.map(|own| own.0), Some(Some(code)), "{side:?} {is_reset}");
            assert!(second.has_ended() && !second.was_reset());
            second.shutdown();
        }
    }
    assert_eq!(world.counter("closed_backend"), 2);
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_backend_that_breaks_the_protocol_is_closed_and_its_client_told() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let compressed =
        FrameHeader { fin: true, rsv1: true, opcode: Opcode::Text, mask: None, payload_len: 0 };
    let broken = [
        (text(Side::Client, b"masked"), 1002),
        (b"HTTP/1.1 500 No\r\n\r\n".to_vec(), 1002),
        (text(Side::Backend, b"\xFF"), 1007),
        (frame_with(Side::Backend, compressed, b"abc"), 1002),
        (encoded(Side::Backend, true, Opcode::Continuation, b""), 1002),
        (close(Side::Backend, 1006, ""), 1002),
        (close(Side::Backend, 1005, ""), 1002),
    ];
    for (number, (bytes, code)) in broken.iter().enumerate() {
        let (client, backend) = open(&mut world);
        backend.send(&text(Side::Backend, b"fine"));
        backend.send(bytes);
        let reader = read(&mut world, Side::Client, &client);
        assert_eq!(reader.messages, [(Opcode::Text, b"fine".to_vec())]);
        assert_eq!(reader.close.map(|own| own.0), Some(Some(1011)), "{number}");
        let told = read(&mut world, Side::Backend, &backend);
        assert_eq!(told.close.map(|own| own.0), Some(Some(*code)), "{number}");
        assert_eq!(world.counter("relay_violations"), number as u64 + 1);
        client.shutdown();
        backend.shutdown();
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn a_client_that_breaks_a_rule_is_closed_and_its_backend_told() {
    let limits = MessageLimits { fragments_max: Some(3), ..MessageLimits::default() };
    let options = RouteOptions { message_bytes_max: 1_000, limits, ..RouteOptions::default() };
    let upstream = upstream(1);
    let mut world = calm(&options, &upstream);
    let side = Side::Client;
    let fragments: Vec<u8> = [Opcode::Text, Opcode::Continuation, Opcode::Continuation]
        .iter()
        .flat_map(|opcode| encoded(side, false, *opcode, b"a"))
        .collect();
    let in_parts = [
        encoded(side, false, Opcode::Binary, &[0; 600]),
        encoded(side, true, Opcode::Continuation, &[0; 401]),
    ];
    let broken = [
        (text(Side::Backend, b"not masked"), 1002),
        (text(side, b"\xFF"), 1007),
        (encoded(side, true, Opcode::Binary, &[0; 1_001]), 1009),
        (in_parts.concat(), 1009),
        (fragments, 1008),
    ];
    for (bytes, code) in broken {
        let (client, backend) = open(&mut world);
        client.send(&bytes);
        let reader = read(&mut world, Side::Backend, &backend);
        assert_eq!(reader.close.map(|own| own.0), Some(Some(1001)), "{code}");
        backend.send(&close(Side::Backend, 1001, ""));
        backend.shutdown();
        let told = read(&mut world, Side::Client, &client);
        assert_eq!(told.close.map(|own| own.0), Some(Some(code)));
        client.shutdown();
    }
    // A backend has none of these limits.
    let (client, backend) = open(&mut world);
    backend.send(&encoded(Side::Backend, true, Opcode::Binary, &[0; 100_000]));
    assert_eq!(read(&mut world, Side::Client, &client).messages.len(), 1);
    client.reset();
    assert_bare(&mut world, &upstream);
}

/// What a client has said before it breaks a rule is answered, whatever becomes of its backend then.
#[test]
fn answers_reach_a_client_before_the_close_that_it_has_earned() {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Then {
        Answers,
        Closes,
        Ends,
        Resets,
        Breaks,
        Hangs,
        ClientGoes,
    }
    let all = [
        Then::Answers,
        Then::Closes,
        Then::Ends,
        Then::Resets,
        Then::Breaks,
        Then::Hangs,
        Then::ClientGoes,
    ];
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    for then in all {
        let (client, backend) = open(&mut world);
        client.send(&text(Side::Client, b"hello"));
        client.send(&encoded(Side::Client, false, Opcode::Text, b"begun"));
        client.send(&text(Side::Client, b"not a continuation"));
        client.send(&text(Side::Client, b"not read any more"));
        let reader = read(&mut world, Side::Backend, &backend);
        assert_eq!(reader.messages, [(Opcode::Text, b"hello".to_vec())]);
        assert_eq!(reader.close.map(|own| own.0), Some(Some(1001)), "{then:?}");
        assert_eq!(client.unread_bytes(), 0, "{then:?}");
        backend.send(&text(Side::Backend, b"hello"));
        backend.send(&encoded(Side::Backend, true, Opcode::Ping, b""));
        match then {
            Then::Answers => backend.send(&close(Side::Backend, 1001, "bye")),
            Then::Closes => backend.send(&close(Side::Backend, 4000, "own")),
            Then::Ends => backend.shutdown(),
            Then::Resets => {
                world.settle();
                backend.reset();
            }
            Then::Breaks => backend.send(&text(Side::Client, b"masked")),
            Then::Hangs => {}
            Then::ClientGoes => client.reset(),
        }
        if then == Then::Hangs {
            let first = read(&mut world, Side::Client, &client);
            assert_eq!((first.messages.len(), first.close), (1, None));
            world.pass(ServerSettings::default().connections.close_ms + LATE_MS);
            let told = read(&mut world, Side::Client, &client);
            assert_eq!(told.close.map(|own| own.0), Some(Some(1002)));
        } else if then != Then::ClientGoes {
            let told = read(&mut world, Side::Client, &client);
            assert_eq!(told.messages, [(Opcode::Text, b"hello".to_vec())], "{then:?}");
            assert_eq!(told.close.map(|own| own.0), Some(Some(1002)), "{then:?}");
            assert!(!client.was_reset(), "{then:?}");
        }
        // Nothing behind the close frame but the answer to its ping.
        let rest = read(&mut world, Side::Backend, &backend);
        assert!(rest.messages.is_empty() && rest.close.is_none(), "{then:?}");
        client.shutdown();
        backend.shutdown();
        world.settle();
    }
    assert_eq!(world.counter("closed_protocol"), all.len() as u64 - 1);
    assert_bare(&mut world, &upstream);
}

#[test]
fn what_is_over_a_rate_waits_or_is_thrown_away_or_ends_the_client() {
    let rate = tidegate::services::CONTROL_FRAMES;
    for policy in [RatePolicy::Pause, RatePolicy::Drop, RatePolicy::Close] {
        let limits = MessageLimits { messages: Some(rate), policy, ..MessageLimits::default() };
        let upstream = upstream(1);
        let mut world = calm(&RouteOptions { limits, ..RouteOptions::default() }, &upstream);
        let (client, backend) = open(&mut world);
        for number in 0..300_u32 {
            client.send(&encoded(Side::Client, false, Opcode::Text, number.to_string().as_bytes()));
            client.send(&encoded(Side::Client, true, Opcode::Continuation, b"!"));
        }
        let mut reader = read(&mut world, Side::Backend, &backend);
        // Twice a second's worth at once.
        assert_eq!(reader.messages.len(), 200, "{policy:?}");
        world.pass(2_000);
        reader.read(Side::Backend, &backend, usize::MAX);
        match policy {
            RatePolicy::Pause => {
                let expected = (0..300).map(|at| (Opcode::Text, format!("{at}!").into_bytes()));
                assert!(reader.messages == expected.collect::<Vec<_>>());
            }
            RatePolicy::Drop => assert_eq!(world.counter("rate_dropped"), 100),
            RatePolicy::Close => assert_eq!(reader.close.map(|own| own.0), Some(Some(1001))),
        }
    }
}

#[test]
fn compression_is_agreed_with_the_client_alone() {
    let deflate = DeflateOptions { bytes_min: 1, ..DeflateOptions::default() };
    let options = RouteOptions { deflate: Some(deflate), ..RouteOptions::default() };
    let upstream = upstream(1);
    let mut world = calm(&options, &upstream);
    let client = world.network.connect(0, 0).unwrap();
    client.send(&upgrade_request_offering_deflate("/app/chat", ""));
    world.settle();
    let backend = world.network.accept_at(&address(1)).unwrap();
    let request = backend.receive(usize::MAX);
    assert!(!String::from_utf8(request.clone()).unwrap().contains("Extensions"));
    backend.send(&switched(&request));
    world.settle();
    let reply = String::from_utf8(client.receive(usize::MAX)).unwrap();
    assert!(reply.contains("Sec-WebSocket-Extensions: permessage-deflate"), "{reply}");

    let message = "the same again and again, ".repeat(1_000).into_bytes();
    let payload = deflated(&message);
    let (first, second) = payload.split_at(payload.len() / 2);
    let header =
        FrameHeader { fin: false, rsv1: true, opcode: Opcode::Text, mask: None, payload_len: 0 };
    client.send(&frame_with(Side::Client, header, first));
    client.send(&encoded(Side::Client, true, Opcode::Continuation, second));
    client.send(&text(Side::Client, b"plain"));
    let reader = read(&mut world, Side::Backend, &backend);
    let plain = (Opcode::Text, b"plain".to_vec());
    assert!(reader.messages == [(Opcode::Text, message.clone()), plain]);

    backend.send(&text(Side::Backend, &message));
    world.settle();
    assert!(client.unread_bytes() < message.len() / 10, "{}", client.unread_bytes());
    assert!(read(&mut world, Side::Client, &client).messages == [(Opcode::Text, message.clone())]);
    // What comes in fragments goes on as it comes.
    backend.send(&encoded(Side::Backend, false, Opcode::Text, &message));
    backend.send(&encoded(Side::Backend, true, Opcode::Continuation, b""));
    world.settle();
    assert!(client.unread_bytes() > message.len());
    assert_eq!(read(&mut world, Side::Client, &client).messages.len(), 1);
    client.reset();
    assert_bare(&mut world, &upstream);
}

#[test]
fn an_extension_that_was_not_offered_is_no_reply() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let client = ask(&world);
    world.settle();
    let backend = world.network.accept_at(&address(1)).unwrap();
    let mut reply = switched(&backend.receive(usize::MAX));
    reply.truncate(reply.len() - 2);
    reply.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    backend.send(&reply);
    world.settle();
    assert_eq!(status(&client), "502");
    assert_bare(&mut world, &upstream);
}

#[test]
fn neither_side_is_read_while_the_other_does_not_read() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    world.network.set_send_buffer_bytes(1_000);
    for (side, other) in [(Side::Client, Side::Backend), (Side::Backend, Side::Client)] {
        let (client, backend) = open(&mut world);
        let (from, to) =
            if side == Side::Client { (&client, &backend) } else { (&backend, &client) };
        for _ in 0..100 {
            from.send(&encoded(side, true, Opcode::Binary, &[7; 100_000]));
            world.settle();
        }
        let held = ServerSettings::default().pool_bytes_max - world.server.pool.available();
        assert!(held < 1 << 20, "{held} bytes");
        // While it is not read, its silence is not held against it.
        let mut reader = Reader::default();
        for _ in 0..8 {
            world.pass(5_000);
            reader.read(other, to, 2_000);
        }
        while reader.messages.len() < 100 {
            world.settle();
            assert!(to.unread_bytes() > 0, "stalls after {} messages", reader.messages.len());
            reader.read(other, to, usize::MAX);
        }
        // One that never reads again is given up.
        from.send(&encoded(side, true, Opcode::Binary, &[7; 100_000]));
        world.pass(600_000);
        assert!(client.is_closed_by_server() && backend.is_closed_by_server());
    }
    assert_bare(&mut world, &upstream);
}

/// A backend that asks for answers and reads none has them left out.
#[test]
fn a_flood_of_pings_that_reads_nothing_holds_no_memory() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    world.network.set_send_buffer_bytes(1_000);
    let (_client, backend) = open(&mut world);
    for _ in 0..200 {
        backend.send(&encoded(Side::Backend, true, Opcode::Ping, &[1; 125]).repeat(100));
        world.settle();
    }
    let held = ServerSettings::default().pool_bytes_max - world.server.pool.available();
    assert!(held < 1 << 20, "{held} bytes");
}

#[test]
fn a_drain_closes_both_sides_with_1001() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let pairs: Vec<_> = (0..10).map(|_| open(&mut world)).collect();
    world.drain(20_000, false);
    for (client, backend) in &pairs {
        for (socket, side) in [(client, Side::Client), (backend, Side::Backend)] {
            let reader = read(&mut world, side, socket);
            assert_eq!(reader.close.map(|own| own.0), Some(Some(1001)));
            socket.shutdown();
        }
    }
    world.pass(20_000);
    assert!(world.server.has_finished());
    assert_eq!(world.counter("closed_drained"), 10);
}

/// A server that dies with all its connections: its clients are told over many turns.
#[test]
fn the_clients_of_a_server_that_dies_are_told_in_paces() {
    let upstream = upstream(1);
    let mut setup = Setup::default();
    setup.server.connections.work.turn = 200_000;
    let mut world = world(&setup, &RouteOptions::default(), &upstream);
    let pairs: Vec<_> = (0..300).map(|_| open(&mut world)).collect();
    pairs.iter().for_each(|(_, backend)| backend.reset());
    let told = |pairs: &[(SimClient, SimClient)]| {
        pairs.iter().filter(|(client, _)| client.unread_bytes() > 0).count()
    };
    let (mut before, mut most) = (0, 0);
    while before < pairs.len() {
        world.server.step().unwrap();
        let now = told(&pairs);
        most = most.max(now - before);
        before = now;
    }
    assert!(most < 200, "{most} in one turn");
    for (client, _) in &pairs {
        let reader = read(&mut world, Side::Client, client);
        assert_eq!(reader.close.map(|own| own.0), Some(Some(1011)));
        client.shutdown();
    }
    assert_bare(&mut world, &upstream);
}

#[test]
fn an_idle_relay_of_frames_holds_no_more_than_its_record() {
    let upstream = upstream(1);
    let mut world = calm(&RouteOptions::default(), &upstream);
    let pairs: Vec<_> = (0..100).map(|_| open(&mut world)).collect();
    for (client, backend) in &pairs {
        // In fragments, so that what is remembered of those is given back.
        client.send(&encoded(Side::Client, false, Opcode::Binary, &[1; 1_000]));
        backend.send(&encoded(Side::Backend, true, Opcode::Binary, &[1; 100_000]));
    }
    world.settle();
    for (client, _) in &pairs {
        client.send(&encoded(Side::Client, true, Opcode::Continuation, b""));
        assert_eq!(read(&mut world, Side::Client, client).messages.len(), 1);
    }
    world.pass(15_000);
    let held = world.counter("pool_bytes_now");
    assert!(held <= 100 * 64, "{held} bytes");
    drop(pairs);
}

/// A relay keeps what it was opened with, whatever the route is by now.
#[test]
fn a_reload_keeps_the_mode_of_relays_that_are_open() {
    let upstream = upstream(1);
    let options = RouteOptions::default();
    let mut world = calm(&options, &upstream);
    let (client, backend) = open(&mut world);
    let next = routes_in(RelayMode::Bytes, &options, &world.journal, &upstream);
    world.reload(|settings| settings.connections.close_ms += 1, &next);
    client.send(&encoded(Side::Client, true, Opcode::Ping, b"a"));
    client.send(&text(Side::Client, b"there"));
    let reader = read(&mut world, Side::Backend, &backend);
    assert_eq!(reader.messages, [(Opcode::Text, b"there".to_vec())]);
    assert_eq!(read(&mut world, Side::Client, &client).pongs.len(), 1);
    client.reset();
    world.pass(LATE_MS);
    assert_bare(&mut world, &upstream);
}
