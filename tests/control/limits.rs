//! How many look-ups there may be, those that nobody waits for any more, and the end.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, mpsc};

use tidegate::control::{ControlThread, RedisSettings};
use tidegate::services::TokenVerdict::{Unavailable, Wrong};
use tidegate::services::{ServiceSender, TooManyLookups};

use crate::asking::{Asking, peer, settings};
use crate::redis_server::RedisServer;

/// Takes connections and says nothing, for longer than any test.
fn silent() -> (TcpListener, RedisSettings) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, RedisSettings { lookup_ms: 3_600_000, ..settings(&url) })
}

#[test]
fn the_look_up_after_the_last_place_is_refused_until_a_place_is_free() {
    let (_listener, settings) = silent();
    let asking = Asking::with(settings);
    for index in 0..1024 {
        asking.ask(index, "anna", "t0ken").unwrap();
    }
    assert_eq!(asking.ask(1024, "anna", "t0ken"), Err(TooManyLookups));
    asking.cancel(7);
    asking.ask(1024, "anna", "t0ken").unwrap();
    assert_eq!(asking.ask(7, "anna", "t0ken"), Err(TooManyLookups));
    // Nobody who is not there is missed.
    asking.cancel(7);
    let counters = asking.counters();
    assert_eq!((counters.lookups.value(), counters.lookups_refused.value()), (1025, 2));
    assert_eq!(counters.lookups_cancelled.value(), 1);
}

#[test]
fn a_cancelled_look_up_gets_no_answer_and_leaves_its_place() {
    let Some(redis) = RedisServer::start() else { return };
    let asking = Asking::with(RedisSettings { lookups_max: 1, ..settings(&redis.url()) });
    assert_eq!(asking.verdict("anna", "t0ken"), Wrong);
    redis.pause();
    asking.ask(1, "anna", "t0ken").unwrap();
    assert_eq!(asking.ask(2, "anna", "t0ken"), Err(TooManyLookups));
    asking.cancel(1);
    asking.ask(2, "anna", "t0ken").unwrap();
    redis.resume();
    // Answers on one connection come in order, so the other one would have been here before.
    assert_eq!(asking.answer().peer, peer(2));
    assert_eq!(asking.verdict("anna", "t0ken"), Wrong);
    assert!(asking.is_quiet());
    assert_eq!(asking.counters().lookups_cancelled.value(), 1);
}

#[test]
fn the_end_waits_for_nobody() {
    let (_listener, settings) = silent();
    let asking = Asking::with(settings);
    for index in 0..1024 {
        asking.ask(index, "anna", "t0ken").unwrap();
    }
    let answers = asking.stop();
    assert_eq!(answers.len(), 1024);
    assert!(answers.iter().all(|answer| answer.verdict == Unavailable));
}

#[test]
fn asking_after_the_end_is_answered_at_once() {
    use tidegate::services::{TokenAnswer, TokenInquiry, TokenLookup as _};

    let (_listener, settings) = silent();
    let control = ControlThread::start().unwrap();
    let tokens = control.redis_tokens(RedisSettings { lookups_max: 1, ..settings });
    control.stop();
    let (answered, answers) = mpsc::channel();
    for index in 0..3 {
        let answered = answered.clone();
        let answer_to = ServiceSender::new(Arc::new(move |message| {
            answered.send(*message.downcast::<TokenAnswer>().unwrap()).unwrap();
        }));
        let (name, token) = ("anna".to_owned(), "t0ken".to_owned());
        // Its place is free again: it was dropped at once.
        tokens.ask(TokenInquiry { peer: peer(index), name, token, answer_to }).unwrap();
        assert_eq!(
            answers.try_recv().unwrap(),
            TokenAnswer { peer: peer(index), verdict: Unavailable }
        );
    }
    tokens.cancel(peer(0));
    assert!(answers.try_recv().is_err());
}
