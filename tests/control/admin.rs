//! The admin listener on a control thread that fails, over a gateway that is made up.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tidegate::admission::AddressUse;
use tidegate::control::admin::{
    AdminListener, AdminSettings, DrainOrder, DrainStatus, Gateway, Readiness, ReloadReport,
    VersionInfo,
};
use tidegate::control::api::Publisher;
use tidegate::control::engine::SharedEngine;
use tidegate::control::node_calls::AskNodes;
use tidegate::control::{ControlRole, ControlThread, InheritedSocket, ListenPlace};
use tidegate::inspect::{Query, RoomSlice};
use tidegate::mail::{NoReply, Reply};
use tidegate::metrics::{ControlCounters, Family};
use tidegate::upstream::{ServerReport, UpstreamReport};

use crate::wait::{TIMEOUT, until};

/// A gateway with two loops, of which one may hang.
#[derive(Debug, Default)]
pub(crate) struct MadeUp {
    /// What it shares with others.
    engine: Option<Arc<SharedEngine>>,
    hangs: AtomicBool,
    /// Replies that a hanging loop owes.
    owed: Mutex<Vec<Reply<()>>>,
    is_full: AtomicBool,
}

impl MadeUp {
    /// One that shares an engine with others.
    pub(crate) fn sharing(engine: &Arc<SharedEngine>) -> Self {
        Self { engine: Some(Arc::clone(engine)), ..Self::default() }
    }
}

impl Gateway for MadeUp {
    fn loop_count(&self) -> usize {
        2
    }

    fn query(&self, _: usize, query: Query) -> Result<(), NoReply> {
        let Query::Rooms { reply } = query else { return Err(NoReply::Busy) };
        reply.send(RoomSlice::default());
        Ok(())
    }

    fn nodes(&self) -> Option<Arc<dyn AskNodes>> {
        self.engine.clone().map(|own| own as _)
    }

    fn poke(&self, loop_index: usize, reply: Reply<()>) -> Result<(), NoReply> {
        if loop_index == 1 && self.hangs.load(Ordering::Relaxed) {
            self.owed.lock().unwrap().push(reply);
        } else {
            reply.send(());
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<Family> {
        Vec::new()
    }

    fn readiness(&self) -> Readiness {
        let reasons = if self.is_full.load(Ordering::Relaxed) { vec!["full"] } else { vec![] };
        Readiness { reasons, away: vec!["users".to_owned()] }
    }

    fn drain(&self, _: DrainOrder) {}

    fn cancel_drain(&self) -> bool {
        false
    }

    fn drain_status(&self) -> DrainStatus {
        DrainStatus::default()
    }

    fn reload(&self, _: bool) -> Result<ReloadReport, String> {
        panic!("a reload that panics")
    }

    fn heaviest_addresses(&self, _: usize) -> Vec<AddressUse> {
        Vec::new()
    }

    fn upstreams(&self) -> Vec<UpstreamReport> {
        Vec::new()
    }

    fn set_server_drained(&self, _: &str, _: &str, _: bool) -> Option<ServerReport> {
        None
    }

    fn log_level(&self) -> String {
        "info".to_owned()
    }

    fn set_log_level(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn configuration(&self) -> String {
        String::new()
    }

    fn certificates(&self) -> Vec<String> {
        Vec::new()
    }

    fn routes(&self) -> Vec<String> {
        Vec::new()
    }

    fn version(&self) -> VersionInfo {
        VersionInfo { version: "0", features: Vec::new(), pid: 1, uptime_ms: 0 }
    }
}

/// An admin listener over it.
pub(crate) struct Admin {
    gateway: Arc<MadeUp>,
    counters: Arc<ControlCounters>,
    address: SocketAddr,
    thread: ControlThread,
    _listener: Arc<AdminListener>,
}

impl Admin {
    fn start() -> Self {
        Self::start_over(MadeUp::default())
    }

    pub(crate) fn start_over(gateway: MadeUp) -> Self {
        let (gateway, counters) = (Arc::new(gateway), Arc::default());
        let settings = AdminSettings {
            place: ListenPlace::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            tokens: vec!["token".to_owned()],
            metrics_tokens: Vec::new(),
        };
        let as_gateway: Arc<dyn Gateway> = Arc::<MadeUp>::clone(&gateway);
        let listener = Arc::new(
            AdminListener::bind(
                settings,
                as_gateway,
                Arc::new(Publisher::default()),
                InheritedSocket::default(),
            )
            .unwrap(),
        );
        let place = listener.place();
        let address = place.strip_prefix("http://").unwrap().trim_end_matches('/').parse().unwrap();
        let thread = ControlThread::start(ControlRole::Admin, &counters).unwrap();
        thread.serve_admin(&listener);
        Self { gateway, counters, address, thread, _listener: listener }
    }

    /// The status and the body of the reply; `None` if there is none.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

#[test]
fn a_thread_that_fails_is_back_and_listens_on() {
    let admin = Admin::start();
    assert_eq!(admin.ask("GET", "/healthz").unwrap().0, 200);
    admin.thread.inject(|| panic!("on purpose"));
    until("the thread is started again", || {
        (admin.counters.control_restarts.value() == 1).then_some(())
    });
    let answer = until("it answers", || admin.ask("GET", "/healthz"));
    assert_eq!(answer.0, 200);
}

#[test]
fn a_request_that_panics_ends_only_itself() {
    let admin = Admin::start();
    assert_eq!(admin.ask("POST", "/api/v1/reload").unwrap().0, 503);
    assert_eq!(admin.ask("GET", "/readyz").unwrap().0, 200);
    assert_eq!(admin.counters.control_restarts.value(), 0);
}

#[test]
fn a_loop_that_owes_an_answer_is_poked_once_and_counts_as_stuck() {
    let admin = Arc::new(Admin::start());
    admin.gateway.hangs.store(true, Ordering::Relaxed);
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let admin = Arc::clone(&admin);
            std::thread::spawn(move || admin.ask("GET", "/healthz").unwrap())
        })
        .collect();
    for answer in asking {
        let (status, body) = answer.join().unwrap();
        assert_eq!((status, &*body), (503, "{\"status\":\"stuck\",\"stuck_loops\":[1]}"));
    }
    assert_eq!(admin.gateway.owed.lock().unwrap().len(), 1);
    // It answers at last, and is asked anew.
    admin.gateway.owed.lock().unwrap().pop().unwrap().send(());
    admin.gateway.hangs.store(false, Ordering::Relaxed);
    assert_eq!(admin.ask("GET", "/healthz").unwrap().0, 200);
}

#[test]
fn what_is_away_without_counting_leaves_the_gateway_ready() {
    let admin = Admin::start();
    let (status, body) = admin.ask("GET", "/readyz").unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("\"away\":[\"users\"]"), "{body}");
    admin.gateway.is_full.store(true, Ordering::Relaxed);
    let (status, body) = admin.ask("GET", "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("\"reasons\":[\"full\"]"), "{body}");
}

#[test]
fn a_busy_loop_is_said_as_503() {
    let admin = Admin::start();
    assert_eq!(admin.ask("GET", "/api/v1/connections").unwrap().0, 503);
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let admin = Admin::start();
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(admin.address).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        open.push(stream);
    }
    let mut next = TcpStream::connect(admin.address).unwrap();
    next.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    next.set_nonblocking(true).unwrap();
    assert_eq!(next.read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    next.set_nonblocking(false).unwrap();
    open.pop();
    let mut reply = String::new();
    next.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}
