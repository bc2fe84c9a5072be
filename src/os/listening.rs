//! Listening sockets: one per loop and address, all on the same port.
//!
//! With `SO_REUSEPORT` (socket(7)) each loop has an accept queue of its own and the kernel spreads
//! connections over them. The option also lets a second process of the same user bind the port and
//! receive half of the connections, without an error in either. So unless the configuration allows
//! sharing, the first socket of an address binds and listens without the option: of processes that
//! start at the same moment the kernel lets one do so. Only then the socket gets the option, for the
//! other loops, and as it stays, no later process can do the same.
//!
//! What is left: a process of the same user that sets `share_port = true` can still join a process
//! that has several loops and does not set it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::display::debug_as_display;

/// An address could not be bound.
#[derive(thiserror::Error)]
pub enum BindError {
    /// Another process listens on the address.
    #[error("{address} is in use by another process (share_port = true would share it)")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The port is reserved (`net.ipv4.ip_unprivileged_port_start`, ip(7)).
    #[error(
        "cannot listen on {address}: permission denied; a port below 1024 needs root, the capability \
         CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep FILE, or AmbientCapabilities in systemd), \
         or a proxy in front of a higher port"
    )]
    Reserved {
        /// The address.
        address: SocketAddr,
    },
    /// Any other error.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

debug_as_display!(BindError);

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { address }
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Reserved { address }
        } else {
            Self::Other { address, source }
        }
    }
}

/// Options of listening sockets, and of the sockets that they accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that the kernel completes before they are accepted, for each listening socket;
    /// the kernel lowers it to `net.core.somaxconn`.
    pub accept_backlog: u32,
    /// Whether small writes leave at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// Unsent bytes that the kernel may hold before a socket stops being writable
    /// (`TCP_NOTSENT_LOWAT`); 0 leaves it to the kernel.
    pub notsent_bytes_max: u32,
    /// Bytes of the kernel's send buffer (`SO_SNDBUF`, which the kernel doubles); `None` leaves it
    /// to the kernel.
    pub send_buffer_bytes: Option<u32>,
}

/// Which side detects that a silent peer is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The gateway, with pings.
    Gateway,
    /// The kernel, with TCP keep-alive probes: for protocols without pings.
    Kernel,
}

/// Binds `count` listeners to `address`, non-blocking. Port 0 chooses a free port, the same for
/// all.
///
/// # Errors
/// [`BindError`] if the address is taken or cannot be used. No connection has been accepted then.
pub fn bind_listeners(
    address: SocketAddr,
    count: usize,
    share_port: bool,
    options: &ListenOptions,
    keep_alive: KeepAlive,
) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError::new(address, source);
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for number in 0..count {
        let shares = share_port || number > 0;
        let socket = listen(address, shares, options, keep_alive).map_err(failed)?;
        // Not before it listens: two sockets with SO_REUSEADDR that do not listen yet can be bound to
        // one address, and with this option both could then listen.
        if count > 1 && !shares {
            socket.set_reuse_port(true).map_err(failed)?;
        }
        let listener: TcpListener = socket.into();
        address = listener.local_addr().map_err(failed)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Changes for a listener whether the sockets that it accepts from now on are probed by the kernel.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn set_keep_alive(listener: BorrowedFd<'_>, is_on: bool) -> io::Result<()> {
    SockRef::from(&listener).set_keepalive(is_on)
}

fn listen(
    address: SocketAddr,
    share_port: bool,
    options: &ListenOptions,
    keep_alive: KeepAlive,
) -> io::Result<Socket> {
    let socket = bind(address, share_port)?;
    apply(&SockRef::from(&socket), options, keep_alive)?;
    socket.listen(i32::try_from(options.accept_backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Gives a listening socket that another process has opened the options of this one.
///
/// # Errors
/// Those of setsockopt(2).
pub fn apply_options(
    listener: &TcpListener,
    options: &ListenOptions,
    keep_alive: KeepAlive,
) -> io::Result<()> {
    apply(&SockRef::from(listener), options, keep_alive)
}

fn apply(socket: &SockRef<'_>, options: &ListenOptions, keep_alive: KeepAlive) -> io::Result<()> {
    // Accepted sockets inherit these options (tcp(7)), so they cost no system call per connection.
    socket.set_tcp_nodelay(options.no_delay)?;
    if options.notsent_bytes_max > 0 {
        socket.set_tcp_notsent_lowat(options.notsent_bytes_max)?;
    }
    // When to probe is inherited as well, so that only the switch is left for those that need it.
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    if keep_alive == KeepAlive::Gateway {
        socket.set_keepalive(false)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    Ok(())
}

fn bind(address: SocketAddr, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Without it, connections of an earlier process in TIME_WAIT would make bind fail for a minute.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    if address.is_ipv6() {
        // By default `[::]` accepts IPv4 as well (ipv6(7)), and a listener on `0.0.0.0` could not
        // bind.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// An unreachable peer is detected within two minutes: 60 s of silence and four probes, 15 s apart.
pub(super) const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn options() -> ListenOptions {
        ListenOptions {
            accept_backlog: 16,
            no_delay: true,
            notsent_bytes_max: 16_384,
            send_buffer_bytes: None,
        }
    }

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn loops_share_a_port_and_a_second_server_cannot_bind_it() {
        let options = options();
        let listeners = bind_listeners(local(0), 3, false, &options, KeepAlive::Gateway).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|own| own.local_addr().unwrap() == address));
        let second = bind_listeners(address, 1, false, &options, KeepAlive::Gateway);
        assert!(matches!(second, Err(BindError::InUse { .. })));
        assert!(second.unwrap_err().to_string().contains("share_port"));
        assert!(bind_listeners(address, 1, true, &options, KeepAlive::Gateway).is_ok());
    }

    #[test]
    fn of_many_that_start_at_once_one_gets_the_port() {
        for _ in 0..20 {
            let free = bind(local(0), false).unwrap();
            let address = free.local_addr().unwrap().as_socket().unwrap();
            drop(free);
            let start = Barrier::new(50);
            let bound = thread::scope(|scope| {
                let servers: Vec<_> = (0..50)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            bind_listeners(address, 3, false, &options(), KeepAlive::Gateway)
                        })
                    })
                    .collect();
                servers.into_iter().map(|own| own.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(bound.iter().filter(|own| own.is_ok()).count(), 1);
            let refused = bound.iter().filter_map(|own| own.as_ref().err());
            assert!(refused.into_iter().all(|error| matches!(error, BindError::InUse { .. })));
        }
    }

    #[test]
    fn a_reserved_port_says_what_would_allow_it() {
        let error = BindError::new(local(80), io::ErrorKind::PermissionDenied.into());
        let text = error.to_string();
        assert!(text.starts_with("cannot listen on 127.0.0.1:80: permission denied"), "{text}");
        assert!(text.contains("CAP_NET_BIND_SERVICE") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn every_loop_gets_connections() {
        let listeners = bind_listeners(local(0), 3, false, &options(), KeepAlive::Gateway).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let mut accepted = [0; 3];
        for _ in 0..2000 {
            let _client = std::net::TcpStream::connect(address).unwrap();
            for (listener, accepted) in listeners.iter().zip(&mut accepted) {
                *accepted += usize::from(listener.accept().is_ok());
            }
            if accepted.iter().all(|count| *count >= 10) {
                return;
            }
        }
        panic!("{accepted:?}");
    }

    #[test]
    fn both_families_listen_on_one_port() {
        let options = options();
        let Ok(six) =
            bind_listeners("[::]:0".parse().unwrap(), 2, false, &options, KeepAlive::Gateway)
        else {
            return; // A machine without IPv6.
        };
        let port = six[0].local_addr().unwrap().port();
        let four = SocketAddr::from(([0, 0, 0, 0], port));
        // Another process may have it, but not our own listener.
        let taken = TcpListener::bind(four).is_err();
        drop(six);
        let is_foreign = taken && TcpListener::bind(four).is_err();
        assert!(!taken || is_foreign, "[::]:{port} keeps 0.0.0.0:{port} away");
    }

    #[test]
    fn accepted_sockets_inherit_the_options() {
        let listeners = bind_listeners(local(0), 1, false, &options(), KeepAlive::Kernel).unwrap();
        let client = std::net::TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let (accepted, _) = loop {
            match listeners[0].accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => break accepted.unwrap(),
            }
        };
        assert!(accepted.nodelay().unwrap());
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(Socket::from(accepted).tcp_notsent_lowat().unwrap(), 16 << 10);
        drop(client);
    }
}
