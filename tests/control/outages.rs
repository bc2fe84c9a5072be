//! A Redis that is absent, does not answer, stops and restarts.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidegate::control::RedisSettings;
use tidegate::services::TokenVerdict::{Right, Unavailable, Wrong};

use crate::log_lines;
use crate::lookup_client::{LookupClient, settings};
use crate::port::reserved_address;
use crate::redis_server::RedisServer;
use crate::wait::{NEVER_MS, TIMEOUT, now, until};

/// A `lookup_ms` short enough for tests to wait for, and long enough for a Redis that answers.
const SHORT_MS: u64 = 2_000;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn until_right(client: &LookupClient, name: &str, token: &str) {
    until("the token is found right", || (client.verdict(name, token) == Right).then_some(()));
}

fn set(redis: &RedisServer) {
    redis::cmd("SET").arg("ChatroomTokenanna").arg("t0ken").exec(&mut redis.connection()).unwrap();
}

#[test]
fn without_a_redis_every_look_up_is_unavailable_at_once_and_logged_once() {
    log_lines::listen();
    let address = reserved_address();
    let url = format!("redis://{address}");
    let client = LookupClient::with(RedisSettings { lookup_ms: NEVER_MS, ..settings(&url) });
    // Each answer comes without lookup_ms.
    for _ in 0..20 {
        assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    }
    assert_eq!(client.counters().lookups_unavailable.value(), 20);
    let lines = log_lines::notable(&address.to_string());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("refused"), "{lines:?}");
}

#[test]
fn a_redis_that_does_not_answer_is_unavailable_at_the_deadline() {
    log_lines::listen();
    let (_listener, address) = listener();
    let url = format!("redis://{address}");
    let client = LookupClient::with(RedisSettings { lookup_ms: SHORT_MS, ..settings(&url) });
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    let lines = until("the log says it", || {
        Some(log_lines::notable(&address.to_string())).filter(|lines| !lines.is_empty())
    });
    assert!(lines[0].contains(&format!("no answer within {SHORT_MS} ms")), "{lines:?}");
}

/// Answers the first command of each connection, which checks it, and nothing more.
fn answer_once(listener: TcpListener) -> mpsc::Receiver<TcpStream> {
    let (accepted, connections) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 256];
            if connection.read(&mut request).is_ok_and(|length| length > 0) {
                connection.write_all(b"$-1\r\n").unwrap();
            }
            if accepted.send(connection).is_err() {
                return;
            }
        }
    });
    connections
}

#[test]
fn a_look_up_that_times_out_has_its_connection_replaced() {
    let (listener, address) = listener();
    let connections = answer_once(listener);
    let url = format!("redis://{address}");
    let client = LookupClient::with(RedisSettings { lookup_ms: SHORT_MS, ..settings(&url) });
    let _first = connections.recv_timeout(TIMEOUT).unwrap();
    let started = now();
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    assert!(started.elapsed() >= Duration::from_millis(SHORT_MS));
    // An answer might still arrive on the old connection, so a new one is opened.
    let _second = connections.recv_timeout(TIMEOUT).unwrap();
}

#[test]
fn look_ups_work_again_after_redis_restarts() {
    let Some(mut redis) = RedisServer::start() else { return };
    log_lines::listen();
    let url = redis.url();
    set(&redis);
    let client = LookupClient::at(&url);
    assert_eq!(client.verdict("anna", "t0ken"), Right);

    redis.stop();
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    redis.start_again();
    set(&redis);
    until_right(&client, "anna", "t0ken");

    let lines = log_lines::notable(&redis.address());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("WARN") && lines[1].starts_with("INFO"), "{lines:?}");
}

#[test]
fn look_ups_work_once_redis_starts() {
    let Some(mut redis) = RedisServer::start() else { return };
    redis.stop();
    let client = LookupClient::at(&redis.url());
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    redis.start_again();
    set(&redis);
    until_right(&client, "anna", "t0ken");
}

#[test]
fn no_look_up_fails_after_its_idle_connection_was_closed() {
    let Some(mut redis) = RedisServer::start() else { return };
    let client = LookupClient::at(&redis.url());
    assert_eq!(client.verdict("anna", "t0ken"), Wrong);
    for _ in 0..5 {
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .exec(&mut redis.connection())
            .unwrap();
        assert_eq!(client.verdict("anna", "t0ken"), Wrong);
    }
    // The same after a restart of Redis.
    redis.stop();
    redis.start_again();
    assert_eq!(client.verdict("anna", "t0ken"), Wrong);
    assert_eq!(client.counters().lookups_unavailable.value(), 0);
}

#[test]
fn look_ups_work_again_after_redis_hung() {
    let Some(redis) = RedisServer::start() else { return };
    set(&redis);
    let client =
        LookupClient::with(RedisSettings { lookup_ms: SHORT_MS, ..settings(&redis.url()) });
    until_right(&client, "anna", "t0ken");
    redis.pause();
    for index in 0..100 {
        client.ask(index, "anna", "t0ken").unwrap();
    }
    for _ in 0..100 {
        assert_eq!(client.answer().verdict, Unavailable);
    }
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    redis.resume();
    until_right(&client, "anna", "t0ken");
}

#[test]
fn a_redis_that_allows_no_scripts_is_unavailable_for_one_time_tokens() {
    let Some(redis) = RedisServer::start() else { return };
    log_lines::listen();
    set(&redis);
    redis::cmd("ACL")
        .arg(&["SETUSER", "reader", "on", ">word", "~ChatroomToken*", "+get"])
        .exec(&mut redis.connection())
        .unwrap();
    let url = redis.url().replace("redis://", "redis://reader:word@");
    assert_eq!(LookupClient::at(&url).verdict("anna", "t0ken"), Right);
    let client = LookupClient::with(RedisSettings { one_time: true, ..settings(&url) });
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    let lines = log_lines::notable(&redis.address());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("eval"), "{lines:?}");

    redis::cmd("ACL")
        .arg(&["SETUSER", "reader", "+eval", "+del"])
        .exec(&mut redis.connection())
        .unwrap();
    until_right(&client, "anna", "t0ken");
}
