//! The listening socket of all peers.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Listens like [`TcpListener::bind`], with the longest accept queue that the machine allows.
///
/// The standard library and tokio ask for a queue of 128. If more clients connect at a time, the
/// kernel drops the rest, and they try again after a second: the measurement would show that second
/// in place of the server. Go and tidegate have the long queue by default.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    Ok(socket.into())
}

/// Listens for a tokio server, in the same way.
pub(super) fn listen_async(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = listen(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// The kernel limits it to `net.core.somaxconn`.
const ACCEPT_QUEUE: i32 = 4096;
