//! The interface between the event loop and the kernel. In production it is epoll, in tests a fake kernel
//! that is driven by a seed.
//!
//! Readiness is edge-triggered in both. An event only asks the loop to try: it may be spurious, and it may
//! be about a socket that is closed. The loop relies on these rules, and on no others:
//!
//! - new bytes, an end of input, and new room after a write that fell short each give an event;
//! - so after a read that left room in its buffer, or a write that fell short, the loop need not try
//!   again before the next event;
//! - [`Poller::register`] and [`Poller::reregister`] give an event if the socket is ready already;
//! - a listener gives an event for a new connection in its queue, and none for those that are left in it.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What happened to a socket, a listener or the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The token that it was registered with.
    pub token: u64,
    /// Bytes, connections or mail may be there; also set when the socket has failed, so that the
    /// next read shows the error.
    pub readable: bool,
    /// Room may be there; also set when the socket has failed.
    pub writable: bool,
    /// The peer has ended its half. Bytes may still be unread, and no further event announces the end:
    /// the loop reads until it finds it.
    pub read_closed: bool,
    /// The socket has failed: nothing can be sent, and what is still unread is all that there is.
    pub failed: bool,
}

/// Why no connection came out of a listener's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The queue is empty. The next connection gives an event.
    Empty,
    /// The process or the system has no descriptor or memory left. The connection stays queued and gives
    /// no further event.
    Exhausted,
    /// This one connection failed, or a signal interrupted the call. The queue may hold others.
    Failed,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

impl ServerAddress {
    /// Address and port, of one that has them.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path of a Unix socket.
    #[must_use]
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Why no connection to a server is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The process or the system has no descriptor or memory left. Another server would meet the same.
    Exhausted,
    /// The local address has no source port left for this server, or is none of this machine.
    NoPort,
    /// This server cannot be reached.
    Failed,
}

/// A connected stream.
pub trait Transport {
    /// Reads into `buffer`, which is not empty; `Ok(0)` is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` when there are no bytes, `Interrupted` when a signal came first, any other when the
    /// connection has failed.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`Transport::read`], into `first` and, when that is full, on into `rest`, in one call.
    ///
    /// # Errors
    /// As [`Transport::read`].
    fn read_both(&mut self, first: &mut [u8], rest: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of the slices as the socket has room for, and returns the number of bytes.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, `Interrupted` when a signal came first, any other when the
    /// connection has failed.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// As [`Transport::write`], for bytes that [`Transport::shutdown_write`] follows at once, so that
    /// both can go in one packet.
    ///
    /// # Errors
    /// As [`Transport::write`].
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&[IoSlice::new(bytes)])
    }

    /// Ends the gateway's half, behind what was written.
    ///
    /// # Errors
    /// When the connection has failed.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// The address of the peer (getpeername(2)); `None` once the connection has failed.
    fn peer_address(&self) -> Option<SocketAddr>;
}

/// The kernel, as one event loop sees it.
pub trait Poller {
    /// The connected streams.
    type Socket: Transport;

    /// What it accepts connections from, on its way from another thread.
    type Listener: fmt::Debug + Send + 'static;

    /// Waits for events, at most for `timeout`, and appends them to `events`. With `None` it waits until
    /// there is one. It may return early, and without events.
    ///
    /// # Errors
    /// Only those that a retry would not mend.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Readiness>) -> io::Result<()>;

    /// One more than the largest number of a listener. The token of each is its number, from 0.
    fn listener_count(&self) -> usize;

    /// Begins to watch a listener under a number that no other has.
    ///
    /// # Errors
    /// When the kernel has no memory for it. The listener is closed then.
    fn open_listener(&mut self, number: usize, listener: Self::Listener) -> io::Result<()>;

    /// Closes one listener, if there is one with this number. The kernel resets the connections in its
    /// queue, and refuses new ones.
    fn close_listener(&mut self, number: usize);

    /// Has the kernel probe the peers of connections that will be accepted from a listener, or not.
    fn set_keep_alive(&mut self, listener: usize, is_on: bool) {
        let _ = (listener, is_on);
    }

    /// Takes a connection from the queue of the listener with this number, with the address of its peer.
    ///
    /// # Errors
    /// Why there is none. Each reason asks for something else: to wait for an event, to pause, or to
    /// try the next.
    fn accept(&mut self, listener: usize) -> Result<(Self::Socket, SocketAddr), AcceptError>;

    /// Closes the listeners. The kernel resets the connections in their queues, and refuses new ones,
    /// unless another process holds the same sockets: the queues are then left to it.
    fn close_listeners(&mut self);

    /// The listeners' sockets once more, each with the number of its listener, for a process that is to
    /// take them over. Their queues live as long as one of all is open.
    ///
    /// # Errors
    /// When descriptors run out.
    fn share_listeners(&self) -> io::Result<Vec<(usize, TcpListener)>> {
        Ok(Vec::new())
    }

    /// Begins to connect to a server, without waiting. Once it is [watched](Poller::watch_outbound), an
    /// event comes when the connection stands or has failed: writes give `WouldBlock` before, and an
    /// error that is not `WouldBlock` or `Interrupted` if it has failed. `local` is the address that it
    /// comes from, of the same family; `None` leaves that to the kernel.
    ///
    /// # Errors
    /// Why no connection is under way.
    fn connect(
        &mut self,
        server: &ServerAddress,
        local: Option<IpAddr>,
    ) -> Result<Self::Socket, ConnectError>;

    /// Begins to report under `token` when a socket from [`Poller::connect`] can be written or read.
    ///
    /// # Errors
    /// When the kernel has no memory for it. The socket then gives no events.
    fn watch_outbound(&mut self, socket: &mut Self::Socket, token: u64) -> io::Result<()>;

    /// Has the kernel probe the peer of a connection from now on.
    fn probe_peer(&mut self, socket: &mut Self::Socket) {
        let _ = socket;
    }

    /// Begins to report under `token` when a socket can be read.
    ///
    /// # Errors
    /// When the kernel has no memory for it. The socket then gives no events.
    fn register(&mut self, socket: &mut Self::Socket, token: u64) -> io::Result<()>;

    /// Reports from now on also when a socket has room for writing. Call it after a write that fell short.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    fn reregister(&mut self, socket: &mut Self::Socket, token: u64) -> io::Result<()>;

    /// Opens or closes the reserve descriptor, which is kept for the time when descriptors run out.
    /// Returns whether it is open now.
    fn hold_reserve(&mut self, hold: bool) -> bool;

    /// Gives memory that lies free between blocks in use back to the system, where there may be much.
    fn return_memory(&mut self) {}
}
