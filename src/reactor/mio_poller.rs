//! The production poller: epoll through mio.
//!
//! mio is always edge-triggered on Linux. Its advice to read until `WouldBlock` covers every
//! platform; the loop instead relies on what epoll does (see [`Poller`]), which saves a system
//! call per message.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::{readv, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::event_loop::MAILBOX_TOKEN;
use crate::mail::Wake;
use crate::os::{ReserveDescriptor, is_about_one_connection, send_before_end};
use crate::transport::{AcceptError, Poller, Readiness, Transport};

/// One loop's epoll instance with its listeners.
#[derive(Debug)]
pub struct MioPoller {
    poll: Poll,
    events: Events,
    listeners: Vec<TcpListener>,
    reserve: Option<ReserveDescriptor>,
}

impl MioPoller {
    /// A poller that watches these listeners, and what wakes it from other threads.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance or does not watch a listener.
    pub fn new(listeners: Vec<std::net::TcpListener>) -> io::Result<(Self, Wake)> {
        let poll = Poll::new()?;
        let mut listeners: Vec<TcpListener> =
            listeners.into_iter().map(TcpListener::from_std).collect();
        for (number, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(number), Interest::READABLE)?;
        }
        let waker = Arc::new(Waker::new(poll.registry(), token(MAILBOX_TOKEN))?);
        let wake: Wake = Arc::new(move || {
            if let Err(error) = waker.wake() {
                log::error!("an event loop cannot be woken: {error}");
            }
        });
        let events = Events::with_capacity(EVENTS_PER_WAIT);
        Ok((Self { poll, events, listeners, reserve: None }, wake))
    }
}

impl Poller for MioPoller {
    type Socket = TcpStream;

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal: the turn goes on with what is known.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        events.extend(self.events.iter().map(|event| {
            let failed = event.is_error();
            Readiness {
                token: event.token().0 as u64,
                readable: event.is_readable() || failed,
                writable: event.is_writable() || failed,
                read_closed: event.is_read_closed() || failed,
            }
        }));
        Ok(())
    }

    fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> Result<(TcpStream, SocketAddr), AcceptError> {
        let Some(listener) = self.listeners.get(listener) else { return Err(AcceptError::Empty) };
        match listener.accept() {
            Ok(accepted) => Ok(accepted),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(AcceptError::Empty),
            Err(error) if is_about_one_connection(&error) => Err(AcceptError::Failed),
            // Descriptors, memory, or something unheard of: trying again at once would not help.
            Err(_) => Err(AcceptError::Exhausted),
        }
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    fn register(&mut self, socket: &mut TcpStream, token_number: u64) -> io::Result<()> {
        self.poll.registry().register(socket, token(token_number), Interest::READABLE)
    }

    fn reregister(&mut self, socket: &mut TcpStream, token_number: u64) -> io::Result<()> {
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
}

/// The calls are made by rustix, which leaves the C library out: in a process with threads it marks
/// each of them as a place where a thread may be cancelled.
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
}

/// Tokens are 64 bits wide, as is `usize` where the gateway is built (see `lib.rs`).
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
fn token(number: u64) -> Token {
    Token(number as usize)
}

const EVENTS_PER_WAIT: usize = 256;
