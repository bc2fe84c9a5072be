//! The example service: what it answers, and that only a message counts against its silence.

use crate::wire::{PING, TEXT};
use crate::world::{Setup, World};

#[test]
fn half_a_minute_without_a_message_ends_it() {
    let mut world = World::new(&Setup { has_add: true, ..Setup::default() });
    let mut silent = world.open(0, "/add");
    let mut busy = world.open(0, "/add");
    for _ in 0..5 {
        world.pass(20_000);
        busy.say(TEXT, br#"{"A":3,"B":9}"#);
        // A sign of life, but no message.
        silent.say(PING, b"");
        world.exchange(&mut busy);
        world.exchange(&mut silent);
    }
    busy.assert_heard(&[br#"{"Sum":12}"#; 5]);
    assert_eq!(silent.heard.close_code(), Some(1008));
    assert_eq!(&silent.heard.close().unwrap().payload[2..], b"30 seconds without a message");
    assert_eq!(world.counter("open_now"), 1);
}
