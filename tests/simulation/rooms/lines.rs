//! What members say and hear: forms, names, line breaks and refusals.

use tidegate::services::Order;
use tidegate::services::room::{LineFormat, Newlines};

use super::*;
use crate::wire::BINARY;

#[test]
fn the_first_text_is_the_name_and_empty_ones_are_dropped() {
    let mut world = world(2, first_text());
    let mut alice = enter(&mut world, 0, "/chat", Form::Lines);
    let mut silent = enter(&mut world, 1, "/chat", Form::Lines);
    for text in ["", " \t", "\r\n", " alice ", "hello", "", "  ", "again"] {
        say(&alice, Form::Lines, text);
    }
    let expected = ["alice: hello", "alice: again"];
    assert_eq!(texts(&mut world, &mut alice), expected);
    assert_eq!(texts(&mut world, &mut silent), expected, "hears without a name");
}

#[test]
fn a_bad_first_text_is_refused() {
    let mut world = world(1, first_text());
    for form in [Form::Lines, Form::Events] {
        for (name, why) in [("a\u{202e}b", "invisible"), (&"x".repeat(65), "64 bytes")] {
            let mut client = enter(&mut world, 0, "/chat", form);
            say(&client, form, name);
            let (code, reason) = close_of(&mut world, &mut client).unwrap();
            assert_eq!(code, 4003);
            assert!(reason.starts_with("name refused: ") && reason.contains(why), "{reason}");
        }
    }
}

#[test]
fn a_request_without_a_good_name_is_refused_so_that_its_sender_sees_it() {
    let mut world = world(1, RoomSettings::default());
    for query in ["", "?user=", "?user=a&user=b", "?user=%ff", "?user=bob&room=%00"] {
        let target = format!("/chat{query}");
        let mut program = asking(&world, 0, &target, Form::Lines);
        world.exchange(&mut program);
        assert_eq!(program.heard.status, Some(400), "{query}");
        let mut page = enter(&mut world, 0, &target, Form::Events);
        say(&page, Form::Events, "too late");
        let (code, reason) = close_of(&mut world, &mut page).unwrap();
        assert_eq!(code, 4003);
        assert!(reason.contains(" refused: "), "{reason}");
        assert!(page.heard.data().is_empty());
    }
}

#[test]
fn lines_look_as_the_room_wants_them() {
    let settings = RoomSettings {
        line: LineFormat::parse("from").unwrap(),
        hears_itself: false,
        newlines: Newlines::Space,
        ..RoomSettings::default()
    };
    let mut world = world(2, settings);
    let mut alice = enter(&mut world, 0, "/chat?user=alice", Form::Lines);
    let mut zhang = enter(&mut world, 1, "/chat?user=%E5%BC%A0%E4%B8%89", Form::Lines);
    say(&alice, Form::Lines, " two\r\nlines\n");
    say(&alice, Form::Lines, " \n ");
    world.settle();
    say(&zhang, Form::Lines, "one");
    assert_eq!(texts(&mut world, &mut zhang), ["two lines -- FROM alice"]);
    assert_eq!(texts(&mut world, &mut alice), ["one -- FROM 张三"]);
}

#[test]
fn both_forms_are_in_one_room() {
    for order in [Order::Topic, Order::Sender] {
        let mut world = world(3, RoomSettings { order, ..RoomSettings::default() });
        let mut line = enter(&mut world, 0, "/chat?user=line", Form::Lines);
        let mut page = enter(&mut world, 1, "/chat?user=page", Form::Events);
        let plain = world.connect_line(2);
        plain.send(b"plain\n");
        world.settle();
        say(&line, Form::Lines, "a\nb");
        world.settle();
        say(&page, Form::Events, "c");
        world.settle();
        plain.send(b"d\n");
        assert_eq!(texts(&mut world, &mut line), ["line: a\nb", "page: c", "plain: d"]);
        assert_eq!(plain.heard(), "line: a b\npage: c\nplain: d\n");
        let messages: Vec<_> = events(&mut world, &mut page)
            .into_iter()
            .filter(|event| event["type"] == "message")
            .map(|event| format!("{} {}", event["from"], event["text"]))
            .collect();
        assert_eq!(messages, [r#""line" "a\nb""#, r#""page" "c""#, r#""plain" "d""#]);
    }
}

#[test]
fn whoever_speaks_first_hears_itself_in_either_order() {
    for order in [Order::Topic, Order::Sender] {
        for loop_index in 0..4 {
            let mut world = world(4, RoomSettings { order, ..RoomSettings::default() });
            let mut eager = asking(&world, loop_index, "/chat?user=eager", Form::Lines);
            say(&eager, Form::Lines, "one");
            say(&eager, Form::Lines, "two");
            assert_eq!(texts(&mut world, &mut eager), ["eager: one", "eager: two"]);
        }
    }
}

#[test]
fn an_address_is_a_name() {
    let settings = RoomSettings {
        name: NameSource::Address,
        line: LineFormat::parse("console").unwrap(),
        ..one_login()
    };
    let mut world = world(1, settings);
    let mut client = enter(&mut world, 0, "/chat", Form::Lines);
    let line = world.connect_line(0);
    say(&client, Form::Lines, "hi");
    assert_eq!(texts(&mut world, &mut client), ["127.0.0.1:0:hi"]);
    line.send(b"hello\n");
    world.settle();
    assert_eq!(line.heard(), "127.0.0.1:0:hi\n127.0.0.1:1:hello\n");
}

#[test]
fn binary_is_not_spoken_here() {
    let mut world = world(1, RoomSettings::default());
    let mut client = enter(&mut world, 0, "/chat?user=bob", Form::Lines);
    client.say(BINARY, b"hi");
    assert_eq!(close_of(&mut world, &mut client), Some((1003, "text only".to_owned())));
}

#[test]
fn what_is_not_an_event_is_an_error_and_no_more() {
    let mut world = world(2, RoomSettings::default());
    let mut other = enter(&mut world, 1, "/chat?user=other", Form::Events);
    let mut client = enter(&mut world, 0, "/chat?user=bob", Form::Events);
    let heard = events(&mut world, &mut client).len();
    let bad = ["hi", "{}", r#"{"type":"joined","text":"x"}"#, r#"{"type":"message"}"#, "\u{1F4A9}"];
    for text in bad {
        client.say(TEXT, text.as_bytes());
    }
    say(&client, Form::Events, "good");
    let answers = events(&mut world, &mut client).split_off(heard);
    assert_eq!(answers.len(), bad.len() + 1);
    assert!(answers[..bad.len()].iter().all(|answer| answer["type"] == "error"));
    assert_eq!(answers[bad.len()]["text"], "good");
    let heard_by_other = events(&mut world, &mut other);
    assert!(heard_by_other.iter().all(|event| event["type"] != "error"), "{heard_by_other:?}");
}
