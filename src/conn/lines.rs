//! Clients of a line listener: plain TCP, one line for one message, no handshake and no pings.
//!
//! They are let in as soon as they connect, and from then on share everything with WebSocket
//! connections but the framing: services, topics, limits, backlogs and policies.

use super::decode::{Stop, is_full};
use crate::output::Framing;

use super::{Connections, Flags, Phase};
use crate::effects::{Accept, Effects, Message, Peer};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::line::{LineError, last_line, next_line};
use crate::pool::ReadBuffer;
use crate::services::{Admission, ConnectRequest};
use crate::transport::Transport;
use crate::ws::{MessageKind, Progress, Violation};

impl<S: Transport> Connections<S> {
    /// A connection that was just inserted came by a line listener of this route.
    pub fn enter_by_line(&mut self, key: ConnKey, route: u8) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.set(Flags::LINES);
        conn.route = route;
        if self.draining {
            return self.refuse_draining(key, false);
        }
        if conn.phase == Phase::Refusing {
            return self.refuse_at_limit(key, false);
        }
        let socket = &conn.socket;
        let address = || socket.peer_address().ok();
        let peer = Peer { loop_index: self.loop_index, key };
        let mut effects = Effects::detached(route, &mut self.pending);
        let service = &mut self.router.socket(route).service;
        match service.admit(&ConnectRequest::new(None, &address), peer, &mut effects) {
            Ok(Admission::Later) => self.wait_for_decision(key, route),
            Ok(Admission::Now(_)) => self.open_line(key),
            Err(rejection) => self.reject_by_service(key, &rejection),
        }
        self.apply_effects();
    }

    /// The service said whether to let in a line client that waited.
    pub(super) fn decide_line(&mut self, key: ConnKey, decision: Result<Accept, Rejection>) {
        match decision {
            Ok(_) => self.open_line(key),
            Err(rejection) => self.reject_by_service(key, &rejection),
        }
        // What came meanwhile gave its edge already.
        self.run_queue.push(&mut self.table, key);
    }

    fn open_line(&mut self, key: ConnKey) {
        let Some(route) = self.table.get(key).map(|conn| conn.route) else { return };
        self.counters.line_clients.add(1);
        self.open(key, route);
        let close_request = self.outgoing.take_close();
        self.flush_outgoing(key, None);
        if let Some(request) = close_request {
            self.close_for_service(key, &request);
        }
    }

    /// As [`Connections::decode`], for lines.
    pub(super) fn decode_lines(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> Stop {
        let Some(line_bytes_max) = self.line_bytes_max(key) else { return Stop::NeedMore };
        self.outgoing.set_framing(Framing::Lines);
        // Not before a line: what others asked for may be as much as before after each flush.
        let mut must_flush = false;
        loop {
            if self.outgoing.wants_close() {
                return Stop::ServiceClose;
            }
            if must_flush {
                return Stop::OutputFull;
            }
            let start = buffer.progress.consumed();
            let arrived = &buffer.bytes[..buffer.filled];
            let line = match next_line(arrived, start, &mut buffer.scanned, line_bytes_max) {
                Ok(None) => return Stop::NeedMore,
                Ok(Some(line)) => line,
                Err(error) => return Stop::Broken(violation(error)),
            };
            buffer.progress = Progress::starting_at(line.next);
            if arrived[line.text.clone()] == *QUIT {
                return Stop::Closed(None);
            }
            self.take_line(key, buffer, line.text);
            must_flush = is_full(&self.outgoing, &self.pending, &self.settings);
        }
    }

    /// The input has ended: what follows the last line break is a line too.
    pub(super) fn take_last_line(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let Some(line_bytes_max) = self.line_bytes_max(key) else { return };
        self.outgoing.set_framing(Framing::Lines);
        let start = buffer.progress.consumed();
        let Ok(Some(text)) = last_line(buffer.arrived(), start, line_bytes_max) else { return };
        if buffer.bytes[text.clone()] == *QUIT {
            return;
        }
        self.take_line(key, buffer, text);
        // The connection ends here whatever the service says.
        self.outgoing.take_close();
        self.flush_outgoing(key, None);
        self.apply_effects();
    }

    fn take_line(&mut self, key: ConnKey, buffer: &mut ReadBuffer, text: std::ops::Range<usize>) {
        let Some(route_number) = self.table.get(key).map(|conn| conn.route) else { return };
        let peer = Peer { loop_index: self.loop_index, key };
        self.counters.messages_in.add(1);
        self.counters.message_bytes_in.add(text.len() as u64);
        let message = Message::new(MessageKind::Text, &mut buffer.bytes[text.clone()]);
        let (outgoing, pending) = (&mut self.outgoing, &mut self.pending);
        let mut effects = Effects::on(route_number, peer, Some(text), outgoing, pending);
        self.router.socket(route_number).service.on_message(peer, message, &mut effects);
    }

    /// The longest line that an open connection may send.
    fn line_bytes_max(&mut self, key: ConnKey) -> Option<usize> {
        let conn = self.table.get(key).filter(|conn| conn.phase == Phase::Open)?;
        Some(self.router.socket(conn.route).options.message_bytes_max)
    }

    fn reject_by_service(&mut self, key: ConnKey, rejection: &Rejection) {
        self.counters.refused_by_service.add(1);
        self.reject(key, rejection, false);
    }

    /// Whether the connection speaks lines.
    pub(super) fn speaks_lines(&self, key: ConnKey) -> bool {
        self.table.get(key).is_some_and(|conn| conn.flags.has(Flags::LINES))
    }
}

fn violation(error: LineError) -> Violation {
    match error {
        LineError::NotUtf8 => Violation::TextNotUtf8,
        LineError::TooLong => Violation::MessageTooBig,
    }
}

/// The line that ends a conversation.
const QUIT: &[u8] = b"quit";
