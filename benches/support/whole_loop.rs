//! A whole event loop on a poller of negligible cost, so that only the gateway is measured.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidegate::admission::{AddressSettings, SharedAddresses};
use tidegate::channels::{Namespace, Namespaces, Who};
use tidegate::conn::{ConnSettings, Connections};
use tidegate::mail::{MailLimits, Wake, mesh};
use tidegate::metrics::LoopMetrics;
use tidegate::pool::SharedBudget;
use tidegate::reactor::{
    ConnectionPermits, EventLoop, ListenerProtocol, ListenerSettings, LoopSettings,
    OverloadSettings,
};
use tidegate::services::channels::{Channels, ChannelsSettings, ChannelsTimes};
use tidegate::services::{
    Broadcast, Echo, Handler, LoopSite, Order, Route, RouteOptions, Router, Service,
};
use tidegate::timer::{Clock, Millis, WallTime};
use tidegate::transport::{AcceptError, ConnectError, Poller, Readiness, ServerAddress, Transport};

/// An event loop and the clients' ends of its connections.
pub(crate) struct WholeLoop {
    event_loop: EventLoop<FarEnd, FixedClock>,
    wires: Rc<RefCell<Wires>>,
}

impl WholeLoop {
    /// A loop with `/echo` and `/broadcast` and no connections.
    pub(crate) fn new() -> Self {
        Self::with_routes(&routes(), None)
    }

    /// As [`WholeLoop::new`]; connections are counted by their addresses.
    pub(crate) fn with_addresses(addresses: AddressSettings) -> Self {
        Self::with_routes(&routes(), Some(addresses))
    }

    /// As [`WholeLoop::new`], with `/channels` as well.
    pub(crate) fn with_channels() -> Self {
        let mut routes = routes();
        routes.push(socket("/channels", |site| Box::new(Channels::new(channels(), site))));
        Self::with_routes(&routes, None)
    }

    fn with_routes(routes: &[Route], addresses: Option<AddressSettings>) -> Self {
        let wires = Rc::new(RefCell::new(Wires::default()));
        let poller = FarEnd { wires: Rc::clone(&wires) };
        let (metrics, site) = (LoopMetrics::default(), LoopSite { index: 0, count: 1 });
        let mut router = Router::new(routes, site);
        router.count_in(&metrics.routes);
        let mut settings = ConnSettings::default();
        let counts_addresses = addresses.is_some();
        settings.addresses = addresses.unwrap_or_default();
        let (pool, wake) = (SharedBudget::new(1 << 30), Arc::new(|| ()) as Wake);
        let mut connections = Connections::new(
            site,
            Arc::new(settings),
            router,
            Arc::clone(&metrics.counters),
            pool,
            Millis(1),
        );
        if counts_addresses {
            connections.count_addresses(SharedAddresses::default());
        }
        let permits =
            ConnectionPermits::for_loops(&SharedBudget::new(1 << 20), &[Wake::clone(&wake)])
                .remove(0);
        let mailboxes = mesh(&[wake], MAIL_LIMITS).remove(0);
        let event_loop = EventLoop::new(
            poller,
            FixedClock,
            settings_of_loop(),
            connections,
            metrics,
            mailboxes,
            permits,
        );
        Self { event_loop, wires }
    }

    /// Opens `count` connections on `path`.
    pub(crate) fn open(&mut self, count: usize, path: &str) -> io::Result<Vec<Rc<Wire>>> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://bench.example\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let request: Rc<[u8]> = request.into_bytes().into();
        let mut opened = Vec::new();
        for _ in 0..count {
            let wire = Rc::new(Wire::default());
            self.wires.borrow_mut().queue.push(Rc::clone(&wire));
            self.wires.borrow_mut().announce(0);
            self.event_loop.turn(None)?;
            self.deliver(&wire, &request)?;
            opened.push(wire);
        }
        Ok(opened)
    }

    /// Delivers bytes on a connection and runs a turn of the loop.
    pub(crate) fn deliver(&mut self, wire: &Wire, bytes: &Rc<[u8]>) -> io::Result<()> {
        *wire.arrived.borrow_mut() = Some(Rc::clone(bytes));
        wire.read.set(0);
        self.wires.borrow_mut().announce(wire.token.get());
        self.event_loop.turn(None)?;
        Ok(())
    }

    /// Runs turns until `bytes` bytes have been written since the last call, on all connections.
    pub(crate) fn turn_until_written(&mut self, bytes: usize) -> io::Result<()> {
        while self.wires.borrow().written < bytes {
            self.event_loop.turn(Some(Duration::ZERO))?;
        }
        self.wires.borrow_mut().written = 0;
        Ok(())
    }
}

/// No route that only some scenarios need: a service with a clock of its own is asked in each turn.
fn routes() -> Vec<Route> {
    vec![
        socket("/echo", |_| Box::new(Echo)),
        socket("/broadcast", |_| Box::new(Broadcast::new(Order::Topic))),
    ]
}

fn socket(path: &str, make: fn(LoopSite) -> Box<dyn Service>) -> Route {
    Route::new(path, Handler::Socket(Arc::new(make), RouteOptions::default()))
}

/// Channels with a history for all, without pings: no time passes here.
fn channels() -> ChannelsSettings {
    let all = Who { clients: true, anonymous: true, subscribers: true };
    let namespace = Namespace {
        history_size: 100,
        history_ttl_ms: 3_600_000,
        force_recovery: true,
        subscribe: all,
        publish: all,
        ..Namespace::new("")
    };
    ChannelsSettings {
        namespaces: Namespaces::new([namespace]),
        allow_anonymous: true,
        times: ChannelsTimes { ping_ms: 0, ..ChannelsTimes::default() },
        ..ChannelsSettings::default()
    }
}

fn settings_of_loop() -> LoopSettings {
    LoopSettings {
        listeners: ListenerSettings {
            protocols: vec![Some(ListenerProtocol::Http)],
            headers: Vec::new(),
            labels: Vec::new(),
            accepts_per_turn: 64,
            refusals_max: 64,
            accept_pause_ms: 50,
            overload: OverloadSettings::default(),
        },
        mail_per_turn: 1024,
        timers_per_turn: 1024,
        flushes_per_turn: 1024,
        reaps_per_turn: 256,
        outbox: MAIL_LIMITS,
    }
}

/// Where clients are: at an address that is not private.
const CLIENT: Ipv4Addr = Ipv4Addr::new(52, 0, 0, 1);
const MAIL_LIMITS: MailLimits = MailLimits { items_max: 4096, bytes_max: 1 << 20 };

/// The state between the loop and its clients.
#[derive(Default)]
struct Wires {
    queue: Vec<Rc<Wire>>,
    ready: Vec<u64>,
    /// Bytes written to all connections.
    written: usize,
}

impl Wires {
    fn announce(&mut self, token: u64) {
        self.ready.push(token);
    }
}

/// One connection.
#[derive(Default)]
pub(crate) struct Wire {
    token: Cell<u64>,
    arrived: RefCell<Option<Rc<[u8]>>>,
    read: Cell<usize>,
    /// Whether the client has ended its half of the connection.
    pub(crate) has_ended: Cell<bool>,
}

/// The loop's end of a wire.
struct Socket(Rc<Wire>, Rc<RefCell<Wires>>);

/// The poller: one listener, and the readiness that was announced.
struct FarEnd {
    wires: Rc<RefCell<Wires>>,
}

impl Poller for FarEnd {
    type Socket = Socket;
    type Listener = ();

    fn wait(&mut self, _: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()> {
        let readiness = |token| Readiness { token, readable: true, ..Readiness::default() };
        events.extend(self.wires.borrow_mut().ready.drain(..).map(readiness));
        Ok(())
    }

    fn listener_count(&self) -> usize {
        1
    }

    fn accept(&mut self, _: usize) -> Result<(Socket, SocketAddr), AcceptError> {
        let wire = self.wires.borrow_mut().queue.pop().ok_or(AcceptError::Empty)?;
        let address = SocketAddr::from((CLIENT, 1));
        Ok((Socket(wire, Rc::clone(&self.wires)), address))
    }

    fn open_listener(&mut self, _: usize, (): ()) -> io::Result<()> {
        Ok(())
    }

    fn close_listener(&mut self, _: usize) {}

    fn close_listeners(&mut self) {}

    fn connect(&mut self, _: &ServerAddress, _: Option<IpAddr>) -> Result<Socket, ConnectError> {
        Err(ConnectError::Failed)
    }

    fn watch_outbound(&mut self, socket: &mut Socket, token: u64) -> io::Result<()> {
        self.register(socket, token)
    }

    fn register(&mut self, socket: &mut Socket, token: u64) -> io::Result<()> {
        socket.0.token.set(token);
        Ok(())
    }

    fn reregister(&mut self, _: &mut Socket, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hold_reserve(&mut self, hold: bool) -> bool {
        hold
    }
}

impl Transport for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let arrived = self.0.arrived.borrow();
        let rest = arrived.as_deref().and_then(|bytes| bytes.get(self.0.read.get()..));
        match rest {
            Some(rest) if !rest.is_empty() => {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.0.read.set(self.0.read.get() + count);
                Ok(count)
            }
            _ if self.0.has_ended.get() => Ok(0),
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn read_both(&mut self, first: &mut [u8], rest: &mut [u8]) -> io::Result<usize> {
        let count = self.read(first)?;
        Ok(if count == first.len() { count + self.read(rest).unwrap_or(0) } else { count })
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = slices.iter().map(|slice| slice.len()).sum();
        self.1.borrow_mut().written += written;
        Ok(written)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        None
    }
}

/// A clock that does not advance.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Millis {
        Millis(1)
    }

    fn wall_now(&self) -> WallTime {
        WallTime(1)
    }
}
