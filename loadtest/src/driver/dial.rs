//! Starts a TCP connection, from a chosen source address if need be.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Starts to connect: the socket becomes writable when the connection stands or has failed.
pub(super) fn start(
    target: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    let domain = Domain::for_address(target);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Small frames must leave at once, or the load measures Nagle's algorithm.
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer_bytes {
        // Before connecting, which is when the window's scale is agreed on.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        // Leaves the port to `connect`, which knows the target and so finds more free ones.
        // Without it, on kernels before 4.2, a bind takes a port that is free for all targets.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(&SocketAddrV4::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}
