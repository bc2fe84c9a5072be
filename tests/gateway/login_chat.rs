//! The chat with logins: `/chat?user=NAME`, also on `/`. Messages go to all others as
//! `MESSAGE -- FROM NAME`, and a name has one login.

use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::wait::until;

/// With four loops, so that most messages pass between loops.
fn gateway() -> Gateway {
    Gateway::with_config("loops = 4")
}

#[test]
fn a_message_goes_to_all_others_with_its_senders_name() {
    let gateway = gateway();
    let mut zhang = ChatClient::join(gateway.address(), "/chat?user=%E5%BC%A0%E4%B8%89");
    let mut li = ChatClient::join(gateway.address(), "/?user=li");
    let mut wang = ChatClient::join(gateway.address(), "/chat?user=wang+wu");
    zhang.send_text("hello");
    assert_eq!(li.receive_text(), "hello -- FROM 张三");
    assert_eq!(wang.receive_text(), "hello -- FROM 张三");
    li.send_text("hi");
    // An echo of its own message would have come first.
    assert_eq!(zhang.receive_text(), "hi -- FROM li");
    wang.send_text("both");
    assert_eq!(wang.receive_text(), "hi -- FROM li");
    assert_eq!(zhang.receive_text(), "both -- FROM wang wu");
}

#[test]
fn messages_stay_in_their_room() {
    let gateway = gateway();
    let mut here = ChatClient::join(gateway.address(), "/chat?user=a");
    let mut lobby = ChatClient::join(gateway.address(), "/chat?user=b&room=lobby");
    let mut there = ChatClient::join(gateway.address(), "/chat?user=a&room=there");
    let mut other = ChatClient::join(gateway.address(), "/chat?user=c&room=there");
    there.send_text("there");
    assert_eq!(other.receive_text(), "there -- FROM a");
    here.send_text("here");
    assert_eq!(lobby.receive_text(), "here -- FROM a");
}

#[test]
fn a_bad_name_is_refused_with_400_and_a_page_is_closed_with_4003() {
    let gateway = gateway();
    let control_character = "/chat?user=a%0Ab";
    let long = format!("/chat?user={}", "x".repeat(1000));
    for path in
        ["/chat", "/chat?user=", "/chat?user=a&user=b", "/chat?user=%FF", control_character, &long]
    {
        let refusal = ChatClient::try_join(gateway.address(), path, None).unwrap_err();
        assert!(refusal.starts_with("400 "), "{path}: {refusal}");
        // A page cannot see the status of a failed handshake, so it gets a close code.
        let mut page = ChatClient::join_with_events(gateway.address(), path);
        assert_eq!(page.close_frame().0, 4003, "{path}");
    }
}

#[test]
fn names_that_look_the_same_are_one_name_or_refused() {
    let gateway = gateway();
    // A Hangul filler, a variation selector, a tag, a Braille blank, and nothing but a mark.
    for hidden in ["b%E3%85%A4ob", "bob%EF%B8%80", "bob%F3%A0%81%81", "bo%E2%A0%80b", "%CC%81"] {
        let path = format!("/chat?user={hidden}");
        let refusal = ChatClient::try_join(gateway.address(), &path, None).unwrap_err();
        assert!(refusal.starts_with("400 "), "{path}: {refusal}");
    }
    // The same name composed and decomposed, with another space, and with an emoji of a style.
    for (one, same) in [
        ("Zo%C3%AB", "Zoe%CC%88"),
        ("a+b", "a%C2%A0%20b"),
        ("bob%E2%9D%A4", "bob%E2%9D%A4%EF%B8%8F"),
    ] {
        let mut first = ChatClient::join(gateway.address(), &format!("/chat?user={one}"));
        let _second = ChatClient::join(gateway.address(), &format!("/chat?user={same}"));
        assert_eq!(first.close_frame().0, 4001, "{same}");
    }
}

#[test]
fn a_second_login_closes_the_first_and_outlives_it() {
    let gateway = gateway();
    let mut witness = ChatClient::join(gateway.address(), "/chat?user=witness");
    let mut first = ChatClient::join(gateway.address(), "/chat?user=ann");
    for _ in 0..20 {
        let mut second = ChatClient::join(gateway.address(), "/chat?user=ann");
        assert_eq!(first.close_frame(), (4001, "replaced by a new login".to_owned()));
        drop(first);
        // The published demo lost the new login here.
        witness.send_text("still there?");
        assert_eq!(second.receive_text(), "still there? -- FROM witness");
        second.send_text("yes");
        assert_eq!(witness.receive_text(), "yes -- FROM ann");
        first = second;
    }
}

#[test]
fn a_name_is_free_again_once_its_holder_is_gone() {
    let gateway = gateway();
    ChatClient::join(gateway.address(), "/chat?user=ann").leave();
    ChatClient::join(gateway.address(), "/chat?user=ann").vanish();
    until("both are gone", || (gateway.counter("open_now") == 0).then_some(()));
    let mut ann = ChatClient::join_with_events(gateway.address(), "/chat?user=ann");
    assert_eq!(ann.receive_event()["count"], 1);
}

#[test]
fn a_binary_message_is_closed_with_1003() {
    let gateway = gateway();
    let mut client = ChatClient::join(gateway.address(), "/chat?user=ann");
    client.send_binary(b"\x00");
    assert_eq!(client.close_frame().0, 1003);
}

#[test]
fn clients_with_events_and_with_lines_share_a_room() {
    let gateway = gateway();
    let mut ann = ChatClient::join_with_events(gateway.address(), "/chat?user=ann");
    let members = ann.receive_event();
    assert_eq!(members["type"], "members");
    assert_eq!((&members["name"], &members["count"]), (&"ann".into(), &1.into()));
    let mut bob = ChatClient::join(gateway.address(), "/chat?user=bob");
    let joined = ann.receive_event();
    assert_eq!(joined, serde_json::json!({ "type": "joined", "name": "bob", "count": 2 }));
    ann.send_event("hello");
    assert_eq!(bob.receive_text(), "hello -- FROM ann");
    bob.send_text("hi");
    let message = ann.receive_event();
    assert_eq!(message, serde_json::json!({ "type": "message", "from": "bob", "text": "hi" }));
    for nonsense in ["not json", "{}", r#"{"type":"message"}"#, r#"{"type":"dance"}"#, "[1]"] {
        ann.send_text(nonsense);
        assert_eq!(ann.receive_event()["type"], "error", "{nonsense}");
    }
    ann.send_event("still here");
    assert_eq!(bob.receive_text(), "still here -- FROM ann");
    bob.leave();
    assert_eq!(
        ann.receive_event(),
        serde_json::json!({ "type": "left", "name": "bob", "count": 1 })
    );
}
