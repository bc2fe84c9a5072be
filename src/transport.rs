//! The seam between the event loop and the kernel: in production mio's epoll, in tests a fake
//! kernel that is driven by a seed.
//!
//! Readiness is edge-triggered on both sides. An event means "look again", nothing more: it may be
//! spurious, and it may be about a socket that is gone. The rules that the loop relies on:
//!
//! - new bytes, an end of input, or new room after a write that fell short each give an event;
//! - [`Poller::register`] and [`Poller::reregister`] give an event if the socket is ready already;
//! - a listener gives an event for a new connection in its queue, but none for those left in it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

/// What happened to a socket, a listener or the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The token it was registered with.
    pub token: u64,
    /// Bytes, connections or mail may be there; also set when the socket has failed, so that the
    /// next read shows the error.
    pub readable: bool,
    /// Room may be there; also set when the socket has failed.
    pub writable: bool,
    /// The peer has ended its half: read until that shows.
    pub read_closed: bool,
}

/// Why no connection came out of a listener's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The queue is empty; an event will tell of the next connection.
    Empty,
    /// The process or the system has no descriptor or memory left. The connection stays queued.
    Exhausted,
    /// This one connection failed, or a signal came in between; there may be others.
    Failed,
}

/// A connected stream.
pub trait Transport {
    /// Reads what is there; `Ok(0)` is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, anything else when the connection has failed.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads what is there into `first` and, when that is full, on into `rest`.
    ///
    /// # Errors
    /// As [`Transport::read`].
    fn read_both(&mut self, first: &mut [u8], rest: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of the slices as fits. All output goes through this one function.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits, anything else when the connection has failed.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// As [`Transport::write`], for bytes that [`Transport::shutdown_write`] follows at once, so that
    /// both may go in one packet.
    ///
    /// # Errors
    /// As [`Transport::write`].
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&[IoSlice::new(bytes)])
    }

    /// Ends our half after what was written.
    ///
    /// # Errors
    /// When the connection has failed.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// The kernel, as one event loop sees it.
pub trait Poller {
    /// Its streams.
    type Socket: Transport;

    /// Waits for events, at most for `timeout`, and appends them to `events`. May return early.
    ///
    /// # Errors
    /// Only what no retry would mend.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()>;

    /// How many listeners there are.
    fn listener_count(&self) -> usize;

    /// Takes a connection from a listener's queue, with the address of its peer.
    ///
    /// # Errors
    /// Why there is none, by what to do about it.
    fn accept(&mut self, listener: usize) -> Result<(Self::Socket, SocketAddr), AcceptError>;

    /// Stops listening: connections still in the queues are reset, newcomers are refused.
    fn close_listeners(&mut self);

    /// Begins to report a socket's readability under `token`.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    fn register(&mut self, socket: &mut Self::Socket, token: u64) -> io::Result<()>;

    /// Reports a socket's room for writing as well.
    ///
    /// # Errors
    /// When the kernel has no room for it.
    fn reregister(&mut self, socket: &mut Self::Socket, token: u64) -> io::Result<()>;

    /// Takes or gives up the reserve descriptor, whose only use is to be there when descriptors
    /// run out. Gives whether it is held now.
    fn hold_reserve(&mut self, hold: bool) -> bool;
}
