//! The poller in production: epoll(7), through mio.
//!
//! mio is always edge-triggered on Linux. It advises to read until `WouldBlock`, which is right for every
//! platform. The loop relies on the narrower rules of epoll (see [`crate::transport`]): a read that fell
//! short has emptied the socket, so the read that would return `WouldBlock` is left out. That saves a
//! system call for each message.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::{readv, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::event_loop::MAILBOX_TOKEN;
use crate::mail::Wake;
use crate::os::{
    ReserveDescriptor, connect, is_about_one_connection, probe, return_scattered_memory,
    send_before_end, set_keep_alive,
};
use crate::transport::{AcceptError, ConnectError, Poller, Readiness, ServerAddress, Transport};

/// The sockets of one listener: one as a rule, and more where those of another process with more loops
/// were taken over, as each has an accept queue of its own.
#[derive(Debug, Default)]
struct Sockets {
    sockets: Vec<TcpListener>,
    /// The socket whose turn it is, so that a long queue of one delays no other.
    next: usize,
}

/// One loop's epoll instance with its listeners.
#[derive(Debug)]
pub struct MioPoller {
    poll: Poll,
    events: Events,
    /// By number.
    listeners: Vec<Option<Sockets>>,
    reserve: Option<ReserveDescriptor>,
}

impl MioPoller {
    /// A poller that watches these listeners, each by its sockets, which must be non-blocking, and the
    /// function that wakes it from other threads.
    ///
    /// # Errors
    /// Those of epoll_create1(2), epoll_ctl(2) and eventfd(2).
    pub fn new(listeners: Vec<Vec<std::net::TcpListener>>) -> io::Result<(Self, Wake)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), token(MAILBOX_TOKEN))?);
        let wake: Wake = Arc::new(move || {
            if let Err(error) = waker.wake() {
                log::error!("an event loop cannot be woken: {error}");
            }
        });
        let events = Events::with_capacity(EVENTS_PER_WAIT);
        // Held from the start, if it can be: the descriptors of a process that says where it listens are
        // then as many as they stay. The acceptor tries again if not.
        let reserve = ReserveDescriptor::open().ok();
        let mut own = Self { poll, events, listeners: Vec::new(), reserve };
        for (number, sockets) in listeners.into_iter().enumerate() {
            for socket in sockets {
                own.open_listener(number, socket)?;
            }
        }
        Ok((own, wake))
    }
}

impl Sockets {
    fn accept(&mut self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        for _ in 0..self.sockets.len() {
            let Some(socket) = self.sockets.get(self.next) else { break };
            let accepted = socket.accept();
            self.next = if self.next + 1 < self.sockets.len() { self.next + 1 } else { 0 };
            match accepted {
                Ok(accepted) => return Ok(accepted),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is_about_one_connection(&error) => return Err(AcceptError::Failed),
                // EMFILE, ENFILE, ENOBUFS, ENOMEM, or an error that accept4(2) does not list. The queue
                // is as it was, so trying again at once would fail again.
                Err(_) => return Err(AcceptError::Exhausted),
            }
        }
        Err(AcceptError::Empty)
    }
}

impl Poller for MioPoller {
    type Socket = TcpStream;
    type Listener = std::net::TcpListener;

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal. The turn goes on without events; they stay queued in the kernel.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        events.extend(self.events.iter().map(|event| {
            // EPOLLERR comes without EPOLLIN. It is reported as readable and writable, so that the next
            // read or write returns the error to the code that ends the connection.
            let failed = event.is_error();
            Readiness {
                token: event.token().0 as u64,
                readable: event.is_readable() || failed,
                writable: event.is_writable() || failed,
                read_closed: event.is_read_closed() || failed,
                failed,
            }
        }));
        Ok(())
    }

    fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    fn open_listener(&mut self, number: usize, listener: Self::Listener) -> io::Result<()> {
        let mut listener = TcpListener::from_std(listener);
        self.poll.registry().register(&mut listener, Token(number), Interest::READABLE)?;
        if number >= self.listeners.len() {
            self.listeners.resize_with(number + 1, || None);
        }
        self.listeners[number].get_or_insert_default().sockets.push(listener);
        Ok(())
    }

    fn close_listener(&mut self, number: usize) {
        let listener = self.listeners.get_mut(number).and_then(Option::take);
        for mut socket in listener.into_iter().flat_map(|own| own.sockets) {
            // Closing a descriptor removes the socket from the epoll instance only if no other process
            // holds it (epoll(7)); its events would go on coming here otherwise.
            let _ = self.poll.registry().deregister(&mut socket);
        }
    }

    fn set_keep_alive(&mut self, listener: usize, is_on: bool) {
        let Some(Some(listener)) = self.listeners.get(listener) else { return };
        for socket in &listener.sockets {
            if let Err(error) = set_keep_alive(socket.as_fd(), is_on) {
                log::warn!("a listener keeps what it had of TCP keep-alive: {error}");
            }
        }
    }

    fn accept(&mut self, listener: usize) -> Result<(TcpStream, SocketAddr), AcceptError> {
        match self.listeners.get_mut(listener) {
            Some(Some(listener)) => listener.accept(),
            Some(None) | None => Err(AcceptError::Empty),
        }
    }

    fn close_listeners(&mut self) {
        for number in 0..self.listeners.len() {
            self.close_listener(number);
        }
    }

    fn share_listeners(&self) -> io::Result<Vec<(usize, std::net::TcpListener)>> {
        let numbered = self.listeners.iter().enumerate();
        let all = numbered.flat_map(|(number, own)| {
            own.iter().flat_map(|own| &own.sockets).map(move |own| (number, own))
        });
        all.map(|(number, own)| Ok((number, own.as_fd().try_clone_to_owned()?.into()))).collect()
    }

    fn connect(
        &mut self,
        server: &ServerAddress,
        local: Option<IpAddr>,
    ) -> Result<TcpStream, ConnectError> {
        connect(server, local).map(TcpStream::from_std)
    }

    fn watch_outbound(&mut self, socket: &mut TcpStream, token_number: u64) -> io::Result<()> {
        // What is written first waits for the connection to stand.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket, token(token_number), interest)
    }

    fn probe_peer(&mut self, socket: &mut TcpStream) {
        // Without probes the connection ends when it is next written to.
        if let Err(error) = probe(socket.as_fd()) {
            log::debug!("a relayed connection is not probed: {error}");
        }
    }

    fn register(&mut self, socket: &mut TcpStream, token_number: u64) -> io::Result<()> {
        // Without EPOLLOUT: a new socket is writable, so each would give an event that nothing needs.
        self.poll.registry().register(socket, token(token_number), Interest::READABLE)
    }

    fn reregister(&mut self, socket: &mut TcpStream, token_number: u64) -> io::Result<()> {
        // EPOLLOUT then stays. Edge-triggered, it gives an event only after a write that fell short, and
        // removing it would take a system call. EPOLL_CTL_MOD reports room that came meanwhile.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(socket, token(token_number), interest)
    }

    fn hold_reserve(&mut self, hold: bool) -> bool {
        if !hold {
            self.reserve = None;
        } else if self.reserve.is_none() {
            self.reserve = ReserveDescriptor::open().ok();
        }
        self.reserve.is_some()
    }

    fn return_memory(&mut self) {
        return_scattered_memory();
    }
}

/// The calls go through rustix, which makes the system calls itself. The C library would make each of
/// them a cancellation point (pthreads(7)), at a cost in every call.
impl Transport for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = recv(self, buffer, RecvFlags::empty())?;
        Ok(count)
    }

    fn read_both(&mut self, first: &mut [u8], rest: &mut [u8]) -> io::Result<usize> {
        Ok(readv(self, &mut [IoSliceMut::new(first), IoSliceMut::new(rest)])?)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(match slices {
            // Without MSG_NOSIGNAL a write to a socket that the peer has reset raises SIGPIPE; writev(2)
            // has no flags, and Rust's runtime ignores that signal.
            [slice] => send(self, slice, SendFlags::NOSIGNAL)?,
            slices => writev(self, slices)?,
        })
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send_before_end(self.as_fd(), bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

/// Tokens are 64 bits wide, as is `usize` where the gateway is built (see `lib.rs`).
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
fn token(number: u64) -> Token {
    Token(number as usize)
}

/// The most events of one wait. Those beyond come with the next: epoll_wait(2) goes round the sockets that
/// are ready, so none starves.
const EVENTS_PER_WAIT: usize = 256;
