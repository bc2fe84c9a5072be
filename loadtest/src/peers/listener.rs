//! The listening socket of all peers.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Listens like [`TcpListener::bind`], with a queue as long as the machine allows.
///
/// The standard library and tokio ask for a queue of 128. When more clients than that come at a
/// time, the kernel drops the rest and they try again a second later: what would be measured is
/// that second, in place of the server. Go and tidegate have the long queue by default.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    Ok(socket.into())
}

/// The same for tokio.
pub(super) fn listen_async(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = listen(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Cut down by the kernel to `net.core.somaxconn`.
const ACCEPT_QUEUE: i32 = 4096;
