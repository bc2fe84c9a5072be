//! Sockets that the gateway connects itself, to servers behind it.

use std::io;
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::listening::KEEP_ALIVE;
use crate::transport::{ConnectError, ServerAddress};

/// Begins to connect to a server, without waiting. A Unix socket is connected at once.
///
/// # Errors
/// Why no connection is under way.
pub(crate) fn connect(server: &ServerAddress) -> Result<TcpStream, ConnectError> {
    let socket = match server {
        ServerAddress::Tcp(address) => connect_tcp(&(*address).into()),
        ServerAddress::Unix(path) => SockAddr::unix(path).and_then(|address| {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            // With its queue full this gives EAGAIN, and no event for room in it (connect(2)).
            socket.connect(&address)?;
            Ok(socket)
        }),
    };
    // What holds it is a type for TCP, of which only the descriptor is used.
    socket.map(|socket| TcpStream::from(OwnedFd::from(socket))).map_err(|error| kind(&error))
}

fn connect_tcp(address: &SockAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(address.domain(), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES_MAX)?;
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    match socket.connect(address) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// Has the kernel probe the peer of an accepted connection, when its listener says.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn probe(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).set_keepalive(true)
}

fn kind(error: &io::Error) -> ConnectError {
    let is_exhausted = Errno::from_io_error(error).is_some_and(|number| {
        matches!(
            number,
            // The last is that of a source port: all are in use for this server (connect(2)).
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL
        )
    });
    if is_exhausted { ConnectError::Exhausted } else { ConnectError::Failed }
}

/// Unsent bytes beyond which a socket takes no more (`TCP_NOTSENT_LOWAT`, tcp(7)): two large messages.
/// Without it the kernel would hold megabytes for a server that does not read.
const NOTSENT_BYTES_MAX: u32 = 128 << 10;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::super::listening::{KeepAlive, ListenOptions, bind_listeners};
    use super::*;

    #[test]
    fn a_unix_socket_carries_bytes_like_one_of_tcp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = ServerAddress::Unix(path.as_path().into());
        assert_eq!(connect(&address).unwrap_err(), ConnectError::Failed);
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = connect(&address).unwrap();
        client.write_all(b"over").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
        assert_eq!(received, "over");
        assert!(client.peer_addr().is_err(), "it has no address");
    }

    #[test]
    fn a_tcp_connection_is_begun_without_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = connect(&ServerAddress::Tcp(listener.local_addr().unwrap())).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
        assert!(client.nodelay().unwrap() && SockRef::from(&client).keepalive().unwrap());
    }

    #[test]
    fn an_accepted_connection_is_probed_when_its_listener_says() {
        let options = ListenOptions {
            accept_backlog: 8,
            no_delay: true,
            notsent_bytes_max: 0,
            send_buffer_bytes: None,
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let listeners = bind_listeners(address, 1, false, &options, KeepAlive::Gateway).unwrap();
        let _client = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let accepted = loop {
            // The listener does not block.
            if let Ok((accepted, _)) = listeners[0].accept() {
                break accepted;
            }
        };
        let socket = SockRef::from(&accepted);
        assert!(!socket.keepalive().unwrap());
        probe(accepted.as_fd()).unwrap();
        let times = (
            socket.tcp_keepalive_time().unwrap(),
            socket.tcp_keepalive_interval().unwrap(),
            socket.tcp_keepalive_retries().unwrap(),
        );
        let seconds = Duration::from_secs;
        assert!(socket.keepalive().unwrap());
        assert_eq!(times, (seconds(60), seconds(15), 4));
    }
}
