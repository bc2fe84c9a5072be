//! TLS over a socket.
//!
//! A connection has a [`Session`](session::Session) in its loop's [`Tls`]: one of a client by its listener, or
//! one to a server by the settings of its upstream. While the handshake lasts that holds the library's
//! connection; from then on it is a pair of secrets, and all else is the loop's:
//!
//! ```text
//!   receive   socket ─read─► room of the caller ─opened in place─► plaintext at its start
//!                                 └─ a record that has come in part waits in `Held`
//!   send      slices ─copied─► the loop's scratch ─sealed in place─write─► socket
//!                                 └─ what the socket does not take waits in `Held`
//! ```

mod handshake;
mod held;
mod keeping;
mod library;
mod listeners;
mod outbound;
mod server_fault;
mod session;
mod sessions;
mod socket;
mod tickets;
mod traffic;

use std::io::IoSlice;

use super::contract::{End, Received, Room, Sent, StreamError};
use crate::tls::{ExpandedKeys, RecordFault};
use crate::transport::Transport;
use session::{SESSION_BYTES, State};
use socket::discard;

pub(crate) use server_fault::ServerFault;
pub(crate) use session::TlsStream;
pub(crate) use sessions::Tls;

impl TlsStream<'_> {
    /// Receives until there is plaintext, or until the socket is empty. `room.behind`, if there is
    /// any, takes records before they are opened; without it they lie in `room.ahead` itself.
    #[inline(never)]
    pub(super) fn receive<S: Transport>(mut self, socket: &mut S, room: Room<'_>) -> Received {
        let Room { ahead, behind } = room;
        if matches!(self.session.state, State::Silent | State::Unbegun(_) | State::Handshake(_))
            && let Some(received) = self.receive_handshake(socket, ahead)
        {
            return received;
        }
        if matches!(self.session.state, State::Failed) {
            return discard(socket, ahead);
        }
        let received = self.receive_records(socket, ahead, behind);
        // What records asked to be answered.
        match self.write_sealed(socket) {
            Ok(_) => received,
            Err(StreamError) => Received::Failed,
        }
    }

    /// Seals what is offered, as far as one write may take it, once what was sealed before is sent.
    #[inline(never)]
    pub(super) fn send<S: Transport>(
        &mut self,
        socket: &mut S,
        slices: &[IoSlice<'_>],
        end: End,
    ) -> Result<Sent, StreamError> {
        let moved = self.write_held(socket)?;
        if self.has_unsent() {
            return Ok(Sent { taken: 0, unsent: true, blocked: true, moved });
        }
        let offered = slices.iter().map(|slice| slice.len()).sum();
        match self.session.state {
            // The connection stands: a client speaks first.
            State::Unbegun(_) => {
                self.begin_with_server()?;
                let moved = self.write_sealed(socket)? || moved;
                Ok(Sent { taken: 0, unsent: self.has_unsent(), blocked: offered > 0, moved })
            }
            // It waits for the end of the handshake, which asks for another try.
            State::Silent | State::Handshake(_) => {
                Ok(Sent { taken: 0, unsent: false, blocked: offered > 0, moved })
            }
            State::Open(_) if self.session.fault.is_none() => {
                self.send_records(socket, slices, end, moved)
            }
            State::Open(_) | State::Failed => {
                Ok(Sent { taken: offered, unsent: false, blocked: false, moved })
            }
        }
    }

    /// Ends our half with a notice (RFC 8446 §6.1).
    pub(super) fn finish<S: Transport>(&mut self, socket: &mut S) -> Result<bool, StreamError> {
        self.write_held(socket)?;
        self.seal_end()?;
        self.write_sealed(socket)?;
        if self.has_unsent() {
            return Ok(false);
        }
        socket.shutdown_write().map_err(|_| StreamError)?;
        Ok(true)
    }

    /// Gives everything back.
    fn release(mut self) {
        self.turn.memory.discharge(self.shared.keys.forget(self.number));
        self.end_handshake();
        self.end_tickets();
        // Wiped where it lies.
        self.session.state = State::Failed;
        self.drop_unopened();
        self.drop_unsent();
        self.turn.memory.discharge(self.session.names_bytes());
        self.session.names = None;
        self.turn.memory.discharge(SESSION_BYTES);
    }

    /// Tells the peer why the connection ends, as far as the socket takes that.
    fn fail<S: Transport>(&mut self, socket: &mut S, fault: RecordFault) -> Received {
        let Self { number, session, shared, turn } = self;
        if !fault.is_of_handshake() {
            turn.counters.tls_faults.add(1);
        }
        log::debug!("TLS ends: {fault:?}");
        if let (State::Open(records), Some(alert)) = (&mut session.state, fault.alert()) {
            let mut keys = ExpandedKeys::default();
            // A key that can seal no more leaves the peer without a word.
            let _ = records.seal_alert(&mut keys, &mut shared.sealed, alert);
        }
        session.state = State::Failed;
        turn.memory.discharge(shared.keys.forget(*number));
        self.drop_unopened();
        match self.write_sealed(socket) {
            Ok(_) => Received::Broken,
            Err(StreamError) => Received::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
