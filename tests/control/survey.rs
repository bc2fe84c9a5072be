//! The thread of an engine fails, or ends, while all gateways are asked: the answer comes all the same, and says
//! who is missing.

use std::sync::Arc;
use std::thread;

use serde_json::Value;
use tidegate::channels::remote::FollowerLimits;
use tidegate::control::api::GatewayAnswerer;
use tidegate::control::engine::SharedEngine;
use tidegate::control::engine::redis::{RedisEngineSettings, RedisKind};
use tidegate::control::node_calls::AskNodes as _;
use tidegate::control::{ControlRole, ControlThread, RedisUrl};
use tidegate::metrics::ControlCounters;

use crate::admin::{Admin, MadeUp};
use crate::redis_server::RedisServer;
use crate::wait::{TIMEOUT, until};

/// A gateway that shares an engine and, until it has an answerer, answers no other.
struct Node {
    engine: Arc<SharedEngine>,
    counters: Arc<ControlCounters>,
    thread: ControlThread,
}

impl Node {
    fn start(redis: &RedisServer, number: u64) -> Self {
        let counters = Arc::default();
        let thread = ControlThread::start(ControlRole::Backends, &counters).unwrap();
        let settings = RedisEngineSettings {
            urls: vec![RedisUrl::parse(&redis.url()).unwrap()],
            kind: RedisKind::Single,
            prefix: "survey".into(),
            node: number,
            connect: TIMEOUT,
            request: TIMEOUT,
        };
        let limits =
            FollowerLimits { pending_max: 100, channels_max: 100, queue_bytes_max: 0, queue_ms: 0 };
        let engine = thread.redis_engine(settings, limits);
        Self { engine, counters, thread }
    }

    /// Waits until it is up and knows of one other.
    fn know_another(&self) {
        until("a gateway knows another", || {
            (self.engine.is_available() && self.engine.others().len() == 1).then_some(())
        });
    }

    /// Questions that have come, and are open where they were asked.
    fn unanswered(&self) -> u64 {
        self.counters.engine_unanswered.value()
    }
}

/// Two gateways that know each other, and the admin listener of the first.
fn start(redis: &RedisServer) -> (Node, Node, Admin) {
    let (first, second) = (Node::start(redis, 1), Node::start(redis, 2));
    for own in [&first, &second] {
        own.know_another();
    }
    let admin = Admin::start_over(MadeUp::sharing(&first.engine));
    (first, second, admin)
}

/// All gateways are asked for their rooms, and this is done while the second one owes its answer.
fn ask_all(admin: &Admin, second: &Node, while_open: impl FnOnce()) -> Value {
    let before = second.unanswered();
    thread::scope(|scope| {
        let asking = scope.spawn(|| admin.ask("GET", "/api/v1/rooms?nodes=all"));
        until("the question has come", || (second.unanswered() > before).then_some(()));
        while_open();
        let (status, body) = asking.join().unwrap().unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    })
}

/// The first gateway has its part, and the second is missing.
fn assert_missing(all: &Value) {
    assert_eq!(all["is_whole"], false, "{all}");
    let numbers = |of: &str| -> Vec<String> {
        let nodes = all[of].as_array().unwrap().iter();
        nodes.map(|own| own["node"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(numbers("nodes"), ["0000000000000001"], "{all}");
    assert_eq!(numbers("missing"), ["0000000000000002"], "{all}");
    assert_eq!(all["missing"][0]["error"], "it has not answered in time");
}

#[test]
fn a_thread_that_fails_leaves_no_survey_open() {
    let Some(redis) = RedisServer::start() else { return };
    let (first, second, admin) = start(&redis);
    // On a machine that is slow enough the time of the question is over before the thread fails.
    until("the thread fails while all are asked", || {
        first.know_another();
        let fail = || first.thread.inject(|| panic!("injected by a test"));
        let all = ask_all(&admin, &second, fail);
        assert_missing(&all);
        (all["engine"] == "away").then_some(())
    });
    // The next run asks again, and has all answers once the second gives its own.
    let gateway = Arc::new(MadeUp::default());
    second.engine.set_answerer(Arc::new(GatewayAnswerer::new(gateway)));
    until("all answer", || {
        let (_, body) = admin.ask("GET", "/api/v1/rooms?nodes=all")?;
        let all: Value = serde_json::from_str(&body).unwrap();
        (all["is_whole"] == true && all["nodes"].as_array()?.len() == 2).then_some(())
    });
}

#[test]
fn a_thread_that_ends_leaves_no_survey_open() {
    let Some(redis) = RedisServer::start() else { return };
    let (first, second, admin) = start(&redis);
    let Node { thread, engine: _engine, .. } = first;
    let all = ask_all(&admin, &second, || thread.stop());
    assert_missing(&all);
}
