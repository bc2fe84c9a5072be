//! Conversations with backends that answer by the protocol, and with those that do not.

use proptest::prelude::*;

use super::super::event::{EventError, Events};
use super::super::grip::Control;
use super::*;
use crate::ws::CloseCode;

const LIMITS: ConversationLimits =
    ConversationLimits { waiting_bytes_max: 20, waiting_messages_max: 4, meta_bytes_max: 20 };

fn opened() -> Conversation {
    let mut own = Conversation::new(LIMITS);
    assert_eq!(own.next_request().unwrap().body, b"OPEN\r\n");
    assert_eq!(own.replied(ReplyFacts::default(), b"OPEN\r\n"), Ok(vec![Action::Open]));
    own
}

fn with_grip() -> Conversation {
    let mut own = Conversation::new(LIMITS);
    own.next_request().unwrap();
    let facts = ReplyFacts { grip: Grip::parse("grip"), ..ReplyFacts::default() };
    own.replied(facts, b"OPEN\r\n").unwrap();
    own
}

fn accepting(accepted_bytes: usize) -> ReplyFacts {
    ReplyFacts { accepted_bytes: Some(accepted_bytes), ..ReplyFacts::default() }
}

fn text(own: &mut Conversation, content: &str) {
    own.message(ClientEvent::Text, content.as_bytes());
}

fn body(own: &mut Conversation) -> String {
    String::from_utf8(own.next_request().unwrap().body).unwrap()
}

#[test]
fn what_comes_while_a_request_is_under_way_travels_in_the_next() {
    let mut own = opened();
    assert_eq!(own.next_request(), None);
    text(&mut own, "a");
    assert_eq!(body(&mut own), "TEXT 1\r\na\r\n");
    text(&mut own, "b");
    own.message(ClientEvent::Binary, b"");
    assert_eq!((own.next_request(), own.held_bytes()), (None, 2));
    let sent = Action::Send(ClientEvent::Text, b"A".to_vec());
    assert_eq!(own.replied(ReplyFacts::default(), b"TEXT 1\r\nA\r\n"), Ok(vec![sent]));
    let next = own.next_request().unwrap();
    assert_eq!(next.body, b"TEXT 1\r\nb\r\nBINARY 0\r\n\r\n");
    assert_eq!((next.sequence, next.about, next.replayed_bytes), (3, About::Messages, 0));
    own.replied(ReplyFacts::default(), b"").unwrap();
    assert_eq!((own.next_request(), own.held_bytes()), (None, 0));
}

/// One that is not read learns by the end of a request that it is again, whenever that has begun.
#[test]
fn a_client_of_which_too_much_waits_is_read_again_when_a_request_has_ended() {
    let mut own = opened();
    text(&mut own, "first");
    assert!(!own.pauses());
    body(&mut own);
    text(&mut own, &"a".repeat(20));
    assert!(own.pauses());
    own.replied(ReplyFacts::default(), b"").unwrap();
    assert!(!own.resumes(), "as much waits as before");
    body(&mut own);
    // What was read before it was paused still comes.
    text(&mut own, "late");
    assert!(own.pauses() && !own.is_full());
    own.replied(ReplyFacts::default(), b"").unwrap();
    assert!(own.resumes() && !own.resumes());
    text(&mut own, "b");
    assert!(!own.pauses());
}

#[test]
fn the_client_is_let_in_by_open_and_nothing_else() {
    let replied = |facts: ReplyFacts, body: &[u8]| {
        let mut own = Conversation::new(LIMITS);
        own.next_request().unwrap();
        own.replied(facts, body)
    };
    let keeping = ReplyFacts { keep_alive_s: Some(20), ..ReplyFacts::default() };
    assert_eq!(replied(keeping, b""), Ok(vec![Action::Open]));
    assert_eq!(replied(ReplyFacts::default(), b""), Err(Broken::NotOpened));
    assert_eq!(replied(ReplyFacts::default(), b"TEXT 0\r\n\r\n"), Err(Broken::NotOpened));
    assert_eq!(replied(ReplyFacts::default(), b"<html>"), Err(EventError::NoEnd.into()));
    assert_eq!(replied(ReplyFacts::default(), b"OPEN\r\nOPEN\r\n"), Err(Broken::OpenedTwice));
    assert_eq!(replied(ReplyFacts::default(), b"OPEN\r\nTEXT 1\r\n\xff\r\n"), Err(Broken::NotUtf8));
}

#[test]
fn close_codes_that_no_endpoint_may_send_become_none() {
    for (content, expected) in [
        (&b"CLOSE\r\n"[..], None),
        (b"CLOSE 2\r\n\0\0\r\n", None),
        (b"CLOSE 2\r\n\x03\xee\r\n", None),
        (b"CLOSE 5\r\n\x0f\xa1bye\r\n", Some((CloseCode::REPLACED, "bye".to_owned()))),
    ] {
        let mut own = opened();
        text(&mut own, "a");
        own.next_request().unwrap();
        let actions = own.replied(ReplyFacts::default(), &[content, b"TEXT 0\r\n\r\n"].concat());
        assert_eq!(actions, Ok(vec![Action::Close(expected)]));
        assert!(own.has_ended());
        own.end(End::Gone);
        assert_eq!(own.next_request(), None);
    }
}

#[test]
fn the_end_is_told_once_and_behind_all_messages() {
    for (end, told) in [
        (End::Gone, "DISCONNECT\r\n"),
        (End::Closed(None), "CLOSE\r\n"),
        (End::Closed(Some(1000)), "CLOSE 2\r\n\u{3}"),
    ] {
        let mut own = opened();
        text(&mut own, "a");
        own.next_request().unwrap();
        text(&mut own, "b");
        own.end(end);
        own.end(End::Gone);
        text(&mut own, "late");
        own.replied(ReplyFacts::default(), b"").unwrap();
        let last = own.next_request().unwrap();
        assert_eq!(last.about, About::End);
        let expected = format!("TEXT 1\r\nb\r\n{told}");
        assert!(last.body.starts_with(expected.as_bytes()), "{last:?}");
        assert_eq!(own.replied(ReplyFacts::default(), b"TEXT 1\r\na\r\n"), Ok(vec![]));
        assert!(own.has_ended() && own.next_request().is_none());
    }
}

#[test]
fn a_client_that_leaves_before_it_is_let_in_is_told_of_only_if_the_backend_knows_it() {
    let mut own = Conversation::new(LIMITS);
    own.end(End::Gone);
    assert!(own.has_ended() && own.next_request().is_none());

    let mut own = Conversation::new(LIMITS);
    own.next_request().unwrap();
    own.end(End::Gone);
    own.replied(ReplyFacts::default(), b"OPEN\r\n").unwrap();
    assert_eq!(body(&mut own), "DISCONNECT\r\n");

    let mut own = Conversation::new(LIMITS);
    own.next_request().unwrap();
    own.end(End::Gone);
    own.failed(true);
    assert!(own.has_ended());
}

#[test]
fn after_a_reply_of_no_use_the_backend_is_told_that_the_client_is_gone() {
    let mut own = opened();
    text(&mut own, "a");
    own.next_request().unwrap();
    text(&mut own, "b");
    assert!(own.replied(ReplyFacts::default(), b"?").is_err());
    assert_eq!(own.held_bytes(), 0);
    assert_eq!(body(&mut own), "DISCONNECT\r\n");
    own.failed(false);
    assert!(own.has_ended());
}

#[test]
fn what_is_not_taken_is_sent_again_with_what_follows() {
    let mut own = opened();
    text(&mut own, "hello");
    text(&mut own, "world");
    own.next_request().unwrap();
    own.replied(accepting(7), b"").unwrap();
    assert_eq!((own.next_request(), own.held_bytes()), (None, 3));
    text(&mut own, "");
    let next = own.next_request().unwrap();
    assert_eq!((next.body, next.replayed_bytes), (b"TEXT 3\r\nrld\r\nTEXT 0\r\n\r\n".to_vec(), 3));
    // The count is of the contents, whatever the lines between them take.
    own.replied(accepting(3), b"").unwrap();
    assert_eq!((own.next_request(), own.held_bytes()), (None, 0));
}

#[test]
fn a_backend_that_takes_what_it_was_not_sent_or_never_goes_on_is_of_no_use() {
    let asked = |content: &str| {
        let mut own = opened();
        text(&mut own, content);
        own.next_request().unwrap();
        own
    };
    let broken = |accepted, offered| Err(Broken::Accepted { accepted, offered });
    assert_eq!(asked("ab").replied(accepting(3), b""), broken(3, 2));
    assert_eq!(asked("ab").replied(accepting(0), b""), Ok(vec![]));
    assert_eq!(asked(&"x".repeat(20)).replied(accepting(0), b""), broken(0, 20));
    let mut own = opened();
    text(&mut own, "ab");
    own.end(End::Closed(None));
    own.next_request().unwrap();
    assert_eq!(own.replied(accepting(1), b""), broken(1, 2));
    assert!(own.has_ended());
}

#[test]
fn meta_is_sent_back_until_it_is_deleted() {
    let set = |pairs: &[(&str, &str)]| ReplyFacts {
        set_meta: pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..ReplyFacts::default()
    };
    let mut own = opened();
    let ask = |own: &mut Conversation, facts| {
        text(own, "a");
        let meta = own.next_request().unwrap().meta;
        own.replied(facts, b"").map(|_| meta.len())
    };
    assert_eq!(ask(&mut own, set(&[("user", "alice"), ("room", "1")])), Ok(0));
    assert_eq!(ask(&mut own, set(&[("user", ""), ("room", "2")])), Ok(2));
    assert_eq!(ask(&mut own, set(&[])), Ok(1));
    assert_eq!(ask(&mut own, set(&[("user", &"a".repeat(13))])), Err(Broken::Meta(20)));
}

#[test]
fn with_grip_only_marked_messages_reach_the_client() {
    let mut own = with_grip();
    text(&mut own, "a");
    own.next_request().unwrap();
    let reply = b"TEXT 3\r\nm:x\r\nTEXT 1\r\ny\r\nTEXT 2a\r\nc:{\"channel\": \"room\", \"type\": \"subscribe\"}\r\n\
          TEXT 3\r\nc:?\r\nBINARY 3\r\nm:z\r\n";
    let sent = |event, content: &[u8]| Action::Send(event, content.to_vec());
    let expected = vec![
        sent(ClientEvent::Text, b"x"),
        Action::Control(Control::Subscribe("room".to_owned(), Vec::new())),
        sent(ClientEvent::Binary, b"z"),
    ];
    assert_eq!(own.replied(ReplyFacts::default(), reply), Ok(expected));
    text(&mut own, "b");
    own.next_request().unwrap();
    let detach = b"TEXT 13\r\nc:{\"type\":\"detach\"}\r\n";
    assert_eq!(own.replied(ReplyFacts::default(), detach), Ok(vec![Action::Detach]));
    text(&mut own, "c");
    own.end(End::Gone);
    assert!(own.has_ended() && own.next_request().is_none());
}

#[test]
fn control_frames_and_the_reason_of_the_end_travel_as_events() {
    let mut own = opened();
    own.message(ClientEvent::Ping, b"a");
    own.message(ClientEvent::Pong, b"");
    assert_eq!(body(&mut own), "PING 1\r\na\r\nPONG 0\r\n\r\n");
    let expected = vec![
        Action::Send(ClientEvent::Pong, b"a".to_vec()),
        Action::Send(ClientEvent::Ping, Vec::new()),
    ];
    assert_eq!(own.replied(ReplyFacts::default(), b"PONG 1\r\na\r\nPING\r\n"), Ok(expected));
    own.close_reason("bye");
    own.end(End::Closed(Some(4000)));
    assert_eq!(own.next_request().unwrap().body, b"CLOSE 5\r\n\x0f\xa0bye\r\n");
}

#[test]
fn a_quiet_connection_is_asked_about_if_the_backend_wants_that() {
    let mut own = opened();
    assert_eq!(own.keep_alive_s(), None);
    text(&mut own, "a");
    own.next_request().unwrap();
    let facts = ReplyFacts { keep_alive_s: Some(30), ..ReplyFacts::default() };
    own.replied(facts, b"").unwrap();
    assert_eq!(own.keep_alive_s(), Some(30));
    assert_eq!(own.keep_alive_request().unwrap().body, b"");
    assert_eq!(own.keep_alive_request(), None);
    own.replied(ReplyFacts::default(), b"").unwrap();
    assert_eq!(own.keep_alive_s(), None);
}

proptest! {
    /// Whatever a backend takes of each request, in the end it has all bytes in their order, and the kinds
    /// of those that it takes whole.
    #[test]
    fn a_backend_gets_every_byte_once_and_in_order(
        steps in prop::collection::vec(("[a-c]{0,6}", any::<bool>(), 0_usize..12), 1..30),
    ) {
        let mut own = opened();
        let (mut sent, mut taken) = (Vec::new(), Vec::new());
        for (content, is_answered, accepted) in steps {
            if !own.is_full() {
                text(&mut own, &content);
                sent.extend_from_slice(content.as_bytes());
            }
            if !is_answered {
                continue;
            }
            let Some(request) = own.next_request() else { continue };
            let contents: Vec<u8> = Events::of(&request.body)
                .flat_map(|event| event.unwrap().content.unwrap_or_default().to_vec())
                .collect();
            let accepted = accepted.max(1).min(contents.len());
            taken.extend_from_slice(&contents[..accepted]);
            own.replied(accepting(accepted), b"").unwrap();
        }
        own.end(End::Gone);
        while let Some(request) = own.next_request() {
            for event in Events::of(&request.body) {
                taken.extend_from_slice(event.unwrap().content.unwrap_or_default());
            }
            own.replied(ReplyFacts::default(), b"").unwrap();
        }
        prop_assert_eq!(taken, sent);
        prop_assert!(own.has_ended());
        prop_assert_eq!(own.held_bytes(), 0);
    }

    /// No reply makes it panic, and whatever is wrong with one, the end is told afterwards.
    #[test]
    fn any_reply_may_come(
        bodies in prop::collection::vec("(OPEN\r\n)?((TEXT|CLOSE|PING|DISCONNECT)( [0-3]\r\n.{0,3})?\r\n){0,3}", 1..6),
        accepted in any::<Option<u8>>(),
    ) {
        let mut own = Conversation::new(LIMITS);
        for body in bodies {
            text(&mut own, "x");
            if own.next_request().is_none() {
                break;
            }
            let facts = ReplyFacts { accepted_bytes: accepted.map(usize::from), ..ReplyFacts::default() };
            let _ = own.replied(facts, body.as_bytes());
        }
        own.end(End::Gone);
        if own.next_request().is_some() {
            let _ = own.replied(ReplyFacts::default(), b"");
        }
        prop_assert!(own.has_ended());
    }
}

#[test]
fn single_events_travel_each_in_a_request_of_its_own() {
    let mut own = Conversation::of_single_events(LIMITS);
    assert_eq!(own.next_request().unwrap().body, b"OPEN\r\n");
    assert_eq!(own.answered(Vec::new()), vec![Action::Open]);
    text(&mut own, "a");
    text(&mut own, "b");
    own.end(End::Gone);
    assert_eq!(body(&mut own), "TEXT 1\r\na\r\n");
    assert_eq!(own.held_bytes(), 2);
    let sent = vec![Action::Send(ClientEvent::Text, b"A".to_vec())];
    assert_eq!(own.answered(sent.clone()), sent);
    assert_eq!(body(&mut own), "TEXT 1\r\nb\r\n");
    assert_eq!(own.answered(Vec::new()), vec![]);
    let last = own.next_request().unwrap();
    assert_eq!((last.body.as_slice(), last.about), (&b"DISCONNECT\r\n"[..], About::End));
    assert_eq!(own.answered(sent), vec![]);
    assert!(own.has_ended() && own.held_bytes() == 0);
}
