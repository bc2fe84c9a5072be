//! The hub chat: `/ws`, where the first message is the name, everyone hears from the start, and
//! what waits for one client is joined into one message.

use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::patience::until;

fn gateway() -> Gateway {
    Gateway::with_config("loops = 4")
}

/// Joins under this name.
fn joined(gateway: &Gateway, name: &str) -> ChatClient {
    let mut client = ChatClient::join(gateway.address(), "/ws");
    client.say(name);
    client
}

#[test]
fn the_first_message_is_the_name_and_the_rest_goes_to_all() {
    let gateway = gateway();
    let mut listener = ChatClient::join(gateway.address(), "/ws");
    let mut speaker = ChatClient::join(gateway.address(), "/ws");
    for text in ["", "  \n ", " ann ", "", " two\nlines\r\nand more ", "   "] {
        speaker.say(text);
    }
    speaker.say("end");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line| line != "ann: end") {
        heard.extend(speaker.hear().split('\n').map(str::to_owned));
    }
    assert_eq!(heard, ["ann: two lines and more", "ann: end"]);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.extend(listener.hear().split('\n').map(str::to_owned));
    }
    assert_eq!(heard, ["ann: two lines and more", "ann: end"], "who has no name yet hears too");
}

#[test]
fn names_need_not_be_unique() {
    let gateway = gateway();
    let mut one = joined(&gateway, "ann");
    let mut other = joined(&gateway, "ann");
    one.say("one");
    assert_eq!(one.hear(), "ann: one");
    assert_eq!(other.hear(), "ann: one");
    other.say("other");
    assert_eq!(one.hear(), "ann: other");
}

#[test]
fn a_message_over_512_bytes_is_refused() {
    let gateway = gateway();
    let mut client = joined(&gateway, "ann");
    client.say(&"x".repeat(512));
    assert_eq!(client.hear().len(), "ann: ".len() + 512);
    client.say(&"x".repeat(513));
    assert_eq!(client.closing().0, 1009);
}

#[test]
fn everyone_sees_one_order_and_every_message_once() {
    const SPEAKERS: usize = 8;
    const MESSAGES: usize = 50;
    let gateway = gateway();
    let mut clients: Vec<ChatClient> =
        (0..SPEAKERS).map(|serial| joined(&gateway, &format!("{serial}"))).collect();
    for round in 0..MESSAGES {
        for client in &mut clients {
            client.say(&format!("{round}"));
        }
    }
    let stories: Vec<Vec<String>> = clients
        .iter_mut()
        .map(|client| {
            let mut story = Vec::new();
            while story.len() < SPEAKERS * MESSAGES {
                story.extend(client.hear().split('\n').map(str::to_owned));
            }
            story
        })
        .collect();
    for story in &stories {
        assert_eq!(story, &stories[0]);
    }
    for serial in 0..SPEAKERS {
        let own = stories[0].iter().filter_map(|line| line.strip_prefix(&format!("{serial}: ")));
        assert!(own.eq((0..MESSAGES).map(|round| round.to_string()).collect::<Vec<_>>()));
    }
}

/// Who reads nothing is closed once 256 messages wait, and costs the others nothing.
#[test]
fn a_client_that_reads_nothing_is_removed() {
    let gateway = Gateway::with_config("loops = 2\n[socket]\nsend_buffer_bytes = 4096");
    let mut speaker = joined(&gateway, "ann");
    let stuck = ChatClient::join(gateway.address(), "/ws");
    let text = "x".repeat(500);
    until("the stuck client is too slow", || {
        for _ in 0..100 {
            speaker.say(&text);
        }
        let mut heard = 0;
        while heard < 100 {
            heard += speaker.hear().split('\n').count();
        }
        (gateway.counter("closed_slow") == 1).then_some(())
    });
    drop(stuck);
}

/// Pings keep it alive where a proxy would cut a quiet connection.
#[test]
fn a_quiet_client_is_pinged_and_one_that_is_dead_is_closed() {
    let gateway = Gateway::with_config("[timeouts]\nping_idle_ms = 1000\npong_ms = 200");
    let mut quiet = joined(&gateway, "quiet");
    let dead = ChatClient::join(gateway.address(), "/ws");
    // Reading answers pings; the dead one does not read.
    let reader = std::thread::spawn(move || quiet.hear());
    until("the dead one is found", || (gateway.counter("closed_idle") == 1).then_some(()));
    let mut other = joined(&gateway, "other");
    other.say("are you there?");
    assert_eq!(reader.join().unwrap(), "other: are you there?");
    drop(dead);
}
