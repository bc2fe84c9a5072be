//! Commands to loops that serve: what they say of themselves, and new settings in mid-flight.

use std::sync::Arc;
use std::time::Duration;

use tidegate::conn::ConnSettings;
use tidegate::mail::{NoReply, Reply, ReplyReceiver};
use tidegate::reactor::{LoopCommand, LoopState};
use tidegate::sim::Faults;

use super::{LATE_MS, server};
use crate::client::Client;
use crate::wire::TEXT;
use crate::world::{Setup, World};

/// Nothing waits in virtual time: a reply is there or it is not.
const AT_ONCE: Duration = Duration::ZERO;

fn inspect(world: &World, index: usize) -> ReplyReceiver<LoopState> {
    let (reply, receiver) = Reply::channel();
    world.server.command(index, LoopCommand::Inspect { reply });
    receiver
}

/// Gives every loop new settings; they hold after its next turn.
fn set(world: &World, setup: &Setup, change: impl FnOnce(&mut ConnSettings)) {
    let mut settings = setup.server.connections.clone();
    change(&mut settings);
    let settings = Arc::new(settings);
    for index in 0..setup.server.loops {
        let (reply, _) = Reply::channel();
        let settings = Arc::clone(&settings);
        world.server.command(index, LoopCommand::SetSettings { settings, reply });
    }
}

#[test]
fn a_loop_says_how_it_is_doing() {
    let mut world = World::new(&server(|server| server.loops = 2));
    let _open = [world.open(0, "/echo"), world.open(1, "/echo"), world.open(1, "/echo")];
    let _asking = world.connect(1);
    world.settle();
    let replies = [inspect(&world, 0), inspect(&world, 1)];
    world.settle();
    let [first, second] = replies.map(|reply| reply.wait(AT_ONCE).unwrap());
    assert_eq!((first.connections, first.open, first.is_draining), (1, 1, false));
    assert_eq!((second.connections, second.open, second.outbox_items), (3, 2, 0));
    world.drain(20_000, true);
    let reply = inspect(&world, 0);
    world.settle();
    assert!(reply.wait(AT_ONCE).unwrap().is_draining);
}

#[test]
fn a_command_that_a_loop_does_not_come_to_is_told_so() {
    let mut world = World::new(&server(|server| server.loops = 2));
    let reply = inspect(&world, 1);
    assert_eq!(reply.wait(AT_ONCE), Err(NoReply::Late));
    // It ends with the command still in its mailbox.
    world.drain(20_000, true);
    while !world.server.has_finished() {
        world.server.step().unwrap();
    }
    let reply = inspect(&world, 1);
    assert_eq!(reply.wait(AT_ONCE), Err(NoReply::Ended));
}

#[test]
fn commands_are_obeyed_while_mailboxes_are_full() {
    let mut world = World::new(&server(|server| {
        server.loops = 2;
        server.items_max = 1;
        server.mail_per_turn = 4;
    }));
    let pusher = world.open(0, "/relay");
    let _reader = world.open(1, "/relay");
    for serial in 0..2_000 {
        pusher.send_frame(TEXT, format!("cast 1 {serial}").as_bytes());
    }
    for _ in 0..20 {
        let replies = [inspect(&world, 0), inspect(&world, 1)];
        world.server.step().unwrap();
        world.skip(1);
        world.server.step().unwrap();
        assert!(replies.into_iter().all(|reply| reply.wait(AT_ONCE).is_ok()));
    }
}

#[test]
fn a_shorter_ping_interval_holds_for_connections_that_are_open() {
    let setup = server(|server| server.loops = 2);
    let mut world = World::new(&setup);
    let mut clients: Vec<Client> = (0..20).map(|serial| world.open(serial % 2, "/echo")).collect();
    world.pass(1_000);
    set(&world, &setup, |settings| settings.ping_idle_ms = 3_000);
    world.pass(2_000 + LATE_MS);
    for client in &mut clients {
        client.read_all();
        assert_eq!(client.received.pings, 1);
    }
    // And those who do not answer have as long as before.
    world.pass(7_500);
    assert!(clients.iter().all(|client| !client.is_gone()));
    world.pass(500 + LATE_MS);
    assert!(clients.iter().all(Client::is_gone));
}

#[test]
fn a_longer_ping_interval_spares_the_ping() {
    let setup = server(|_| {});
    let mut world = World::new(&setup);
    let mut client = world.open(0, "/echo");
    world.pass(20_000);
    set(&world, &setup, |settings| settings.ping_idle_ms = 60_000);
    world.pass(30_000);
    client.read_all();
    assert_eq!(client.received.pings, 0);
    world.pass(10_000 + LATE_MS);
    client.read_all();
    assert_eq!(client.received.pings, 1);
}

#[test]
fn limits_that_change_in_mid_flight_break_nothing() {
    let mut setup = server(|server| {
        server.loops = 3;
        server.items_max = 4;
        server.connections.receive_buffer_bytes = 512;
    });
    setup.faults = Faults { partial_waits: 50, short_writes: 50, ..Faults::default() };
    let mut world = World::new(&setup);
    world.network.set_send_buffer_bytes(3_000);
    let mut clients: Vec<Client> = (0..12).map(|serial| world.open(serial % 3, "/echo")).collect();
    let payloads: Vec<Vec<u8>> = (0..200_usize)
        .map(|serial| format!("{serial} {}", "x".repeat(serial * 7)).into_bytes())
        .collect();
    let halfway = world.connect(0);
    halfway.send(b"GET /echo HTTP/1.1\r\n");
    for (serial, payload) in payloads.iter().enumerate() {
        clients.iter().for_each(|client| client.send_frame(TEXT, payload));
        if serial % 7 == 0 {
            set(&world, &setup, |settings| {
                settings.backlog_high_bytes = [1_000, 64 << 10, 5_000][serial % 3];
                settings.reads_per_turn = 1 + serial % 4;
                settings.handshake_ms = 1_000;
            });
        }
        world.server.step().unwrap();
        clients.iter_mut().for_each(|client| {
            client.read(700);
        });
    }
    world.pass(1_000 + LATE_MS);
    assert!(halfway.is_gone(), "by the deadline that came after it");
    for client in &mut clients {
        world.exchange(client);
        client.assert_received(&payloads);
    }
}
