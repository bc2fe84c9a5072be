//! Live traces: what the connections that an operator follows send, get and end by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::config::SlowPolicy;
use tidegate::inspect::{ConnectionFilter, Query, TraceEvent, TraceEventKind, TraceId, TraceSink};
use tidegate::key::ConnKey;
use tidegate::mail::{NoReply, Reply};
use tidegate::reactor::LoopCommand;
use tidegate::services::CloseReason;
use tidegate::sim::{Faults, Random};
use tidegate::ws::CloseCode;

use super::server;
use crate::client::Client;
use crate::operator::{all, ask, send, send_text};
use crate::wire::{BINARY, PING, TEXT};
use crate::world::World;

/// What traces have told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<TraceEvent>>>);

impl Told {
    fn sink(&self) -> TraceSink {
        let into = Arc::clone(&self.0);
        TraceSink::new(move |event| into.lock().unwrap().push(event))
    }

    /// What was told since the last call.
    fn take(&self) -> Vec<TraceEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The same in few words, without the connections.
    fn words(&self) -> Vec<String> {
        self.take().iter().map(|event| words(&event.kind)).collect()
    }
}

fn words(kind: &TraceEventKind) -> String {
    match kind {
        TraceEventKind::Open(summary) => format!("open {}", summary.route.as_deref().unwrap()),
        TraceEventKind::Received { is_text, bytes, payload } => {
            format!("received {is_text} {bytes} {}", String::from_utf8_lossy(payload))
        }
        TraceEventKind::Sent { is_text, bytes, payload } => {
            format!("sent {is_text} {bytes} {}", String::from_utf8_lossy(payload))
        }
        TraceEventKind::Closed(reason) => format!("closed: {reason}"),
    }
}

fn on_route(route: &str) -> ConnectionFilter {
    ConnectionFilter { route: Some(route.to_owned()), ..all() }
}

fn trace(
    world: &mut World,
    loop_index: usize,
    number: u64,
    filter: &ConnectionFilter,
    payload_bytes_max: usize,
) -> Told {
    let told = Told::default();
    let (id, filter, sink) = (TraceId(number), Arc::new(filter.clone()), told.sink());
    ask(world, loop_index, |reply| Query::Trace { id, filter, payload_bytes_max, sink, reply });
    told
}

fn untrace(world: &mut World, loop_index: usize, number: u64) {
    let id = TraceId(number);
    world.server.command(loop_index, LoopCommand::Query(Query::Untrace { id }));
    world.settle();
}

#[test]
fn a_trace_tells_what_connections_send_get_and_end_by() {
    let mut world = World::new(&server(|server| server.line_route = Some("/echo")));
    let mut early = world.open(0, "/echo");
    let mut other = world.open(0, "/broadcast");
    let told = trace(&mut world, 0, 1, &on_route("/echo"), 5);
    let mut late = world.open(0, "/echo");
    assert_eq!(told.words(), ["open websocket /echo", "open websocket /echo"]);
    early.send_frame(TEXT, b"more than five");
    early.send_frame(PING, b"not told");
    early.send_frame(BINARY, b"");
    world.exchange(&mut early);
    let expected =
        ["received true 14 more ", "received false 0 ", "sent true 14 more ", "sent false 0 "];
    assert_eq!(told.words(), expected);
    other.send_frame(TEXT, b"not followed");
    world.exchange(&mut other);
    late.send_frame(TEXT, &[b'x'; 100_000]);
    world.exchange(&mut late);
    assert_eq!(told.words(), ["received true 100000 xxxxx", "sent true 100000 xxxxx"]);
    assert_eq!(send_text(&mut world, 0, &all(), "to all"), 3);
    assert_eq!(told.words(), ["sent true 6 to al"; 2]);
    let line = world.connect_line(0);
    line.send(b"a line\n");
    world.settle();
    let expected = ["open websocket /echo", "received true 6 a lin", "sent true 6 a lin"];
    assert_eq!(told.words(), expected);
    early.send_close(1000);
    late.connection.reset();
    world.settle();
    let events = told.take();
    let [first, second] = &events[..] else { panic!("{events:?}") };
    assert_eq!(first.kind, TraceEventKind::Closed(CloseReason::Peer(Some(CloseCode::NORMAL))));
    assert_eq!(second.kind, TraceEventKind::Closed(CloseReason::Reset));
    assert_ne!(first.peer, second.peer);
    untrace(&mut world, 0, 1);
    let _later = world.open(0, "/echo");
    line.send(b"not followed any more\n");
    world.settle();
    assert_eq!(told.words(), [""; 0]);
}

#[test]
fn events_have_the_time_of_the_clock_on_the_wall() {
    let mut world = World::calm();
    let told = trace(&mut world, 0, 1, &all(), 0);
    let _first = world.open(0, "/echo");
    world.pass(1_234);
    let _second = world.open(0, "/echo");
    let times: Vec<u64> = told.take().iter().map(|event| event.unix_ms).collect();
    assert_eq!(times[1] - times[0], 1_234);
    assert!(times[0] >= 1_767_225_600_000, "{times:?}");
}

#[test]
fn what_goes_out_compressed_is_told_by_its_length_only() {
    let mut setup = server(|_| {});
    setup.deflate.bytes_min = 10;
    let mut world = World::new(&setup);
    let told = trace(&mut world, 0, 1, &all(), 100);
    let mut client = world.connect(0);
    client.send(&crate::wire::upgrade_request_offering_deflate("/echo", ""));
    world.exchange(&mut client);
    client.send_frame(TEXT, b"short");
    client.send_frame(TEXT, &[b'x'; 1_000]);
    world.exchange(&mut client);
    let told = told.take();
    let [_, _, _, short, long] = &told[..] else { panic!("{told:?}") };
    assert_eq!(words(&short.kind), "sent true 5 short");
    let TraceEventKind::Sent { bytes, payload, .. } = &long.kind else { panic!("{long:?}") };
    assert!((1..100).contains(bytes) && payload.is_empty(), "{long:?}");
}

#[test]
fn there_are_sixteen_traces_at_most_and_each_is_there_once() {
    let mut world = World::calm();
    let mut client = world.open(0, "/echo");
    let told: Vec<Told> = (0..16).map(|number| trace(&mut world, 0, number, &all(), 9)).collect();
    for number in [16, 3] {
        let (id, filter, sink) = (TraceId(number), Arc::new(all()), told[0].sink());
        let query = |reply| Query::Trace { id, filter, payload_bytes_max: 0, sink, reply };
        let refused = send(&world, 0, query);
        world.settle();
        assert_eq!(refused.wait(Duration::ZERO), Err(NoReply::Ended));
    }
    untrace(&mut world, 0, 3);
    untrace(&mut world, 0, 3);
    let again = trace(&mut world, 0, 16, &all(), 2);
    client.send_frame(TEXT, b"abc");
    world.exchange(&mut client);
    for (number, own) in told.iter().enumerate() {
        let expected: &[_] = match number {
            3 => &["open websocket /echo"],
            _ => &["open websocket /echo", "received true 3 abc", "sent true 3 abc"],
        };
        assert_eq!(own.words(), expected, "{number}");
    }
    let expected = ["open websocket /echo", "received true 3 ab", "sent true 3 ab"];
    assert_eq!(again.words(), expected);
}

/// A trace looks through many connections in slices, and has begun when it says so.
#[test]
fn a_trace_of_many_begins_between_other_work() {
    const CONNECTIONS: usize = 1_500;
    let mut world = World::new(&server(|server| {
        server.connections_max = CONNECTIONS;
        server.connections.half_open_max = CONNECTIONS;
    }));
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| world.connect(0)).collect();
    clients.iter().for_each(|client| client.ask("/echo"));
    world.settle();
    let told = Told::default();
    let (id, filter, sink) = (TraceId(1), Arc::new(all()), told.sink());
    let reply =
        send(&world, 0, |reply| Query::Trace { id, filter, payload_bytes_max: 0, sink, reply });
    let mut turns = 0;
    while world.server.step().unwrap() {
        assert!(world.server.work_used(0).unwrap() <= 600_000);
        turns += 1;
    }
    assert!(turns > 2, "{turns}");
    assert_eq!(reply.wait(Duration::ZERO), Ok(()));
    assert_eq!(told.take().len(), 1_024, "no more are followed at once");
}

/// By any policy, in any framing: what is told as sent is what clients receive.
#[test]
fn what_is_told_is_what_is_received() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut setup = server(|server| server.loops = 1 + random.below(3));
        setup.seed = seed;
        setup.faults = Faults { short_writes: 30, partial_waits: 30, ..Faults::default() };
        setup.slow_policy = SlowPolicy::DropNewest;
        setup.backlog_messages_max = [None, Some(4)][random.below(2)];
        let mut world = World::new(&setup);
        world.network.set_send_buffer_bytes([300, 64 << 10][random.below(2)]);
        let loops = setup.server.loops;
        let told: Vec<Told> =
            (0..loops).map(|own| trace(&mut world, own, 1, &all(), 300)).collect();
        let mut members: Vec<Client> = (0..12)
            .map(|serial| world.open(serial % loops, ["/broadcast", "/echo"][random.below(2)]))
            .collect();
        let peers: Vec<_> = (0..loops).map(|own| opened(&told[own])).collect();
        for _ in 0..150 {
            let payload = vec![b"abcdefghijklmnopqrst"[random.below(20)]; random.below(200)];
            let sender = random.below(members.len());
            members[sender].send_frame([TEXT, BINARY][random.below(2)], &payload);
            if random.percent(20) {
                world.server.step().unwrap();
            }
        }
        for _ in 0..3 {
            members.iter_mut().for_each(|member| world.exchange(member));
        }
        let mut sent: BTreeMap<(usize, u32), Vec<Vec<u8>>> = BTreeMap::new();
        for (loop_index, own) in told.iter().enumerate() {
            for event in own.take() {
                if let TraceEventKind::Sent { payload, .. } = event.kind {
                    sent.entry((loop_index, event.peer.key.index)).or_default().push(payload);
                }
            }
        }
        for (serial, member) in members.iter().enumerate() {
            let loop_index = serial % loops;
            let key = peers[loop_index][serial / loops];
            let own = sent.remove(&(loop_index, key.index)).unwrap_or_default();
            assert_eq!(member.payloads(), own, "seed {seed}, client {serial}");
        }
        assert!(sent.is_empty());
    }
}

/// The connections that a trace has told of, in the order in which they opened.
fn opened(told: &Told) -> Vec<ConnKey> {
    let keys = told.take().into_iter().filter_map(|event| match event.kind {
        TraceEventKind::Open(summary) => Some(summary.peer.key),
        TraceEventKind::Received { .. }
        | TraceEventKind::Sent { .. }
        | TraceEventKind::Closed(_) => None,
    });
    keys.collect()
}

#[test]
fn a_trace_that_ends_with_its_loop_is_told_so() {
    let (reply, receiver) = Reply::channel();
    let (id, filter, sink) = (TraceId(1), Arc::new(all()), Told::default().sink());
    drop(Query::Trace { id, filter, payload_bytes_max: 0, sink, reply });
    assert_eq!(receiver.wait(Duration::ZERO), Err(NoReply::Ended));
}
