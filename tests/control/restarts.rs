//! A control thread that fails: it is started again, and every open look-up is answered.

use std::net::{Ipv4Addr, TcpListener};
use std::panic;
use std::sync::Arc;
use std::sync::mpsc;

use tidegate::control::{ControlRole, ControlThread, RedisSettings, panics};
use tidegate::services::TokenVerdict::{Right, Unavailable, Wrong};
use tidegate::services::{ServiceSender, TokenInquiry, TokenLookup as _, TooManyLookups};

use crate::log_lines;
use crate::lookup_client::{LookupClient, peer, settings};
use crate::redis_server::RedisServer;
use crate::wait::until;

/// Takes connections and says nothing, for longer than any test.
fn silent() -> (TcpListener, RedisSettings) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, RedisSettings { lookup_ms: 3_600_000, ..settings(&url) })
}

fn wait_for_restart(client: &LookupClient, count: u64) {
    until("the thread is started again", || {
        (client.counters().control_restarts.value() == count).then_some(())
    });
}

#[test]
fn open_look_ups_are_answered_once_as_unavailable() {
    let (_listener, settings) = silent();
    let client = LookupClient::with(RedisSettings { lookups_max: 100, ..settings });
    for index in 0..100 {
        client.ask(index, "anna", "t0ken").unwrap();
    }
    assert_eq!(client.ask(100, "anna", "t0ken"), Err(TooManyLookups));
    client.cancel(7);
    client.fail();
    let mut answered: Vec<_> = (0..99).map(|_| client.answer()).collect();
    assert!(answered.iter().all(|answer| answer.verdict == Unavailable));
    answered.sort_by_key(|answer| answer.peer.key.index);
    let peers = answered.iter().map(|answer| answer.peer);
    assert!(peers.eq((0..100).filter(|index| *index != 7).map(peer)), "each of them once");
    wait_for_restart(&client, 1);
    assert!(client.is_quiet());
    assert_eq!(client.counters().lookups_unavailable.value(), 99);
    // All places are free again, and what is asked now waits again.
    for index in 0..100 {
        client.ask(index, "anna", "t0ken").unwrap();
    }
    assert_eq!(client.stop().len(), 100);
}

#[test]
fn the_next_look_up_works_again() {
    let Some(redis) = RedisServer::start() else { return };
    redis::cmd("SET").arg("ChatroomTokenanna").arg("t0ken").exec(&mut redis.connection()).unwrap();
    let client = LookupClient::at(&redis.url());
    assert_eq!(client.verdict("anna", "t0ken"), Right);
    for restart in 1..=3 {
        client.fail();
        wait_for_restart(&client, restart);
        // Between two runs look-ups are unavailable.
        until("tokens are looked up again", || {
            let verdict = client.verdict("anna", "t0ken");
            assert!(verdict == Right || verdict == Unavailable, "{verdict:?}");
            (verdict == Right).then_some(())
        });
        assert_eq!(client.verdict("anna", "wr0ng"), Wrong);
    }
}

#[test]
fn a_failure_is_one_line_of_the_log_with_its_place() {
    log_lines::listen();
    // As the program does; panics of all other threads are shown as before.
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panics::keep(panic) {
            before(panic);
        }
    }));
    let (_listener, settings) = silent();
    let client = LookupClient::with(settings);
    client.fail_with("once and for all");
    wait_for_restart(&client, 1);
    let lines = log_lines::notable("once and for all");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let start = "ERROR the control thread backends panicked at tests/control/lookup_client.rs:";
    assert!(lines[0].starts_with(start), "{lines:?}");
    assert!(lines[0].ends_with(": once and for all; it starts again in 50 ms"), "{lines:?}");
}

#[test]
fn it_can_be_stopped_while_it_pauses() {
    let (_listener, settings) = silent();
    let client = LookupClient::with(settings);
    for restart in 1..=5 {
        until("it fails", || {
            client.fail();
            (client.counters().control_restarts.value() >= restart).then_some(())
        });
    }
    // By now it pauses for longer than a test would wait.
    assert!(client.stop().is_empty());
}

/// An answer may lead to another look-up at once, on the thread that answers.
#[test]
fn an_answer_may_lead_to_another_question() {
    let (_listener, settings) = silent();
    let control = ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap();
    let tokens = Arc::new(control.redis_tokens(settings));
    let (sender, answers) = mpsc::channel();
    let inquiry = |index, answer_to| {
        let (name, token) = ("anna".to_owned(), "t0ken".to_owned());
        TokenInquiry { peer: peer(index), name, token, answer_to }
    };
    let again = Arc::downgrade(&tokens);
    let answer_to = ServiceSender::new(Arc::new(move |_| {
        let tokens = again.upgrade().unwrap();
        let unused = ServiceSender::new(Arc::new(|_| ()));
        sender.send(tokens.ask(inquiry(1, unused))).unwrap();
    }));
    tokens.ask(inquiry(0, answer_to)).unwrap();
    control.inject(|| panic!("injected by a test"));
    assert_eq!(answers.recv().unwrap(), Ok(()));
}
