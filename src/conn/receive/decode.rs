//! Decoding: what was read becomes messages where it lies, and these are given to the service, whose
//! answers gather in the output.

use std::ops::Range;

use super::Outcome;
use super::inflate::{Accounts, InflateTerms, Inflated, NotInflated};
use super::meter::{Meter, Next, Refused, pause};
use crate::access::Traffic;
use crate::conn::active::Active;
use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::traces::Traced;
use crate::conn::turn::Turn;
use crate::effects::{Effects, Message, Peer, PendingEffects};
use crate::key::SlotRef;
use crate::metrics::{Counters, RouteCounters};
use crate::output::Outgoing;
use crate::pool::ReadBuffer;
use crate::services::{ControlFrame, Service};
use crate::transport::Transport;
use crate::work::{Work, prices};
use crate::ws::{Decoder, Event, Frame, MessageKind, Opcode, parse_close};

impl<S: Transport> Active<'_, S> {
    /// Decodes what has arrived and gives each message to the service, until something else is to be
    /// done first.
    #[inline]
    pub(super) fn decode(&mut self, buffer: &mut ReadBuffer) -> Outcome {
        if self.turn.traces.is_on() && self.is_followed() {
            return self.decode_traced(buffer);
        }
        let (route, _) = self.services.route(self.conn.route);
        // A loop for each, so that who has no limits pays nothing for them.
        match route.meters_messages {
            false => self.decode_for::<false>(buffer, None),
            true => self.decode_limited(buffer, None),
        }
    }

    #[inline(never)]
    fn decode_traced(&mut self, buffer: &mut ReadBuffer) -> Outcome {
        let unix_ms = self.turn.unix_ms();
        let (route, _) = self.services.route(self.conn.route);
        let mut traced = Traced::take(&mut route.service, &mut self.turn.traces, unix_ms);
        let outcome = self.decode_limited(buffer, Some(&mut traced));
        let (route, _) = self.services.route(self.conn.route);
        traced.put_back(&mut route.service, &mut self.turn.traces);
        outcome
    }

    /// For any limits, none too; `traced` is there if a trace follows the connection, and has its service.
    #[inline(never)]
    fn decode_limited(&mut self, buffer: &mut ReadBuffer, traced: Option<&mut Traced>) -> Outcome {
        self.decode_for::<true>(buffer, traced)
    }

    /// As above; `LIMITED` as [`Meter`] has it.
    #[inline(always)]
    #[expect(clippy::too_many_lines, reason = "the one loop over what was read")]
    fn decode_for<const LIMITED: bool>(
        &mut self,
        buffer: &mut ReadBuffer,
        traced: Option<&mut Traced>,
    ) -> Outcome {
        let is_traced = traced.is_some();
        let (peer, key, conn, turn) = (self.peer(), self.key, &mut *self.conn, &mut *self.turn);
        let (route, pending) = self.services.route(conn.route);
        let message_bytes_max = route.options.message_bytes_max;
        let high_bytes = turn.settings.backlog_high_bytes;
        let arrived = &mut buffer.bytes[..buffer.filled];
        let outgoing = self.output.outgoing();
        outgoing.set_framing(conn.framing(route.options.deflate, key.index));
        let has_deflate = conn.flags.has_deflate();
        let service: &mut dyn Service = match traced {
            Some(traced) => traced,
            None => &mut *route.service,
        };
        let mut refused = Refused;
        let mut refused = Some(&mut refused);
        let mut delivery = Delivery::new(peer, conn.route, service, outgoing, pending);
        let limits = (conn.route, &route.options.limits);
        let mut meter = Meter::<LIMITED>::new(limits, self.cold, conn.cold, turn);
        let mut share = Share::new(&turn.work, has_deflate, LIMITED);
        let mut decoder = Decoder::new(&mut conn.decoder, &mut buffer.progress, message_bytes_max)
            .taking_compressed(has_deflate);
        let mut must_flush = false;
        if conn.flags.has(Flags::INFLATING) {
            let inflated = self.input.inflater().resume(key, &mut accounts(turn));
            if let Some(outcome) = delivery.take_inflated(inflated, &mut conn.flags, turn) {
                return outcome;
            }
            share.left = turn.work.share_left();
            must_flush = is_full(delivery.outgoing, delivery.pending, high_bytes);
        }
        let outcome = loop {
            // Asked for by the last message, or already when the connection opened. It comes first:
            // a request left over would meet another connection, or none.
            if delivery.outgoing.wants_close() {
                break Outcome::Close;
            }
            if share.is_to_be_compared(&delivery) {
                if share.is_used(&delivery) {
                    break Outcome::ShareUsed;
                }
                match meter.next(delivery.decoded()) {
                    Next::Deliver => {}
                    Next::Wait => {
                        pause(conn, turn);
                        break Outcome::ShareUsed;
                    }
                    Next::Refuse => {
                        meter.refuse(delivery.decoded());
                        delivery.refuse(refused.take());
                    }
                }
                if meter.ends(delivery.decoded()) {
                    break Outcome::OverRate;
                }
            }
            if must_flush {
                break Outcome::OutputFull;
            }
            match decoder.next_short(arrived) {
                Ok(Some((kind, payload))) => {
                    delivery.deliver(kind, &mut arrived[payload.clone()], Some(payload));
                    must_flush = is_full(delivery.outgoing, delivery.pending, high_bytes);
                    continue;
                }
                Err(violation) => break Outcome::Broken(violation),
                // Most reads end here, with whole short frames and nothing left over.
                Ok(None) if decoder.is_through(arrived) => break Outcome::NeedMore,
                Ok(None) => {}
            }
            let event = match decoder.next_frame(arrived) {
                Ok(None) => break Outcome::NeedMore,
                Err(violation) => break Outcome::Broken(violation),
                Ok(Some(Frame::Event(event))) => event,
                Ok(Some(Frame::Fragment)) => {
                    delivery.frames += 1;
                    share.compare_next();
                    if meter.take_fragment() {
                        break Outcome::Fragments;
                    }
                    continue;
                }
            };
            match event {
                Event::Close(payload) => break delivery.close(&arrived[payload]),
                Event::Message { kind, is_compressed: false, payload } => {
                    meter.end_message();
                    delivery.deliver(kind, &mut arrived[payload.clone()], Some(payload));
                }
                Event::Message { kind, is_compressed: true, payload } => {
                    meter.end_message();
                    let context = conn.flags.client_context(key.index);
                    let terms = InflateTerms::new(message_bytes_max, context);
                    turn.work.charge(delivery.take_work());
                    let (payload, mut accounts) = (&arrived[payload], accounts(turn));
                    let inflater = self.input.inflater();
                    let inflated = inflater.inflate(key, payload, kind, terms, &mut accounts);
                    if let Some(outcome) = delivery.take_inflated(inflated, &mut conn.flags, turn) {
                        break outcome;
                    }
                    share.left = turn.work.share_left();
                }
                Event::Ping(payload) => {
                    delivery.frames += 1;
                    share.compare_next();
                    if meter.take_control_frame(self.cold, key, turn) {
                        if !route.options.passes_pings {
                            delivery.outgoing.frame(Opcode::Pong, &arrived[payload.clone()]);
                        }
                        delivery.control_frame(ControlFrame::Ping(&arrived[payload]));
                    }
                }
                Event::Pong(payload) => {
                    (delivery.frames, delivery.pongs) = (delivery.frames + 1, delivery.pongs + 1);
                    share.compare_next();
                    if meter.take_control_frame(self.cold, key, turn) {
                        delivery.control_frame(ControlFrame::Pong(&arrived[payload]));
                    }
                }
            }
            must_flush = is_full(delivery.outgoing, delivery.pending, high_bytes);
        };
        turn.work.charge(delivery.take_work());
        let accepted = meter.accepted(delivery.decoded());
        delivery.count(accepted, &route.counters, &turn.counters, self.cold, conn.cold);
        if is_traced {
            turn.work.charge(delivery.messages * prices::EFFECT);
        }
        meter.settle(delivery.decoded(), key, conn, self.cold, turn).unwrap_or(outcome)
    }
}

/// What is left of the connection's share. It is charged when it is known what the messages came to;
/// until then that is compared.
struct Share {
    left: u64,
    /// Messages at the next comparison, and between two of them.
    next: u64,
    every: u64,
}

impl Share {
    fn new(work: &Work, has_deflate: bool, has_limits: bool) -> Self {
        // Each compressed reply may take a millisecond; of others some fit into any share. Where messages
        // are counted, each is, and the first as well.
        let every = if has_deflate || has_limits { 1 } else { MESSAGES_AT_ONCE };
        let next = if has_limits { 0 } else { every };
        Self { left: work.share_left(), next, every }
    }

    #[inline]
    fn is_to_be_compared(&self, delivery: &Delivery<'_>) -> bool {
        delivery.messages >= self.next
    }

    /// What comes next is compared before it is decoded.
    fn compare_next(&mut self) {
        self.next = 0;
    }

    fn is_used(&mut self, delivery: &Delivery<'_>) -> bool {
        self.next = delivery.messages + self.every;
        // Never before the first: a share always gets something done.
        delivery.messages + delivery.frames > 0 && delivery.work() >= self.left
    }
}

/// Gives the messages of one connection to its service.
struct Delivery<'d> {
    peer: Peer,
    route_number: u8,
    service: &'d mut dyn Service,
    outgoing: &'d mut Outgoing,
    pending: &'d mut PendingEffects,
    messages: u64,
    message_bytes: u64,
    /// Fragments and control frames.
    frames: u64,
    /// What of the messages and frames the turn was charged for.
    charged: u64,
    pongs: u64,
}

impl<'d> Delivery<'d> {
    fn new(
        peer: Peer,
        route_number: u8,
        service: &'d mut dyn Service,
        outgoing: &'d mut Outgoing,
        pending: &'d mut PendingEffects,
    ) -> Self {
        Self {
            peer,
            route_number,
            service,
            outgoing,
            pending,
            messages: 0,
            message_bytes: 0,
            frames: 0,
            charged: 0,
            pongs: 0,
        }
    }

    /// What the messages have cost that is not charged yet.
    #[inline]
    fn work(&self) -> u64 {
        let made = self.pending.work + self.outgoing.compressor().work();
        self.decoding_work() - self.charged + made
    }

    /// As [`Delivery::work`], for whom it is charged to; but for what effects cost, which are charged
    /// when they are carried out.
    #[inline]
    fn take_work(&mut self) -> u64 {
        let work = self.decoding_work();
        let uncharged = work - std::mem::replace(&mut self.charged, work);
        uncharged + self.outgoing.compressor_mut().take_work()
    }

    #[inline]
    fn decoding_work(&self) -> u64 {
        self.messages * prices::MESSAGE + self.frames * prices::FRAME
    }

    /// From now on messages go to `refused`.
    fn refuse(&mut self, refused: Option<&'d mut Refused>) {
        if let Some(refused) = refused {
            self.service = refused;
        }
    }

    /// Messages so far, and their bytes, those that were refused too.
    #[inline]
    fn decoded(&self) -> (u64, u64) {
        (self.messages, self.message_bytes)
    }

    /// `range` is where the payload lies in the read buffer, if it does.
    // Always: it is called once for each message, and the calls beside the first are rare.
    #[inline(always)]
    fn deliver(&mut self, kind: MessageKind, payload: &mut [u8], range: Option<Range<usize>>) {
        self.messages += 1;
        self.message_bytes += payload.len() as u64;
        let (outgoing, pending) = (&mut *self.outgoing, &mut *self.pending);
        let mut effects = Effects::on(self.route_number, self.peer, range, outgoing, pending);
        self.service.on_message(self.peer, Message::new(kind, payload), &mut effects);
    }

    /// Apart from messages, so that what is done for each of those stays small.
    #[cold]
    #[inline(never)]
    fn control_frame(&mut self, frame: ControlFrame<'_>) {
        let (outgoing, pending) = (&mut *self.outgoing, &mut *self.pending);
        let mut effects = Effects::on(self.route_number, self.peer, None, outgoing, pending);
        self.service.on_control_frame(self.peer, frame, &mut effects);
    }

    /// What a close frame leads to.
    #[cold]
    #[inline(never)]
    fn close(&mut self, payload: &[u8]) -> Outcome {
        match parse_close(payload) {
            Ok(close) => {
                self.control_frame(ControlFrame::Close(close.reason));
                Outcome::Closed(close.code)
            }
            Err(violation) => Outcome::Broken(violation),
        }
    }

    /// Delivers what the inflater has; the outcome if it is no message.
    #[inline(never)]
    fn take_inflated(
        &mut self,
        inflated: Result<Inflated, NotInflated>,
        flags: &mut Flags,
        turn: &mut Turn,
    ) -> Option<Outcome> {
        flags.clear(Flags::INFLATING);
        match inflated {
            Ok(mut inflated) => {
                let kind = inflated.kind();
                self.deliver(kind, inflated.payload_mut(), None);
                turn.memory.give(inflated.into_buffer());
                None
            }
            Err(NotInflated::Broken(violation)) => Some(Outcome::Broken(violation)),
            Err(NotInflated::NoRoom) => Some(Outcome::NoRoom),
            Err(NotInflated::Waits) => {
                flags.set(Flags::INFLATING);
                Some(Outcome::ShareUsed)
            }
        }
    }

    fn count(
        &mut self,
        (messages, bytes): (u64, u64),
        route: &RouteCounters,
        counters: &Counters,
        cold: &mut ColdRecords,
        link: SlotRef,
    ) {
        if self.messages > 0 {
            if cold.has_access() {
                cold.note_received(link, Traffic { messages, bytes });
            }
            route.messages_in.add(messages);
            route.message_bytes_in.add(bytes);
            self.outgoing.count_messages(route);
        }
        if self.pongs > 0 {
            counters.pongs_in.add(self.pongs);
        }
    }
}

/// What the payload of a close frame comes to.
fn accounts(turn: &mut Turn) -> Accounts<'_> {
    Accounts { memory: &mut turn.memory, work: &mut turn.work, now: turn.now }
}

/// Whether enough has gathered to be dealt with before more is made. Large payloads wait where they
/// were read: a write for two of 64 KiB costs less than two, and for more they leave the cache that
/// they were unmasked in.
pub(super) fn is_full(outgoing: &Outgoing, pending: &PendingEffects, high_bytes: usize) -> bool {
    outgoing.cork_bytes().len() >= high_bytes
        || outgoing.bytes() >= high_bytes + IN_PLACE_BYTES_MORE
        || pending.effects.len() >= EFFECTS_MAX
}

/// Effects noted by one connection's messages before they are carried out.
const EFFECTS_MAX: usize = 1024;
const IN_PLACE_BYTES_MORE: usize = 64 << 10;
/// Messages between two looks at the share.
const MESSAGES_AT_ONCE: u64 = 8;
