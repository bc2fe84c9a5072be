//! The limit on look-ups, cancelled look-ups, and the end of the control thread.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, mpsc};

use tidegate::control::{ControlRole, ControlThread, RedisSettings};
use tidegate::services::TokenVerdict::{Unavailable, Wrong};
use tidegate::services::{ServiceSender, TooManyLookups};

use crate::lookup_client::{LookupClient, peer, settings};
use crate::redis_server::RedisServer;

/// A listener that accepts connections and never answers.
fn silent() -> (TcpListener, RedisSettings) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, RedisSettings { lookup_ms: 3_600_000, ..settings(&url) })
}

#[test]
fn a_look_up_beyond_lookups_max_is_refused_until_a_permit_is_free() {
    let (_listener, settings) = silent();
    let client = LookupClient::with(settings);
    for index in 0..1024 {
        client.ask(index, "anna", "t0ken").unwrap();
    }
    assert_eq!(client.ask(1024, "anna", "t0ken"), Err(TooManyLookups));
    client.cancel(7);
    client.ask(1024, "anna", "t0ken").unwrap();
    assert_eq!(client.ask(7, "anna", "t0ken"), Err(TooManyLookups));
    // Cancelling a look-up that does not exist changes nothing.
    client.cancel(7);
    let counters = client.counters();
    assert_eq!((counters.lookups.value(), counters.lookups_refused.value()), (1025, 2));
    assert_eq!(counters.lookups_cancelled.value(), 1);
}

#[test]
fn a_cancelled_look_up_gets_no_answer_and_frees_its_permit() {
    let Some(redis) = RedisServer::start() else { return };
    let client = LookupClient::with(RedisSettings { lookups_max: 1, ..settings(&redis.url()) });
    assert_eq!(client.verdict("anna", "t0ken"), Wrong);
    redis.pause();
    client.ask(1, "anna", "t0ken").unwrap();
    assert_eq!(client.ask(2, "anna", "t0ken"), Err(TooManyLookups));
    client.cancel(1);
    client.ask(2, "anna", "t0ken").unwrap();
    redis.resume();
    // Answers on one connection come in order, so that of the cancelled one would have come first.
    assert_eq!(client.answer().peer, peer(2));
    assert_eq!(client.verdict("anna", "t0ken"), Wrong);
    assert!(client.is_quiet());
    assert_eq!(client.counters().lookups_cancelled.value(), 1);
}

#[test]
fn stop_does_not_wait_for_look_ups() {
    let (_listener, settings) = silent();
    let client = LookupClient::with(settings);
    for index in 0..1024 {
        client.ask(index, "anna", "t0ken").unwrap();
    }
    let answers = client.stop();
    assert_eq!(answers.len(), 1024);
    assert!(answers.iter().all(|answer| answer.verdict == Unavailable));
}

#[test]
fn a_look_up_after_stop_is_answered_at_once() {
    use tidegate::services::{TokenAnswer, TokenInquiry, TokenLookup as _};

    let (_listener, settings) = silent();
    let control = ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap();
    let tokens = control.redis_tokens(RedisSettings { lookups_max: 1, ..settings });
    control.stop();
    let (sender, answers) = mpsc::channel();
    for index in 0..3 {
        let sender = sender.clone();
        let answer_to = ServiceSender::new(Arc::new(move |message| {
            sender.send(*message.downcast::<TokenAnswer>().unwrap()).unwrap();
        }));
        let (name, token) = ("anna".to_owned(), "t0ken".to_owned());
        // The permit of the one before is free again, since it was dropped at once.
        tokens.ask(TokenInquiry { peer: peer(index), name, token, answer_to }).unwrap();
        let expected = TokenAnswer { peer: peer(index), verdict: Unavailable };
        assert_eq!(answers.try_recv(), Ok(expected));
    }
    tokens.cancel(peer(0));
    assert!(answers.try_recv().is_err());
}
