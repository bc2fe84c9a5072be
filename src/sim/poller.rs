//! The server's end: a poller and its sockets, as the event loop uses them.

use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::kernel::{Connecting, Kernel, ListenerState, OnConnect, Registration, State, Stream};
use crate::key::ConnKey;
use crate::reactor::MAILBOX_TOKEN;
use crate::transport::{AcceptError, ConnectError, Poller, Readiness, ServerAddress, Transport};
use crate::work::{meter, prices};

/// One loop's poller on a fake network.
#[derive(Debug)]
pub struct SimPoller {
    kernel: Kernel,
    loop_index: usize,
}

/// A listener of a fake network, before a loop has it.
#[derive(Clone, Copy, Debug)]
pub struct SimListener;

/// A server's socket on a fake network.
#[derive(Debug)]
pub struct SimSocket {
    kernel: Kernel,
    id: usize,
}

impl SimPoller {
    pub(super) fn new(kernel: Kernel, loop_index: usize) -> Self {
        Self { kernel, loop_index }
    }
}

impl Poller for SimPoller {
    type Socket = SimSocket;
    type Listener = SimListener;

    /// Never waits: the test moves the clock.
    fn wait(&mut self, _: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()> {
        let state = &mut *self.kernel.state();
        if std::mem::take(&mut state.loops[self.loop_index].is_wait_interrupted) {
            return Ok(());
        }
        let before = events.len();
        let own = &mut state.loops[self.loop_index];
        for (index, listener) in (0..).zip(&mut own.listeners) {
            if std::mem::take(&mut listener.is_ready) {
                let generation = ConnKey::NOT_A_CONNECTION;
                let token = ConnKey { index, generation }.to_token();
                events.push(Readiness { token, readable: true, ..Default::default() });
            }
        }
        if std::mem::take(&mut own.mail_ready) {
            events.push(Readiness { token: MAILBOX_TOKEN, readable: true, ..Default::default() });
        }
        // An event is taken off the list when it is reported: edge-triggered, so it does not come
        // again while the socket merely stays ready.
        let mut ready = std::mem::take(&mut own.ready);
        if state.random.percent(state.faults.partial_waits) && ready.len() > 1 {
            let turn = state.random.below(ready.len());
            ready.rotate_left(turn);
            let kept = 1 + state.random.below(ready.len() - 1);
            state.loops[self.loop_index].ready = ready.split_off(kept);
        }
        for id in ready {
            match state.streams[id].connecting {
                Some(Connecting::Never) => continue,
                Some(Connecting::Soon) => state.streams[id].connecting = None,
                None => {}
            }
            let room = state.room(id);
            let stream = &state.streams[id];
            let Some(registration) = stream.registration else { continue };
            let ended = stream.client_ended || stream.client_reset;
            let readable = !stream.to_server.is_empty() || ended;
            let writable = registration.writable && (room > 0 || stream.client_reset);
            if readable || writable {
                let token = registration.token;
                let failed = stream.client_reset;
                events.push(Readiness { token, readable, writable, read_closed: ended, failed });
            }
        }
        // These events carry tokens of closed sockets. The connection that has the slot now must
        // ignore them, which its generation tells apart.
        for token in state.loops[self.loop_index].stale.drain(..) {
            let (readable, writable, read_closed, failed) = (true, true, true, true);
            events.push(Readiness { token, readable, writable, read_closed, failed });
        }
        if state.random.percent(state.faults.spurious) && !state.streams.is_empty() {
            let id = state.random.below(state.streams.len());
            if let Some(registration) = state.streams[id].registration
                && registration.loop_index == self.loop_index
            {
                let token = registration.token;
                let writable = registration.writable;
                let (readable, read_closed, failed) = (true, false, false);
                events.push(Readiness { token, readable, writable, read_closed, failed });
            }
        }
        if events.len() > before {
            state.waits += 1;
        }
        Ok(())
    }

    fn listener_count(&self) -> usize {
        self.kernel.state().loops[self.loop_index].listeners.len()
    }

    fn open_listener(&mut self, number: usize, _: SimListener) -> io::Result<()> {
        let mut state = self.kernel.state();
        let percent = state.faults.failed_registrations;
        if state.random.percent(percent) {
            return Err(ErrorKind::OutOfMemory.into());
        }
        let listeners = &mut state.loops[self.loop_index].listeners;
        let closed = || ListenerState { is_closed: true, ..ListenerState::default() };
        listeners.resize_with(listeners.len().max(number + 1), closed);
        listeners[number].is_closed = false;
        Ok(())
    }

    fn close_listener(&mut self, number: usize) {
        self.kernel.state().close_listener(self.loop_index, number);
    }

    fn accept(&mut self, listener: usize) -> Result<(SimSocket, SocketAddr), AcceptError> {
        let mut state = self.kernel.state();
        if state.is_interrupted() {
            return Err(AcceptError::Failed);
        }
        let own = state.loops[self.loop_index].listeners.get(listener);
        if own.is_none_or(|own| own.queue.is_empty()) {
            return Err(AcceptError::Empty);
        }
        // accept4(2) fails with EMFILE before it takes the connection off the queue.
        if state.descriptors >= state.descriptors_max {
            return Err(AcceptError::Exhausted);
        }
        let own = &mut state.loops[self.loop_index].listeners[listener];
        let Some(id) = own.queue.pop_front() else { return Err(AcceptError::Empty) };
        state.descriptors += 1;
        meter::spend(prices::ACCEPT);
        let address = state.address_of(id);
        Ok((SimSocket { kernel: self.kernel.clone(), id }, address))
    }

    fn connect(
        &mut self,
        server: &ServerAddress,
        local: Option<IpAddr>,
    ) -> Result<SimSocket, ConnectError> {
        let state = &mut *self.kernel.state();
        if state.descriptors >= state.descriptors_max {
            return Err(ConnectError::Exhausted);
        }
        let id = state.streams.len();
        let address = local.map(|own| SocketAddr::new(own, PORT));
        let mut stream = Stream { address, ..Stream::default() };
        let backend = state.backends.get_mut(server);
        match backend.as_ref().map_or(OnConnect::Refuses, |own| own.on_connect) {
            OnConnect::Accepts => stream.connecting = Some(Connecting::Soon),
            OnConnect::FailsAtOnce => return Err(ConnectError::Failed),
            OnConnect::HasNoPort => return Err(ConnectError::NoPort),
            OnConnect::Hangs => stream.connecting = Some(Connecting::Never),
            OnConnect::Refuses => stream.client_reset = true,
        }
        if let Some(backend) = backend
            && stream.connecting == Some(Connecting::Soon)
        {
            backend.queue.push_back(id);
        }
        state.streams.push(stream);
        state.descriptors += 1;
        meter::spend(prices::CONNECT);
        Ok(SimSocket { kernel: self.kernel.clone(), id })
    }

    fn watch_outbound(&mut self, socket: &mut SimSocket, token: u64) -> io::Result<()> {
        let mut state = self.kernel.state();
        let percent = state.faults.failed_registrations;
        if state.random.percent(percent) {
            return Err(ErrorKind::OutOfMemory.into());
        }
        let registration = Registration { loop_index: self.loop_index, token, writable: true };
        state.streams[socket.id].registration = Some(registration);
        // Once it stands or has failed there is an event.
        state.edge(socket.id);
        Ok(())
    }

    fn close_listeners(&mut self) {
        let mut state = self.kernel.state();
        for listener in 0..state.loops[self.loop_index].listeners.len() {
            state.close_listener(self.loop_index, listener);
        }
    }

    fn register(&mut self, socket: &mut SimSocket, token: u64) -> io::Result<()> {
        let mut state = self.kernel.state();
        let percent = state.faults.failed_registrations;
        if state.random.percent(percent) {
            return Err(ErrorKind::OutOfMemory.into());
        }
        let registration = Registration { loop_index: self.loop_index, token, writable: false };
        state.streams[socket.id].registration = Some(registration);
        // EPOLL_CTL_ADD reports a socket that is ready already, and gives no event otherwise.
        let stream = &state.streams[socket.id];
        if !stream.to_server.is_empty() || stream.client_ended || stream.client_reset {
            state.edge(socket.id);
        }
        Ok(())
    }

    fn reregister(&mut self, socket: &mut SimSocket, token: u64) -> io::Result<()> {
        let mut state = self.kernel.state();
        let registration = Registration { loop_index: self.loop_index, token, writable: true };
        state.streams[socket.id].registration = Some(registration);
        // EPOLL_CTL_MOD looks at the socket again; `wait` drops the edge if it is not ready.
        state.edge(socket.id);
        Ok(())
    }

    fn hold_reserve(&mut self, hold: bool) -> bool {
        let mut state = self.kernel.state();
        let held = state.loops[self.loop_index].has_reserve;
        if hold && !held && state.descriptors < state.descriptors_max {
            state.descriptors += 1;
            state.loops[self.loop_index].has_reserve = true;
        } else if !hold && held {
            state.descriptors -= 1;
            state.loops[self.loop_index].has_reserve = false;
        }
        state.loops[self.loop_index].has_reserve
    }
}

impl Transport for SimSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.kernel.state();
        if state.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        let stream = &mut state.streams[self.id];
        if stream.connecting.is_some() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if stream.client_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        meter::spend(prices::READ + prices::bytes(buffer.len().min(stream.to_server.len())));
        let count = buffer.len().min(stream.to_server.len());
        if count == 0 {
            return if stream.client_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        stream.to_server.read_exact(&mut buffer[..count])?;
        Ok(count)
    }

    fn read_both(&mut self, first: &mut [u8], rest: &mut [u8]) -> io::Result<usize> {
        let count = self.read(first)?;
        if count < first.len() || self.kernel.state().streams[self.id].to_server.is_empty() {
            return Ok(count);
        }
        // Both are one call, which is interrupted at its beginning or not at all.
        let stream = &mut self.kernel.state().streams[self.id];
        let more = rest.len().min(stream.to_server.len());
        stream.to_server.read_exact(&mut rest[..more])?;
        Ok(count + more)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.kernel.state();
        if state.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        if state.streams[self.id].connecting.is_some() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if state.streams[self.id].client_reset || state.streams[self.id].server_ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut room = state.room(self.id);
        let percent = state.faults.short_writes;
        if room > 1 && state.random.percent(percent) {
            room = 1 + state.random.below(room);
        }
        let count = offered.min(room);
        meter::spend(prices::WRITE + prices::bytes(count));
        let mut left = count;
        for slice in slices {
            let taken = left.min(slice.len());
            state.streams[self.id].to_client.extend(&slice[..taken]);
            left -= taken;
        }
        if count < offered {
            let is_full = state.room(self.id) == 0;
            state.streams[self.id].wants_room = is_full;
            if !is_full {
                // The injected fault left room, so the kernel announces it.
                state.edge(self.id);
            }
        }
        if count == 0 && offered > 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut state = self.kernel.state();
        let stream = &mut state.streams[self.id];
        if stream.client_reset {
            return Err(ErrorKind::NotConnected.into());
        }
        stream.server_ended = true;
        Ok(())
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        meter::spend(prices::ADDRESS);
        let state = self.kernel.state();
        (!state.streams[self.id].client_reset).then(|| state.address_of(self.id))
    }
}

impl State {
    /// The address of the client of a stream.
    fn address_of(&self, id: usize) -> SocketAddr {
        self.streams[id].address.unwrap_or_else(|| {
            let port = u16::try_from(id % 65_536).unwrap_or(0);
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        })
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        meter::spend(prices::CLOSE);
        let state = &mut *self.kernel.state();
        state.descriptors -= 1;
        let stream = &mut state.streams[self.id];
        if let Some(Registration { loop_index, token, .. }) = stream.registration.take()
            && state.random.percent(state.faults.stale)
        {
            state.loops[loop_index].stale.push(token);
        }
        stream.server_closed = true;
        if stream.to_server.is_empty() {
            stream.server_ended = true;
        } else {
            // Linux answers unread input with a reset, and what was under way is lost.
            stream.server_reset = true;
            stream.to_client.clear();
        }
    }
}

/// The source port of connections whose address is configured.
const PORT: u16 = 40_000;
