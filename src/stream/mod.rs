//! How the bytes of a connection come and go: the only code that calls a [`Transport`].
//!
//! Above this module there is plaintext only. A `Stream` is built for one call from the socket
//! and, where there is one, the state of its cipher, so the layers above match on nothing. What a
//! caller must not assume, because it holds for plain sockets alone:
//!
//! - that a read which leaves room free has emptied the socket: `Source` says so;
//! - that an end of input is an end that the peer meant: `Received::Ended` says so;
//! - that bytes which were taken are on their way: `Sent::unsent` says so.

#[cfg(any(test, feature = "sim"))]
pub mod cipher;
mod contract;
mod plain;
mod tls;
mod turn;

use std::io::IoSlice;
use std::net::SocketAddr;

pub(crate) use contract::{End, Received, Room, Sent, Source, StreamError};
pub(crate) use tls::{ServerFault, Tls, TlsStream};
pub(crate) use turn::StreamTurn;

#[cfg(any(test, feature = "sim"))]
use cipher::FakeCipher;

use crate::transport::Transport;

/// A socket with what stands between it and plaintext.
#[derive(Debug)]
pub(crate) enum Stream<'c, S> {
    /// Nothing.
    Plain(&'c mut S),
    /// TLS.
    Tls(&'c mut S, TlsStream<'c>),
    /// The fake cipher of the simulation.
    #[cfg(any(test, feature = "sim"))]
    Cipher(&'c mut S, &'c mut FakeCipher),
}

/// Receives once, into `room`.
// Always, so that nothing is left of it where the stream is known to be plain.
#[inline(always)]
pub(crate) fn receive<S: Transport>(stream: Stream<'_, S>, room: Room<'_>) -> Received {
    match stream {
        Stream::Plain(socket) => plain::receive(socket, room),
        Stream::Tls(socket, tls) => tls.receive(socket, room),
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.receive(socket, room.ahead),
    }
}

/// Sends from `bytes`, once, as much as the socket takes.
///
/// # Errors
/// When the connection has failed.
#[inline(always)]
pub(crate) fn send<S: Transport>(
    stream: Stream<'_, S>,
    bytes: &[u8],
    end: End,
) -> Result<Sent, StreamError> {
    match stream {
        Stream::Plain(socket) => plain::send(socket, bytes, end),
        Stream::Tls(socket, mut tls) => tls.send(socket, &[IoSlice::new(bytes)], end),
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.send(socket, &[IoSlice::new(bytes)]),
    }
}

/// As [`send`], from several slices behind each other.
///
/// # Errors
/// As [`send`].
#[inline]
pub(crate) fn send_vectored<S: Transport>(
    stream: Stream<'_, S>,
    slices: &[IoSlice<'_>],
) -> Result<Sent, StreamError> {
    match stream {
        Stream::Plain(socket) => plain::send_vectored(socket, slices),
        Stream::Tls(socket, mut tls) => tls.send(socket, slices, End::None),
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.send(socket, slices),
    }
}

/// The address of the peer, as the socket knows it; `None` once the connection has failed.
pub(crate) fn peer_address<S: Transport>(socket: &S) -> Option<SocketAddr> {
    socket.peer_address()
}

/// Whether closing the socket tells the peer no less than [`finish`] before it, where nothing is left to be
/// received: the kernel sends the same end for both.
pub(crate) fn ends_by_closing<S>(stream: &Stream<'_, S>) -> bool {
    match stream {
        Stream::Plain(_) => true,
        Stream::Tls(..) => false,
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(..) => false,
    }
}

/// Ends our half after what was sent. `false` if the socket has no room for the end: call again
/// when it has.
///
/// # Errors
/// When the connection has failed.
pub(crate) fn finish<S: Transport>(stream: Stream<'_, S>) -> Result<bool, StreamError> {
    match stream {
        Stream::Plain(socket) => plain::finish(socket).map(|()| true),
        Stream::Tls(socket, mut tls) => tls.finish(socket),
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.finish(socket),
    }
}
