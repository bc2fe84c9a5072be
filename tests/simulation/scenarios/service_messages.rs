//! Messages between the instances of a service.

use super::server;
use crate::services::self_message_count;
use crate::wire::TEXT;
use crate::world::World;

#[test]
fn a_service_that_messages_itself_for_ever_does_not_starve_others() {
    let mut world = World::calm();
    let self_messenger = world.open(0, "/self-message");
    let mut other = world.open(0, "/echo");
    self_messenger.send_frame(TEXT, b"look");
    for _ in 0..50 {
        assert!(world.server.step().unwrap(), "its messages go on");
    }
    let messages = self_message_count(&world.journal);
    assert!((50..=50 * 200).contains(&messages), "{messages} messages in 50 turns");
    other.send_frame(TEXT, b"and me?");
    world.server.step().unwrap();
    other.read_all();
    other.assert_received(&[b"and me?"]);
}

#[test]
fn a_line_client_of_such_a_service_does_not_starve_others() {
    let mut world = World::new(&server(|server| server.line_route = Some("/self-message")));
    let self_messenger = world.network.connect(0, 1).unwrap();
    let mut other = world.open(0, "/echo");
    self_messenger.send(&[b'\n'; 1100]);
    other.send_frame(TEXT, b"and me?");
    for _ in 0..3 {
        assert!(world.server.step().unwrap(), "its messages go on");
    }
    other.read_all();
    other.assert_received(&[b"and me?"]);
}
