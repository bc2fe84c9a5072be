//! Backends that answer, refuse, hang, fail and babble.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use super::CallbackIdentity;
use crate::control::callback::CallbackSettings;
use crate::control::fetch::HttpUrl;
use crate::control::fetch::scripted_server::{Gate, Head, PATIENCE, ScriptedServer, Step, reply};
use crate::control::{ControlRole, ControlThread};
use crate::http::parse_head;
use crate::key::ConnKey;
use crate::services::{
    Checked, IdentityCheck as _, IdentityOutcome, IdentitySender, Inquiry, Peer, Presented,
};
use crate::timer::WallTime;

/// An identity that asks a scripted backend, and the outcomes that it posts.
struct Asker {
    control: Arc<ControlThread>,
    identity: CallbackIdentity,
    sender: IdentitySender,
    outcomes: Receiver<(Peer, IdentityOutcome)>,
}

impl Asker {
    fn of(server: &ScriptedServer) -> Self {
        let control = ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap();
        Self::on(&Arc::new(control), settings(server))
    }

    fn on(control: &Arc<ControlThread>, settings: CallbackSettings) -> Self {
        let (post, outcomes) = mpsc::channel();
        let post = std::sync::Mutex::new(post);
        let sender = IdentitySender::new(Arc::new(move |peer, outcome| {
            post.lock().unwrap().send((peer, outcome)).unwrap();
        }));
        let (control, identity) = (Arc::clone(control), control.callback(settings));
        Self { control, identity, sender, outcomes }
    }

    /// Asks about a client with this cookie.
    fn ask(&self, index: u32, cookie: &str) -> Checked {
        self.ask_with(index, &format!("Cookie: session={cookie}; other=1\r\n"))
    }

    fn ask_with(&self, index: u32, headers: &str) -> Checked {
        let head = format!(
            "GET /chat/lobby?token=t%20t&x=1 HTTP/1.1\r\nHost: edge.example\r\nOrigin: \
             https://app.example\r\nSec-WebSocket-Key: k\r\n{headers}\r\n"
        );
        let head = parse_head(head.as_bytes()).unwrap();
        let presented = Presented {
            request: Some(&head),
            paths: &[],
            address: Some("[::ffff:192.0.2.7]:999".parse().unwrap()),
            is_from_trusted_proxy: false,
            certificate_names: None,
            wall_now: WallTime(0),
        };
        let mut inquiry = Inquiry { peer: peer(index), sender: &self.sender, work: 0 };
        self.identity.check(&presented, &mut inquiry)
    }

    /// The outcome about a client, which is the next that comes.
    fn outcome(&self, index: u32) -> IdentityOutcome {
        let (own, outcome) = self.outcomes.recv_timeout(PATIENCE).unwrap();
        assert_eq!(own, peer(index));
        outcome
    }

    /// Asks, and waits for the outcome if it comes later.
    fn judge(&self, cookie: &str) -> IdentityOutcome {
        match self.ask(0, cookie) {
            Checked::Now(outcome) => outcome,
            Checked::Later => self.outcome(0),
            Checked::Absent => panic!("there is a credential"),
        }
    }
}

fn peer(index: u32) -> Peer {
    Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
}

fn settings(server: &ScriptedServer) -> CallbackSettings {
    let url = format!("http://127.0.0.1:{}/who", server.port);
    CallbackSettings {
        name: "app".into(),
        url: HttpUrl::parse(&url).unwrap(),
        trust: None,
        headers: vec!["Authorization".to_owned()],
        cookies: vec!["session".to_owned()],
        query: Vec::new(),
        callback_ms: 60_000,
        connections_max: 2,
        waiting_max: 4,
        refusal_ms: 60_000,
        failures_max: 3,
    }
}

fn user(outcome: IdentityOutcome) -> String {
    match outcome {
        IdentityOutcome::Admitted(identity) => identity.user().to_string(),
        IdentityOutcome::Refused(rejection) | IdentityOutcome::Unavailable(rejection) => {
            format!("{} {}", rejection.status().code(), rejection.body())
        }
    }
}

/// Lets in all whom the cookie names.
fn admits_all(head: &Head) -> Step {
    let cookie = head.header("cookie").unwrap_or("session=guest");
    let user = cookie.trim_start_matches("session=");
    Step::Reply(reply("200 OK", &format!("{{\"user\":\"{user}\"}}")))
}

const UNAVAILABLE: &str = "503 identities cannot be checked now, try again later";

#[test]
fn a_backend_is_told_what_is_chosen_and_nothing_else() {
    let server = ScriptedServer::start(admits_all);
    let asker = Asker::of(&server);
    assert_eq!(user(asker.judge("ann")), "ann");
    let head = server.head();
    for (name, value) in [
        ("cookie", Some("session=ann")),
        ("origin", Some("https://app.example")),
        ("x-forwarded-for", Some("192.0.2.7")),
        ("x-forwarded-host", Some("edge.example")),
        ("x-forwarded-uri", Some("/chat/lobby")),
        ("accept", Some("application/json")),
        ("sec-websocket-key", None),
        ("authorization", None),
    ] {
        assert_eq!(head.header(name), value, "{name}");
    }
    let query = CallbackSettings { query: vec!["token".to_owned()], ..settings(&server) };
    let asker = Asker::on(&asker.control, query);
    assert!(matches!(
        asker.ask_with(1, "Authorization: Basic x\r\nauthorization: y\r\n"),
        Checked::Later
    ));
    asker.outcome(1);
    let head = server.head();
    assert_eq!(head.header("x-forwarded-uri"), Some("/chat/lobby?token=t%20t"));
    assert_eq!(head.text.to_ascii_lowercase().matches("authorization: ").count(), 2);
}

#[test]
fn a_client_without_a_credential_does_not_reach_the_backend() {
    let server = ScriptedServer::start(admits_all);
    let asker = Asker::of(&server);
    for headers in ["", "Cookie: other=1\r\n", "X-Other: 1\r\n"] {
        assert!(matches!(asker.ask_with(1, headers), Checked::Absent), "{headers}");
    }
    let twice = asker.ask_with(1, "Cookie: session=a; session=b\r\n");
    assert!(matches!(twice, Checked::Now(IdentityOutcome::Refused(_))));
    let any = CallbackSettings { headers: Vec::new(), cookies: Vec::new(), ..settings(&server) };
    let asker = Asker::on(&asker.control, any);
    assert!(matches!(asker.ask_with(1, ""), Checked::Later));
    assert_eq!(user(asker.outcome(1)), "guest");
    assert_eq!(server.heads().len(), 1);
}

#[test]
fn a_refusal_is_passed_on_and_holds_for_a_moment() {
    let server = ScriptedServer::start(|head| {
        let status = if head.text.contains("ann") { "401 Unauthorized" } else { "403 Forbidden" };
        Step::Reply(reply(status, "not you"))
    });
    let asker = Asker::of(&server);
    for _ in 0..3 {
        assert_eq!(user(asker.judge("ann")), "401 not you");
        assert_eq!(user(asker.judge("bob")), "403 not you");
    }
    assert_eq!(server.heads().len(), 2);
    let counters = asker.control.counters();
    assert_eq!(counters.callbacks_repeated.value(), 4);
    assert_eq!(counters.callbacks_refused.value(), 2);
}

#[test]
fn equal_requests_share_one() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = ScriptedServer::start(move |_| {
        Step::Gate(Arc::clone(&held), reply("200 OK", r#"{"user":"ann"}"#))
    });
    let asker = Asker::of(&server);
    for index in 0..3 {
        assert!(matches!(asker.ask(index, "ann"), Checked::Later));
    }
    gate.open();
    let mut answered: Vec<u32> = (0..3)
        .map(|_| {
            let (peer, outcome) = asker.outcomes.recv_timeout(PATIENCE).unwrap();
            assert_eq!(user(outcome), "ann");
            peer.key.index
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, [0, 1, 2]);
    server.head();
    assert_eq!(server.heads(), []);
    assert_eq!(asker.control.counters().callbacks_shared.value(), 2);
    // The next one asks anew: only refusals hold.
    assert_eq!(user(asker.judge("ann")), "ann");
    server.head();
}

#[test]
fn a_backend_that_hangs_holds_up_nothing_else() {
    let hanging = ScriptedServer::start(|_| Step::Hang);
    let server = ScriptedServer::start(admits_all);
    let held_up = Asker::of(&hanging);
    let asker = Asker::on(&held_up.control, settings(&server));
    for index in 0..4 {
        assert!(matches!(held_up.ask(index, &format!("user{index}")), Checked::Later));
    }
    // Two have a connection, two wait for one, and a fifth is one too many.
    for _ in 0..2 {
        hanging.head();
    }
    assert!(matches!(held_up.ask(5, "user5"), Checked::Now(IdentityOutcome::Unavailable(_))));
    assert!(matches!(held_up.ask(6, "user0"), Checked::Now(IdentityOutcome::Unavailable(_))));
    for number in 0..100 {
        assert_eq!(user(asker.judge(&format!("user{number}"))), format!("user{number}"));
    }
    // Who leaves makes room, also on the way to the backend.
    held_up.identity.cancel(peer(3));
    held_up.identity.cancel(peer(3));
    assert!(matches!(held_up.ask(7, "user7"), Checked::Later));
    for index in [0, 1] {
        held_up.identity.cancel(peer(index));
    }
    let mut reached = vec![hanging.head(), hanging.head()];
    reached.sort_by(|one, other| one.text.cmp(&other.text));
    assert!(reached[0].text.contains("user2") && reached[1].text.contains("user7"), "{reached:?}");
    assert_eq!(held_up.outcomes.try_iter().count(), 0);
    assert_eq!(held_up.control.counters().callbacks_cancelled.value(), 3);
}

#[test]
fn a_backend_that_fails_is_left_alone_and_one_of_no_use_is_not() {
    let failing = ScriptedServer::start(|_| Step::Reply(reply("500 Internal Server Error", "")));
    let asker = Asker::of(&failing);
    for number in 0..10 {
        assert_eq!(user(asker.judge(&format!("user{number}"))), UNAVAILABLE);
    }
    assert_eq!(failing.heads().len(), 3);
    assert!(!asker.identity.is_available());
    assert_eq!(asker.control.counters().callbacks_stopped.value(), 1);

    let useless = ScriptedServer::start(|head| {
        Step::Reply(match head.text.contains("ann") {
            true => reply("404 Not Found", r#"{"user":"ann"}"#),
            false => "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n".into(),
        })
    });
    let asker = Asker::of(&useless);
    for number in 0..10 {
        let cookie = if number % 2 == 0 { "ann" } else { "bob" };
        assert_eq!(user(asker.judge(cookie)), UNAVAILABLE);
    }
    assert_eq!(useless.heads().len(), 10);
    assert!(asker.identity.is_available());
    assert_eq!(asker.control.counters().callbacks_unavailable.value(), 10);
}

#[test]
fn a_backend_that_is_late_has_failed() {
    let server = ScriptedServer::start(|_| Step::Hang);
    let control = Arc::new(ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap());
    let late = CallbackSettings { callback_ms: 20, failures_max: 1, ..settings(&server) };
    let asker = Asker::on(&control, late);
    assert_eq!(user(asker.judge("ann")), UNAVAILABLE);
    assert!(!asker.identity.is_available());
}

#[test]
fn clients_that_wait_are_answered_when_the_thread_fails_or_ends() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = ScriptedServer::start(move |head| match head.connection {
        0 => Step::Gate(Arc::clone(&held), String::new()),
        _ => admits_all(head),
    });
    let asker = Asker::of(&server);
    assert!(matches!(asker.ask(0, "ann"), Checked::Later));
    server.head();
    asker.control.inject(|| panic!("injected"));
    assert_eq!(user(asker.outcome(0)), UNAVAILABLE);
    // Between two runs it is unavailable at once.
    while asker.control.counters().control_restarts.value() == 0 || !asker.identity.is_available() {
        std::thread::yield_now();
    }
    assert_eq!(user(asker.judge("bob")), "bob");
    let gate_again = Arc::new(Gate::default());
    let held = Arc::clone(&gate_again);
    let slow = ScriptedServer::start(move |_| Step::Gate(Arc::clone(&held), String::new()));
    let asker = {
        let next = Asker::on(&asker.control, settings(&slow));
        drop(asker);
        next
    };
    assert!(matches!(asker.ask(0, "ann"), Checked::Later));
    slow.head();
    let Asker { control, identity, sender, outcomes } = asker;
    Arc::into_inner(control).unwrap().stop();
    assert_eq!(user(outcomes.recv_timeout(PATIENCE).unwrap().1), UNAVAILABLE);
    gate.open();
    gate_again.open();
    drop((identity, sender));
}
