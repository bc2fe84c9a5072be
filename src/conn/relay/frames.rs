//! The frames of a relay whose two ends are open: they are checked, and go to the other side in frames
//! of ours, within the limits of the route.
//!
//! Short frames go on as they came, and long ones as they come ([`ForwardDecoder`]). Compression is agreed
//! with clients only: what they have compressed is inflated once it is whole, and whole messages of
//! backends are compressed for them. Pings are answered here, and pongs go no further.

use super::WHOLE_BYTES_MAX;
use super::bytes::Relay;
use super::mask_keys::MaskKeys;
use super::records::ForwardedMessage;
use crate::access::Traffic;
use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::receive::{
    Accounts, InflateTerms, Inflated, Input, Meter, NotInflated, Outcome, RateVerdict, pause,
};
use crate::conn::send::Flush;
use crate::conn::slot::{Conn, Protocol};
use crate::conn::turn::Turn;
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::output::{Framing, Outgoing};
use crate::pool::{OverBudget, ReadBuffer};
use crate::transport::Transport;
use crate::work::prices;
use crate::ws::{
    CloseCode, CloseRequest, ForwardDecoder, Forwarded, ForwardedFrame, FrameHeader, MessageKind,
    Opcode, Sender, ServerHeader, Violation, apply_mask, mask_control_frame, parse_close,
};

/// What a step of a relay came to that only the driver can deal with.
#[derive(Debug)]
pub(in crate::conn) enum Forwarding {
    /// All that could go on has gone on.
    Done,
    /// The partner has failed.
    Abort(ConnKey, CloseReason),
    /// The connection itself comes to this.
    Ends(Outcome),
    /// The peer has closed: the code to answer with, and what its partner is told.
    Closed(Option<CloseCode>, Option<CloseRequest>),
}

/// What one walk through a buffer came to.
struct Gathered {
    outcome: Outcome,
    /// The header of what is yet to come of a frame that has filled the rest of the buffer.
    rest: Option<FrameHeader>,
    said: Option<CloseRequest>,
}

/// Makes frames for the partner of those of one connection.
struct Writer<'w> {
    sender: Sender,
    outgoing: &'w mut Outgoing,
    mask_keys: &'w mut MaskKeys,
    /// Answers to pings, for the connection itself.
    pongs: Vec<u8>,
    /// Messages that have begun, and the bytes of those that go on.
    messages: u64,
    bytes: u64,
    /// There was no key to mask with.
    has_failed: bool,
}

impl Writer<'_> {
    /// Adds a frame; a whole message is compressed where that was agreed.
    fn frame(&mut self, frame: &ForwardedFrame, payload: &mut [u8]) {
        let ForwardedFrame { opcode, fin, payload: range, .. } = frame;
        let is_whole = *fin && *opcode != Opcode::Continuation;
        if is_whole && self.outgoing.compresses() {
            return self.outgoing.frame_in_place(*opcode, payload, range.clone());
        }
        self.forward((*opcode, *fin), payload, frame.mask, Some(range.clone()));
    }

    /// Adds a frame as it is. Its payload may still have a mask, which another takes the place of in one pass.
    fn forward(
        &mut self,
        (opcode, fin): (Opcode, bool),
        payload: &mut [u8],
        masked: [u8; 4],
        range: Option<std::ops::Range<usize>>,
    ) {
        let mask = match self.sender {
            Sender::Server => None,
            Sender::Client => {
                let Some(key) = self.mask_keys.next() else { return self.has_failed = true };
                let both = u32::from_ne_bytes(key) ^ u32::from_ne_bytes(masked);
                apply_mask(payload, both.to_ne_bytes(), 0);
                Some(key)
            }
        };
        let payload_len = payload.len() as u64;
        let header = FrameHeader { fin, rsv1: false, opcode, mask, payload_len };
        self.outgoing.forwarded(&header, payload, range);
    }

    /// Answers a ping (RFC 6455 §5.5.3).
    fn pong(&mut self, payload: &[u8]) {
        let frame_at = self.pongs.len();
        self.pongs.extend_from_slice(ServerHeader::new(Opcode::Pong, payload.len()).as_bytes());
        self.pongs.extend_from_slice(payload);
        if self.sender == Sender::Server {
            let Some(key) = self.mask_keys.next() else { return self.has_failed = true };
            mask_control_frame(&mut self.pongs, frame_at, key);
        }
    }
}

impl<S: Transport> Relay<'_, S> {
    /// Gives the frames in a buffer to the partner of their connection, as far as they have come. Without a
    /// partner that is open they are thrown away.
    pub(in crate::conn) fn forward_frames(
        &mut self,
        key: ConnKey,
        buffer: &mut ReadBuffer,
    ) -> Forwarding {
        let is_open = |conn: &&Conn<S>| conn.state.is_open();
        let partner = self.partner(key);
        let found = partner.and_then(|own| Some((own, self.table.get(own).filter(is_open)?)));
        let Some((partner, conn)) = found else {
            buffer.clear();
            return Forwarding::Done;
        };
        let deflate = self.services.route(conn.route).0.options.deflate;
        let framing = conn.framing(deflate, partner.index);
        loop {
            let Some(gathered) = self.gather(key, framing, buffer) else { return Forwarding::Done };
            let flush = self.flush_to(partner, key, buffer);
            if let Some(rest) = gathered.rest {
                let mut header = Vec::with_capacity(HEADER_BYTES);
                rest.append_to(&mut header);
                buffer.replace(&header);
            }
            if let Some(reason) = flush.abort_reason() {
                return Forwarding::Abort(partner, reason);
            }
            let Some(conn) = self.table.get_mut(key) else { return Forwarding::Done };
            match gathered.outcome {
                Outcome::NeedMore => return Forwarding::Done,
                Outcome::OutputFull if !conn.flags.is_paused() => {}
                Outcome::OutputFull | Outcome::ShareUsed => {
                    conn.flags.set(Flags::UNDECODED);
                    return Forwarding::Done;
                }
                Outcome::Closed(code) => return Forwarding::Closed(code, gathered.said),
                outcome @ (Outcome::Abort(_)
                | Outcome::Broken(_)
                | Outcome::Close
                | Outcome::EndAfterClose
                | Outcome::Finish(_)
                | Outcome::Forward
                | Outcome::Fragments
                | Outcome::InputEnded
                | Outcome::LinesBegin
                | Outcome::NoRoom
                | Outcome::OverRate) => return Forwarding::Ends(outcome),
            }
        }
    }

    /// Writes what was gathered for `partner`. `key`, whose buffer it lies in, is not read while too much
    /// waits there.
    fn flush_to(&mut self, partner: ConnKey, key: ConnKey, buffer: &mut ReadBuffer) -> Flush {
        if self.output.has_nothing_gathered() {
            return Flush::All;
        }
        let Some(conn) = self.table.get_mut(partner) else {
            self.output.outgoing().clear();
            return Flush::All;
        };
        self.turn.counters.relayed_bytes.add(self.output.outgoing().bytes() as u64);
        let flush = self.output.flush_gathered(conn, partner, self.cold, Some(buffer), self.turn);
        if conn.queue.bytes() > self.turn.settings.backlog_high_bytes
            && let Some(conn) = self.table.get_mut(key)
            && conn.flags.raise(Flags::PAUSED_BY_PARTNER)
        {
            self.turn.counters.reading_paused.add(1);
        }
        flush
    }

    /// Decodes what has arrived, and gathers it for the partner in its `framing`, until something else is
    /// to be done first.
    fn gather(
        &mut self,
        key: ConnKey,
        framing: Framing,
        buffer: &mut ReadBuffer,
    ) -> Option<Gathered> {
        let link = self.table.get(key)?.link;
        let message = self.cold.relays().message(link);
        self.output.outgoing().set_framing(framing);
        let conn = self.table.get_mut(key)?;
        let is_client = conn.protocol == Protocol::FrameRelay;
        let route = self.services.route(conn.route).0;
        let limits = (conn.route, &route.options.limits);
        let mut walk = Walk {
            key,
            meter: is_client.then(|| Meter::new(limits, self.cold, conn.cold, self.turn)),
            message_bytes_max: if is_client { route.options.message_bytes_max } else { usize::MAX },
            message: if is_client { message } else { ForwardedMessage::default() },
            writer: Writer {
                sender: if is_client { Sender::Client } else { Sender::Server },
                outgoing: self.output.outgoing(),
                mask_keys: self.mask_keys,
                pongs: Vec::new(),
                messages: 0,
                bytes: 0,
                has_failed: false,
            },
            frames: 0,
            is_refusing: false,
            rest: None,
            said: None,
        };
        let outcome = walk.run(conn, self.cold, self.input, self.turn, buffer);
        let Walk { meter, message, writer, rest, said, .. } = walk;
        let Writer { pongs, messages, bytes, has_failed, .. } = writer;
        let mut outcome = if has_failed { Outcome::NoRoom } else { outcome };
        let mut accepted = (messages, bytes);
        if let Some(meter) = meter {
            let decoded = accepted;
            accepted = meter.accepted(decoded);
            outcome = meter.settle(decoded, key, conn, self.cold, self.turn).unwrap_or(outcome);
            let relays = self.cold.relays_mut();
            if relays.set_message(link, message, &mut self.turn.memory) == Err(OverBudget) {
                outcome = Outcome::NoRoom;
            }
        }
        if accepted != (0, 0) {
            let counters = &route.counters;
            let (count, sum) = match is_client {
                true => (&counters.messages_in, &counters.message_bytes_in),
                false => (&counters.messages_out, &counters.message_bytes_out),
            };
            count.add(accepted.0);
            sum.add(accepted.1);
        }
        // A peer that does not read its answers gets no more of them (RFC 6455 §5.5.3 asks for the last).
        let waiting_bytes = conn.queue.bytes() + pongs.len();
        if !pongs.is_empty() && waiting_bytes <= self.turn.settings.backlog_high_bytes {
            let queued = self.output.queue_bytes(conn, key, &pongs, self.turn);
            if queued == Flush::NoRoom {
                outcome = Outcome::NoRoom;
            }
        }
        if self.cold.has_access() {
            self.note_traffic(key, is_client, Traffic { messages: accepted.0, bytes: accepted.1 });
        }
        Some(Gathered { outcome, rest, said })
    }

    /// An end has broken the protocol: of a backend an operator learns from the log which it is.
    pub(in crate::conn) fn note_broken(&self, key: ConnKey, violation: Violation) {
        let Some(conn) = self.table.get(key).filter(|conn| conn.protocol.is_backend()) else {
            return;
        };
        self.turn.counters.relay_violations.add(1);
        if let Some(server) = self.cold.relays().server(conn.link) {
            log::warn!("backend {}: {violation}", server.address());
        }
    }

    /// The access log counts what a client has sent, or is sent.
    #[cold]
    fn note_traffic(&mut self, key: ConnKey, is_client: bool, traffic: Traffic) {
        let client = if is_client { Some(key) } else { self.partner(key) };
        let Some(conn) = client.and_then(|client| self.table.get(client)) else { return };
        match is_client {
            true => self.cold.note_received(conn.cold, traffic),
            false => self.cold.note_sent(conn.cold, traffic),
        }
    }
}

/// One walk through the frames in a buffer.
struct Walk<'w> {
    key: ConnKey,
    /// What the client may send; a backend may send as much as its client reads.
    meter: Option<Meter<'w, true>>,
    message_bytes_max: usize,
    message: ForwardedMessage,
    writer: Writer<'w>,
    frames: u64,
    /// A message that begins now is one too many.
    is_refusing: bool,
    rest: Option<FrameHeader>,
    said: Option<CloseRequest>,
}

impl Walk<'_> {
    fn run<S: Transport>(
        &mut self,
        conn: &mut Conn<S>,
        cold: &mut ColdRecords,
        input: &mut Input,
        turn: &mut Turn,
        buffer: &mut ReadBuffer,
    ) -> Outcome {
        if conn.flags.has(Flags::INFLATING) {
            let inflated = input.inflater().resume(self.key, &mut accounts(turn));
            if let Some(outcome) = self.take_inflated(inflated, conn, turn) {
                return outcome;
            }
        }
        let arrived = buffer.bytes.get_mut(..buffer.filled).unwrap_or_default();
        loop {
            if let Some(outcome) = self.must_stop(conn, turn) {
                return outcome;
            }
            let mut decoder = ForwardDecoder::new(
                self.writer.sender,
                &mut conn.decoder,
                &mut buffer.progress,
                &mut self.message.bytes,
                (self.message_bytes_max, WHOLE_BYTES_MAX),
            )
            .taking_compressed(conn.flags.has_deflate());
            let next = match decoder.next(arrived) {
                Ok(None) => return Outcome::NeedMore,
                Ok(Some(next)) => next,
                Err(violation) => return Outcome::Broken(violation),
            };
            self.frames += 1;
            turn.work.charge(prices::FRAME);
            let outcome = match next {
                Forwarded::Frame(frame) => self.take_frame(&frame, arrived, turn),
                Forwarded::Compressed { kind, payload } => {
                    let context = conn.flags.client_context(self.key.index);
                    let terms = InflateTerms::new(self.message_bytes_max, context);
                    let payload = arrived.get(payload).unwrap_or_default();
                    self.end_fragments();
                    let inflater = input.inflater();
                    let accounts = &mut accounts(turn);
                    let inflated = inflater.inflate(self.key, payload, kind, terms, accounts);
                    self.take_inflated(inflated, conn, turn)
                }
                Forwarded::Kept => self.take_fragment(),
                Forwarded::Ping(payload) => {
                    if self.take_control_frame(cold, turn) {
                        self.writer.pong(arrived.get(payload).unwrap_or_default());
                    }
                    None
                }
                Forwarded::Pong(_) => {
                    turn.counters.pongs_in.add(1);
                    self.take_control_frame(cold, turn);
                    None
                }
                Forwarded::Close(payload) => {
                    Some(self.take_close(arrived.get(payload).unwrap_or_default()))
                }
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Why nothing more is decoded for now.
    fn must_stop<S>(&mut self, conn: &mut Conn<S>, turn: &Turn) -> Option<Outcome> {
        // Never before the first: a share always gets something done.
        if self.frames > 0 && turn.work.is_share_used() {
            return Some(Outcome::ShareUsed);
        }
        if let Some(meter) = &mut self.meter {
            self.is_refusing = false;
            let decoded = (self.writer.messages, self.writer.bytes);
            // Whatever its length, a message that has begun is let through.
            let verdict = match conn.decoder.is_within_message() {
                true if meter.is_over_control() => RateVerdict::Wait,
                true => RateVerdict::Deliver,
                false => meter.next(decoded),
            };
            match verdict {
                RateVerdict::Deliver => {}
                RateVerdict::Wait => {
                    pause(conn, turn);
                    return Some(Outcome::ShareUsed);
                }
                RateVerdict::Refuse => {
                    meter.refuse(decoded);
                    self.is_refusing = true;
                }
            }
            if meter.ends(decoded) {
                return Some(Outcome::OverRate);
            }
        }
        let (outgoing, high_bytes) = (&self.writer.outgoing, turn.settings.backlog_high_bytes);
        let is_full =
            outgoing.cork_bytes().len() >= high_bytes || outgoing.bytes() >= 2 * high_bytes;
        is_full.then_some(Outcome::OutputFull)
    }

    fn take_frame(
        &mut self,
        frame: &ForwardedFrame,
        arrived: &mut [u8],
        turn: &mut Turn,
    ) -> Option<Outcome> {
        let payload = arrived.get_mut(frame.payload.clone()).unwrap_or_default();
        if frame.opcode != Opcode::Continuation {
            self.begin_message();
        }
        if !self.message.is_refused {
            self.writer.bytes += payload.len() as u64;
            self.writer.frame(frame, payload);
            if self.writer.outgoing.compresses() {
                turn.work.charge(self.writer.outgoing.compressor_mut().take_work());
            }
        }
        if frame.fin {
            self.message.is_refused = false;
            self.end_fragments();
        } else if frame.rest.is_none()
            && let Some(outcome) = self.take_fragment()
        {
            return Some(outcome);
        }
        self.rest = frame.rest;
        // What is gathered lies where the rest is to be put.
        self.rest.is_some().then_some(Outcome::OutputFull)
    }

    fn begin_message(&mut self) {
        self.writer.messages += 1;
        self.message.is_refused = self.is_refusing;
    }

    /// A message that came compressed is whole; the outcome if it is none.
    fn take_inflated<S>(
        &mut self,
        inflated: Result<Inflated, NotInflated>,
        conn: &mut Conn<S>,
        turn: &mut Turn,
    ) -> Option<Outcome> {
        conn.flags.clear(Flags::INFLATING);
        match inflated {
            Ok(mut inflated) => {
                self.begin_message();
                if !std::mem::take(&mut self.message.is_refused) {
                    let opcode = MessageKind::opcode(inflated.kind());
                    let payload = inflated.payload_mut();
                    self.writer.bytes += payload.len() as u64;
                    self.writer.forward((opcode, true), payload, [0; 4], None);
                }
                turn.memory.give(inflated.into_buffer());
                None
            }
            Err(NotInflated::Broken(violation)) => Some(Outcome::Broken(violation)),
            Err(NotInflated::NoRoom) => Some(Outcome::NoRoom),
            Err(NotInflated::Waits) => {
                conn.flags.set(Flags::INFLATING);
                Some(Outcome::ShareUsed)
            }
        }
    }

    fn take_fragment(&mut self) -> Option<Outcome> {
        let meter = self.meter.as_mut()?;
        meter.take_fragment().then_some(Outcome::Fragments)
    }

    fn end_fragments(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.end_message();
        }
    }

    /// Whether a control frame is to be answered.
    fn take_control_frame(&mut self, cold: &mut ColdRecords, turn: &Turn) -> bool {
        let key = self.key;
        self.meter.as_mut().is_none_or(|meter| meter.take_control_frame(cold, key, turn))
    }

    fn take_close(&mut self, payload: &[u8]) -> Outcome {
        match parse_close(payload) {
            Ok(close) => {
                let request = |code| CloseRequest { code, reason: close.reason.to_owned().into() };
                self.said = close.code.map(request);
                Outcome::Closed(close.code)
            }
            Err(violation) => Outcome::Broken(violation),
        }
    }
}

fn accounts(turn: &mut Turn) -> Accounts<'_> {
    Accounts { memory: &mut turn.memory, work: &mut turn.work, now: turn.now }
}

const HEADER_BYTES: usize = 16;
