//! The listening sockets of a server: those that were passed to the process, and those that it binds.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::start_error::StartError;
use crate::config::{Listener, ListenerKind, ResolvedConfig};
use crate::os::{KeepAlive, PassedSocket, PassedSockets, apply_options, bind_listeners};

/// The sockets of all listeners.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Where each listener listens, with the port that was found for port 0.
    pub(super) addresses: Vec<SocketAddr>,
    /// For each loop, the sockets of each listener.
    pub(super) by_loop: Vec<Vec<Vec<TcpListener>>>,
    /// Whether a supervisor holds all of them as well, so that their queues outlive this process.
    pub(super) are_held: bool,
}

impl Listeners {
    /// Takes the passed sockets over, and binds the listeners that none was passed for.
    ///
    /// # Errors
    /// If an address cannot be bound, and if a socket was passed that no listener is configured for.
    pub(super) fn open(
        settings: &ResolvedConfig,
        passed: PassedSockets,
    ) -> Result<Self, StartError> {
        let wanted: Vec<SocketAddr> = settings.listeners.iter().map(|own| own.address).collect();
        let mut own: Vec<Vec<TcpListener>> = wanted.iter().map(|_| Vec::new()).collect();
        for PassedSocket { listener, address, name } in passed.sockets {
            match listener_of(&wanted, address, &name) {
                Some(number) => own[number].push(listener),
                // The configuration has changed: the connections in its queue are reset.
                None if passed.may_differ => {
                    log::warn!("{address} is no longer listened on, as no listener has it");
                }
                None => return Err(StartError::Passed { address, name }),
            }
        }
        let are_held = passed.are_held && own.iter().all(|sockets| !sockets.is_empty());
        let mut by_loop: Vec<Vec<_>> = (0..settings.loops).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for (listener, sockets) in settings.listeners.iter().zip(own) {
            let each = sockets_of(listener, settings, sockets)?;
            let first = each.first().and_then(|own| own.first());
            addresses.extend(first.map(TcpListener::local_addr).transpose()?);
            by_loop.iter_mut().zip(each).for_each(|(own, sockets)| own.push(sockets));
        }
        Ok(Self { addresses, by_loop, are_held })
    }
}

/// For each loop its sockets of a listener, of which `passed` exist already.
fn sockets_of(
    listener: &Listener,
    settings: &ResolvedConfig,
    passed: Vec<TcpListener>,
) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let ResolvedConfig { loops, share_port, socket, .. } = settings;
    let (address, options) = (listener.address, socket.listen_options());
    let keep_alive = match listener.kind {
        ListenerKind::Http => KeepAlive::Gateway,
        ListenerKind::Line => KeepAlive::Kernel,
    };
    if passed.is_empty() {
        let bound = bind_listeners(address, *loops, *share_port, &options, keep_alive)?;
        return Ok(bound.into_iter().map(|own| vec![own]).collect());
    }
    for socket in &passed {
        apply_options(socket, &options, keep_alive)?;
    }
    Ok(share_out(passed, *loops, TcpListener::try_clone)?)
}

/// The number of the listener that a passed socket is for: the one of its address, or the one that its name
/// says.
fn listener_of(wanted: &[SocketAddr], address: SocketAddr, name: &str) -> Option<usize> {
    let by_name = name.strip_prefix(NAME_PREFIX).and_then(|number| number.parse().ok());
    let by_name = by_name.filter(|number| *number < wanted.len());
    by_name.or_else(|| wanted.iter().position(|own| *own == address))
}

/// The name of a socket that is for the listener with this number, whatever its address.
pub(crate) fn name_of(number: usize) -> String {
    format!("{NAME_PREFIX}{number}")
}

/// Gives every loop at least one of the `sockets`, and every socket at least one loop: each has a queue of
/// its own, in which connections would wait for ever otherwise. Where there are fewer sockets than loops,
/// several loops accept from one; `clone` gives a further descriptor of it.
fn share_out<S>(
    sockets: Vec<S>,
    loops: usize,
    clone: impl Fn(&S) -> io::Result<S>,
) -> io::Result<Vec<Vec<S>>> {
    let mut by_loop: Vec<Vec<S>> = (0..loops).map(|_| Vec::new()).collect();
    let count = sockets.len();
    for (index, own) in by_loop.iter_mut().enumerate().skip(count) {
        if let Some(socket) = sockets.get(index % count.max(1)) {
            own.push(clone(socket)?);
        }
    }
    for (index, socket) in sockets.into_iter().enumerate() {
        by_loop[index % loops.max(1)].push(socket);
    }
    Ok(by_loop)
}

const NAME_PREFIX: &str = "listener-";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_loop_is_without_a_socket_and_no_socket_without_a_loop(
            sockets in 1..40usize,
            loops in 1..40usize,
        ) {
            let each = share_out((0..sockets).collect(), loops, |own| Ok(*own)).unwrap();
            prop_assert_eq!(each.len(), loops);
            prop_assert!(each.iter().all(|own| !own.is_empty()));
            let mut all: Vec<usize> = each.into_iter().flatten().collect();
            prop_assert_eq!(all.len(), sockets.max(loops));
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all, (0..sockets).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_socket_belongs_to_the_listener_of_its_name_or_address() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let wanted = [address("127.0.0.1:0"), address("[::1]:443")];
        let found = |at: &str, name: &str| listener_of(&wanted, address(at), name);
        assert_eq!(found("[::1]:443", "tidegate.socket"), Some(1));
        assert_eq!(found("[::]:80", "listener-0"), Some(0));
        assert_eq!(found("[::1]:443", "listener-7"), Some(1));
        assert_eq!(found("127.0.0.1:80", ""), None);
        assert_eq!(found("127.0.0.1:80", &name_of(1)), Some(1));
    }
}
