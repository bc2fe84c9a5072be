//! Starts a TCP connection, from a given source address if there is one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Starts to connect. The socket becomes writable when it is connected or has failed.
pub(super) fn start(
    target: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    let domain = Domain::for_address(target);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Without it, Nagle's algorithm delays small frames, and the load measures that.
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer_bytes {
        // Before `connect`, because the handshake of TCP agrees on the scale of the window.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        // Leaves the choice of the port to `connect`, which knows the target and so finds more free
        // ones. Without it, a bind takes a port that is free for all targets. An error means a
        // kernel before 4.2.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(&SocketAddrV4::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}
