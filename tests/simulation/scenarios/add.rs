//! The example service: its answers, and its own timeout, which only a message resets.

use crate::wire::{PING, TEXT};
use crate::world::{Setup, World};

#[test]
fn half_a_minute_without_a_message_is_closed_with_1008() {
    let mut world = World::new(&Setup { has_add: true, ..Setup::default() });
    let mut silent = world.open(0, "/add");
    let mut busy = world.open(0, "/add");
    for _ in 0..5 {
        world.pass(20_000);
        busy.send_frame(TEXT, br#"{"A":3,"B":9}"#);
        // A ping keeps the connection alive and is no message.
        silent.send_frame(PING, b"");
        world.exchange(&mut busy);
        world.exchange(&mut silent);
    }
    busy.assert_received(&[br#"{"Sum":12}"#; 5]);
    assert_eq!(silent.received.close_code(), Some(1008));
    assert_eq!(&silent.received.close().unwrap().payload[2..], b"30 seconds without a message");
    assert_eq!(world.counter("open_now"), 1);
}
