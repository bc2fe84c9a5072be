//! `/broadcast`, which sends each message to all, and the hall: `/chatroom` is its page,
//! `/chatroom/ws/:name/:token` its room, which accepts clients with a valid token.

use std::thread;

use tungstenite::Message;

use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::redis_server::RedisServer;
use crate::wait::until;

const TOKENS: &str = r#"
loops = 4
[[identity]]
name = "members"
kind = "tokens"
tokens = [{ name = "ann", token = "s3cret" }, { name = "张三", token = "t/ken" }]
"#;

#[test]
fn every_message_goes_unchanged_to_all() {
    let gateway = Gateway::with_config("loops = 4");
    let mut clients: Vec<ChatClient> =
        (0..8).map(|_| ChatClient::join(gateway.address(), "/broadcast")).collect();
    // Every client that has its 101 is a member.
    clients[0].send_text("text\n");
    clients[0].send_binary(b"\x00\xFF");
    for client in &mut clients {
        assert_eq!(client.message(), Message::text("text\n"));
        assert_eq!(client.message(), Message::binary(vec![0x00, 0xFF]));
    }
}

#[test]
fn a_wrong_token_is_403() {
    let gateway = Gateway::with_config(TOKENS);
    for path in ["ann/wrong", "ann/s3cre", "ann/s3crett", "bob/s3cret", "ann/t%2Fken"] {
        let path = format!("/chatroom/ws/{path}");
        let refusal = ChatClient::try_join(gateway.address(), &path, None).unwrap_err();
        assert_eq!(refusal, "403 token wrong.\n", "{path}");
    }
    for path in ["/chatroom/ws/ann", "/chatroom/ws/ann/", "/chatroom/ws/ann/s3cret/more"] {
        let refusal = ChatClient::try_join(gateway.address(), path, None).unwrap_err();
        assert!(refusal.starts_with("404 "), "{path}: {refusal}");
    }
}

#[test]
fn a_valid_token_is_accepted_and_messages_go_to_all_as_text() {
    let gateway = Gateway::with_config(TOKENS);
    let mut ann = ChatClient::join(gateway.address(), "/chatroom/ws/ann/s3cret");
    let mut zhang = ChatClient::join(gateway.address(), "/chatroom/ws/%E5%BC%A0%E4%B8%89/t%2Fken");
    ann.send_text("hello");
    assert_eq!(ann.receive_text(), "hello");
    assert_eq!(zhang.receive_text(), "hello");
}

#[test]
fn without_configured_tokens_every_login_is_refused() {
    let gateway = Gateway::with_config("loops = 2");
    let refusal =
        ChatClient::try_join(gateway.address(), "/chatroom/ws/ann/s3cret", None).unwrap_err();
    assert_eq!(refusal, "403 token wrong.\n");
}

/// A hall whose tokens are in this Redis; `settings` are further keys of its identity.
fn hall(redis: &RedisServer, settings: &str) -> Gateway {
    Gateway::with_config(&format!(
        "loops = 4\n[[identity]]\nname = \"logins\"\nkind = \"redis\"\nurl = \"{}\"\n\
         {settings}\n[[route]]\n\
         path = \"/chatroom/ws/:name/:token\"\nservice = \"room\"\nname = \"token\"\n\
         line = \"bare\"\nidentity = [\"logins\"]\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
        redis.url()
    ))
}

/// Stores a token as a web application would at a login.
fn store(redis: &RedisServer, name: &str, token: &str) {
    let key = format!("ChatroomToken{name}");
    redis::cmd("SET").arg(key).arg(token).arg("EX").arg(300).exec(&mut redis.connection()).unwrap();
}

fn enter(gateway: &Gateway, path: &str) -> Result<ChatClient, String> {
    ChatClient::try_join(gateway.address(), &format!("/chatroom/ws/{path}"), None)
}

#[test]
fn tokens_are_checked_in_redis() {
    let Some(redis) = RedisServer::start_with_password("h1dden") else { return };
    let gateway = hall(&redis, "");
    store(&redis, "ann", "s3cret");
    store(&redis, "张三", "t/ken");
    let mut ann = enter(&gateway, "ann/s3cret").unwrap();
    let mut zhang = enter(&gateway, "%E5%BC%A0%E4%B8%89/t%2Fken").unwrap();
    zhang.send_text("hello");
    assert_eq!(zhang.receive_text(), "hello");
    assert_eq!(ann.receive_text(), "hello");
    for path in ["ann/wrong", "ann/S3CRET", "bob/s3cret", "ann/t%2Fken"] {
        assert_eq!(enter(&gateway, path).unwrap_err(), "403 token wrong.\n", "{path}");
    }
    // It may be used again until it expires.
    enter(&gateway, "ann/s3cret").unwrap();
    gateway.assert_counter("lookups_right", 3);
    gateway.assert_counter("lookups_wrong", 4);
    let log = gateway.log_lines().join("\n");
    assert!(!["h1dden", "s3cret", "t/ken"].iter().any(|secret| log.contains(secret)), "{log}");
}

#[test]
fn a_one_time_token_is_accepted_once() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = hall(&redis, "one_time = true");
    store(&redis, "ann", "s3cret");
    assert_eq!(enter(&gateway, "ann/wrong").unwrap_err(), "403 token wrong.\n");
    let address = gateway.address();
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                ChatClient::try_join(address, "/chatroom/ws/ann/s3cret", None).is_ok()
            })
        })
        .collect();
    let let_in = attempts.into_iter().map(|own| own.join().unwrap());
    assert_eq!(let_in.filter(|is_in| *is_in).count(), 1);
}

#[test]
fn without_redis_logins_are_answered_500_and_other_routes_are_served() {
    let Some(mut redis) = RedisServer::start() else { return };
    let gateway = hall(&redis, "lookup_ms = 200");
    store(&redis, "ann", "s3cret");
    redis.stop();
    assert_eq!(enter(&gateway, "ann/s3cret").unwrap_err(), "500 logins cannot be checked now\n");
    let mut other = ChatClient::join(gateway.address(), "/echo");
    other.send_text("still here");
    assert_eq!(other.receive_text(), "still here");
    redis.start_again();
    store(&redis, "ann", "s3cret");
    until("logins work again", || enter(&gateway, "ann/s3cret").ok());
    // A Redis that accepts connections and does not answer leads to the same, after `lookup_ms`.
    redis.pause();
    assert_eq!(enter(&gateway, "ann/s3cret").unwrap_err(), "500 logins cannot be checked now\n");
    other.send_text("still here");
    assert_eq!(other.receive_text(), "still here");
    redis.resume();
    until("logins work again", || enter(&gateway, "ann/s3cret").ok());
    assert!(gateway.counter("lookups_unavailable") >= 2);
}
