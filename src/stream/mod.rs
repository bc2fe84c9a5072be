//! How the bytes of a connection come and go: the only code that calls a [`Transport`].
//!
//! Above this module there is plaintext only. A [`Stream`] is built for one call from the socket
//! and, where there is one, the state of its cipher, so the layers above match on nothing. What a
//! caller must not assume, because it holds for plain sockets alone:
//!
//! - that a read which leaves room free has emptied the socket: [`Source`] says so;
//! - that an end of input is an end that the peer meant: [`Received::Ended`] says so;
//! - that bytes which were taken are on their way: [`Sent::unsent`] says so.

#[cfg(any(test, feature = "sim"))]
pub mod cipher;
mod plain;

use std::io::IoSlice;

use crate::transport::Transport;

#[cfg(any(test, feature = "sim"))]
use cipher::FakeCipher;

/// A socket with what stands between it and plaintext.
#[derive(Debug)]
pub(crate) enum Stream<'c, S> {
    /// Nothing.
    Plain(&'c mut S),
    /// The fake cipher of the simulation.
    #[cfg(any(test, feature = "sim"))]
    Cipher(&'c mut S, &'c mut FakeCipher),
}

/// Where received bytes go: first into `ahead` and then, if that is filled, into `behind`, which
/// may be empty. A stream with records uses `ahead` alone.
#[derive(Debug)]
pub(crate) struct Room<'b> {
    /// Never empty.
    pub(crate) ahead: &'b mut [u8],
    /// What follows `ahead`.
    pub(crate) behind: &'b mut [u8],
}

/// Whether more can be received before the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The socket is empty; the next byte gives an edge.
    Drained,
    /// The socket may hold more, and no edge will announce it.
    MayHaveMore,
    /// Whole records are here that are not opened yet, and no edge will come for them.
    #[cfg_attr(not(any(test, feature = "sim")), expect(dead_code, reason = "for ciphers"))]
    Unopened,
}

/// What [`receive`] gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// Plaintext arrived: this many bytes in each part of the room.
    Bytes { ahead: usize, behind: usize, source: Source },
    /// No plaintext, and the socket said that it is empty.
    Nothing(Source),
    /// The peer has ended its half; `clean` says whether it meant to.
    Ended { clean: bool },
    /// A record needs this much room at once.
    #[cfg_attr(not(any(test, feature = "sim")), expect(dead_code, reason = "for ciphers"))]
    NoRoom(usize),
    /// The connection failed.
    Failed,
}

/// The connection failed: it was reset, is no longer reachable, or its peer sent what is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamError;

/// What [`send`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Bytes of plaintext taken; they need not be offered again.
    pub(crate) taken: usize,
    /// Sealed bytes wait for room in the socket: send again, perhaps nothing, when there is some.
    pub(crate) unsent: bool,
    /// The socket has no more room; an edge will say when it has.
    pub(crate) blocked: bool,
    /// The socket took bytes, of whatever kind.
    pub(crate) moved: bool,
}

/// What follows the bytes that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Perhaps more.
    None,
    /// The end of our half: [`finish`] is called next, if all is taken.
    HalfClose,
}

/// Receives once, into `room`.
#[inline]
pub(crate) fn receive<S: Transport>(stream: Stream<'_, S>, room: Room<'_>) -> Received {
    match stream {
        Stream::Plain(socket) => plain::receive(socket, room),
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.receive(socket, room.ahead),
    }
}

/// Sends from `bytes`, once, as much as the socket takes.
///
/// # Errors
/// When the connection has failed.
#[inline]
pub(crate) fn send<S: Transport>(
    stream: Stream<'_, S>,
    bytes: &[u8],
    end: End,
) -> Result<Sent, StreamError> {
    match stream {
        Stream::Plain(socket) => plain::send(socket, bytes, end),
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
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.send(socket, slices),
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
        #[cfg(any(test, feature = "sim"))]
        Stream::Cipher(socket, cipher) => cipher.finish(socket),
    }
}
