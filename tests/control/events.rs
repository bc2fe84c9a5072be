//! A control thread that fails while backends are told of connections: nothing of them is left behind, and
//! nothing is forgotten.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use tidegate::control::{
    ControlRole, ControlThread, EventBackendSettings, EventBackends, new_event_requests,
};
use tidegate::events::{ConversationLimits, EventHead};
use tidegate::http::{ClientFacts, ForwardRules, parse_head};
use tidegate::services::{EventAnswer, EventBackend as _, EventOpening, Peer, ServiceSender};
use tidegate::timer::Millis;
use tidegate::transport::ServerAddress;
use tidegate::upstream::{ServerSet, Upstream, UpstreamSettings};

use crate::lookup_client::{peer, service_sender};
use crate::wait::{NEVER_MS, TIMEOUT, until};

const PEER: u32 = 3;

/// A backend that the test answers for, and what is told of a route's connections by a thread.
struct Told {
    backend: TcpListener,
    events: Arc<EventBackends>,
    answers: Receiver<EventAnswer>,
    answer_to: ServiceSender,
    control: ControlThread,
}

impl Told {
    fn start() -> Self {
        let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        backend.set_nonblocking(true).unwrap();
        let control = ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap();
        let server = (ServerAddress::Tcp(backend.local_addr().unwrap()), 1);
        let servers = ServerSet::new(UpstreamSettings::default(), [server], None);
        let events = control.event_backend(EventBackendSettings {
            route: "/ws".into(),
            upstream: Upstream::new("app", servers),
            requests_max: 10,
            all_requests: new_event_requests(10),
            gateway_style: None,
            grip: None,
            reply_bytes_max: 1000,
            failures_max: 100,
            limits: ConversationLimits {
                waiting_bytes_max: 1000,
                waiting_messages_max: 10,
                meta_bytes_max: 1000,
            },
        });
        let (sender, answers) = mpsc::channel();
        Self { backend, events, answers, answer_to: service_sender(sender), control }
    }

    /// A client that waits for its admission.
    fn opening(&self) -> EventOpening {
        let head = parse_head(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (rules, client) = (ForwardRules::default(), ClientFacts::default());
        let head = EventHead::new(&head, b"/ws", &rules, &client);
        EventOpening { peer: own(), head, answer_to: self.answer_to.clone(), now: Millis(0) }
    }

    /// The request that is under way, with its event.
    fn request(&self, event: &[u8]) -> TcpStream {
        let (mut stream, _) = until("a request comes", || self.backend.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(event) {
            let mut some = [0; 1000];
            let count = stream.read(&mut some).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&some[..count]);
        }
        stream
    }

    fn answer_request(&self, event: &str, answer: &str) {
        let mut stream = self.request(event.as_bytes());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/websocket-events\r\n";
        let length = answer.len();
        write!(stream, "{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{answer}")
            .unwrap();
    }

    fn let_in(&self) {
        self.answer_request("OPEN\r\n", "OPEN\r\n");
        let answer = self.answer(|answer| answer.decision.is_some());
        assert!(answer.decision.unwrap().is_ok());
    }

    /// The next answer that is looked for.
    fn answer(&self, is_it: impl Fn(&EventAnswer) -> bool) -> EventAnswer {
        loop {
            let answer = self.answers.recv_timeout(TIMEOUT).expect("an answer comes");
            assert_eq!(answer.peer, own());
            if is_it(&answer) {
                return answer;
            }
        }
    }

    fn fail(&self) {
        self.control.inject(|| panic!("injected by a test"));
    }
}

fn own() -> Peer {
    peer(PEER)
}

#[test]
fn a_client_about_whom_a_backend_was_asked_is_refused_and_nothing_of_it_is_left() {
    let told = Told::start();
    let opening = told.opening();
    let charged = opening.head.held_bytes();
    told.events.open(opening);
    let _unanswered = told.request(b"OPEN\r\n");
    told.fail();
    // It may have let the client in, so the end is told as well.
    told.answer_request("DISCONNECT\r\n", "");
    until("nothing is held", || (!told.events.has_connections()).then_some(()));
    let answers: Vec<EventAnswer> = told.answers.try_iter().collect();
    let decisions: Vec<_> = answers.iter().filter_map(|own| own.decision.as_ref()).collect();
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].as_ref().err().map(|own| own.status().code()), Some(503));
    let charged = charged + answers.iter().map(|own| own.charged_bytes).sum::<usize>();
    assert_eq!(answers.iter().map(|own| own.released_bytes).sum::<usize>(), charged);
}

#[test]
fn a_client_whose_request_had_not_begun_is_asked_about_by_the_next_run() {
    let told = Told::start();
    let ((begun, has_begun), (go, goes)) = (mpsc::channel(), mpsc::channel::<()>());
    told.control.inject(move || {
        begun.send(()).unwrap();
        goes.recv().unwrap();
        panic!("injected by a test");
    });
    has_begun.recv().unwrap();
    // The run ends before it comes to the task that asks: it looks whether it has failed after 61 others
    // (`event_interval` of tokio's builder).
    for _ in 0..1000 {
        told.control.inject(|| ());
    }
    told.events.open(told.opening());
    go.send(()).unwrap();
    told.let_in();
}

#[test]
fn what_its_service_is_to_be_reminded_of_outlives_a_run() {
    let told = Told::start();
    told.events.open(told.opening());
    told.let_in();
    told.events.remind(own(), NEVER_MS, Millis(0));
    // The clock of the loops is there; the task that waits has measured the time by another.
    told.events.part_done(own(), Millis(NEVER_MS));
    told.fail();
    told.answer(|answer| answer.is_reminder);
}
