//! Reading: bytes come into the loop's receive buffer or the connection's carry, are decoded
//! where they lie, and what remains unfinished is kept.

use std::io;
use std::ops::Range;

use super::inflate::{InflateTerms, NotInflated};
use super::outgoing::Framing;
use super::read::Read;
use super::{ConnSettings, Connections, Flags, Outgoing, Phase};
use crate::key::{ConnKey, Link};
use crate::metrics::Counters;
use crate::pool::ReadBuffer;
use crate::reactor::Transport;
use crate::services::{CloseReason, Effects, Message, Peer, Requested, Service};
use crate::ws::{CloseCode, Decoder, Event, MessageKind, Opcode, Violation, parse_close};

/// Whether there may be more to do for the connection right now.
enum Step {
    Again,
    Done,
}

/// Why decoding stopped.
pub(super) enum Stop {
    Broken(Violation),
    /// The peer closed; the code to answer with.
    Closed(Option<CloseCode>),
    /// Everything that has arrived is decoded.
    NeedMore,
    /// There is no memory for a message.
    NoRoom,
    /// Enough output has gathered to be written before more is made.
    OutputFull,
    /// Its share of the turn is used up.
    ShareUsed,
    /// The service asked for a close.
    ServiceClose,
}

impl<S: Transport> Connections<S> {
    /// An event said that there may be something to read, or that the peer has ended its half.
    pub fn on_readable(&mut self, key: ConnKey, ending: bool) {
        let Some(conn) = self.table.get_mut(key) else {
            self.counters.events_stale.add(1);
            return;
        };
        conn.flags.set(Flags::INPUT_PENDING);
        if ending {
            conn.flags.set(Flags::INPUT_ENDING);
            if conn.flags.has(Flags::UNDECIDED) && !conn.flags.has(Flags::LINES) {
                // Nobody is left to be let in. Of line clients the lines before the end count.
                self.counters.handshakes_abandoned.add(1);
                return self.kill(key, CloseReason::Gone);
            }
        }
        self.receive(key);
    }

    /// Reads until nothing is left or the budget is used up.
    pub(super) fn receive(&mut self, key: ConnKey) {
        for _ in 0..self.settings.reads_per_turn {
            match self.receive_once(key) {
                Step::Again => {}
                Step::Done => return,
            }
        }
        self.run_queue.push(&mut self.table, key);
    }

    fn receive_once(&mut self, key: ConnKey) -> Step {
        let Some(conn) = self.table.get_mut(key) else { return Step::Done };
        match conn.phase {
            Phase::Lingering if conn.flags.has(Flags::SAID_CLOSE) => {
                self.end_after_close(key);
                return self.discard(key);
            }
            Phase::Closing | Phase::Lingering => return self.discard(key),
            Phase::Dead => return Step::Done,
            Phase::Handshake | Phase::Open | Phase::Refusing => {}
        }
        let has_undecoded = conn.flags.has(Flags::UNDECODED);
        if conn.flags.has(Flags::PAUSED)
            || conn.flags.has(Flags::MAIL_PAUSED)
            || conn.flags.has(Flags::UNDECIDED)
            || !(has_undecoded || conn.flags.has(Flags::INPUT_PENDING))
        {
            return Step::Done;
        }
        let carry = conn.carry;
        let mut buffer = match self.carries.borrow(carry) {
            Some(buffer) => buffer,
            None => std::mem::take(&mut self.receive_buffer),
        };
        let read = if has_undecoded {
            Read::Got { behind: 0, filled_the_room: true }
        } else {
            self.read(key, &mut buffer)
        };

        let step = match read {
            Read::Failed => {
                self.kill(key, CloseReason::Reset);
                Step::Done
            }
            Read::Ended => {
                if self.speaks_lines(key) {
                    self.take_last_line(key, &mut buffer);
                }
                self.input_ended(key);
                Step::Done
            }
            Read::Got { behind, filled_the_room } => {
                self.handle(key, &mut buffer);
                if behind > 0 {
                    self.keep(key, carry, buffer);
                    self.receive_behind(key, behind);
                    return self.after_read(key, filled_the_room);
                }
                self.after_read(key, filled_the_room)
            }
            Read::NoRoom => Step::Done,
            Read::Nothing => self.after_read(key, false),
        };
        self.keep(key, carry, buffer);
        step
    }

    /// The same read has filled a carry, which is dealt with, and gone on into the receive buffer.
    fn receive_behind(&mut self, key: ConnKey, bytes: usize) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.phase != Phase::Open {
            return;
        }
        debug_assert!(conn.carry.is_none(), "a carry that was filled to its message's end is done");
        let carry = conn.carry;
        let mut buffer = std::mem::take(&mut self.receive_buffer);
        buffer.filled = bytes;
        if conn.flags.has(Flags::PAUSED)
            || conn.flags.has(Flags::MAIL_PAUSED)
            || conn.flags.has(Flags::UNDECODED)
        {
            conn.flags.set(Flags::UNDECODED);
        } else {
            self.receive_frames(key, &mut buffer);
        }
        self.keep(key, carry, buffer);
    }

    /// A read that did not fill its room took all there was, and the next byte gives an edge,
    /// unless the end of input was announced: that shows only in a further read, and the edge for
    /// it has been given.
    fn after_read(&mut self, key: ConnKey, filled_the_room: bool) -> Step {
        let Some(conn) = self.table.get_mut(key) else { return Step::Done };
        if filled_the_room || conn.flags.has(Flags::INPUT_ENDING) {
            return Step::Again;
        }
        conn.flags.clear(Flags::INPUT_PENDING);
        if conn.flags.has(Flags::UNDECODED) { Step::Again } else { Step::Done }
    }

    fn handle(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.clear(Flags::UNDECODED);
        if conn.phase != Phase::Open {
            self.receive_head(key, buffer);
        }
        self.receive_frames(key, buffer);
    }

    /// Decodes what has arrived, lets the service answer, and writes the answers.
    pub(super) fn receive_frames(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        while self.table.get_mut(key).is_some_and(|conn| conn.phase == Phase::Open) {
            let stop = if self.speaks_lines(key) {
                self.decode_lines(key, buffer)
            } else {
                self.decode(key, buffer)
            };
            self.flush_outgoing(key, Some(buffer));
            let close_request = self.outgoing.take_close();
            let letters = self.mail_out.len();
            self.apply_effects();
            let writes_mail = self.mail_out.len() > letters;
            if self.mail_full && writes_mail {
                self.pause_for_mail(key);
            }
            match stop {
                Stop::NeedMore => return,
                Stop::OutputFull => {
                    if let Some(conn) = self.table.get_mut(key)
                        && (conn.flags.has(Flags::PAUSED) || conn.flags.has(Flags::MAIL_PAUSED))
                    {
                        conn.flags.set(Flags::UNDECODED);
                        return;
                    }
                }
                Stop::ShareUsed => {
                    if let Some(conn) = self.table.get_mut(key) {
                        conn.flags.set(Flags::UNDECODED);
                    }
                    return;
                }
                Stop::NoRoom => self.overloaded(key),
                Stop::Broken(violation) => {
                    let reason = CloseReason::Violation(violation);
                    self.fail(key, violation.close_code(), &violation.to_string(), reason);
                }
                Stop::Closed(code) => self.answer_close(key, code),
                Stop::ServiceClose => {
                    if let Some(request) = close_request {
                        self.close_for_service(key, &request);
                    }
                }
            }
        }
    }

    fn pause_for_mail(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && conn.flags.raise(Flags::MAIL_PAUSED)
        {
            self.paused_by_mail.push(key);
        }
    }

    fn decode(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> Stop {
        let Some(conn) = self.table.get_mut(key) else { return Stop::NeedMore };
        let route = self.router.socket(conn.route);
        let message_bytes_max = route.options.message_bytes_max;
        let arrived = &mut buffer.bytes[..buffer.filled];
        self.outgoing.set_framing(Framing::of(conn.flags, route.options.deflate, key.index));
        let flags = conn.flags;
        let mut delivery = Delivery {
            peer: Peer { loop_index: self.loop_index, key },
            route_number: conn.route,
            service: route.service.as_mut(),
            outgoing: &mut self.outgoing,
            requested: &mut self.requested,
            messages: 0,
            message_bytes: 0,
            pongs: 0,
        };
        let mut inflated_bytes = 0;
        let mut decoder = Decoder::new(&mut conn.decoder, &mut buffer.progress, message_bytes_max)
            .taking_compressed(conn.flags.deflate_window_bits().is_some());
        let mut must_flush = false;
        let stop = loop {
            // Asked for by the last message, or already when the connection opened. It comes first:
            // a request left over would meet another connection, or nobody.
            if delivery.outgoing.wants_close() {
                break Stop::ServiceClose;
            }
            if must_flush {
                break Stop::OutputFull;
            }
            if inflated_bytes + delivery.outgoing.deflation().ready_bytes() >= INFLATED_BYTES_MAX {
                break Stop::ShareUsed;
            }
            match decoder.next_short(arrived) {
                Ok(Some((kind, payload))) => {
                    delivery.deliver(kind, &mut arrived[payload.clone()], Some(payload));
                    must_flush = is_full(delivery.outgoing, delivery.requested, &self.settings);
                    continue;
                }
                Err(violation) => break Stop::Broken(violation),
                Ok(None) => {}
            }
            match decoder.next(arrived) {
                Ok(None) => break Stop::NeedMore,
                Err(violation) => break Stop::Broken(violation),
                Ok(Some(Event::Close(payload))) => break close_stop(&arrived[payload]),
                Ok(Some(Event::Message { kind, is_compressed: false, payload })) => {
                    delivery.deliver(kind, &mut arrived[payload.clone()], Some(payload));
                }
                Ok(Some(Event::Message { kind, is_compressed: true, payload })) => {
                    let place = flags.client_context(key.index);
                    let terms = InflateTerms { message_bytes_max, place };
                    let (payload, buffers) = (&arrived[payload], &mut self.buffers);
                    let (inflation, now) = (&mut self.inflation, self.now);
                    match inflation.inflate(payload, kind, terms, buffers, now) {
                        Ok(mut inflated) => {
                            inflated_bytes += inflated.work_bytes;
                            delivery.deliver(kind, inflated.payload_mut(), None);
                            self.buffers.give(inflated.buffer);
                        }
                        Err(NotInflated::Broken(violation)) => break Stop::Broken(violation),
                        Err(NotInflated::NoRoom) => break Stop::NoRoom,
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    delivery.outgoing.frame(Opcode::Pong, &arrived[payload]);
                }
                Ok(Some(Event::Pong(_))) => delivery.pongs += 1,
            }
            must_flush = is_full(delivery.outgoing, delivery.requested, &self.settings);
        };
        delivery.count(&self.counters);
        stop
    }

    /// Keeps what is unfinished and returns the buffer it was read into.
    pub(super) fn keep(&mut self, key: ConnKey, carry: Link, mut buffer: ReadBuffer) {
        let wanted = self.table.get_mut(key).is_some_and(|conn| {
            matches!(conn.phase, Phase::Handshake | Phase::Open | Phase::Refusing)
        });
        let kept_bytes = if wanted { buffer.kept_bytes() } else { 0 };
        if carry.is_none() {
            if kept_bytes > 0 {
                match self.carries.keep(&buffer, &mut self.buffers, self.now) {
                    Ok(link) => {
                        if let Some(conn) = self.table.get_mut(key) {
                            conn.carry = link;
                        }
                    }
                    Err(_) => self.overloaded(key),
                }
            }
            buffer.clear();
            self.receive_buffer = buffer;
            return;
        }
        if kept_bytes > 0 {
            buffer.close_up();
            self.carries.restore(carry, buffer);
            return;
        }
        self.carries.restore(carry, buffer);
        self.carries.release(carry, &mut self.buffers);
        if let Some(conn) = self.table.get_mut(key) {
            conn.carry = Link::NONE;
        }
    }

    /// The peer has said all it will.
    fn input_ended(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.flags.set(Flags::INPUT_ENDED);
        conn.flags.clear(Flags::INPUT_PENDING);
        match conn.phase {
            Phase::Handshake | Phase::Refusing => {
                self.counters.handshakes_abandoned.add(1);
                self.kill(key, CloseReason::Gone);
            }
            Phase::Open => self.finish(key, CloseReason::Gone),
            // Output may still be on its way out; the end of it finds the flag.
            Phase::Closing => {}
            Phase::Lingering => self.kill(key, CloseReason::Gone),
            Phase::Dead => {}
        }
    }

    /// Reads and throws away, so that closing the socket resets nothing.
    fn discard(&mut self, key: ConnKey) -> Step {
        let Some(conn) = self.table.get_mut(key) else { return Step::Done };
        if !conn.flags.has(Flags::INPUT_PENDING) {
            return Step::Done;
        }
        let room_bytes = self.receive_buffer.bytes.len();
        match conn.socket.read(&mut self.receive_buffer.bytes) {
            Ok(0) => {
                self.input_ended(key);
                Step::Done
            }
            Ok(count) => self.after_read(key, count == room_bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Again,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.flags.clear(Flags::INPUT_ENDING);
                self.after_read(key, false)
            }
            Err(_) => {
                self.kill(key, CloseReason::Reset);
                Step::Done
            }
        }
    }
}

/// Gives the messages of one connection to its service.
struct Delivery<'d> {
    peer: Peer,
    route_number: u8,
    service: &'d mut dyn Service,
    outgoing: &'d mut Outgoing,
    requested: &'d mut Requested,
    messages: u64,
    message_bytes: u64,
    pongs: u64,
}

impl Delivery<'_> {
    /// `place` is where the payload lies in the read buffer, if it does.
    fn deliver(&mut self, kind: MessageKind, payload: &mut [u8], place: Option<Range<usize>>) {
        self.messages += 1;
        self.message_bytes += payload.len() as u64;
        let (outgoing, requested) = (&mut *self.outgoing, &mut *self.requested);
        let mut effects = Effects::on(self.route_number, self.peer, place, outgoing, requested);
        self.service.on_message(self.peer, Message::new(kind, payload), &mut effects);
    }

    fn count(&self, counters: &Counters) {
        if self.messages > 0 {
            counters.messages_in.add(self.messages);
            counters.message_bytes_in.add(self.message_bytes);
        }
        if self.pongs > 0 {
            counters.pongs_in.add(self.pongs);
        }
    }
}

/// What the payload of a close frame comes to.
fn close_stop(payload: &[u8]) -> Stop {
    match parse_close(payload) {
        Ok(close) => Stop::Closed(close.code),
        Err(violation) => Stop::Broken(violation),
    }
}

/// Whether enough has gathered to be dealt with before more is made. Large payloads wait where they
/// were read: a write for two of 64 KiB costs less than two, and for more they leave the cache that
/// they were unmasked in.
pub(super) fn is_full(outgoing: &Outgoing, requested: &Requested, settings: &ConnSettings) -> bool {
    outgoing.cork_bytes().len() >= settings.backlog_high_bytes
        || outgoing.bytes() >= settings.backlog_high_bytes + IN_PLACE_BYTES_MORE
        || requested.effects.len() >= EFFECTS_MAX
}

/// Effects noted by one connection's messages before they are carried out.
const EFFECTS_MAX: usize = 1024;
const IN_PLACE_BYTES_MORE: usize = 64 << 10;
/// Bytes that one connection's messages come to before others get their turn: a few that were sent
/// may unfold to a thousand times as many, and a short one may take the work of a window.
const INFLATED_BYTES_MAX: usize = 512 << 10;
