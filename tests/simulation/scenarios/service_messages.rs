//! Letters between the instances of a service.

use super::server;
use crate::services::narcissus_count;
use crate::wire::TEXT;
use crate::world::World;

#[test]
fn a_service_that_answers_itself_for_ever_keeps_nobody_waiting() {
    let mut world = World::calm();
    let narcissus = world.open(0, "/narcissus");
    let mut other = world.open(0, "/echo");
    narcissus.say(TEXT, b"look");
    for _ in 0..50 {
        assert!(world.server.step().unwrap(), "its letters go on");
    }
    let letters = narcissus_count(&world.journal);
    assert!((50..=50 * 200).contains(&letters), "{letters} letters in 50 turns");
    other.say(TEXT, b"and me?");
    world.server.step().unwrap();
    other.read_all();
    other.assert_heard(&[b"and me?"]);
}

#[test]
fn nor_do_line_clients_wait_for_its_letters_to_end() {
    let mut world = World::new(&server(|server| server.line_route = Some("/narcissus")));
    let narcissus = world.network.connect(0, 1).unwrap();
    let mut other = world.open(0, "/echo");
    narcissus.send(&[b'\n'; 1100]);
    other.say(TEXT, b"and me?");
    for _ in 0..3 {
        assert!(world.server.step().unwrap(), "its letters go on");
    }
    other.read_all();
    other.assert_heard(&[b"and me?"]);
}
