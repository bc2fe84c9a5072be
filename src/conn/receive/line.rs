//! Clients of a line listener: plain TCP, one line for one message, no handshake and no pings.
//!
//! They are let in as soon as they connect, and from then on share everything with WebSocket
//! connections but the framing: services, topics, limits, backlogs and policies.

use std::ops::Range;

use super::Outcome;
use super::decode::is_full;
use super::identify::Identified;
use super::meter::{Meter, Next, pause};
use crate::access::Traffic;
use crate::conn::active::Active;
use crate::conn::flags::Flags;
use crate::effects::{CloseReason, Effects, Message};
use crate::foreign::Protocol;
use crate::http::Rejection;
use crate::line::{LineError, last_line, next_line};
use crate::output::Framing;
use crate::pool::ReadBuffer;
use crate::services::{Admission, ConnectRequest};
use crate::transport::Transport;
use crate::work::prices;
use crate::ws::{MessageKind, Progress, Violation};

impl<S: Transport> Active<'_, S> {
    /// A connection that was just accepted by a line listener of this route asks to be let in.
    pub(in crate::conn) fn enter_line(&mut self, route: u8) -> Option<Outcome> {
        self.conn.route = route;
        if self.population.is_draining() {
            return Some(self.refuse_draining(false));
        }
        if !self.conn.flags.has(Flags::HALF_OPEN) {
            return Some(self.refuse_at_limit(false));
        }
        if !self.services.asks_identity(route) {
            return self.admit_line(route);
        }
        match self.identify_line(route) {
            Identified::Done => self.admit_line(route),
            Identified::Screened(Ok(_)) => self.open_line(),
            Identified::Screened(Err(rejection)) => Some(self.reject_by_service(&rejection)),
            Identified::Waiting => {
                self.wait_for_decision(route);
                None
            }
            Identified::Refused(outcome) => Some(outcome),
        }
    }

    /// The service is asked whether to let the client in.
    pub(in crate::conn) fn admit_line(&mut self, route: u8) -> Option<Outcome> {
        let (peer, address) = (self.peer(), self.cold.address(self.conn.cold));
        let (own, pending) = self.services.route(route);
        let mut effects = Effects::detached(route, pending);
        let subject = self.cold.subject(self.conn.cold);
        let identity = self.cold.identity(self.conn.cold);
        let connect =
            ConnectRequest::new(None, address).with_subject(subject).with_identity(identity);
        match own.service.admit(&connect, peer, &mut effects) {
            Ok(Admission::Later) => {
                self.wait_for_decision(route);
                None
            }
            Ok(Admission::Now(_)) => self.open_line(),
            Ok(Admission::Relay(_)) => {
                let text = "this service takes requests of HTTP only";
                Some(self.reject_by_service(&Rejection::bad_request(text)))
            }
            Err(rejection) => Some(self.reject_by_service(&rejection)),
        }
    }

    /// The client is let in.
    pub(in crate::conn) fn open_line(&mut self) -> Option<Outcome> {
        self.turn.counters.line_clients.add(1);
        self.open(self.conn.route);
        // Before the close that the service may have asked for, whose reason is a line behind
        // these.
        if let Err(reason) = self.flush_outgoing(None) {
            return Some(Outcome::Abort(reason));
        }
        self.output.outgoing().wants_close().then_some(Outcome::Close)
    }

    /// As [`Active::decode`], for lines.
    pub(super) fn decode_lines(&mut self, buffer: &mut ReadBuffer) -> Outcome {
        let line_bytes_max = self.line_bytes_max();
        self.output.outgoing().set_framing(Framing::Lines);
        // Not before a line: what others asked for may be as much as before after each flush.
        let mut must_flush = false;
        let share_left = self.turn.work.share_left();
        let mut work = 0;
        loop {
            if self.output.outgoing().wants_close() {
                return Outcome::Close;
            }
            if must_flush {
                return Outcome::OutputFull;
            }
            // After the first line: a share always gets something done.
            if work > 0 && work + self.services.pending().work >= share_left {
                return Outcome::ShareUsed;
            }
            let start = buffer.progress.consumed();
            let arrived = &buffer.bytes[..buffer.filled];
            let is_first = !self.conn.flags.has(Flags::SPEAKS_LINES);
            if is_first && let Some(protocol) = Protocol::instead_of_lines(&arrived[start..], false)
            {
                self.count_foreign(protocol);
                return Outcome::Broken(Violation::NotLines);
            }
            let line = match next_line(arrived, start, &mut buffer.scanned, line_bytes_max) {
                Ok(None) => return Outcome::NeedMore,
                Ok(Some(line)) => line,
                Err(error) => return Outcome::Broken(violation(error)),
            };
            let (next, ends) = self.next_line_by_rate();
            if next == Next::Wait {
                pause(self.conn, self.turn);
                return Outcome::ShareUsed;
            }
            self.conn.flags.set(Flags::SPEAKS_LINES);
            buffer.progress = Progress::starting_at(line.next);
            if arrived[line.text.clone()] == *QUIT {
                return Outcome::Closed(None);
            }
            work += prices::MESSAGE;
            if next == Next::Refuse {
                if ends {
                    return Outcome::OverRate;
                }
                self.turn.counters.rate_dropped.add(1);
                continue;
            }
            let bytes = line.text.len() as u64;
            self.deliver_line(buffer, line.text);
            if let Some(outcome) = self.charge_line(bytes) {
                return outcome;
            }
            let high_bytes = self.turn.settings.backlog_high_bytes;
            must_flush = is_full(self.output.outgoing(), self.services.pending(), high_bytes);
        }
    }

    /// The input has ended: what follows the last line break is a line too.
    pub(super) fn take_last_line(&mut self, buffer: &mut ReadBuffer) -> Result<(), CloseReason> {
        if !self.conn.state.is_open() {
            return Ok(());
        }
        let line_bytes_max = self.line_bytes_max();
        self.output.outgoing().set_framing(Framing::Lines);
        let start = buffer.progress.consumed();
        let last = last_line(buffer.arrived(), start, line_bytes_max);
        let Ok(Some(text)) = last else { return Ok(()) };
        let is_first = !self.conn.flags.has(Flags::SPEAKS_LINES);
        let first_bytes = &buffer.arrived()[start..];
        let is_foreign = is_first && Protocol::instead_of_lines(first_bytes, true).is_some();
        if is_foreign || buffer.bytes[text.clone()] == *QUIT {
            return Ok(());
        }
        // Without the buffer: lines are copied, never sent in place, since their framing differs.
        self.deliver_line(buffer, text);
        self.flush_outgoing(None)
    }

    fn deliver_line(&mut self, buffer: &mut ReadBuffer, text: Range<usize>) {
        let (peer, route) = (self.peer(), self.conn.route);
        self.turn.work.charge(prices::MESSAGE);
        if self.cold.has_access() {
            let received = Traffic { messages: 1, bytes: text.len() as u64 };
            self.cold.note_received(self.conn.cold, received);
        }
        if self.turn.traces.is_on() && self.is_followed() {
            let unix_ms = self.turn.unix_ms();
            self.turn.traces.received(peer, unix_ms, true, &buffer.bytes[text.clone()]);
        }
        let message = Message::new(MessageKind::Text, &mut buffer.bytes[text.clone()]);
        let (own, pending) = self.services.route(route);
        own.counters.messages_in.add(1);
        own.counters.message_bytes_in.add(text.len() as u64);
        let outgoing = self.output.outgoing();
        let mut effects = Effects::on(route, peer, Some(text), outgoing, pending);
        own.service.on_message(peer, message, &mut effects);
        outgoing.count_messages(&own.counters);
    }

    /// What is to be done with the next line by the limits of the route, and whether one that is refused
    /// ends the connection.
    fn next_line_by_rate(&mut self) -> (Next, bool) {
        let (route, _) = self.services.route(self.conn.route);
        let mut meter = LineMeter::new(
            (self.conn.route, &route.options.limits),
            self.cold,
            self.conn.cold,
            self.turn,
        );
        let next = meter.next((0, 0));
        meter.refuse((0, 0));
        (next, meter.ends((1, 0)))
    }

    /// A line of this many bytes was delivered. The outcome if there is no memory to remember it.
    fn charge_line(&mut self, bytes: u64) -> Option<Outcome> {
        let (route, _) = self.services.route(self.conn.route);
        let meter = LineMeter::new(
            (self.conn.route, &route.options.limits),
            self.cold,
            self.conn.cold,
            self.turn,
        );
        meter.settle((1, bytes), self.key, self.conn, self.cold, self.turn)
    }

    /// The longest line that an open connection may send.
    fn line_bytes_max(&mut self) -> usize {
        self.services.route(self.conn.route).0.options.message_bytes_max
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

/// Lines are few: one meter serves the routes without limits too.
type LineMeter<'m> = Meter<'m, true>;
