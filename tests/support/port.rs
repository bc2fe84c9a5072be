//! Ports at which nothing listens until a program of the test does.

#![allow(dead_code, reason = "each test program uses a part")]

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// An address of this machine that is kept for the caller until its process ends: at first connections are
/// refused, and a server that sets `SO_REUSEADDR`, as servers do, can listen at it, again and again. No other
/// process is given the port by chance, and no connection has it as its own.
pub(crate) fn reserved_address() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Bound, and never listening.
    mem::forget(socket);
    address
}

/// The port of such an address.
pub(crate) fn reserved_port() -> u16 {
    reserved_address().port()
}
