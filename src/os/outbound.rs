//! Sockets that the gateway connects itself, to servers behind it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::listening::KEEP_ALIVE;
use crate::transport::{ConnectError, ServerAddress};

/// Begins to connect to a server, without waiting, from `local` if that is given. A Unix socket is connected
/// at once.
///
/// # Errors
/// Why no connection is under way.
pub(crate) fn connect(
    server: &ServerAddress,
    local: Option<IpAddr>,
) -> Result<TcpStream, ConnectError> {
    let socket = match server {
        ServerAddress::Tcp(address) => connect_tcp(&(*address).into(), local),
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

fn connect_tcp(address: &SockAddr, local: Option<IpAddr>) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(address.domain(), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES_MAX)?;
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    if let Some(local) = local {
        bind_without_port(&socket)?;
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
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

/// Has bind(2) leave the choice of a port to connect(2) (`IP_BIND_ADDRESS_NO_PORT`, ip(7)), which also for
/// IPv6 is an option of IP. A port that is chosen when the address is bound must be free towards every
/// server; one that is chosen when the server is known may be in use towards others, so that each local
/// address has all its ports for each address of a server.
#[expect(unsafe_code, reason = "neither socket2 nor rustix knows the option")]
fn bind_without_port(socket: &Socket) -> io::Result<()> {
    let is_on: libc::c_int = 1;
    // An `int` is four bytes long.
    const LENGTH: libc::socklen_t = 4;
    // SAFETY: the descriptor is open as long as `socket` lives, and the kernel reads `LENGTH` bytes of an
    // `int` that lives as long as the call (setsockopt(2)).
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const is_on).cast(),
            LENGTH,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn kind(error: &io::Error) -> ConnectError {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => ConnectError::Exhausted,
        // Of connect(2): all ports are in use for this server. Of bind(2): the address is not here.
        Some(Errno::ADDRNOTAVAIL) => ConnectError::NoPort,
        Some(_) | None => ConnectError::Failed,
    }
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
        assert_eq!(connect(&address, None).unwrap_err(), ConnectError::Failed);
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = connect(&address, None).unwrap();
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
        let client = connect(&ServerAddress::Tcp(listener.local_addr().unwrap()), None).unwrap();
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

    #[test]
    fn a_connection_comes_from_the_address_that_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = ServerAddress::Tcp(listener.local_addr().unwrap());
        for text in ["127.0.0.2", "127.0.0.3"] {
            let local: IpAddr = text.parse().unwrap();
            let _client = connect(&server, Some(local)).unwrap();
            assert_eq!(listener.accept().unwrap().1.ip(), local);
        }
        // Kept for documentation (RFC 5737), so that no machine has it.
        let unowned: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(connect(&server, Some(unowned)).unwrap_err(), ConnectError::NoPort);
    }

    /// Without the option two connections from one port to two servers would need the port to be given.
    #[test]
    fn a_bound_address_takes_no_port_before_the_server_is_known() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        bind_without_port(&socket).unwrap();
        socket.bind(&"127.0.0.2:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().port(), 0);
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP));
        // Where there is IPv6.
        if let Ok(socket) = socket {
            bind_without_port(&socket).unwrap();
        }
    }
}
