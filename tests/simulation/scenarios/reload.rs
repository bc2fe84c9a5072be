//! Reloads of a server that serves: routes that come, go and change, listeners, limits.

use std::time::Duration;

use tidegate::mail::{Reply, ReplyReceiver};
use tidegate::reactor::{LoopCommand, NotReady, ReadyForReload};
use tidegate::services::Route;
use tidegate::sim::SimListener;

use super::server;
use crate::client::Client;
use crate::wire::{TEXT, deflated, upgrade_request_offering_deflate};
use crate::world::{Setup, World, routes};

/// The routes of a world but those with these paths.
fn without(world: &World, setup: &Setup, gone: &[&str]) -> Vec<Route> {
    let mut routes = routes(setup, &world.journal);
    routes.retain(|route| !gone.contains(&&*route.paths[0]));
    routes
}

fn reload(world: &mut World, routes: &[Route]) {
    world.reload(|_| {}, routes);
    world.settle();
}

/// The status of the answer to an upgrade of `path`.
fn status(world: &mut World, path: &str) -> Option<u16> {
    let mut client = world.connect(0);
    client.ask(path);
    world.settle();
    client.read_all();
    client.received.status
}

fn texts(world: &mut World, client: &mut Client) -> Vec<String> {
    world.exchange(client);
    let payloads = client.payloads().into_iter();
    payloads.map(|payload| String::from_utf8_lossy(payload).into_owned()).collect()
}

#[test]
fn connections_of_a_route_that_is_gone_live_on_and_no_client_joins_them() {
    let setup = server(|server| server.loops = 2);
    let mut world = World::new(&setup);
    let mut members = [world.open(0, "/broadcast"), world.open(1, "/broadcast")];
    let others = without(&world, &setup, &["/broadcast"]);
    reload(&mut world, &others);
    assert_eq!(status(&mut world, "/broadcast"), Some(404));
    members[0].send_frame(TEXT, b"still here");
    for member in &mut members {
        assert_eq!(texts(&mut world, member), ["still here"]);
    }
    // What comes back is the same route with the same members.
    let all = without(&world, &setup, &[]);
    reload(&mut world, &all);
    let mut third = world.open(1, "/broadcast");
    third.send_frame(TEXT, b"and I");
    assert_eq!(texts(&mut world, &mut third), ["and I"]);
    assert_eq!(texts(&mut world, &mut members[0]), ["still here", "and I"]);
}

#[test]
fn a_new_route_never_has_the_number_of_one_that_is_in_use() {
    let setup = server(|server| {
        server.loops = 2;
        // No client is asked for a sign of life.
        server.connections.ping_idle_ms = 100_000_000;
    });
    let mut world = World::new(&setup);
    let mut member = world.open(1, "/broadcast");
    let others = without(&world, &setup, &["/broadcast"]);
    // Often enough to use each free number.
    for round in 0..300 {
        let mut routes = others.clone();
        let mut echo = routes.remove(0);
        echo.id = tidegate::services::RouteId::new("echo", &format!("/{round}"));
        echo.paths = vec![format!("/{round}")];
        routes.push(echo);
        reload(&mut world, &routes);
        world.skip(61_000);
        let echo = world.open(0, &format!("/{round}"));
        echo.send_frame(TEXT, b"not for members");
        world.settle();
        // So that its number is free again.
        echo.send_close(1000);
        world.settle();
        echo.shutdown();
        world.settle();
    }
    member.send_frame(TEXT, b"mine");
    assert_eq!(texts(&mut world, &mut member), ["mine"]);
}

#[test]
fn a_lowered_message_limit_holds_for_open_connections() {
    let setup = server(|_| {});
    let mut world = World::new(&setup);
    let mut begun = world.open(0, "/echo");
    let mut client = world.open(0, "/echo");
    let whole = crate::wire::client_frame(0x81, &[b'x'; 2_000], [0; 4]);
    begun.send(&whole[..1_500]);
    client.send_frame(TEXT, &[b'x'; 2_000]);
    assert_eq!(texts(&mut world, &mut client).len(), 1);
    let lowered = Setup { message_bytes_max: Some(1_000), ..setup };
    let routes = routes(&lowered, &world.journal);
    reload(&mut world, &routes);
    client.send_frame(TEXT, &[b'x'; 1_000]);
    assert_eq!(texts(&mut world, &mut client).len(), 2);
    client.send_frame(TEXT, &[b'x'; 1_001]);
    world.exchange(&mut client);
    assert_eq!(client.received.close_code(), Some(1009));
    // What was begun before was within the limit when its header came.
    begun.send(&whole[1_500..]);
    world.exchange(&mut begun);
    assert_eq!(begun.payloads().len() + usize::from(begun.received.close_code() == Some(1009)), 1);
}

#[test]
fn compression_that_was_agreed_is_understood_after_it_is_switched_off() {
    let setup = server(|_| {});
    let mut world = World::new(&setup);
    let mut client = world.connect(0);
    client.send(&upgrade_request_offering_deflate("/echo", ""));
    world.exchange(&mut client);
    let mut routes = routes(&setup, &world.journal);
    for route in &mut routes {
        if let tidegate::services::Handler::Socket(_, options) = &mut route.handler {
            options.deflate = None;
        }
    }
    reload(&mut world, &routes);
    let message = b"again and again and again and again and again".repeat(40);
    client.send_frame(TEXT | 0x40, &deflated(&message));
    world.exchange(&mut client);
    assert_eq!(client.payloads(), [&message[..]], "uncompressed");
    assert_eq!(world.counter("upgrades_deflate"), 1);
    assert_eq!(status(&mut world, "/echo"), Some(101));
}

#[test]
fn an_admission_under_way_ends_at_the_route_where_it_began() {
    let setup = server(|server| server.loops = 2);
    let mut world = World::new(&setup);
    let mut waiting = [world.connect(0), world.connect(1)];
    waiting.iter().for_each(|client| client.ask("/gate?later"));
    let decider = world.open(1, "/gate?yes");
    // Its path leads to another service from now on.
    let mut others = without(&world, &setup, &["/gate"]);
    others[0].paths.push("/gate".to_owned());
    reload(&mut world, &others);
    decider.send_frame(TEXT, b"decide");
    for client in &mut waiting {
        world.exchange(client);
        assert_eq!(client.received.status, Some(101));
    }
    // They were let in by the gate, and it serves them.
    let before = world.counter("mail_in");
    waiting[0].send_frame(TEXT, b"decide");
    world.settle();
    assert!(world.counter("mail_in") > before, "the sibling is told");
}

#[test]
fn limits_of_the_process_change_both_ways() {
    let setup = server(|server| server.connections_max = 3);
    let mut world = World::new(&setup);
    let same = without(&world, &setup, &[]);
    let mut open: Vec<Client> = (0..3).map(|_| world.open(0, "/echo")).collect();
    assert_eq!(status(&mut world, "/echo"), Some(503));
    world.reload(|server| server.connections_max = 5, &same);
    open.extend([world.open(0, "/echo"), world.open(0, "/echo")]);
    world.reload(|server| server.connections_max = 2, &same);
    world.settle();
    for client in &mut open {
        client.send_frame(TEXT, b"here");
        assert_eq!(texts(&mut world, client), ["here"]);
    }
    while open.len() > 1 {
        assert_eq!(status(&mut world, "/echo"), Some(503));
        open.pop().unwrap().send_close(1000);
        world.pass(6_000);
        open.iter_mut().for_each(|client| {
            client.read_all();
        });
    }
    let _second = world.open(0, "/echo");
    assert_eq!(status(&mut world, "/echo"), Some(503));
}

fn prepare(world: &World, numbers: &[usize]) -> ReplyReceiver<Result<ReadyForReload, NotReady>> {
    let (reply, receiver) = Reply::channel();
    let listeners = numbers.iter().map(|number| (*number, SimListener)).collect();
    world.server.command(0, LoopCommand::Prepare { listeners, counts_routes: true, reply });
    receiver
}

#[test]
fn a_listener_is_prepared_then_served_then_closed_behind_its_queue() {
    let setup = server(|_| {});
    let mut world = World::new(&setup);
    let same = without(&world, &setup, &[]);
    let ready = prepare(&world, &[1, 2]);
    world.settle();
    assert!(ready.wait(Duration::ZERO).unwrap().is_ok());
    let early = world.network.connect(0, 1).expect("it listens");
    early.send(b"early\n");
    world.settle();
    assert_eq!(world.counter("connections_accepted"), 0, "not before the reload");
    world.server.command(0, LoopCommand::Discard { listeners: vec![2] });
    world.reload(|server| server.line_route = Some("/echo"), &same);
    world.settle();
    assert!(world.network.connect(0, 2).is_none());
    assert_eq!(early.receive(usize::MAX), b"early\n");

    // Gone again, with a client in its queue.
    let last = world.network.connect(0, 1).expect("it listens");
    last.send(b"last\n");
    world.reload(|server| server.line_route = None, &same);
    world.settle();
    assert!(world.network.connect(0, 1).is_none());
    for (client, text) in [(&early, b"again\n"), (&last, b"queue\n")] {
        client.send(text);
        world.settle();
        let bytes = client.receive(usize::MAX);
        assert!(bytes.ends_with(text), "{bytes:?}");
    }
    assert_eq!(world.counter("line_clients"), 2);
}

#[test]
fn a_loop_that_is_drained_takes_no_reload() {
    let mut world = World::new(&server(|_| {}));
    let _open = world.open(0, "/echo");
    world.drain(20_000, true);
    let ready = prepare(&world, &[1]);
    world.settle();
    assert!(matches!(ready.wait(Duration::ZERO), Ok(Err(NotReady::Draining))));
    assert!(world.network.connect(0, 1).is_none());
}
