//! A Redis that is slow: connections are judged by their own progress, and not by how long look-ups
//! have waited for one.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tidegate::control::RedisSettings;
use tidegate::services::TokenVerdict::{Unavailable, Wrong};

use crate::log_lines;
use crate::lookup_client::{LookupClient, settings};
use crate::wait::{TIMEOUT, pass};

/// Says of each request that it has arrived, and answers it, as for a key that there is not, when it
/// may.
struct SlowRedis {
    address: SocketAddr,
    /// The number of the connection on which a request came.
    requests: Receiver<usize>,
    answers: Sender<()>,
}

impl SlowRedis {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, requests) = mpsc::channel();
        let (answers, permits) = mpsc::channel();
        let mut permits = Some(permits);
        thread::spawn(move || {
            for (number, connection) in (1..).zip(listener.incoming()) {
                let mut connection = connection.unwrap();
                let mut other_end = connection.try_clone().unwrap();
                let arrived = arrived.clone();
                // Answers are given on the first connection, one for each permit.
                thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(length @ 1..) = connection.read(&mut bytes) {
                        // The only asterisks are those that begin requests.
                        for _ in bytes[..length].iter().filter(|byte| **byte == b'*') {
                            if arrived.send(number).is_err() {
                                return;
                            }
                        }
                    }
                });
                if let Some(permits) = permits.take() {
                    thread::spawn(move || {
                        for () in permits {
                            let _ = other_end.write_all(b"$-1\r\n");
                        }
                    });
                }
            }
        });
        Self { address, requests, answers }
    }

    fn client(&self, lookup_ms: u64) -> LookupClient {
        let url = format!("redis://{}", self.address);
        LookupClient::with(RedisSettings { lookup_ms, ..settings(&url) })
    }

    /// Waits for a request; returns the number of its connection.
    fn request(&self) -> usize {
        self.requests.recv_timeout(TIMEOUT).expect("a request comes")
    }

    fn answer(&self, count: usize) {
        (0..count).for_each(|_| self.answers.send(()).unwrap());
    }
}

#[test]
fn eighty_logins_that_waited_for_the_connection_are_all_answered() {
    log_lines::listen();
    let redis = SlowRedis::start();
    // Every answer of Redis comes in time, and none of the logins is answered within that time.
    let client = redis.client(10_000);
    let slow = Duration::from_millis(5_100);
    for index in 0..80 {
        client.ask(index, "anna", "t0ken").unwrap();
    }
    assert_eq!(redis.request(), 1, "the check of the connection");
    pass(slow);
    redis.answer(1);
    for _ in 0..80 {
        assert_eq!(redis.request(), 1);
    }
    // The queue gets shorter, if slowly.
    for _ in 0..2 {
        pass(slow);
        redis.answer(40);
        for _ in 0..40 {
            assert_eq!(client.answer().verdict, Wrong);
        }
    }
    assert_eq!(client.counters().lookups_unavailable.value(), 0);
    assert_eq!(log_lines::notable(&redis.address.to_string()), Vec::<String>::new());
}

#[test]
fn a_look_up_ends_at_its_own_deadline_and_leaves_the_connection() {
    let redis = SlowRedis::start();
    let url = format!("redis://{}", redis.address);
    let client = LookupClient::with(RedisSettings { deadline_ms: 5_000, ..settings(&url) });
    assert_eq!(redis.request(), 1);
    assert_eq!(client.verdict("anna", "t0ken"), Unavailable);
    // The check is answered late for that look-up and in time for the connection.
    redis.answer(1);
    client.ask(0, "anna", "t0ken").unwrap();
    assert_eq!(redis.request(), 1);
    redis.answer(1);
    assert_eq!(client.answer().verdict, Wrong);
}

#[test]
fn a_connection_on_which_every_client_gives_up_is_replaced() {
    let redis = SlowRedis::start();
    let client = redis.client(4_000);
    assert_eq!(redis.request(), 1);
    redis.answer(1);
    client.ask(0, "anna", "t0ken").unwrap();
    assert_eq!(redis.request(), 1);
    // No look-up waits for the answer any more.
    client.cancel(0);
    assert_eq!(redis.request(), 1, "the check that follows it");
    // It has no answer either. The next connection is checked.
    while redis.request() == 1 {}
}
