//! A request that upgrades nothing, and its reply: two bodies that go on as they come, with backpressure,
//! and whose ends the gateway finds by itself.
//!
//! Chunks are written anew, so that what the other side reads has one meaning, whatever it was written
//! like; their extensions and trailers, which no recipient must know (RFC 9112 §7.1.1, RFC 9110 §6.5.1), are left
//! out. All other bodies go on as they are.

use super::bytes::Relay;
use super::exchange_state::{Exchange, ReplyBody};
use crate::access::Traffic;
use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::send::Flush;
use crate::conn::slot::Conn;
use crate::effects::CloseReason;
use crate::http::{
    BodyError, BodyFraming, BodyReader, LAST_CHUNK, ReplyError, ReplyHead, ReplyLimits,
    ReplyPassage, Status, is_too_long, next_reply_head, reply_framing, write_chunk,
    write_interim_reply, write_plain_reply,
};
use crate::key::{ConnKey, SlotRef};
use crate::pool::ReadBuffer;
use crate::transport::Transport;
use crate::work::prices;
use crate::ws::Progress;

/// What has come of the head of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum ReplyStart {
    /// Not all of it is here.
    NeedMore,
    /// It stands in the output, and the body follows in the buffer.
    Begun,
    /// It is none that could be passed on.
    NoReply,
    /// The client is to be aborted.
    Abort(ConnKey, CloseReason),
}

/// What passing on a part of a body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Passed {
    /// More is to come.
    More,
    /// The body is at its end.
    Whole,
    /// The body of a request has become too long.
    TooLong,
    /// It breaks a rule.
    Broken(BodyError),
    /// It was cut.
    Cut,
    /// The connection that it goes to is to be aborted.
    Abort(ConnKey, CloseReason),
}

impl<S: Transport> Relay<'_, S> {
    /// Passes on what a client has sent of the body of its request. What follows the body stays in the
    /// buffer, and is not read further until the request is answered.
    pub(in crate::conn) fn pass_request(
        &mut self,
        key: ConnKey,
        buffer: &mut ReadBuffer,
    ) -> Passed {
        let from = buffer.progress.consumed();
        let Some((link, backend)) = self.ends(key) else { return Passed::Cut };
        let Some(exchange) = self.cold.relays_mut().exchange_mut(link) else { return Passed::Cut };
        let input = buffer.arrived().get(from..).unwrap_or_default();
        let is_chunked = exchange.terms.request.framing == BodyFraming::Chunked;
        let before = exchange.request.received();
        let cork = self.output.outgoing().cork();
        let gathered = gather(&mut exchange.request, is_chunked, input, cork);
        let bytes = exchange.request.received() - before;
        let bytes_max = exchange.terms.options.body_bytes_max;
        let is_too_long = is_too_long(exchange.request.received(), bytes_max);
        let is_whole = exchange.request.is_done();
        let consumed = match gathered {
            Ok(consumed) if !is_too_long => consumed,
            Ok(_) | Err(_) => {
                self.output.outgoing().clear();
                buffer.clear();
                return gathered.map_or_else(Passed::Broken, |_| Passed::TooLong);
            }
        };
        self.turn.work.charge(prices::bytes(consumed));
        buffer.progress = Progress::starting_at(from + consumed);
        note_received(self.cold, self.table.get(key), bytes);
        if let Some(abort) = self.send_gathered(backend, key) {
            return abort;
        }
        self.put_off_reply(backend, link);
        if let Some(conn) = self.table.get_mut(key).filter(|_| is_whole) {
            conn.flags.set(Flags::PAUSED_BY_PARTNER);
        }
        if is_whole { Passed::Whole } else { Passed::More }
    }

    /// The backend has more of the request to read, or has read some: the time for its reply begins anew.
    fn put_off_reply(&mut self, backend: ConnKey, link: SlotRef) {
        let now = self.turn.now;
        if let Some(attempt) = self.cold.relays_mut().attempt_mut(link)
            && let Some(exchange) = &attempt.exchange
        {
            attempt.due = now.plus(exchange.terms.options.response_ms).tick();
        }
        if let Some(conn) = self.table.get_mut(backend) {
            conn.rearm();
        }
    }

    /// A backend has taken some of the body of a request: the client may be read again.
    pub(super) fn request_flushed(&mut self, key: ConnKey) {
        if let Some(link) = self.table.get(key).map(|conn| conn.link) {
            self.put_off_reply(key, link);
        }
        self.exchange_flushed(key);
    }

    /// An end of an exchange was written to: its partner may be read again.
    pub(in crate::conn) fn exchange_flushed(&mut self, key: ConnKey) {
        let high_bytes = self.turn.settings.backlog_high_bytes;
        let Some(conn) = self.table.get(key) else { return };
        let (has_room, link) = (conn.queue.bytes() < high_bytes / 2, conn.link);
        let Some(partner) = self.partner(key).filter(|_| has_room) else { return };
        let Some(exchange) = self.cold.relays_mut().exchange_mut(link) else { return };
        let Some(conn) = self.table.get_mut(partner) else { return };
        // Behind the body of its request a client is not read.
        if !conn.protocol.is_backend() && exchange.request.is_done() {
            return;
        }
        if conn.flags.take(Flags::PAUSED_BY_PARTNER) {
            // The time in which it was not read is not its own.
            conn.seen = self.turn.tick;
            if !conn.protocol.is_backend() {
                exchange.resume_reading();
            }
            conn.rearm();
            self.run_queue.push(conn, partner);
        }
    }

    /// Reads the head of a reply, and the interim ones before it, as far as they have come.
    pub(in crate::conn) fn begin_reply(
        &mut self,
        key: ConnKey,
        buffer: &mut ReadBuffer,
        is_draining: bool,
    ) -> ReplyStart {
        let Some((link, client)) = self.ends(key) else { return ReplyStart::NoReply };
        let settings = &self.turn.settings;
        let limits = ReplyLimits {
            head_bytes_max: settings.head_bytes_max,
            lines_max: settings.header_lines_max,
            body_bytes_max: 0,
        };
        let has_ended = self.table.get(key).is_some_and(|conn| conn.flags.has(Flags::INPUT_ENDED));
        loop {
            self.turn.work.charge(prices::HEAD);
            let Some(exchange) = self.cold.relays_mut().exchange_mut(link) else {
                return ReplyStart::NoReply;
            };
            exchange.keeps &= !is_draining;
            let (head, end) = match next_reply_head(buffer.arrived(), limits) {
                Ok(Some(found)) => found,
                Ok(None) if has_ended => return self.no_reply(link, ReplyError::Truncated),
                Ok(None) => return ReplyStart::NeedMore,
                Err(fault) => return self.no_reply(link, fault),
            };
            let (code, is_old) = (head.code(), exchange.terms.request.is_old);
            let cork = self.output.outgoing().cork();
            match code {
                101 => {
                    let fault = ReplyError::Handshake("it upgrades what asked for no upgrade");
                    return self.no_reply(link, fault);
                }
                100..=199 if is_old => {}
                100..=199 => write_interim_reply(cork, &head),
                _ => {
                    let Some(reply) = reply_of(&head, exchange) else {
                        return self.no_reply(link, ReplyError::Framing);
                    };
                    write_plain_reply(cork, &self.turn.date, &head, reply.passage);
                    buffer.drop_front(end);
                    self.note_reply(key, client, code);
                    self.cold.relays_mut().begin_reply(link, reply, &mut self.turn.memory);
                    return ReplyStart::Begun;
                }
            }
            buffer.drop_front(end);
            if let Some(Passed::Abort(key, reason)) = self.send_gathered(client, key) {
                return ReplyStart::Abort(key, reason);
            }
        }
    }

    fn no_reply(&mut self, link: SlotRef, fault: ReplyError) -> ReplyStart {
        self.report(link, fault);
        ReplyStart::NoReply
    }

    fn note_reply(&mut self, backend: ConnKey, client: ConnKey, code: u16) {
        self.turn.counters.http_replies.add(1);
        if let Some(conn) = self.table.get(client) {
            self.cold.note_status(conn.cold, Status::OfBackend(code));
        }
        if let Some(conn) = self.table.get_mut(backend) {
            conn.state.exchange();
            conn.rearm();
        }
    }

    /// Passes on what a backend has sent of the body of its reply, and with it the head, if that stands in
    /// the output.
    pub(in crate::conn) fn pass_reply(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> Passed {
        let Some((link, client)) = self.ends(key) else { return Passed::Cut };
        let Some(exchange) = self.cold.relays_mut().exchange_mut(link) else { return Passed::Cut };
        let Some(reply) = exchange.reply_mut() else { return Passed::Cut };
        let before = reply.reader.received();
        let cork = self.output.outgoing().cork();
        let gathered =
            gather(&mut reply.reader, reply.passage.is_chunked(), buffer.arrived(), cork);
        let bytes = reply.reader.received() - before;
        let (is_whole, may_end) = (reply.reader.is_done(), reply.reader.ends_with_connection());
        self.turn.work.charge(prices::bytes(buffer.filled));
        buffer.clear();
        let has_ended = match self.table.get_mut(key) {
            Some(conn) => {
                conn.seen = self.turn.tick;
                conn.flags.has(Flags::INPUT_ENDED)
            }
            None => true,
        };
        if let Some(conn) = self.table.get(client)
            && self.cold.has_access()
        {
            self.cold.note_sent(conn.cold, Traffic { messages: 0, bytes });
        }
        // What came before the fault is the client's as well.
        if let Some(abort) = self.send_gathered(client, key) {
            return abort;
        }
        match gathered {
            Err(error) => Passed::Broken(error),
            Ok(_) if is_whole || has_ended && may_end => Passed::Whole,
            Ok(_) if has_ended => Passed::Cut,
            Ok(_) => Passed::More,
        }
    }

    /// The record of an exchange, and its other end.
    fn ends(&self, key: ConnKey) -> Option<(SlotRef, ConnKey)> {
        Some((self.table.get(key)?.link, self.partner(key)?))
    }

    /// Sends what is gathered to one end, which holds up the other if too much waits there.
    fn send_gathered(&mut self, to: ConnKey, from: ConnKey) -> Option<Passed> {
        if self.output.has_nothing_gathered() {
            return None;
        }
        let bytes = self.output.outgoing().cork_bytes().len() as u64;
        let Some(conn) = self.table.get_mut(to).filter(|conn| !conn.state.is_ending()) else {
            self.output.outgoing().clear();
            return None;
        };
        self.turn.counters.relayed_bytes.add(bytes);
        let flush = self.output.flush_gathered(conn, to, self.cold, None, self.turn);
        if let Some(reason) = flush.abort_reason() {
            return Some(Passed::Abort(to, reason));
        }
        if flush == Flush::Waiting {
            // Its stall begins.
            conn.rearm();
        }
        if conn.queue.bytes() > self.turn.settings.backlog_high_bytes
            && let Some(conn) = self.table.get_mut(from)
            && conn.flags.raise(Flags::PAUSED_BY_PARTNER)
        {
            self.turn.counters.reading_paused.add(1);
        }
        None
    }
}

/// How the reply goes on to the client; `None` where it is not certain where it ends.
fn reply_of(head: &ReplyHead<'_>, exchange: &Exchange) -> Option<ReplyBody> {
    let request = exchange.terms.request;
    let framing = reply_framing(head, request.is_head).ok()?;
    let closes = !exchange.keeps || !exchange.request.is_done();
    let passage = ReplyPassage { framing, is_old: request.is_old, closes };
    Some(ReplyBody { reader: BodyReader::new(framing), passage })
}

/// Appends what belongs to a body in `input`, in chunks or as it is; how many bytes of the input that was.
fn gather(
    reader: &mut BodyReader,
    in_chunks: bool,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, BodyError> {
    let mut consumed = 0;
    let was_done = reader.is_done();
    while let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) {
        if reader.is_done() {
            break;
        }
        let part = reader.next(rest)?;
        consumed += part.consumed;
        if in_chunks {
            write_chunk(out, part.data);
        } else {
            out.extend_from_slice(part.data);
        }
    }
    if in_chunks && reader.is_done() && !was_done {
        out.extend_from_slice(LAST_CHUNK);
    }
    Ok(consumed)
}

fn note_received<S>(cold: &mut ColdRecords, conn: Option<&Conn<S>>, bytes: u64) {
    if cold.has_access()
        && let Some(conn) = conn
    {
        cold.note_received(conn.cold, Traffic { messages: 0, bytes });
    }
}
