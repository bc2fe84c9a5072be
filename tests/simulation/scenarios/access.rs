//! The access log: one entry for each connection, with what it did.

use tidegate::access::Traffic;
use tidegate::services::CloseReason;

use super::server;
use crate::access::AccessJournal;
use crate::wire::{BINARY, PING, TEXT, upgrade_request};
use crate::world::World;

fn world() -> (World, AccessJournal) {
    let journal = AccessJournal::default();
    let sink = journal.sink();
    let setup = server(|server| {
        server.access = Some(sink);
        server.line_route = Some("/echo");
        server.connections_max = 3;
    });
    (World::new(&setup), journal)
}

fn traffic(messages: u64, bytes: u64) -> Traffic {
    Traffic { messages, bytes }
}

#[test]
fn a_connection_is_told_with_what_it_sent_and_was_sent() {
    let (mut world, journal) = world();
    let mut client = world.open(0, "/echo?token=s3cret");
    client.send_frame(TEXT, b"hello");
    client.send_frame(PING, b"ping");
    client.send_frame(BINARY, &[7; 3000]);
    world.exchange(&mut client);
    world.pass(1500);
    assert_eq!(journal.told(), []);
    client.send_close(1000);
    world.exchange(&mut client);
    let told = journal.only();
    assert_eq!((told.received, told.sent), (traffic(2, 3005), traffic(2, 3005)));
    assert_eq!(told.path.as_deref(), Some("/echo"), "without the query");
    assert!(told.was_open && told.status.is_none() && told.duration_ms >= 1500, "{told:?}");
    assert_eq!(told.reason.close_code().unwrap().number(), 1000);
}

#[test]
fn what_others_publish_counts_for_each_receiver() {
    let (mut world, journal) = world();
    let mut one = world.open(0, "/broadcast");
    let mut other = world.open(0, "/broadcast");
    for _ in 0..5 {
        one.send_frame(TEXT, b"four");
    }
    one.send_frame(BINARY, &[1; 300]);
    world.exchange(&mut one);
    world.exchange(&mut other);
    one.shutdown();
    other.shutdown();
    world.settle();
    let told = journal.told();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|own| own.sent == traffic(6, 320)), "{told:?}");
    assert!(told.iter().all(|own| own.reason == CloseReason::Gone));
}

#[test]
fn a_refused_request_is_told_with_its_status() {
    for (request, status, path) in [
        ("/nowhere?token=s3cret", 404, Some("/nowhere")),
        ("/gate", 403, Some("/gate")),
        ("nonsense", 400, None),
    ] {
        let (mut world, journal) = world();
        let mut client = world.connect(0);
        match status {
            400 => client.send(b"nonsense\r\n\r\n"),
            403 => {
                let request = String::from_utf8(upgrade_request(request)).unwrap();
                let origin = "\r\nOrigin: https://a.example\r\nHost:";
                client.send(request.replace("\r\nHost:", origin).as_bytes());
            }
            _ => client.ask(request),
        }
        world.exchange(&mut client);
        let told = journal.only();
        assert_eq!((told.status, told.path.as_deref()), (Some(status), path));
        assert!(!told.was_open);
        assert_eq!(client.received.status, Some(status));
    }
}

#[test]
fn a_connection_without_a_request_and_one_over_the_limit_are_told_too() {
    let (mut world, journal) = world();
    let silent = world.connect(0);
    world.pass(10_000);
    let told = journal.only();
    assert_eq!((told.status, told.was_open, told.path), (None, false, None));
    drop(silent);
    let _inside: Vec<_> = (0..3).map(|_| world.open(0, "/echo")).collect();
    let mut refused = world.connect(0);
    refused.ask("/echo");
    world.exchange(&mut refused);
    let told = journal.told();
    assert_eq!((told.len(), told[1].status), (2, Some(503)));
}

#[test]
fn a_page_and_a_line_client_are_told_too() {
    let (mut world, journal) = world();
    let mut page = world.connect(0);
    page.send(b"GET / HTTP/1.1\r\nHost: sim.example\r\n\r\n");
    world.exchange(&mut page);
    let told = journal.only();
    assert_eq!((told.status, told.path.as_deref()), (Some(200), Some("/")));

    let line = world.connect_line(0);
    line.send(b"one\nother\nquit\n");
    world.settle();
    let told = &journal.told()[1];
    assert_eq!((told.received, told.sent), (traffic(2, 8), traffic(2, 8)));
    assert_eq!((told.was_open, told.path.as_deref()), (true, Some("/echo")));
}

#[test]
fn a_drain_tells_of_every_connection() {
    let (mut world, journal) = world();
    let _open: Vec<_> = (0..3).map(|_| world.open(0, "/echo")).collect();
    world.drain(1000, false);
    world.pass(1000);
    let told = journal.told();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|own| own.reason == CloseReason::Drained));
}
