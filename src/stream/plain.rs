//! A socket as it is: its bytes are the plaintext.

use std::io::{self, ErrorKind, IoSlice};

use super::contract::{End, Received, Room, Sent, Source, StreamError};
use crate::transport::Transport;

/// One read, which is repeated only if a signal interrupted it.
#[inline]
pub(super) fn receive<S: Transport>(socket: &mut S, room: Room<'_>) -> Received {
    let Room { ahead, behind } = room;
    let (ahead_bytes, behind_bytes) = (ahead.len(), behind.len());
    debug_assert!(ahead_bytes > 0, "a read into no room looks like the end of input");
    loop {
        let result =
            if behind_bytes == 0 { socket.read(ahead) } else { socket.read_both(ahead, behind) };
        return match result {
            // TCP does not tell a meant end from a cut connection, so each counts as meant
            // (recv(2)).
            Ok(0) => Received::Ended { clean: true },
            Ok(count) => Received::Bytes {
                ahead: count.min(ahead_bytes),
                behind: count.saturating_sub(ahead_bytes),
                // A read that leaves room free took all there was, and the next byte gives an edge
                // (epoll(7), edge-triggered). An end that was announced is the caller's to look for.
                source: if count == ahead_bytes + behind_bytes {
                    Source::MayHaveMore
                } else {
                    Source::Drained
                },
            },
            // A signal came before any byte (recv(2)). The edge for these bytes has been given, so
            // they are read now.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Received::Nothing(Source::Drained)
            }
            Err(_) => Received::Failed,
        };
    }
}

/// One write of one slice.
#[inline]
pub(super) fn send<S: Transport>(
    socket: &mut S,
    bytes: &[u8],
    end: End,
) -> Result<Sent, StreamError> {
    // One slice goes by send(2), which takes MSG_MORE and costs less than writev(2).
    write_once(bytes.len(), || match end {
        End::HalfClose => socket.write_last(bytes),
        End::None => socket.write(&[IoSlice::new(bytes)]),
    })
}

/// One write of several slices.
pub(super) fn send_vectored<S: Transport>(
    socket: &mut S,
    slices: &[IoSlice<'_>],
) -> Result<Sent, StreamError> {
    write_once(slices.iter().map(|slice| slice.len()).sum(), || socket.write(slices))
}

/// One write of `offered` bytes, which is repeated only if a signal interrupted it.
#[inline]
fn write_once(
    offered: usize,
    mut write: impl FnMut() -> io::Result<usize>,
) -> Result<Sent, StreamError> {
    loop {
        let taken = match write() {
            // The kernel takes nothing without an error only if nothing was offered.
            Ok(0) if offered > 0 => return Err(StreamError),
            Ok(taken) => taken,
            // A signal came before any byte was taken (send(2)). Without a write that falls short
            // no edge would come for the rest.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return Err(StreamError),
        };
        // A write that falls short has filled the socket's buffer: the kernel announces room once
        // (epoll(7)), so trying again before that is a wasted call.
        return Ok(Sent { taken, unsent: false, blocked: taken < offered, moved: taken > 0 });
    }
}

/// Shuts the write half.
pub(super) fn finish<S: Transport>(socket: &mut S) -> Result<(), StreamError> {
    socket.shutdown_write().map_err(|_| StreamError)
}
