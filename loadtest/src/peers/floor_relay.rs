//! The lower bound for a relay: each event names the two descriptors, and what one has received is
//! sent to the other.
//!
//! It looks at no byte, the request included, and keeps nothing for a connection but its two
//! descriptors in epoll. What remains is the cost of the kernel: a wait, a read and a write for each
//! way. It is not a relay for real clients: it waits for one that does not read.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, IntoRawFd as _, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::close;

use super::listener::listen;

/// Relays to the server at `backend` until the process is ended.
pub(super) fn serve(address: SocketAddr, backend: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_WAIT];
    let mut buffer = vec![0; BUFFER_BYTES];
    // Those that this batch of events has ended, of which it may name the other one as well.
    let mut ended: Vec<RawFd> = Vec::new();
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            outcome => outcome?,
        };
        ended.clear();
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept_all(&listener, &epoll, backend)?;
                continue;
            }
            let [own, other] = descriptors(event.data());
            if !ended.contains(&own) && !pass_on(own, other, &mut buffer) {
                // Also removes the descriptors from epoll.
                close(own)?;
                close(other)?;
                ended.extend([own, other]);
            }
        }
    }
}

/// Accepts all waiting connections, and connects each to the backend.
fn accept_all(listener: &TcpListener, epoll: &Epoll, backend: SocketAddr) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        client.set_nonblocking(false)?;
        let server = TcpStream::connect(backend)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        watch(epoll, &client, &server)?;
        watch(epoll, &server, &client)?;
        // Only epoll keeps them.
        let _ = [client.into_raw_fd(), server.into_raw_fd()];
    }
}

/// Has epoll report when `own` can be read, with both descriptors.
fn watch(epoll: &Epoll, own: &TcpStream, other: &TcpStream) -> io::Result<()> {
    // Descriptors are never negative.
    let [ready, target] = [own, other].map(|own| u64::from(own.as_raw_fd().unsigned_abs()));
    let data = ready << u32::BITS | target;
    Ok(epoll.add(own, EpollEvent::new(EpollFlags::EPOLLIN, data))?)
}

/// The two descriptors of an event, the ready one first.
fn descriptors(data: u64) -> [RawFd; 2] {
    let half = |bits: u64| RawFd::try_from(bits & u64::from(u32::MAX)).unwrap_or(-1);
    [half(data >> u32::BITS), half(data)]
}

/// Sends what `own` has received to `other`; whether both go on.
fn pass_on(own: RawFd, other: RawFd, buffer: &mut [u8]) -> bool {
    let count = match recv(own, buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(error) => return error == Errno::EAGAIN || error == Errno::EINTR,
    };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match send(other, rest, MsgFlags::MSG_NOSIGNAL) {
            Ok(taken) => rest = &rest[taken..],
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// The data of the listener's events: no descriptor has this number.
const LISTENER: u64 = u64::MAX;
const EVENTS_PER_WAIT: usize = 256;
const BUFFER_BYTES: usize = 512 << 10;
