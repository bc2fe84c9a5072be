//! Tickets by which a server lets its client come again. In TLS 1.3 they come behind the handshake (RFC
//! 8446 §4.6.1), as a rule before any data; what takes them is kept no longer than until then.

use std::fmt;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;

use super::session::TlsStream;
use crate::pool::Need;
use crate::tls::handshake_messages;

/// What the library needs to take a ticket.
pub(super) struct TicketTaker(pub(super) Box<KernelConnection<ClientConnectionData>>);

impl fmt::Debug for TicketTaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketTaker")
    }
}

impl TicketTaker {
    /// Takes the tickets in `content`, which is of whole messages. One that the library does not
    /// understand is none.
    pub(super) fn take(&mut self, content: &[u8]) {
        for ticket in handshake_messages(content) {
            if let Err(error) = self.0.handle_new_session_ticket(ticket) {
                log::debug!("a session ticket of a server is not taken: {error}");
            }
        }
    }
}

impl TlsStream<'_> {
    /// Waits for tickets, if there is room for that.
    pub(super) fn await_tickets(&mut self, taker: Option<TicketTaker>) {
        let Some(taker) = taker else { return };
        if self.turn.memory.charge_for(Need::Head, TAKER_BYTES).is_ok() {
            self.session.held().tickets = Some(taker);
        }
    }

    /// Waits for no more tickets.
    #[inline]
    pub(super) fn end_tickets(&mut self) {
        if self.session.held.is_some() {
            self.drop_tickets();
        }
    }

    #[inline(never)]
    fn drop_tickets(&mut self) {
        let taker = self.session.held.as_mut().and_then(|held| held.tickets.take());
        if taker.is_some() {
            self.turn.memory.discharge(TAKER_BYTES);
            self.release_held();
        }
    }
}

/// What a connection of the library keeps for tickets: most of it is the chain of the server.
pub(super) const TAKER_BYTES: usize = 6 << 10;
