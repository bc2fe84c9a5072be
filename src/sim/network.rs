//! A fake network, as a test sees it: clients, descriptors, faults and time.

use std::net::SocketAddr;

use super::client::SimClient;
use super::clock::SimClock;
use super::kernel::{Faults, Kernel, ListenerState, LoopState, OnConnect, Stream};
use super::poller::SimPoller;
use crate::transport::ServerAddress;

/// A fake network with its kernel. Clones share both.
#[derive(Clone, Debug)]
pub struct Network {
    kernel: Kernel,
    clock: SimClock,
}

impl Network {
    /// An empty network whose faults follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { kernel: Kernel::new(seed, faults), clock: SimClock::default() }
    }

    /// The clock of this network.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// A poller for one more loop, with this many listeners.
    #[must_use]
    pub fn poller(&self, listeners: usize) -> SimPoller {
        let mut state = self.kernel.state();
        let listeners = (0..listeners).map(|_| ListenerState::default()).collect();
        state.loops.push(LoopState { listeners, ..LoopState::default() });
        SimPoller::new(self.kernel.clone(), state.loops.len() - 1)
    }

    /// Connects a client to a listener of a loop; `None` if it does not listen (any more).
    #[must_use]
    pub fn connect(&self, loop_index: usize, listener: usize) -> Option<SimClient> {
        self.connect_from(loop_index, listener, None)
    }

    /// As [`Network::connect`], from this address if there is one.
    #[must_use]
    pub fn connect_from(
        &self,
        loop_index: usize,
        listener: usize,
        address: Option<SocketAddr>,
    ) -> Option<SimClient> {
        let mut state = self.kernel.state();
        state.loops[loop_index].listeners.get(listener).filter(|own| !own.is_closed)?;
        state.streams.push(Stream { address, ..Stream::default() });
        let id = state.streams.len() - 1;
        let listener = &mut state.loops[loop_index].listeners[listener];
        listener.queue.push_back(id);
        listener.is_ready = true;
        Some(SimClient::new(self.kernel.clone(), id))
    }

    /// From now on there is a backend at this address, which does this when the gateway connects to it.
    /// At other addresses connections are refused.
    pub fn set_backend(&self, address: &ServerAddress, on_connect: OnConnect) {
        self.kernel.state().backends.entry(address.clone()).or_default().on_connect = on_connect;
    }

    /// The backend's end of the first connection to it that waits to be accepted.
    #[must_use]
    pub fn accept_at(&self, address: &ServerAddress) -> Option<SimClient> {
        let id = self.kernel.state().backends.get_mut(address)?.queue.pop_front()?;
        Some(SimClient::new(self.kernel.clone(), id))
    }

    /// Announces mail to a loop, as a waker does.
    pub fn wake(&self, loop_index: usize) {
        self.kernel.state().loops[loop_index].mail_ready = true;
    }

    /// Limits the server's descriptors.
    pub fn set_descriptors_max(&self, descriptors_max: usize) {
        self.kernel.state().descriptors_max = descriptors_max;
    }

    /// Limits the bytes that may be under way to one client.
    pub fn set_send_buffer_bytes(&self, bytes: usize) {
        self.kernel.state().send_buffer_bytes = bytes;
    }

    /// Has a signal end the next wait of a loop, which then gives no events.
    pub fn interrupt_wait(&self, loop_index: usize) {
        self.kernel.state().loops[loop_index].is_wait_interrupted = true;
    }

    /// Replaces the faults that the kernel injects from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.kernel.state().faults = faults;
    }

    /// Sockets that the server holds, reserve descriptors included.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.kernel.state().descriptors
    }

    /// What is allocated for bytes that the server has sent and no client has received.
    #[must_use]
    pub fn send_buffer_capacity(&self) -> usize {
        self.kernel.state().streams.iter().map(|stream| stream.to_client.capacity()).sum()
    }

    /// Waits that returned at least one event.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.kernel.state().waits
    }

    /// Whether a loop has events waiting.
    #[must_use]
    pub fn has_events(&self, loop_index: usize) -> bool {
        let state = self.kernel.state();
        let own = &state.loops[loop_index];
        !own.ready.is_empty()
            || own.listeners.iter().any(|listener| listener.is_ready)
            || own.mail_ready
    }
}
