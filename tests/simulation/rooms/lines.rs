//! What members send and receive: formats, names, line breaks and refusals.

use tidegate::services::Order;
use tidegate::services::room::{LineFormat, Newlines};

use super::*;
use crate::wire::BINARY;

#[test]
fn the_first_text_is_the_name_and_empty_texts_are_dropped() {
    let mut world = world(2, first_text());
    let mut alice = enter(&mut world, 0, "/chat", ClientFormat::Lines);
    let mut silent = enter(&mut world, 1, "/chat", ClientFormat::Lines);
    for text in ["", " \t", "\r\n", " alice ", "hello", "", "  ", "again"] {
        send_text(&alice, ClientFormat::Lines, text);
    }
    let expected = ["alice: hello", "alice: again"];
    assert_eq!(texts(&mut world, &mut alice), expected);
    assert_eq!(texts(&mut world, &mut silent), expected, "a member without a name receives too");
}

#[test]
fn a_first_text_that_is_no_name_is_closed_with_4003() {
    let mut world = world(1, first_text());
    for format in [ClientFormat::Lines, ClientFormat::Events] {
        for (name, why) in [("a\u{202e}b", "invisible"), (&"x".repeat(65), "64 bytes")] {
            let mut client = enter(&mut world, 0, "/chat", format);
            send_text(&client, format, name);
            let (code, reason) = close_of(&mut world, &mut client).unwrap();
            assert_eq!(code, 4003);
            assert!(reason.starts_with("name refused: ") && reason.contains(why), "{reason}");
        }
    }
}

#[test]
fn a_bad_name_is_refused_with_400_and_a_page_is_closed_with_4003() {
    let mut world = world(1, RoomSettings::default());
    for query in ["", "?user=", "?user=a&user=b", "?user=%ff", "?user=bob&room=%00"] {
        let target = format!("/chat{query}");
        let mut program = asking(&world, 0, &target, ClientFormat::Lines);
        world.exchange(&mut program);
        assert_eq!(program.received.status, Some(400), "{query}");
        let mut page = enter(&mut world, 0, &target, ClientFormat::Events);
        send_text(&page, ClientFormat::Events, "too late");
        let (code, reason) = close_of(&mut world, &mut page).unwrap();
        assert_eq!(code, 4003);
        assert!(reason.contains(" refused: "), "{reason}");
        assert!(page.received.data().is_empty());
    }
}

#[test]
fn the_room_settings_decide_how_a_line_looks() {
    let settings = RoomSettings {
        line: LineFormat::parse("from").unwrap(),
        hears_itself: false,
        newlines: Newlines::Space,
        ..RoomSettings::default()
    };
    let mut world = world(2, settings);
    let mut alice = enter(&mut world, 0, "/chat?user=alice", ClientFormat::Lines);
    let mut zhang = enter(&mut world, 1, "/chat?user=%E5%BC%A0%E4%B8%89", ClientFormat::Lines);
    send_text(&alice, ClientFormat::Lines, " two\r\nlines\n");
    send_text(&alice, ClientFormat::Lines, " \n ");
    world.settle();
    send_text(&zhang, ClientFormat::Lines, "one");
    assert_eq!(texts(&mut world, &mut zhang), ["two lines -- FROM alice"]);
    assert_eq!(texts(&mut world, &mut alice), ["one -- FROM 张三"]);
}

#[test]
fn all_client_formats_share_a_room() {
    for order in [Order::Topic, Order::Sender] {
        let mut world = world(3, RoomSettings { order, ..RoomSettings::default() });
        let mut line = enter(&mut world, 0, "/chat?user=line", ClientFormat::Lines);
        let mut page = enter(&mut world, 1, "/chat?user=page", ClientFormat::Events);
        let plain = world.connect_line(2);
        plain.send(b"plain\n");
        world.settle();
        send_text(&line, ClientFormat::Lines, "a\nb");
        world.settle();
        send_text(&page, ClientFormat::Events, "c");
        world.settle();
        plain.send(b"d\n");
        assert_eq!(texts(&mut world, &mut line), ["line: a\nb", "page: c", "plain: d"]);
        assert_eq!(plain.received(), "line: a b\npage: c\nplain: d\n");
        let messages: Vec<_> = events(&mut world, &mut page)
            .into_iter()
            .filter(|event| event["type"] == "message")
            .map(|event| format!("{} {}", event["from"], event["text"]))
            .collect();
        assert_eq!(messages, [r#""line" "a\nb""#, r#""page" "c""#, r#""plain" "d""#]);
    }
}

#[test]
fn messages_behind_the_request_come_back_in_either_order_setting() {
    for order in [Order::Topic, Order::Sender] {
        for loop_index in 0..4 {
            let mut world = world(4, RoomSettings { order, ..RoomSettings::default() });
            let mut eager = asking(&world, loop_index, "/chat?user=eager", ClientFormat::Lines);
            send_text(&eager, ClientFormat::Lines, "one");
            send_text(&eager, ClientFormat::Lines, "two");
            assert_eq!(texts(&mut world, &mut eager), ["eager: one", "eager: two"]);
        }
    }
}

#[test]
fn the_name_may_be_the_address() {
    let settings = RoomSettings {
        name: NameSource::Address,
        line: LineFormat::parse("console").unwrap(),
        ..one_login()
    };
    let mut world = world(1, settings);
    let mut client = enter(&mut world, 0, "/chat", ClientFormat::Lines);
    let line = world.connect_line(0);
    send_text(&client, ClientFormat::Lines, "hi");
    assert_eq!(texts(&mut world, &mut client), ["127.0.0.1:0:hi"]);
    line.send(b"hello\n");
    world.settle();
    assert_eq!(line.received(), "127.0.0.1:0:hi\n127.0.0.1:1:hello\n");
}

#[test]
fn a_binary_message_is_closed_with_1003() {
    let mut world = world(1, RoomSettings::default());
    let mut client = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Lines);
    client.send_frame(BINARY, b"hi");
    assert_eq!(close_of(&mut world, &mut client), Some((1003, "text only".to_owned())));
}

#[test]
fn an_invalid_event_gets_an_error_event_and_the_connection_stays_open() {
    let mut world = world(2, RoomSettings::default());
    let mut other = enter(&mut world, 1, "/chat?user=other", ClientFormat::Events);
    let mut client = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Events);
    let received = events(&mut world, &mut client).len();
    let bad = ["hi", "{}", r#"{"type":"joined","text":"x"}"#, r#"{"type":"message"}"#, "\u{1F4A9}"];
    for text in bad {
        client.send_frame(TEXT, text.as_bytes());
    }
    send_text(&client, ClientFormat::Events, "good");
    let answers = events(&mut world, &mut client).split_off(received);
    assert_eq!(answers.len(), bad.len() + 1);
    assert!(answers[..bad.len()].iter().all(|answer| answer["type"] == "error"));
    assert_eq!(answers[bad.len()]["text"], "good");
    let received_by_other = events(&mut world, &mut other);
    assert!(
        received_by_other.iter().all(|event| event["type"] != "error"),
        "{received_by_other:?}"
    );
}
