//! A server: listeners, one thread per event loop, the mailboxes between them, and their end.

mod built_in;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::config::{Listener, ListenerKind, ResolvedConfig};
use crate::conn::{ConnSettings, Connections};
use crate::mail::{LoopMessage, Mailbox, Wake};
use crate::metrics::LoopMetrics;
use crate::os::{BindError, KeepAlive, SystemClock, bind_listeners, pin_thread};
use crate::pool::{Lease, SharedBudget};
use crate::reactor::{
    EventLoop, ListenerProtocol, ListenerSettings, LoopCommand, LoopMailboxes, LoopSettings,
    MioPoller, Turn,
};
use crate::services::{LoopSite, Route, Router};
use crate::timer::Clock;

pub use built_in::{TokenLookups, built_in_routes};

/// The server could not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no event queue or no thread.
    #[error("cannot start an event loop: {0}")]
    Loop(#[from] io::Error),
    /// Line clients are to join a route that is not served.
    #[error("no WebSocket route has the path {0}, which line clients are to join")]
    Route(String),
}

/// A running server. Dropping it does not stop it: use [`Server::drain`] and [`Server::join`].
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    loops: Vec<RunningLoop>,
}

#[derive(Debug)]
struct RunningLoop {
    thread: JoinHandle<io::Result<()>>,
    /// Set before the notice of its end is given: the thread itself ends a little later.
    has_ended: Arc<AtomicBool>,
    commands: Arc<Mailbox<LoopCommand>>,
    metrics: LoopMetrics,
}

/// How a loop came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopEnd {
    /// By [`Server::drain`].
    Drained,
    /// By an error or a panic, which [`Server::join`] tells.
    Failed,
}

/// A loop ended otherwise than by a drain.
#[derive(Debug, thiserror::Error)]
pub enum LoopFailure {
    /// The event queue failed.
    #[error("an event loop failed: {0}")]
    Poll(#[from] io::Error),
    /// A bug.
    #[error("an event loop panicked")]
    Panic,
}

impl Server {
    /// Binds the listeners and starts the loops, which serve `routes`. `on_loop_end` is called on
    /// a loop's thread when it ends, for whatever reason.
    ///
    /// # Errors
    /// If an address is taken, if line clients are to join a route that is not among `routes`, or
    /// if the system has no resources for the loops.
    pub fn start(
        settings: &ResolvedConfig,
        routes: Vec<Route>,
        on_loop_end: impl Fn(LoopEnd) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let count = settings.loops;
        let protocols =
            settings.listeners.iter().map(|listener| listener_protocol(listener, &routes));
        let protocols = protocols.collect::<Result<Vec<_>, _>>()?;
        let (addresses, listeners) = bind_all(settings)?;
        let pollers = listeners.into_iter().map(MioPoller::new).collect::<io::Result<Vec<_>>>()?;
        let wakes: Vec<Wake> = pollers.iter().map(|(_, wake)| Arc::clone(wake)).collect();
        let mailboxes = mailboxes(&wakes, settings.limits.mailbox_items_max);
        let shared = Shared {
            connections: SharedBudget::new(settings.limits.connections_max),
            pool: SharedBudget::new(settings.limits.pool_bytes_max),
            clock: SystemClock::start(),
            routes,
            protocols,
            on_loop_end: Box::new(on_loop_end),
            settings: settings.clone(),
        };
        let shared = Arc::new(shared);
        let mut loops = Vec::with_capacity(count);
        for (index, ((poller, _), mailboxes)) in pollers.into_iter().zip(mailboxes).enumerate() {
            let commands = Arc::clone(&mailboxes.commands);
            let metrics = LoopMetrics::default();
            let (shared, own_metrics) = (Arc::clone(&shared), metrics.clone());
            let has_ended = Arc::new(AtomicBool::new(false));
            let own_end = Arc::clone(&has_ended);
            let thread = thread::Builder::new().name(format!("loop-{index}")).spawn(move || {
                let notice =
                    EndNotice { shared: &shared, has_ended: &own_end, end: LoopEnd::Failed };
                run_loop(index, notice, poller, own_metrics, mailboxes)
            })?;
            loops.push(RunningLoop { thread, has_ended, commands, metrics });
        }
        Ok(Self { addresses, loops })
    }

    /// The addresses listened on, with the ports that were found for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What each loop counts.
    pub fn metrics(&self) -> impl Iterator<Item = &LoopMetrics> {
        self.loops.iter().map(|own| &own.metrics)
    }

    /// Begins to shut down: newcomers are refused, everyone is told to go within `drain_ms`.
    pub fn drain(&self, drain_ms: u64, is_paced: bool) {
        for own in &self.loops {
            own.commands.send(&mut [LoopCommand::Drain { drain_ms, is_paced }].into());
        }
    }

    /// Waits for the loops whose end was told. While one of several has failed, the others go on.
    ///
    /// # Errors
    /// The first loop that failed.
    pub fn join_ended(self) -> Result<(), LoopFailure> {
        let ended = self.loops.into_iter().filter(|own| own.has_ended.load(Ordering::Acquire));
        join(ended)
    }

    /// Waits until all loops have ended.
    ///
    /// # Errors
    /// The first loop that failed.
    pub fn join(self) -> Result<(), LoopFailure> {
        join(self.loops.into_iter())
    }
}

fn join(loops: impl Iterator<Item = RunningLoop>) -> Result<(), LoopFailure> {
    let mut result = Ok(());
    for own in loops {
        let ended = match own.thread.join() {
            Ok(ended) => ended.map_err(LoopFailure::Poll),
            Err(_) => Err(LoopFailure::Panic),
        };
        result = result.and(ended);
    }
    result
}

/// What all loops are made from.
struct Shared {
    connections: SharedBudget,
    pool: SharedBudget,
    clock: SystemClock,
    routes: Vec<Route>,
    /// What is spoken, by listener.
    protocols: Vec<ListenerProtocol>,
    on_loop_end: Box<dyn Fn(LoopEnd) + Send + Sync>,
    settings: ResolvedConfig,
}

/// Calls back when its thread ends, also by a panic.
struct EndNotice<'s> {
    shared: &'s Shared,
    has_ended: &'s AtomicBool,
    end: LoopEnd,
}

impl Drop for EndNotice<'_> {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        (self.shared.on_loop_end)(self.end);
    }
}

/// Binds every address, for each loop by its own listeners, and gives the addresses with the ports
/// that were found for port 0.
fn bind_all(
    settings: &ResolvedConfig,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), StartError> {
    let ResolvedConfig { loops, share_port, socket, .. } = settings;
    let mut addresses = Vec::new();
    let mut by_loop: Vec<Vec<_>> = (0..*loops).map(|_| Vec::new()).collect();
    for Listener { address, kind, .. } in &settings.listeners {
        let keep_alive = match kind {
            ListenerKind::Http => KeepAlive::Gateway,
            ListenerKind::Line => KeepAlive::Kernel,
        };
        let bound =
            bind_listeners(*address, *loops, *share_port, &socket.listen_options(), keep_alive)?;
        addresses.extend(bound.first().map(TcpListener::local_addr).transpose()?);
        for (own, listener) in by_loop.iter_mut().zip(bound) {
            own.push(listener);
        }
    }
    Ok((addresses, by_loop))
}

/// What the clients of a listener speak, and with whom.
fn listener_protocol(
    listener: &Listener,
    routes: &[Route],
) -> Result<ListenerProtocol, StartError> {
    let path = match listener.kind {
        ListenerKind::Http => return Ok(ListenerProtocol::Http),
        ListenerKind::Line => listener.route.as_deref().unwrap_or_default(),
    };
    let number = Router::number_of(routes, path);
    number.map(ListenerProtocol::Line).ok_or_else(|| StartError::Route(path.to_owned()))
}

fn run_loop(
    index: usize,
    mut notice: EndNotice<'_>,
    poller: MioPoller,
    metrics: LoopMetrics,
    mailboxes: LoopMailboxes,
) -> io::Result<()> {
    let shared = notice.shared;
    let settings = &shared.settings;
    if settings.pin_loops {
        pin_thread(index)?;
    }
    let site = LoopSite {
        index: u16::try_from(index).unwrap_or(u16::MAX),
        count: u16::try_from(settings.loops).unwrap_or(u16::MAX),
    };
    let connections = Connections::new(
        site,
        Arc::new(conn_settings(settings)),
        Router::new(&shared.routes, site),
        Arc::clone(&metrics.counters),
        shared.pool.clone(),
        shared.clock.now(),
    );
    // Without blocks: beside an accept the shared count costs nothing, and places that one loop kept
    // would have another refuse newcomers before the limit is reached.
    let budget = Lease::new(shared.connections.clone(), 0);
    let mut event_loop = EventLoop::new(
        poller,
        shared.clock,
        loop_settings(settings, &shared.protocols),
        connections,
        metrics,
        mailboxes,
        budget,
    );
    while event_loop.turn(None)? == Turn::GoesOn {}
    notice.end = LoopEnd::Drained;
    Ok(())
}

/// One mailbox for each ordered pair of loops, and one for commands to each.
fn mailboxes(wakes: &[Wake], items_max: usize) -> Vec<LoopMailboxes> {
    let mailbox =
        |to: usize| Arc::new(Mailbox::<LoopMessage>::new(items_max, Arc::clone(&wakes[to])));
    let pairs: Vec<Vec<Option<Arc<Mailbox<LoopMessage>>>>> = (0..wakes.len())
        .map(|from| (0..wakes.len()).map(|to| (to != from).then(|| mailbox(to))).collect())
        .collect();
    let incoming = |to: usize| pairs.iter().filter_map(|row| row[to].clone()).collect();
    let with_own = wakes.iter().enumerate().map(|(own, wake)| LoopMailboxes {
        commands: Arc::new(Mailbox::new(COMMANDS_MAX, Arc::clone(wake))),
        messages: Arc::new(Mailbox::new(items_max, Arc::clone(wake))),
        incoming: incoming(own),
        outgoing: pairs[own].clone(),
    });
    with_own.collect()
}

fn conn_settings(settings: &ResolvedConfig) -> ConnSettings {
    let ResolvedConfig { limits, timeouts, turn, .. } = settings;
    ConnSettings {
        head_bytes_max: limits.head_bytes_max,
        half_open_max: limits.half_open_max.div_ceil(settings.loops),
        receive_buffer_bytes: turn.receive_buffer_bytes,
        reads_per_turn: turn.reads_per_turn,
        backlog_high_bytes: limits.backlog_high_bytes,
        backlog_hard_bytes: limits.backlog_hard_bytes,
        handshake_ms: timeouts.handshake_ms,
        refuse_ms: timeouts.refuse_ms,
        ping_idle_ms: timeouts.ping_idle_ms,
        pong_ms: timeouts.pong_ms,
        write_stall_ms: timeouts.write_stall_ms,
        close_ms: timeouts.close_ms,
        pool_idle_ms: timeouts.pool_idle_ms,
        retry_after_s: RETRY_AFTER_S,
    }
}

fn loop_settings(settings: &ResolvedConfig, protocols: &[ListenerProtocol]) -> LoopSettings {
    let ResolvedConfig { limits, timeouts, turn, .. } = settings;
    LoopSettings {
        listeners: ListenerSettings {
            protocols: protocols.to_vec(),
            accepts_per_turn: turn.accepts_per_turn,
            refusals_max: limits.refusals_max.div_ceil(settings.loops),
            accept_pause_ms: timeouts.accept_pause_ms,
        },
        mail_per_turn: turn.mail_per_turn,
        timers_per_turn: TIMERS_PER_TURN,
        flushes_per_turn: turn.flushes_per_turn,
        reaps_per_turn: turn.reaps_per_turn,
        outbox_items_max: limits.mailbox_items_max,
    }
}

const COMMANDS_MAX: usize = 16;
const RETRY_AFTER_S: u32 = 1;
/// Deadlines are cheap to act upon; this bounds a turn after a long stall.
const TIMERS_PER_TURN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, MachineLimits};
    use crate::http::RequestHead;
    use crate::services::{Handler, Page, PageReply};

    struct Faulty;

    impl Page for Faulty {
        fn reply(&mut self, _: &RequestHead<'_>) -> PageReply {
            panic!("a bug");
        }
    }

    #[test]
    fn line_clients_need_a_route_that_is_served() {
        let listener = Listener::line(SocketAddr::from(([127, 0, 0, 1], 0)), "/ws");
        let config = Config { listeners: vec![listener], ..Config::default() };
        let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
        let page = Route::new("/ws", Handler::Page(Arc::new(|| Box::new(Faulty))));
        let error = Server::start(&settings, vec![page], |_| {}).unwrap_err();
        assert!(matches!(error, StartError::Route(path) if path == "/ws"));
    }

    /// Whoever hears of a failed loop must learn of the failure, however long its thread still
    /// takes to end.
    #[test]
    fn a_loop_that_failed_is_found_by_who_was_told() {
        let mut config = Config::default();
        config.listeners[0].address = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
        let handler = Handler::Page(Arc::new(|| Box::new(Faulty)));
        let routes = vec![Route::new("/", handler)];
        let (told, ends) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        let is_done = std::sync::Mutex::new(is_done);
        let server = Server::start(&settings, routes, move |end| {
            told.send(end).unwrap();
            // The thread is held up here; joining it must wait.
            let _ = is_done.lock().unwrap().recv_timeout(Duration::from_millis(100));
        })
        .unwrap();
        let mut client = TcpStream::connect(server.addresses()[0]).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(ends.recv().unwrap(), LoopEnd::Failed);
        assert!(matches!(server.join_ended(), Err(LoopFailure::Panic)));
        drop(done);
    }
}
