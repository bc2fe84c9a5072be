//! A publication to many subscribers: a whole event loop on a kernel that costs next to nothing,
//! so that what is measured is the gateway's own part of a delivery.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod support;

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use support::{BINARY, client_frame, noise};
use tidegate::conn::{ConnSettings, Connections};
use tidegate::metrics::LoopMetrics;
use tidegate::pool::{Lease, SharedBudget};
use tidegate::reactor::{
    AcceptError, Entrance, EventLoop, ListenerSettings, LoopLinks, LoopSettings, Mailbox, Poller,
    Readiness, Transport,
};
use tidegate::services::{Broadcast, Handler, LoopSite, Order, Route, RouteOptions, Router};
use tidegate::timer::{Clock, Millis};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    for (subscribers, burst) in [(100, 1), (1_000, 1), (10_000, 1), (1_000, 16)] {
        let mut crowd = Crowd::new(subscribers);
        let frames = client_frame(BINARY, &noise(128)).repeat(burst);
        let name = format!("{subscribers} subscribers, {burst} at once");
        group.throughput(Throughput::Elements((subscribers * burst) as u64));
        group.bench_function(BenchmarkId::new("deliver", name), |bencher| {
            bencher.iter(|| crowd.publish(&frames, burst));
        });
    }
    group.finish();
}

/// A loop with subscribers, the first of which publishes.
struct Crowd {
    script: Script,
    event_loop: EventLoop<Kernel, StillClock>,
    subscribers: usize,
}

impl Crowd {
    fn new(subscribers: usize) -> Self {
        let script = Script::default();
        script.borrow_mut().to_accept = subscribers;
        let event_loop = event_loop(&script);
        let mut own = Self { script, event_loop, subscribers };
        own.turn_until(|state| state.answered == subscribers);
        own
    }

    fn publish(&mut self, frames: &[u8], burst: usize) {
        let mut state = self.script.borrow_mut();
        state.delivered_bytes = 0;
        let token = state.streams[0].token;
        state.streams[0].input.extend_from_slice(frames);
        state.ready.push(token);
        drop(state);
        let expected_bytes = self.subscribers * burst * DELIVERY_BYTES;
        self.turn_until(|state| state.delivered_bytes == expected_bytes);
    }

    fn turn_until(&mut self, is_done: impl Fn(&State) -> bool) {
        for _ in 0..TURNS_MAX {
            if is_done(&self.script.borrow()) {
                return;
            }
            self.event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        unreachable!("the loop does not come to its end")
    }
}

fn event_loop(script: &Script) -> EventLoop<Kernel, StillClock> {
    let site = LoopSite { index: 0, count: 1 };
    let metrics = LoopMetrics::default();
    let service = Handler::Socket(
        Arc::new(|_| Box::new(Broadcast::new(Order::Topic))),
        RouteOptions::default(),
    );
    let routes = [Route::new("/broadcast", service)];
    let connections = Connections::new(
        site,
        ConnSettings::default(),
        Router::new(&routes, site),
        Arc::clone(&metrics.counters),
        SharedBudget::new(256 << 20),
        StillClock.now(),
    );
    let settings = LoopSettings {
        listeners: ListenerSettings {
            entrances: vec![Entrance::Http],
            accepts_per_turn: 64,
            refusals_max: 16,
            accept_pause_ms: 50,
        },
        mail_per_turn: 256,
        timers_per_turn: 256,
        flushes_per_turn: 256,
        reaps_per_turn: 256,
        outbox_letters_max: 4096,
    };
    let links = LoopLinks {
        commands: Arc::new(Mailbox::new(8, Arc::new(|| {}))),
        letters: Arc::new(Mailbox::new(8, Arc::new(|| {}))),
        incoming: Vec::new(),
        outgoing: vec![None],
    };
    let budget = Lease::new(SharedBudget::new(1 << 20), 0);
    let kernel = Kernel(Rc::clone(script));
    EventLoop::new(kernel, StillClock, settings, connections, metrics, links, budget)
}

/// No deadline ever comes.
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Millis {
        Millis(0)
    }
}

type Script = Rc<RefCell<State>>;

/// What the clients send, and what became of it.
#[derive(Default)]
struct State {
    to_accept: usize,
    streams: Vec<Stream>,
    /// Tokens of the streams that have input.
    ready: Vec<u64>,
    answered: usize,
    delivered_bytes: usize,
}

#[derive(Default)]
struct Stream {
    token: u64,
    input: Vec<u8>,
    is_answered: bool,
}

/// Has room for everything.
struct Kernel(Script);

impl Poller for Kernel {
    type Socket = Socket;

    fn wait(&mut self, _: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()> {
        let readable = |token| Readiness { token, readable: true, ..Readiness::default() };
        events.extend(self.0.borrow_mut().ready.drain(..).map(readable));
        Ok(())
    }

    fn listener_count(&self) -> usize {
        1
    }

    fn accept(&mut self, _: usize) -> Result<Socket, AcceptError> {
        let mut state = self.0.borrow_mut();
        state.to_accept = state.to_accept.checked_sub(1).ok_or(AcceptError::Empty)?;
        state.streams.push(Stream { input: REQUEST.to_vec(), ..Stream::default() });
        Ok(Socket { script: Rc::clone(&self.0), index: state.streams.len() - 1 })
    }

    fn close_listeners(&mut self) {}

    fn register(&mut self, socket: &mut Socket, token: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.streams[socket.index].token = token;
        state.ready.push(token);
        Ok(())
    }

    fn reregister(&mut self, _: &mut Socket, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hold_reserve(&mut self, hold: bool) -> bool {
        hold
    }
}

struct Socket {
    script: Script,
    index: usize,
}

impl Transport for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = &mut self.script.borrow_mut().streams[self.index].input;
        if input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = input.len();
        buffer[..count].copy_from_slice(input);
        input.clear();
        Ok(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        let mut state = self.script.borrow_mut();
        if std::mem::replace(&mut state.streams[self.index].is_answered, true) {
            state.delivered_bytes += bytes;
        } else {
            state.answered += 1;
        }
        Ok(bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn peer_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }
}

const REQUEST: &[u8] = b"GET /broadcast HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Header and payload of what a subscriber gets.
const DELIVERY_BYTES: usize = 4 + 128;
const TURNS_MAX: usize = 100_000;
