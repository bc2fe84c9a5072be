//! What operators ask of a loop that serves, and what they have it do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate::inspect::{ConnectionFilter, ConnectionPhase, ConnectionProtocol, Query};
use tidegate::mail::{Class, MailItem as _, Reply};
use tidegate::reactor::LoopCommand;
use tidegate::services::CloseReason;
use tidegate::sim::Faults;

use super::server;
use crate::client::Client;
use crate::operator::{
    all, ask, close, close_one, close_request, list, send, send_one, send_text, show, slice,
};
use crate::wire::{CLOSE, TEXT, upgrade_request};
use crate::world::World;

fn on_route(route: &str) -> ConnectionFilter {
    ConnectionFilter { route: Some(route.to_owned()), ..all() }
}

fn in_phase(phase: ConnectionPhase) -> ConnectionFilter {
    ConnectionFilter { phase: Some(phase), ..all() }
}

#[test]
fn a_list_shows_connections_in_every_part_of_their_life() {
    let mut world = World::new(&server(|server| server.line_route = Some("/echo")));
    let _open = world.open(0, "/broadcast");
    let _line = world.connect_line(0);
    let _silent = world.connect(0);
    let undecided = world.connect(0);
    undecided.ask("/gate?later");
    let mut closing = world.open(0, "/echo");
    closing.send_frame(3, b"no such opcode");
    world.exchange(&mut closing);
    let rows = list(&mut world, 0, &all());
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.phase, row.protocol, row.route.as_deref(), row.room.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (
                ConnectionPhase::Open,
                ConnectionProtocol::WebSocket,
                Some("websocket /broadcast"),
                Some("")
            ),
            (ConnectionPhase::Open, ConnectionProtocol::Line, Some("websocket /echo"), None),
            (ConnectionPhase::Handshake, ConnectionProtocol::Http, None, None),
            (ConnectionPhase::Handshake, ConnectionProtocol::Http, Some("websocket /gate"), None),
            (
                ConnectionPhase::Closing,
                ConnectionProtocol::WebSocket,
                Some("websocket /echo"),
                None
            ),
        ]
    );
    let addresses: BTreeSet<_> = rows.iter().filter_map(|row| row.address).collect();
    assert_eq!(addresses.len(), rows.len(), "each has its own port");
    assert!(rows.iter().all(|row| row.peer.loop_index == 0 && !row.is_tls && row.user.is_none()));
}

#[test]
fn filters_choose_by_route_phase_and_address() {
    let mut world = World::calm();
    let clients: Vec<Client> =
        ["/echo", "/broadcast", "/echo"].map(|path| world.open(0, path)).into();
    let _silent = world.connect(0);
    world.settle();
    let count = |world: &mut World, filter: &ConnectionFilter| list(world, 0, filter).len();
    assert_eq!(count(&mut world, &all()), clients.len() + 1);
    for (route, expected) in [
        ("/echo", 2),
        ("websocket /echo", 2),
        ("websocket /broadcast", 1),
        ("/", 0),
        ("echo", 0),
        ("", 0),
    ] {
        assert_eq!(count(&mut world, &on_route(route)), expected, "{route}");
    }
    for (phase, expected) in
        [(ConnectionPhase::Open, 3), (ConnectionPhase::Handshake, 1), (ConnectionPhase::Closing, 0)]
    {
        assert_eq!(count(&mut world, &in_phase(phase)), expected, "{phase:?}");
    }
    for (address, expected) in [("127.0.0.1", 4), ("::ffff:127.0.0.1", 4), ("127.0.0.2", 0)] {
        let filter = ConnectionFilter { address: Some(address.parse().unwrap()), ..all() };
        assert_eq!(count(&mut world, &filter), expected, "{address}");
    }
    // A socket whose peer has reset it knows no address.
    clients[0].connection.reset();
    let address = Some("127.0.0.1".parse().unwrap());
    let first = send(&world, 0, |reply| Query::List {
        filter: Arc::new(ConnectionFilter { address, ..all() }),
        from: 0,
        count_max: 10,
        reply,
    });
    world.settle();
    assert_eq!(first.wait(Duration::ZERO).unwrap().connections.len(), 3);
}

#[test]
fn a_list_goes_on_where_the_slice_before_ended() {
    let mut world = World::calm();
    let _clients: Vec<Client> = (0..10).map(|_| world.open(0, "/echo")).collect();
    let (mut seen, mut from, mut slices) = (Vec::new(), Some(0), 0);
    while let Some(at) = from {
        let slice = slice(&mut world, 0, &all(), at, 3);
        assert!((1..=3).contains(&slice.connections.len()) || slice.next.is_none());
        seen.extend(slice.connections.into_iter().map(|row| row.peer.key.index));
        (from, slices) = (slice.next, slices + 1);
    }
    assert_eq!(seen, (0..10).collect::<Vec<u32>>());
    assert_eq!(slices, 4);
    let beyond = slice(&mut world, 0, &all(), u32::MAX, 3);
    assert!(beyond.connections.is_empty() && beyond.next.is_none());
    assert_eq!(slice(&mut world, 0, &all(), 0, 0).connections.len(), 1, "or it would never end");
}

/// What one question costs is bounded whatever the number of connections, and echoes go on between.
#[test]
fn no_question_takes_more_than_a_part_of_a_turn() {
    const CONNECTIONS: usize = 2_000;
    let mut world = World::new(&server(|server| {
        server.connections_max = CONNECTIONS;
        server.connections.half_open_max = CONNECTIONS;
    }));
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| world.connect(0)).collect();
    clients.iter().for_each(|client| client.ask("/echo"));
    world.settle();
    let by_address = ConnectionFilter { address: Some("127.0.0.2".parse().unwrap()), ..all() };
    for (what, filter) in [("list", all()), ("list none", by_address), ("close", all())] {
        let (mut from, mut slices) = (Some(0), 0);
        while let Some(at) = from {
            clients[0].send_frame(TEXT, b"between");
            let filter = Arc::new(filter.clone());
            from = if what == "close" {
                let request = close_request(1012, "restart");
                let query = |reply| Query::Close { filter, from: at.max(1), request, reply };
                ask(&mut world, 0, query).next
            } else {
                let query = |reply| Query::List { filter, from: at, count_max: usize::MAX, reply };
                ask(&mut world, 0, query).next
            };
            let used = world.server.work_used(0).unwrap();
            assert!(used <= 400_000, "{what}: {used}");
            slices += 1;
        }
        assert!(slices > 2, "{what}: {slices}");
        world.exchange(&mut clients[0]);
    }
    for client in &mut clients[1..] {
        client.read_all();
        assert_eq!(client.received.close().unwrap().close_code(), Some(1012));
    }
    assert!(clients[0].received.close().is_none(), "slot 0 was left out");
    assert_eq!(world.counter("closed_by_operator"), CONNECTIONS as u64 - 1);
}

#[test]
fn a_close_by_an_operator_says_so_to_the_peer_the_service_and_the_counters() {
    let mut world = World::new(&server(|server| server.line_route = Some("/echo")));
    let mut client = world.open(0, "/echo");
    client.send_frame(TEXT, b"before");
    let line = world.connect_line(0);
    let _silent = world.connect(0);
    world.settle();
    let keys: Vec<_> = list(&mut world, 0, &all()).iter().map(|row| row.peer.key).collect();
    assert_eq!(keys.len(), 3);
    for (key, is_open) in keys.iter().zip([true, true, false]) {
        assert_eq!(close_one(&mut world, 0, *key), is_open);
        assert!(!close_one(&mut world, 0, *key), "it is closing");
    }
    world.exchange(&mut client);
    let close = client.received.close().unwrap();
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(4321)));
    assert_eq!(&close.payload[2..], b"by an operator");
    assert_eq!(client.payloads(), [b"before"], "what was sent before comes first");
    assert_eq!(line.received(), "by an operator\n");
    assert_eq!(world.counter("closed_by_operator"), 2);
    assert_eq!(world.counter("effects_ignored"), 0);
    let ends = &world.journal.entries().ends;
    let is_by_operator = |reason: &CloseReason| matches!(reason, CloseReason::Operator(code) if code.number() == 4321);
    assert!(ends.len() == 2 && ends.values().all(is_by_operator));
}

#[test]
fn all_that_fit_are_closed_and_no_others() {
    let mut world = World::new(&server(|server| server.loops = 2));
    let mut echoes: Vec<Client> = (0..20).map(|serial| world.open(serial % 2, "/echo")).collect();
    let mut others: Vec<Client> = (0..5).map(|_| world.open(1, "/broadcast")).collect();
    assert_eq!(close(&mut world, 1, &on_route("/echo")), 10);
    assert_eq!(close(&mut world, 1, &on_route("/echo")), 0, "once");
    assert_eq!(list(&mut world, 1, &in_phase(ConnectionPhase::Open)).len(), 5);
    for (serial, client) in echoes.iter_mut().enumerate() {
        client.read_all();
        assert_eq!(client.received.close().is_some(), serial % 2 == 1);
    }
    for client in &mut others {
        client.read_all();
        assert!(client.received.close().is_none());
    }
}

#[test]
fn a_text_reaches_one_or_all_that_fit_in_their_framing() {
    let mut setup = server(|server| server.line_route = Some("/echo"));
    setup.deflate.bytes_min = 0;
    let mut world = World::new(&setup);
    let mut plain = world.open(0, "/echo");
    let mut compressed = world.connect(0);
    compressed.send(&crate::wire::upgrade_request_offering_deflate("/echo", ""));
    world.exchange(&mut compressed);
    let line = world.connect_line(0);
    let silent = world.connect(0);
    world.settle();
    let text = "two\nlines of ünicode, long enough to be worth it ".repeat(20);
    assert_eq!(send_text(&mut world, 0, &on_route("/echo"), &text), 3);
    let first = list(&mut world, 0, &all())[0].peer.key;
    assert!(send_one(&mut world, 0, first, "only you"));
    for client in [&mut plain, &mut compressed] {
        world.exchange(client);
    }
    assert_eq!(plain.payloads(), [text.as_bytes(), b"only you"]);
    assert_eq!(compressed.payloads(), [text.as_bytes()]);
    assert_eq!(line.received(), format!("{}\n", text.replace('\n', " ")));
    let last = list(&mut world, 0, &in_phase(ConnectionPhase::Handshake))[0].peer.key;
    assert!(!send_one(&mut world, 0, last, "too early"));
    assert!(!silent.is_gone());
    assert_eq!(world.counter("effects_ignored"), 0);
}

#[test]
fn a_connection_is_shown_with_what_it_waits_for_and_holds() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let key = list(&mut world, 0, &all())[0].peer.key;
    let detail = show(&mut world, 0, key).unwrap();
    assert_eq!(detail.summary, list(&mut world, 0, &all())[0]);
    assert_eq!((detail.held_bytes, detail.partial_bytes, detail.is_pinged), (0, 0, false));
    assert_eq!((detail.deflate_window_bits, detail.tls), (None, None));

    client.send(&[0x81, 0x80 | 126, 0x10, 0, 1, 2, 3, 4, b'x']);
    world.pass(10_000);
    let detail = show(&mut world, 0, key).unwrap();
    assert_eq!(detail.partial_bytes, 9);
    assert!(detail.held_bytes >= 9);
    assert!((9_800..=10_000).contains(&detail.summary.silent_ms), "{}", detail.summary.silent_ms);
    client.send(&[0; 0xFFF]);
    world.pass(26_000);
    assert!(show(&mut world, 0, key).unwrap().is_pinged);
    client.read_all();
    client.send_frame(10, b"");
    // It reads nothing more, and sends on.
    for _ in 0..100 {
        client.send_frame(TEXT, &[b'y'; 10_000]);
    }
    world.settle();
    let detail = show(&mut world, 0, key).unwrap();
    assert_eq!(detail.paused_by, ["backlog"]);
    assert!(!detail.is_pinged && detail.summary.backlog_bytes > 64 << 10);
    assert!(detail.held_bytes >= detail.summary.backlog_bytes);

    let undecided = world.connect(0);
    undecided.send(&upgrade_request("/gate?later"));
    world.settle();
    let filter = on_route("/gate");
    let waiting = list(&mut world, 0, &filter)[0].peer.key;
    assert_eq!(show(&mut world, 0, waiting).unwrap().paused_by, ["decision"]);
    drop(undecided);
    let gone = tidegate::key::ConnKey { index: key.index, generation: key.generation + 1_000 };
    assert_eq!(show(&mut world, 0, gone), None);
}

/// Questions are answered, and orders obeyed, whatever state connections are in when they come.
#[test]
fn orders_meet_connections_that_fail_and_cannot_be_written_to() {
    let mut setup = server(|_| {});
    setup.faults = Faults { short_writes: 50, interrupted: 20, ..Faults::default() };
    let mut world = World::new(&setup);
    world.network.set_send_buffer_bytes(50);
    let mut clients: Vec<Client> = (0..30).map(|_| world.connect(0)).collect();
    for client in &mut clients {
        client.ask("/echo");
        world.exchange(client);
        client.send_frame(TEXT, &[b'x'; 500]);
    }
    world.settle();
    for client in clients.iter().step_by(3) {
        client.connection.reset();
    }
    assert_eq!(send_text(&mut world, 0, &all(), "still there?"), 20);
    assert_eq!(close(&mut world, 0, &all()), 20);
    for (serial, client) in clients.iter_mut().enumerate().filter(|(serial, _)| serial % 3 > 0) {
        world.exchange(client);
        assert_eq!(client.payloads()[1], b"still there?", "{serial}");
        assert_eq!(client.received.close().unwrap().close_code(), Some(4321));
    }
}

#[test]
fn what_a_question_holds_counts_in_the_mailbox() {
    let (reply, _) = Reply::channel();
    let text: Arc<str> = "x".repeat(1000).into();
    let query = Query::Publish { route: "/a".into(), room: "".into(), text, reply };
    let publish: LoopCommand = LoopCommand::Query(query);
    assert!(publish.bytes() >= 1002);
    assert_eq!(publish.class(), Class::Forwarding, "it goes on to other loops");
    let (reply, _) = Reply::channel();
    let list = Query::List { filter: Arc::new(all()), from: 0, count_max: 1, reply };
    let list: LoopCommand = LoopCommand::Query(list);
    assert_eq!((list.class(), list.bytes()), (Class::Terminal, size_of::<LoopCommand>()));
    assert!(size_of::<tidegate::reactor::LoopEnvelope>() <= 112, "one waits for each message");
}

#[test]
fn the_only_topic_of_a_route_is_listed_and_published_to() {
    let mut world = World::new(&server(|server| server.loops = 2));
    let mut members: Vec<Client> =
        (0..5).map(|serial| world.open(serial % 2, "/broadcast")).collect();
    let mut echo = world.open(0, "/echo");
    let mut found = Vec::new();
    for loop_index in 0..2 {
        let slice = ask(&mut world, loop_index, |reply| Query::Rooms { reply });
        assert_eq!(slice.total, 1);
        found.extend(slice.rooms.into_iter().map(|own| (own.route, own.room, own.members)));
    }
    let expected = [3, 2].map(|count| (Arc::from("websocket /broadcast"), String::new(), count));
    assert_eq!(found, expected);
    for (route, room, is_known) in
        [("/broadcast", "", true), ("/broadcast", "a", false), ("/echo", "", false)]
    {
        let query = |reply| Query::Publish {
            route: route.into(),
            room: room.into(),
            text: "to all".into(),
            reply,
        };
        assert_eq!(ask(&mut world, 1, query), is_known, "{route} {room}");
    }
    for member in &mut members {
        world.exchange(member);
        assert_eq!(member.payloads(), [b"to all"]);
    }
    world.exchange(&mut echo);
    assert!(echo.payloads().is_empty());
}
