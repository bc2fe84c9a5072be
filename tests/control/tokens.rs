//! Tokens that are right, wrong, missing or used up, with a working Redis.

use tidegate::control::{RedisSettings, RedisUrl, Trust};
use tidegate::services::TokenVerdict::{Right, Unavailable, Wrong};

use crate::certificates::CertificateFolder;
use crate::log_lines;
use crate::lookup_client::{LookupClient, settings};
use crate::redis_server::RedisServer;
use crate::wait::until;

fn set(redis: &RedisServer, key: &str, token: &str) {
    redis::cmd("SET").arg(key).arg(token).exec(&mut redis.connection()).unwrap();
}

fn exists(redis: &RedisServer, key: &str) -> bool {
    redis::cmd("EXISTS").arg(key).query(&mut redis.connection()).unwrap()
}

#[test]
fn only_the_token_of_the_name_is_right() {
    let Some(redis) = RedisServer::start() else { return };
    set(&redis, "ChatroomTokenanna", "t0ken");
    let client = LookupClient::at(&redis.url());
    assert_eq!(client.verdict("anna", "t0ken"), Right);
    for wrong in ["t0keN", "t0ke", "t0kenn", "", "another"] {
        assert_eq!(client.verdict("anna", wrong), Wrong, "{wrong}");
    }
    assert_eq!(client.verdict("berta", "t0ken"), Wrong);
    assert_eq!(client.verdict("", ""), Wrong);
    assert!(exists(&redis, "ChatroomTokenanna"));
    let counters = client.counters();
    assert_eq!((counters.lookups.value(), counters.lookups_right.value()), (8, 1));
    assert_eq!((counters.lookups_wrong.value(), counters.lookups_unavailable.value()), (7, 0));
}

#[test]
fn names_and_tokens_may_be_any_text_and_the_prefix_is_configurable() {
    let Some(redis) = RedisServer::start() else { return };
    for (name, token) in [("Zoë 王 🦀", "schlüssel"), ("a\r\nDEL x", "\0\r\n"), ("*", "{}")] {
        set(&redis, &format!("login:{name}"), token);
        let token_prefix = "login:".to_owned();
        let client = LookupClient::with(RedisSettings { token_prefix, ..settings(&redis.url()) });
        assert_eq!(client.verdict(name, token), Right, "{name}");
        assert_eq!(client.verdict(name, "schlussel"), Wrong, "{name}");
    }
}

#[test]
fn an_expired_token_is_wrong() {
    let Some(redis) = RedisServer::start() else { return };
    set(&redis, "ChatroomTokenanna", "t0ken");
    let client = LookupClient::at(&redis.url());
    assert_eq!(client.verdict("anna", "t0ken"), Right);
    redis::cmd("PEXPIRE").arg("ChatroomTokenanna").arg(1).exec(&mut redis.connection()).unwrap();
    until("the token expires", || (!exists(&redis, "ChatroomTokenanna")).then_some(()));
    assert_eq!(client.verdict("anna", "t0ken"), Wrong);
}

#[test]
fn a_key_of_another_type_is_a_wrong_token_and_logs_nothing() {
    let Some(redis) = RedisServer::start() else { return };
    log_lines::listen();
    let url = redis.url();
    redis::cmd("RPUSH").arg("ChatroomTokens").arg("x").exec(&mut redis.connection()).unwrap();
    // The check of a new connection reads this key.
    redis::cmd("RPUSH").arg("ChatroomToken").arg("x").exec(&mut redis.connection()).unwrap();
    let client = LookupClient::with(RedisSettings { one_time: true, ..settings(&url) });
    assert_eq!(client.verdict("s", "x"), Wrong);
    assert_eq!(log_lines::notable(&redis.address()), Vec::<String>::new());
}

#[test]
fn a_one_time_token_is_right_for_one_of_many_concurrent_look_ups() {
    let Some(redis) = RedisServer::start() else { return };
    let one_time =
        || LookupClient::with(RedisSettings { one_time: true, ..settings(&redis.url()) });
    // Two gateways, each with many look-ups of the same token.
    let gateways = [one_time(), one_time()];
    for round in 0..20 {
        let name = format!("anna{round}");
        set(&redis, &format!("ChatroomToken{name}"), "t0ken");
        for index in 0..10 {
            for client in &gateways {
                client.ask(index, &name, "t0ken").unwrap();
            }
        }
        let answers = gateways.iter().flat_map(|client| (0..10).map(|_| client.answer()));
        let rights = answers.filter(|answer| answer.verdict == Right).count();
        assert_eq!(rights, 1);
        assert!(!exists(&redis, &format!("ChatroomToken{name}")));
    }
}

#[test]
fn a_wrong_token_does_not_use_up_the_right_one() {
    let Some(redis) = RedisServer::start() else { return };
    set(&redis, "ChatroomTokenanna", "t0ken");
    let client = LookupClient::with(RedisSettings { one_time: true, ..settings(&redis.url()) });
    assert_eq!(client.verdict("anna", "guess"), Wrong);
    assert_eq!(client.verdict("anna", ""), Wrong);
    assert!(exists(&redis, "ChatroomTokenanna"));
    assert_eq!(client.verdict("anna", "t0ken"), Right);
    assert_eq!(client.verdict("anna", "t0ken"), Wrong);
}

#[test]
fn a_unix_socket_and_a_database_may_be_configured() {
    let Some(redis) = RedisServer::start() else { return };
    let mut connection = redis.connection();
    redis::cmd("SELECT").arg(3).exec(&mut connection).unwrap();
    redis::cmd("SET").arg("ChatroomTokenanna").arg("t0ken").exec(&mut connection).unwrap();
    for (url, verdict) in [
        (redis.socket_url(), Wrong),
        (format!("{}?db=3", redis.socket_url()), Right),
        (format!("{}3", redis.url()), Right),
    ] {
        assert_eq!(LookupClient::at(&url).verdict("anna", "t0ken"), verdict, "{url}");
    }
}

#[test]
fn a_password_is_used_and_never_logged() {
    const PASSWORD: &str = "a-very-s3cret-word";
    let Some(redis) = RedisServer::start_with_password(PASSWORD) else { return };
    log_lines::listen();
    let url = redis.url();
    set(&redis, "ChatroomTokenanna", "t0ken");
    assert_eq!(LookupClient::at(&url).verdict("anna", "t0ken"), Right);
    assert_eq!(log_lines::notable(&redis.address()), Vec::<String>::new());

    let wrong = url.replace(PASSWORD, "another-s3cret-word");
    let client = LookupClient::at(&wrong);
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    let lines = log_lines::notable(&redis.address());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN"), "{lines:?}");
    assert!(!log_lines::ever_said("s3cret"));
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[test]
fn a_redis_with_tls_proves_who_it_is() {
    let folder = CertificateFolder::new();
    let files = [folder.file("server.pem"), folder.file("server.key"), folder.file("ca.pem")];
    let Some(redis) = RedisServer::start_with_tls(files.each_ref().map(|file| &**file)) else {
        return;
    };
    set(&redis, "ChatroomTokenanna", "t0ken");
    let trusting = |authority: String| {
        let trust = Trust::from_pem(authority.as_bytes()).unwrap();
        let url = RedisUrl::parse(&redis.url()).unwrap().with_trust(trust);
        LookupClient::with(RedisSettings { url, ..settings(&redis.url()) })
    };
    let client = trusting(folder.authority.pem());
    assert_eq!(client.verdict("anna", "t0ken"), Right);
    assert_eq!(trusting(folder.client_authority.pem()).verdict("anna", "t0ken"), Unavailable);
}
