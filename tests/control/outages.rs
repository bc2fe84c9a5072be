//! A Redis that is not there, says nothing, goes and comes back.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidegate::control::RedisSettings;
use tidegate::services::TokenVerdict::{Right, Unavailable, Wrong};

use crate::asking::{Asking, settings};
use crate::log_lines;
use crate::patience::{PATIENCE, now, until};
use crate::redis_server::RedisServer;

/// A deadline that the tests wait for.
const SHORT_MS: u64 = 200;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn until_right(asking: &Asking, name: &str, token: &str) {
    until("the token is found right", || (asking.verdict(name, token) == Right).then_some(()));
}

fn set(redis: &RedisServer) {
    redis::cmd("SET").arg("ChatroomTokenanna").arg("t0ken").exec(&mut redis.connection()).unwrap();
}

#[test]
fn without_a_redis_every_look_up_says_so_at_once_and_the_log_once() {
    log_lines::listen();
    let (listener, address) = listener();
    drop(listener);
    let asking = Asking::at(&format!("redis://{address}"));
    let started = now();
    for _ in 0..20 {
        assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    }
    // Not at the deadline, which is as long as patience.
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(asking.counters().lookups_unavailable.value(), 20);
    let lines = log_lines::notable(&address.to_string());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("refused"), "{lines:?}");
}

#[test]
fn a_redis_that_says_nothing_is_unavailable_at_the_deadline() {
    log_lines::listen();
    let (_listener, address) = listener();
    let url = format!("redis://{address}");
    let asking = Asking::with(RedisSettings { lookup_ms: SHORT_MS, ..settings(&url) });
    assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    let lines = until("the log says it", || {
        Some(log_lines::notable(&address.to_string())).filter(|lines| !lines.is_empty())
    });
    assert!(lines[0].contains("no answer within 200 ms"), "{lines:?}");
}

/// Answers the check of a connection, and nothing more.
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
fn a_look_up_has_its_own_deadline_and_its_connection_is_given_up() {
    let (listener, address) = listener();
    let connections = answer_once(listener);
    let url = format!("redis://{address}");
    let asking = Asking::with(RedisSettings { lookup_ms: SHORT_MS, ..settings(&url) });
    let _first = connections.recv_timeout(PATIENCE).unwrap();
    let started = now();
    assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    assert!(started.elapsed() >= Duration::from_millis(SHORT_MS));
    // Who knows whether anything still comes on it: there is another one.
    let _second = connections.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_redis_that_is_stopped_and_started_again_is_found_again() {
    let Some(mut redis) = RedisServer::start() else { return };
    log_lines::listen();
    let url = redis.url();
    set(&redis);
    let asking = Asking::at(&url);
    assert_eq!(asking.verdict("anna", "t0ken"), Right);

    redis.stop();
    assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    redis.start_again();
    set(&redis);
    until_right(&asking, "anna", "t0ken");

    let lines = log_lines::notable(&redis.address());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("WARN") && lines[1].starts_with("INFO"), "{lines:?}");
}

#[test]
fn a_redis_that_comes_late_is_found() {
    let Some(mut redis) = RedisServer::start() else { return };
    redis.stop();
    let asking = Asking::at(&redis.url());
    assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    redis.start_again();
    set(&redis);
    until_right(&asking, "anna", "t0ken");
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_no_look_up() {
    let Some(mut redis) = RedisServer::start() else { return };
    let asking = Asking::at(&redis.url());
    assert_eq!(asking.verdict("anna", "t0ken"), Wrong);
    for _ in 0..5 {
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .exec(&mut redis.connection())
            .unwrap();
        assert_eq!(asking.verdict("anna", "t0ken"), Wrong);
    }
    // The same when all of Redis was started again meanwhile.
    redis.stop();
    redis.start_again();
    assert_eq!(asking.verdict("anna", "t0ken"), Wrong);
    assert_eq!(asking.counters().lookups_unavailable.value(), 0);
}

#[test]
fn a_redis_that_hangs_for_a_while_is_found_again() {
    let Some(redis) = RedisServer::start() else { return };
    set(&redis);
    let asking = Asking::with(RedisSettings { lookup_ms: SHORT_MS, ..settings(&redis.url()) });
    until_right(&asking, "anna", "t0ken");
    redis.pause();
    for index in 0..100 {
        asking.ask(index, "anna", "t0ken").unwrap();
    }
    for _ in 0..100 {
        assert_eq!(asking.answer().verdict, Unavailable);
    }
    assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    redis.resume();
    until_right(&asking, "anna", "t0ken");
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
    assert_eq!(Asking::at(&url).verdict("anna", "t0ken"), Right);
    let asking = Asking::with(RedisSettings { one_time: true, ..settings(&url) });
    assert_eq!(asking.verdict("anna", "t0ken"), Unavailable);
    let lines = log_lines::notable(&redis.address());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("eval"), "{lines:?}");

    redis::cmd("ACL")
        .arg(&["SETUSER", "reader", "+eval", "+del"])
        .exec(&mut redis.connection())
        .unwrap();
    until_right(&asking, "anna", "t0ken");
}
