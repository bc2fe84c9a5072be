//! Fixed work for `scripts/count-instructions`: a whole event loop on a poller that costs next to
//! nothing, so that what is counted is the gateway's own.
//!
//! `instructions SCENARIO UNITS` does so many units of it. Counting two runs that differ in units
//! alone leaves out the start.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidegate::conn::{ConnSettings, Connections};
use tidegate::metrics::LoopMetrics;
use tidegate::pool::{Lease, SharedBudget};
use tidegate::reactor::{
    AcceptError, Entrance, EventLoop, ListenerSettings, LoopLinks, LoopSettings, Mailbox, Poller,
    Readiness, Transport,
};
use tidegate::services::{
    Broadcast, Echo, Handler, LoopSite, Order, Route, RouteOptions, Router, Service,
};
use tidegate::timer::{Clock, Millis};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo passes `--bench` when it runs the file by itself.
    let mut arguments = std::env::args().skip(1).filter(|own| !own.starts_with("--"));
    let Some(scenario) = arguments.next() else { return Ok(()) };
    let units: usize = arguments.next().unwrap_or_default().parse()?;
    let mut bench = Bench::new();
    match scenario.as_str() {
        "echo-1" => bench.echo(100, units, 1, 128)?,
        "echo-16" => bench.echo(100, units, 16, 128)?,
        "echo-64k" => bench.echo(16, units, 1, 65_536)?,
        "fanout" => bench.fanout(1_000, units, 1)?,
        "burst-16" => bench.fanout(1_000, units, 16)?,
        "handshake" => bench.handshakes(units)?,
        _ => return Err(format!("no scenario {scenario}").into()),
    }
    Ok(())
}

/// An event loop and the far ends of its connections.
struct Bench {
    event_loop: EventLoop<FarEnd, FixedClock>,
    wires: Rc<RefCell<Wires>>,
}

impl Bench {
    fn new() -> Self {
        let wires = Rc::new(RefCell::new(Wires::default()));
        let poller = FarEnd { wires: Rc::clone(&wires) };
        let (metrics, site) = (LoopMetrics::default(), LoopSite { index: 0, count: 1 });
        let router = Router::new(&routes(), site);
        let settings = ConnSettings::default();
        let (pool, wake) = (SharedBudget::new(1 << 30), Arc::new(|| ()));
        let connections = Connections::new(
            site,
            settings,
            router,
            Arc::clone(&metrics.counters),
            pool,
            Millis(1),
        );
        let links = LoopLinks {
            commands: Arc::new(Mailbox::new(1, wake.clone())),
            letters: Arc::new(Mailbox::new(1, wake)),
            incoming: Vec::new(),
            outgoing: vec![None],
        };
        let budget = Lease::new(SharedBudget::new(1 << 20), 0);
        let event_loop = EventLoop::new(
            poller,
            FixedClock,
            settings_of_loop(),
            connections,
            metrics,
            links,
            budget,
        );
        Self { event_loop, wires }
    }

    /// Opens so many connections on `path`.
    fn open(&mut self, count: usize, path: &str) -> io::Result<Vec<Rc<Wire>>> {
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
            self.say(&wire, &request)?;
            opened.push(wire);
        }
        Ok(opened)
    }

    fn say(&mut self, wire: &Wire, bytes: &Rc<[u8]>) -> io::Result<()> {
        *wire.arrived.borrow_mut() = Some(Rc::clone(bytes));
        wire.read.set(0);
        self.wires.borrow_mut().announce(wire.token.get());
        self.event_loop.turn(None)?;
        Ok(())
    }

    /// Every unit is a read on one connection, with `in_flight` messages in it.
    fn echo(
        &mut self,
        connections: usize,
        units: usize,
        in_flight: usize,
        bytes: usize,
    ) -> io::Result<()> {
        let wires = self.open(connections, "/echo")?;
        let input: Rc<[u8]> = client_frame(&vec![b'x'; bytes]).repeat(in_flight).into();
        for unit in 0..units {
            self.say(&wires[unit % wires.len()], &input)?;
        }
        Ok(())
    }

    /// Every unit is so many publications at once, to all.
    fn fanout(&mut self, subscribers: usize, units: usize, burst: usize) -> io::Result<()> {
        let wires = self.open(subscribers, "/broadcast")?;
        let input: Rc<[u8]> = client_frame(&[b'x'; 128]).repeat(burst).into();
        for unit in 0..units {
            self.say(&wires[unit % wires.len()], &input)?;
        }
        Ok(())
    }

    /// Every unit is a connection that is accepted, upgraded, echoed to and closed.
    fn handshakes(&mut self, units: usize) -> io::Result<()> {
        let input: Rc<[u8]> = client_frame(&[b'x'; 128]).into();
        let close: Rc<[u8]> = vec![0x88, 0x80, 0, 0, 0, 0].into();
        for _ in 0..units {
            for wire in self.open(1, "/echo")? {
                self.say(&wire, &input)?;
                wire.has_ended.set(true);
                self.say(&wire, &close)?;
            }
        }
        Ok(())
    }
}

fn routes() -> Vec<Route> {
    let socket = |path: &str, make: fn() -> Box<dyn Service>| {
        Route::new(path, Handler::Socket(Arc::new(move |_| make()), RouteOptions::default()))
    };
    vec![
        socket("/echo", || Box::new(Echo)),
        socket("/broadcast", || Box::new(Broadcast::new(Order::Topic))),
    ]
}

fn settings_of_loop() -> LoopSettings {
    LoopSettings {
        listeners: ListenerSettings {
            entrances: vec![Entrance::Http],
            accepts_per_turn: 64,
            refusals_max: 64,
            accept_pause_ms: 50,
        },
        mail_per_turn: 1024,
        timers_per_turn: 1024,
        flushes_per_turn: 1024,
        reaps_per_turn: 256,
        outbox_letters_max: 4096,
    }
}

/// A masked binary frame.
fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x82];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Everything between the loop and its clients.
#[derive(Default)]
struct Wires {
    queue: Vec<Rc<Wire>>,
    ready: Vec<u64>,
}

impl Wires {
    fn announce(&mut self, token: u64) {
        self.ready.push(token);
    }
}

/// One connection.
#[derive(Default)]
struct Wire {
    token: Cell<u64>,
    arrived: RefCell<Option<Rc<[u8]>>>,
    read: Cell<usize>,
    has_ended: Cell<bool>,
}

/// The loop's end of a wire.
struct Socket(Rc<Wire>);

/// The poller: one listener, and whatever was announced.
struct FarEnd {
    wires: Rc<RefCell<Wires>>,
}

impl Poller for FarEnd {
    type Socket = Socket;

    fn wait(&mut self, _: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()> {
        let readiness = |token| Readiness { token, readable: true, ..Readiness::default() };
        events.extend(self.wires.borrow_mut().ready.drain(..).map(readiness));
        Ok(())
    }

    fn listener_count(&self) -> usize {
        1
    }

    fn accept(&mut self, _: usize) -> Result<Socket, AcceptError> {
        self.wires.borrow_mut().queue.pop().map(Socket).ok_or(AcceptError::Empty)
    }

    fn close_listeners(&mut self) {}

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

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn peer_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }
}

/// Time stands still.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Millis {
        Millis(1)
    }
}
