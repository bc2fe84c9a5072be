//! The hub chat at `/ws`: the first message is the name, clients without a name receive messages
//! too, and lines that wait for a client are joined into one message.

use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::wait::until;

fn gateway() -> Gateway {
    Gateway::with_config("loops = 4")
}

/// Joins under this name.
fn joined(gateway: &Gateway, name: &str) -> ChatClient {
    let mut client = ChatClient::join(gateway.address(), "/ws");
    client.send_text(name);
    client
}

#[test]
fn the_first_message_is_the_name_and_the_rest_goes_to_all() {
    let gateway = gateway();
    let mut listener = ChatClient::join(gateway.address(), "/ws");
    let mut speaker = ChatClient::join(gateway.address(), "/ws");
    for text in ["", "  \n ", " ann ", "", " two\nlines\r\nand more ", "   "] {
        speaker.send_text(text);
    }
    speaker.send_text("end");
    let mut received = Vec::new();
    while received.last().is_none_or(|line| line != "ann: end") {
        received.extend(speaker.receive_text().split('\n').map(str::to_owned));
    }
    assert_eq!(received, ["ann: two lines and more", "ann: end"]);
    let mut received = Vec::new();
    while received.len() < 2 {
        received.extend(listener.receive_text().split('\n').map(str::to_owned));
    }
    assert_eq!(received, ["ann: two lines and more", "ann: end"], "without a name yet");
}

#[test]
fn names_need_not_be_unique() {
    let gateway = gateway();
    let mut one = joined(&gateway, "ann");
    let mut other = joined(&gateway, "ann");
    one.send_text("one");
    assert_eq!(one.receive_text(), "ann: one");
    assert_eq!(other.receive_text(), "ann: one");
    other.send_text("other");
    assert_eq!(one.receive_text(), "ann: other");
}

#[test]
fn a_message_over_512_bytes_is_refused() {
    let gateway = gateway();
    let mut client = joined(&gateway, "ann");
    client.send_text(&"x".repeat(512));
    assert_eq!(client.receive_text().len(), "ann: ".len() + 512);
    client.send_text(&"x".repeat(513));
    assert_eq!(client.close_frame().0, 1009);
}

#[test]
fn all_members_receive_every_message_once_and_in_one_order() {
    const SPEAKERS: usize = 8;
    const MESSAGES: usize = 50;
    let gateway = gateway();
    let mut clients: Vec<ChatClient> =
        (0..SPEAKERS).map(|serial| joined(&gateway, &format!("{serial}"))).collect();
    for round in 0..MESSAGES {
        for client in &mut clients {
            client.send_text(&format!("{round}"));
        }
    }
    let logs: Vec<Vec<String>> = clients
        .iter_mut()
        .map(|client| {
            let mut log = Vec::new();
            while log.len() < SPEAKERS * MESSAGES {
                log.extend(client.receive_text().split('\n').map(str::to_owned));
            }
            log
        })
        .collect();
    for log in &logs {
        assert_eq!(log, &logs[0]);
    }
    for serial in 0..SPEAKERS {
        let own = logs[0].iter().filter_map(|line| line.strip_prefix(&format!("{serial}: ")));
        assert!(own.eq((0..MESSAGES).map(|round| round.to_string()).collect::<Vec<_>>()));
    }
}

/// A member is closed once 256 messages wait for it; the others receive everything.
#[test]
fn a_client_that_reads_nothing_is_removed() {
    let gateway = Gateway::with_config("loops = 2\n[socket]\nsend_buffer_bytes = 4096");
    let mut speaker = joined(&gateway, "ann");
    let stuck = ChatClient::join(gateway.address(), "/ws");
    let text = "x".repeat(500);
    until("the stuck client is too slow", || {
        for _ in 0..100 {
            speaker.send_text(&text);
        }
        let mut received = 0;
        while received < 100 {
            received += speaker.receive_text().split('\n').count();
        }
        (gateway.counter("closed_slow") == 1).then_some(())
    });
    drop(stuck);
}

/// Pings also keep proxies from closing an idle connection.
#[test]
fn an_idle_client_is_pinged_and_one_that_does_not_answer_is_closed() {
    let gateway = Gateway::with_config("[timeouts]\nping_idle_ms = 1000\npong_ms = 5000");
    let mut quiet = joined(&gateway, "quiet");
    let dead = ChatClient::join(gateway.address(), "/ws");
    // tungstenite answers pings when it reads; the dead client does not read.
    let reader = std::thread::spawn(move || quiet.receive_text());
    until("the dead one is found", || (gateway.counter("closed_idle") == 1).then_some(()));
    let mut other = joined(&gateway, "other");
    other.send_text("are you there?");
    assert_eq!(reader.join().unwrap(), "other: are you there?");
    drop(dead);
}
