//! What both sides of the fake kernel share: sockets, listeners, descriptors and time.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

use super::client::SimClient;
use super::clock::SimClock;
use super::poller::SimPoller;
use super::random::Random;

/// How the kernel misbehaves, in percent of the calls concerned. None of it breaks its promises.
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

/// A fake network with its kernel.
#[derive(Clone, Debug)]
pub struct Network {
    state: Rc<RefCell<State>>,
    clock: SimClock,
}

/// Everything in the kernel.
#[derive(Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) streams: Vec<Stream>,
    pub(super) loops: Vec<LoopState>,
    pub(super) descriptors: usize,
    pub(super) descriptors_max: usize,
    /// Room for bytes on their way to a client.
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
    /// A write fell short and no room was announced since.
    pub(super) wants_room: bool,
    pub(super) registration: Option<Registration>,
}

/// What a loop wants to know about a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) loop_index: usize,
    pub(super) token: u64,
    pub(super) writable: bool,
}

/// One loop's side: its epoll set and its listener.
#[derive(Debug, Default)]
pub(super) struct LoopState {
    /// Streams with an event to report, in order.
    pub(super) ready: VecDeque<usize>,
    /// Tokens of closed sockets that one more event will be about.
    pub(super) stale: Vec<u64>,
    pub(super) listeners: Vec<ListenerState>,
    pub(super) listener_closed: bool,
    pub(super) mail_ready: bool,
    pub(super) has_reserve: bool,
}

/// A listener's queue.
#[derive(Debug, Default)]
pub(super) struct ListenerState {
    /// Streams waiting to be accepted.
    pub(super) queue: VecDeque<usize>,
    pub(super) is_ready: bool,
}

impl Network {
    /// An empty network whose misfortunes follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            random: Random::new(seed),
            faults,
            streams: Vec::new(),
            loops: Vec::new(),
            descriptors: 0,
            descriptors_max: usize::MAX,
            send_buffer_bytes: 64 << 10,
            waits: 0,
        };
        Self { state: Rc::new(RefCell::new(state)), clock: SimClock::default() }
    }

    /// The clock of this network.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// A poller for one more loop, with this many listeners.
    #[must_use]
    pub fn poller(&self, listeners: usize) -> SimPoller {
        let mut state = self.state();
        let listeners = (0..listeners).map(|_| ListenerState::default()).collect();
        state.loops.push(LoopState { listeners, ..LoopState::default() });
        SimPoller::new(self.clone(), state.loops.len() - 1)
    }

    /// Connects a client to a listener of a loop; `None` if it does not listen (any more).
    #[must_use]
    pub fn connect(&self, loop_index: usize, listener: usize) -> Option<SimClient> {
        let mut state = self.state();
        if state.loops[loop_index].listener_closed {
            return None;
        }
        state.streams.push(Stream::default());
        let id = state.streams.len() - 1;
        let listener = &mut state.loops[loop_index].listeners[listener];
        listener.queue.push_back(id);
        listener.is_ready = true;
        Some(SimClient::new(self.clone(), id))
    }

    /// Announces mail to a loop, as a waker does.
    pub fn wake(&self, loop_index: usize) {
        self.state().loops[loop_index].mail_ready = true;
    }

    /// Limits the server's descriptors.
    pub fn set_descriptors_max(&self, descriptors_max: usize) {
        self.state().descriptors_max = descriptors_max;
    }

    /// Limits what may be under way to one client.
    pub fn set_send_buffer_bytes(&self, bytes: usize) {
        self.state().send_buffer_bytes = bytes;
    }

    /// From now on the kernel misbehaves like this.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Sockets that the server holds, reserve descriptors included.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.state().descriptors
    }

    /// Waits that returned something.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.state().waits
    }

    /// Whether a loop has events waiting.
    #[must_use]
    pub fn has_events(&self, loop_index: usize) -> bool {
        let state = self.state();
        let own = &state.loops[loop_index];
        !own.ready.is_empty()
            || own.listeners.iter().any(|listener| listener.is_ready)
            || own.mail_ready
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
}

impl State {
    /// Puts a stream on its loop's ready list, as a kernel does at an edge.
    pub(super) fn edge(&mut self, id: usize) {
        let Some(registration) = self.streams[id].registration else { return };
        let ready = &mut self.loops[registration.loop_index].ready;
        if !ready.contains(&id) {
            ready.push_back(id);
        }
    }

    /// Bytes that fit on the way to the client.
    pub(super) fn room(&self, id: usize) -> usize {
        self.send_buffer_bytes.saturating_sub(self.streams[id].to_client.len())
    }

    pub(super) fn is_interrupted(&mut self) -> bool {
        let percent = self.faults.interrupted;
        self.random.percent(percent)
    }
}
