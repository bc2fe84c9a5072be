//! A backend that takes connections and never answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// The kernel takes the connections, and what is sent on them stays where it is.
#[derive(Debug)]
pub(super) struct SilentBackend {
    listening: Socket,
}

impl SilentBackend {
    pub(super) fn start() -> io::Result<Self> {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listening.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listening.listen(CONNECTIONS_MAX)?;
        Ok(Self { listening })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        let address = self.listening.local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Connections that wait to be accepted, the usual limit (`net.core.somaxconn`, listen(2)). Those that the
/// gateway gives up count on: at 64 at once and 2 s for each, they are enough for two minutes.
const CONNECTIONS_MAX: i32 = 4096;
