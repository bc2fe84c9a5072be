//! Members who are slow to read: what waits for them is joined where the room says so, and bounded.

use tidegate::config::SlowPolicy;

use super::*;

/// A room where one member has not read for a while, and its speaker.
fn with_reader(settings: RoomSettings, messages_max: Option<usize>) -> (World, Client, Client) {
    let mut setup = Setup { backlog_messages_max: messages_max, ..Setup::default() };
    setup.server.loops = 2;
    let mut world = world_of(&setup, settings);
    let speaker = enter(&mut world, 0, "/chat?user=ann", Form::Lines);
    let reader = enter(&mut world, 1, "/chat?user=bob", Form::Lines);
    world.network.set_send_buffer_bytes(40);
    (world, speaker, reader)
}

fn say_lines(world: &mut World, speaker: &mut Client, count: usize) -> Vec<String> {
    for serial in 0..count {
        say(speaker, Form::Lines, &format!("{serial}"));
        world.exchange(speaker);
    }
    (0..count).map(|serial| format!("ann: {serial}")).collect()
}

fn joining() -> RoomSettings {
    RoomSettings { joins_lines: true, ..RoomSettings::default() }
}

#[test]
fn lines_that_wait_come_as_one_message() {
    let (mut world, mut speaker, mut reader) = with_reader(joining(), None);
    let said = say_lines(&mut world, &mut speaker, 50);
    let messages = texts(&mut world, &mut reader);
    let lines: Vec<&str> = messages.iter().flat_map(|text| text.split('\n')).collect();
    assert_eq!(lines, said);
    assert!(messages.len() < 15, "{} messages for 50 lines", messages.len());
    assert!(messages.iter().all(|text| !text.ends_with('\n')));
}

#[test]
fn events_and_lines_of_other_rooms_come_one_by_one() {
    let (mut world, mut speaker, mut reader) = with_reader(RoomSettings::default(), None);
    let said = say_lines(&mut world, &mut speaker, 50);
    assert_eq!(texts(&mut world, &mut reader), said);
    let (mut world, mut speaker, _) = with_reader(joining(), None);
    let mut page = enter(&mut world, 1, "/chat?user=cy", Form::Events);
    say_lines(&mut world, &mut speaker, 50);
    let heard = events(&mut world, &mut page);
    assert_eq!(heard.iter().filter(|event| event["type"] == "message").count(), 50);
}

#[test]
fn a_member_for_whom_256_messages_wait_is_removed() {
    for settings in [joining(), RoomSettings::default()] {
        let (mut world, mut speaker, mut reader) = with_reader(settings, Some(256));
        // What the network holds, what a write has begun, and 256 that wait.
        let said = say_lines(&mut world, &mut speaker, 250);
        assert_eq!(world.counter("closed_slow"), 0);
        let more = say_lines(&mut world, &mut speaker, 300);
        assert_eq!(world.counter("closed_slow"), 1);
        assert_eq!(close_of(&mut world, &mut reader), Some((4002, "too slow".to_owned())));
        assert!(said.len() + more.len() > reader.payloads().len(), "the rest was discarded");
        world.exchange(&mut speaker);
        let heard = speaker.payloads().len();
        assert!(heard > 0, "its speaker missed nothing and goes on");
        assert_eq!(world.counter("open_now"), 1);
    }
}

#[test]
fn other_policies_drop_messages_instead() {
    let mut setup = Setup { backlog_messages_max: Some(10), ..Setup::default() };
    setup.slow_policy = SlowPolicy::DropNewest;
    setup.server.loops = 2;
    let mut world = world_of(&setup, RoomSettings::default());
    let mut speaker = enter(&mut world, 0, "/chat?user=ann", Form::Lines);
    let mut reader = enter(&mut world, 1, "/chat?user=bob", Form::Lines);
    world.network.set_send_buffer_bytes(40);
    let said = say_lines(&mut world, &mut speaker, 100);
    let heard = texts(&mut world, &mut reader);
    assert!((10..20).contains(&heard.len()), "{}", heard.len());
    assert_eq!(heard, said[..heard.len()]);
    assert_eq!(world.counter("pushes_dropped"), 100 - heard.len() as u64);
}
