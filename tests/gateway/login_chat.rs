//! The chat with login and kick: `/chat?user=NAME`, also on `/`, messages as `MESSAGE -- FROM NAME`
//! to everyone else, and one login per name.

use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::patience::until;

/// With four loops, so that nearly every conversation crosses threads.
fn gateway() -> Gateway {
    Gateway::with_config("loops = 4")
}

#[test]
fn a_message_goes_to_everyone_else_with_its_name() {
    let gateway = gateway();
    let mut zhang = ChatClient::join(gateway.address(), "/chat?user=%E5%BC%A0%E4%B8%89");
    let mut li = ChatClient::join(gateway.address(), "/?user=li");
    let mut wang = ChatClient::join(gateway.address(), "/chat?user=wang+wu");
    zhang.say("hello");
    assert_eq!(li.hear(), "hello -- FROM 张三");
    assert_eq!(wang.hear(), "hello -- FROM 张三");
    li.say("hi");
    // Had it heard itself, that would have come first.
    assert_eq!(zhang.hear(), "hi -- FROM li");
    wang.say("both");
    assert_eq!(wang.hear(), "hi -- FROM li");
    assert_eq!(zhang.hear(), "both -- FROM wang wu");
}

#[test]
fn rooms_are_apart() {
    let gateway = gateway();
    let mut here = ChatClient::join(gateway.address(), "/chat?user=a");
    let mut lobby = ChatClient::join(gateway.address(), "/chat?user=b&room=lobby");
    let mut there = ChatClient::join(gateway.address(), "/chat?user=a&room=there");
    let mut other = ChatClient::join(gateway.address(), "/chat?user=c&room=there");
    there.say("there");
    assert_eq!(other.hear(), "there -- FROM a");
    here.say("here");
    assert_eq!(lobby.hear(), "here -- FROM a");
}

#[test]
fn who_gives_no_proper_name_is_refused() {
    let gateway = gateway();
    let control_character = "/chat?user=a%0Ab";
    let long = format!("/chat?user={}", "x".repeat(1000));
    for path in
        ["/chat", "/chat?user=", "/chat?user=a&user=b", "/chat?user=%FF", control_character, &long]
    {
        let refusal = ChatClient::try_join(gateway.address(), path, None).unwrap_err();
        assert!(refusal.starts_with("400 "), "{path}: {refusal}");
        // A page cannot see statuses, so it is told by a close code.
        let mut page = ChatClient::join_with_events(gateway.address(), path);
        assert_eq!(page.closing().0, 4003, "{path}");
    }
}

#[test]
fn a_second_login_closes_the_first_whose_end_harms_nobody() {
    let gateway = gateway();
    let mut witness = ChatClient::join(gateway.address(), "/chat?user=witness");
    let mut first = ChatClient::join(gateway.address(), "/chat?user=ann");
    for _ in 0..20 {
        let mut second = ChatClient::join(gateway.address(), "/chat?user=ann");
        assert_eq!(first.closing(), (4001, "replaced by a new login".to_owned()));
        drop(first);
        // The published demo lost the new login here.
        witness.say("still there?");
        assert_eq!(second.hear(), "still there? -- FROM witness");
        second.say("yes");
        assert_eq!(witness.hear(), "yes -- FROM ann");
        first = second;
    }
}

#[test]
fn a_name_is_free_again_once_its_owner_is_gone() {
    let gateway = gateway();
    ChatClient::join(gateway.address(), "/chat?user=ann").leave();
    ChatClient::join(gateway.address(), "/chat?user=ann").vanish();
    until("both are gone", || (gateway.counter("open_now") == 0).then_some(()));
    let mut ann = ChatClient::join_with_events(gateway.address(), "/chat?user=ann");
    assert_eq!(ann.event()["count"], 1);
}

#[test]
fn binary_is_refused() {
    let gateway = gateway();
    let mut client = ChatClient::join(gateway.address(), "/chat?user=ann");
    client.say_binary(b"\x00");
    assert_eq!(client.closing().0, 1003);
}

#[test]
fn events_and_lines_tell_the_same_story() {
    let gateway = gateway();
    let mut ann = ChatClient::join_with_events(gateway.address(), "/chat?user=ann");
    let members = ann.event();
    assert_eq!(members["type"], "members");
    assert_eq!((&members["name"], &members["count"]), (&"ann".into(), &1.into()));
    let mut bob = ChatClient::join(gateway.address(), "/chat?user=bob");
    let joined = ann.event();
    assert_eq!(joined, serde_json::json!({ "type": "joined", "name": "bob", "count": 2 }));
    ann.say_event("hello");
    assert_eq!(bob.hear(), "hello -- FROM ann");
    bob.say("hi");
    let message = ann.event();
    assert_eq!(message, serde_json::json!({ "type": "message", "from": "bob", "text": "hi" }));
    for nonsense in ["not json", "{}", r#"{"type":"message"}"#, r#"{"type":"dance"}"#, "[1]"] {
        ann.say(nonsense);
        assert_eq!(ann.event()["type"], "error", "{nonsense}");
    }
    ann.say_event("still here");
    assert_eq!(bob.hear(), "still here -- FROM ann");
    bob.leave();
    assert_eq!(ann.event(), serde_json::json!({ "type": "left", "name": "bob", "count": 1 }));
}
