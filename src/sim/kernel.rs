//! The state of the fake kernel, which the network, the clients and the pollers share.

use std::cell::{RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use super::random::Random;
use crate::transport::ServerAddress;

/// Faults that the kernel injects, in percent of the calls concerned. Each is one that Linux allows,
/// so the rules of [`crate::transport`] hold with all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Calls that are interrupted by a signal.
    pub interrupted: u32,
    /// Events for sockets to which nothing happened.
    pub spurious: u32,
    /// Waits that return only some of the events, in any order.
    pub partial_waits: u32,
    /// Writes that take less than there is room for.
    pub short_writes: u32,
    /// Closed sockets of which one more event is reported, perhaps when their slot is taken again.
    pub stale: u32,
    /// Registrations for which there is no memory.
    pub failed_registrations: u32,
}

/// A handle on the state. All handles of a network share one state, on one thread.
#[derive(Clone, Debug)]
pub(super) struct Kernel(Rc<RefCell<State>>);

/// Everything in the kernel.
#[derive(Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) faults: Faults,
    /// By the id that a client and a socket share. Streams are never removed, so an id stays valid.
    pub(super) streams: Vec<Stream>,
    pub(super) loops: Vec<LoopState>,
    pub(super) backends: HashMap<ServerAddress, Backend>,
    pub(super) descriptors: usize,
    pub(super) descriptors_max: usize,
    /// Bytes that may be under way to one client.
    pub(super) send_buffer_bytes: usize,
    /// Waits that returned at least one event, to find loops that spin.
    pub(super) waits: u64,
}

/// One connection, both ends.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) to_server: VecDeque<u8>,
    pub(super) client_ended: bool,
    pub(super) client_reset: bool,
    pub(super) to_client: VecDeque<u8>,
    pub(super) server_ended: bool,
    pub(super) server_reset: bool,
    /// The server has dropped its socket.
    pub(super) server_closed: bool,
    /// A write filled the send buffer, and no event has announced room since.
    pub(super) wants_room: bool,
    pub(super) registration: Option<Registration>,
    /// The address of its client, where the test has chosen one.
    pub(super) address: Option<SocketAddr>,
    /// Of one that the server makes: it does not stand yet.
    pub(super) connecting: Option<Connecting>,
}

/// How a connection goes on that does not stand yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connecting {
    /// It stands with its next event.
    Soon,
    /// Nothing comes of it, and nothing tells so.
    Never,
}

/// A server behind the gateway.
#[derive(Debug, Default)]
pub(super) struct Backend {
    pub(super) on_connect: OnConnect,
    /// Streams waiting to be accepted.
    pub(super) queue: VecDeque<usize>,
}

/// What a backend does when the gateway connects to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConnect {
    /// The connection stands.
    #[default]
    Accepts,
    /// It fails at once, as that to a Unix socket without listener.
    FailsAtOnce,
    /// There is no source port left for it.
    HasNoPort,
    /// Nothing answers.
    Hangs,
    /// It is refused by the peer's kernel.
    Refuses,
}

/// The events of a stream that a loop has asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) loop_index: usize,
    pub(super) token: u64,
    pub(super) writable: bool,
}

/// The epoll instance and the listeners of one loop.
#[derive(Debug, Default)]
pub(super) struct LoopState {
    /// Streams with an event to report, in order.
    pub(super) ready: VecDeque<usize>,
    /// Tokens of closed sockets for which one more event is reported.
    pub(super) stale: Vec<u64>,
    pub(super) listeners: Vec<ListenerState>,
    pub(super) mail_ready: bool,
    pub(super) has_reserve: bool,
    /// The next wait ends without events, whatever is ready.
    pub(super) is_wait_interrupted: bool,
}

/// A listener's queue.
#[derive(Debug, Default)]
pub(super) struct ListenerState {
    /// Streams waiting to be accepted.
    pub(super) queue: VecDeque<usize>,
    pub(super) is_ready: bool,
    /// Whether it is closed, or was never opened.
    pub(super) is_closed: bool,
}

impl Kernel {
    /// A kernel without streams and loops. Its faults follow from `seed`.
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: Random::new(seed),
            faults,
            streams: Vec::new(),
            loops: Vec::new(),
            backends: HashMap::new(),
            descriptors: 0,
            descriptors_max: usize::MAX,
            send_buffer_bytes: 64 << 10,
            waits: 0,
        })))
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

impl State {
    /// Puts a stream on its loop's ready list, as a kernel does at an edge.
    pub(super) fn edge(&mut self, id: usize) {
        let Some(registration) = self.streams[id].registration else { return };
        let ready = &mut self.loops[registration.loop_index].ready;
        // epoll(7) merges the events of a socket that are not fetched yet.
        if !ready.contains(&id) {
            ready.push_back(id);
        }
    }

    /// Closes a listener: as on Linux, the connections that it has not accepted are reset.
    pub(super) fn close_listener(&mut self, loop_index: usize, listener: usize) {
        let Some(own) = self.loops[loop_index].listeners.get_mut(listener) else { return };
        own.is_closed = true;
        own.is_ready = false;
        for id in std::mem::take(&mut own.queue) {
            let stream = &mut self.streams[id];
            stream.server_reset = true;
            stream.server_closed = true;
        }
    }

    /// Bytes that fit on the way to the client.
    pub(super) fn room(&self, id: usize) -> usize {
        self.send_buffer_bytes.saturating_sub(self.streams[id].to_client.len())
    }

    /// Whether the next call is interrupted by a signal.
    pub(super) fn is_interrupted(&mut self) -> bool {
        let percent = self.faults.interrupted;
        self.random.percent(percent)
    }
}
