//! How many look-ups there may be, those that nobody waits for any more, and the end.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use tidegate::control::{ControlThread, RedisSettings};
use tidegate::services::TokenVerdict::Wrong;
use tidegate::services::{ServiceSender, TooManyLookups};

use crate::asking::{Asking, peer, settings};
use crate::patience::until;
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
fn an_answer_that_the_mailbox_has_no_room_for_is_counted() {
    let Some(redis) = RedisServer::start() else { return };
    let asking = Asking::at(&redis.url());
    asking.ask_for(0, "anna", "t0ken", ServiceSender::new(Arc::new(|_| false))).unwrap();
    until("the answer is lost", || (asking.counters().answers_lost.value() == 1).then_some(()));
    assert_eq!(asking.counters().lookups_wrong.value(), 1);
}

#[test]
fn the_end_waits_for_nobody() {
    let (_listener, settings) = silent();
    let asking = Asking::with(settings);
    for index in 0..1024 {
        asking.ask(index, "anna", "t0ken").unwrap();
    }
    assert_eq!(asking.stop(), 0);
}

#[test]
fn asking_after_the_end_harms_nobody() {
    use tidegate::services::{TokenInquiry, TokenLookup as _};

    let (_listener, settings) = silent();
    let control = ControlThread::start().unwrap();
    let tokens = control.redis_tokens(RedisSettings { lookups_max: 1, ..settings });
    control.stop();
    for index in 0..3 {
        let answer_to = ServiceSender::new(Arc::new(|_| panic!("there is nobody to answer")));
        let (name, token) = ("anna".to_owned(), "t0ken".to_owned());
        // Its place is free again: it was dropped at once.
        tokens.ask(TokenInquiry { peer: peer(index), name, token, answer_to }).unwrap();
    }
    tokens.cancel(peer(0));
}
