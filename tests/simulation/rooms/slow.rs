//! Members that read slowly: their backlog is bounded, and its lines are joined where the room's
//! settings say so.

use tidegate::config::SlowPolicy;

use super::*;

/// A server, a member that sends and one that does not read.
fn with_reader(settings: RoomSettings, messages_max: Option<usize>) -> (World, Client, Client) {
    let mut setup = Setup { backlog_messages_max: messages_max, ..Setup::default() };
    setup.server.loops = 2;
    let mut world = world_of(&setup, settings);
    let speaker = enter(&mut world, 0, "/chat?user=ann", ClientFormat::Lines);
    let reader = enter(&mut world, 1, "/chat?user=bob", ClientFormat::Lines);
    world.network.set_send_buffer_bytes(40);
    (world, speaker, reader)
}

fn send_lines(world: &mut World, speaker: &mut Client, count: usize) -> Vec<String> {
    for serial in 0..count {
        send_text(speaker, ClientFormat::Lines, &format!("{serial}"));
        world.exchange(speaker);
    }
    (0..count).map(|serial| format!("ann: {serial}")).collect()
}

fn joining() -> RoomSettings {
    RoomSettings { joins_lines: true, ..RoomSettings::default() }
}

#[test]
fn lines_that_wait_are_joined_into_one_message() {
    let (mut world, mut speaker, mut reader) = with_reader(joining(), None);
    let sent = send_lines(&mut world, &mut speaker, 50);
    let messages = texts(&mut world, &mut reader);
    let lines: Vec<&str> = messages.iter().flat_map(|text| text.split('\n')).collect();
    assert_eq!(lines, sent);
    assert!(messages.len() < 15, "{} messages for 50 lines", messages.len());
    assert!(messages.iter().all(|text| !text.ends_with('\n')));
}

#[test]
fn without_joining_and_for_events_each_message_is_its_own_frame() {
    let (mut world, mut speaker, mut reader) = with_reader(RoomSettings::default(), None);
    let sent = send_lines(&mut world, &mut speaker, 50);
    assert_eq!(texts(&mut world, &mut reader), sent);
    let (mut world, mut speaker, _) = with_reader(joining(), None);
    let mut page = enter(&mut world, 1, "/chat?user=cy", ClientFormat::Events);
    send_lines(&mut world, &mut speaker, 50);
    let received = events(&mut world, &mut page);
    assert_eq!(received.iter().filter(|event| event["type"] == "message").count(), 50);
}

#[test]
fn a_member_for_whom_256_messages_wait_is_removed() {
    for settings in [joining(), RoomSettings::default()] {
        let (mut world, mut speaker, mut reader) = with_reader(settings, Some(256));
        // Fewer than 256 wait: the send buffer and a partly written frame hold some.
        let sent = send_lines(&mut world, &mut speaker, 250);
        assert_eq!(world.counter("closed_slow"), 0);
        let more = send_lines(&mut world, &mut speaker, 300);
        assert_eq!(world.counter("closed_slow"), 1);
        assert_eq!(close_of(&mut world, &mut reader), Some((4002, "too slow".to_owned())));
        assert!(sent.len() + more.len() > reader.payloads().len(), "the rest was discarded");
        world.exchange(&mut speaker);
        let received = speaker.payloads().len();
        assert!(received > 0, "the sender stays a member");
        assert_eq!(world.counter("open_now"), 1);
    }
}

#[test]
fn other_policies_drop_messages_instead() {
    let mut setup = Setup { backlog_messages_max: Some(10), ..Setup::default() };
    setup.slow_policy = SlowPolicy::DropNewest;
    setup.server.loops = 2;
    let mut world = world_of(&setup, RoomSettings::default());
    let mut speaker = enter(&mut world, 0, "/chat?user=ann", ClientFormat::Lines);
    let mut reader = enter(&mut world, 1, "/chat?user=bob", ClientFormat::Lines);
    world.network.set_send_buffer_bytes(40);
    let sent = send_lines(&mut world, &mut speaker, 100);
    let received = texts(&mut world, &mut reader);
    assert!((10..20).contains(&received.len()), "{}", received.len());
    assert_eq!(received, sent[..received.len()]);
    assert_eq!(world.counter("pushes_dropped"), 100 - received.len() as u64);
}
