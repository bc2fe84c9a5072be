//! Receiving: reads follow one another while there is something to read and the connection's share
//! of the turn lasts, what they brought is decoded and given to the service, and what remains
//! unfinished is kept.
//!
//! [`Input`] owns the buffers. The steps below belong to one [`Active`] connection; [`handshake`]
//! answers requests, [`exchange`] those that upgrade nothing, [`identify`] asks who sends them, [`decode`] takes frames, [`line`](mod@line) takes
//! lines, [`inflate`] what came compressed, and [`proxied`] what proxies say of their clients.

mod decode;
mod exchange;
mod foreign;
mod handshake;
mod identify;
mod inflate;
mod input;
mod line;
mod meter;
mod proxied;
mod redirect;

pub(super) use inflate::{Accounts, InflateTerms, Inflated, NotInflated};
pub(super) use input::Input;
pub(super) use meter::{Meter, Next as RateVerdict, pause};

use super::active::Active;
use super::flags::Flags;
use super::relay::{FORWARD_BUFFER_BYTES_MAX, REPLY_BODY_BYTES};
use super::slot::Protocol;
use super::state::Phase;
use crate::effects::CloseReason;
use crate::key::SlotRef;
use crate::pool::{self, Need, OverBudget, ReadBuffer};
use crate::stream::{Received, Room, Source};
use crate::transport::Transport;
use crate::work::prices;
use crate::ws::{CLIENT_CONTROL_FRAME_BYTES_MAX, CloseCode, Violation};
use input::{Kept, large_end};

/// What a step came to that only the driver can deal with: it may end the connection, and it lets
/// the effects of services happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The connection failed, or has ended without more to say.
    Abort(CloseReason),
    /// The peer broke the protocol.
    Broken(Violation),
    /// The service asked for a close.
    Close,
    /// The peer closed; the code to answer with.
    Closed(Option<CloseCode>),
    /// Both close frames are out.
    EndAfterClose,
    /// The answer to the request stands in the output, and nothing comes after it.
    Finish(CloseReason),
    /// What the buffer holds goes on to the relay's other connection, or is of the reply before.
    Forward,
    /// A message comes in more fragments than its route allows.
    Fragments,
    /// The peer has ended its half.
    InputEnded,
    /// Everything that has arrived is decoded, and services have asked for something.
    NeedMore,
    /// There is no memory for what has arrived.
    NoRoom,
    /// Enough output has gathered to be written before more is made.
    OutputFull,
    /// What comes before its first line is over, a TLS handshake or a header of its proxy: the client
    /// asks to be let in.
    LinesBegin,
    /// It has sent more than a rate of its route allows.
    OverRate,
    /// The connection's share of the turn is used up.
    ShareUsed,
}

/// Where a connection stands with what it has read.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing is left to do until the next event.
    Done,
    /// Its share of the turn is used up; it goes on in the next.
    Later,
    /// The driver is to act, and then to go on with what is unfinished.
    Act(Option<Unfinished>, Outcome),
}

/// A read that is being dealt with.
#[derive(Debug)]
pub(super) struct Unfinished {
    buffer: ReadBuffer,
    /// Bytes of the same read that lie in the shared buffer.
    behind: usize,
    source: Source,
    stage: Stage,
}

/// What is to be done next with a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request head may be complete.
    Head,
    /// Messages may be there.
    Decode,
    /// The buffer is given back.
    Keep,
}

/// Whether there may be more to do for the connection right now.
enum Step {
    Again,
    Done,
    /// In the next turn.
    Later,
    Act(Option<Unfinished>, Outcome),
}

impl Unfinished {
    /// A buffer whose request head is answered again, after a decision.
    pub(super) fn undecided(buffer: ReadBuffer) -> Self {
        Self { buffer, behind: 0, source: Source::MayHaveMore, stage: Stage::Head }
    }

    /// What was read.
    pub(super) fn buffer_mut(&mut self) -> &mut ReadBuffer {
        &mut self.buffer
    }
}

impl<S: Transport> Active<'_, S> {
    /// Reads until nothing is left, or until the share or `reads_left` is used up.
    #[inline]
    pub(super) fn receive(&mut self, reads_left: &mut usize) -> Next {
        while *reads_left > 0 {
            *reads_left -= 1;
            match self.receive_once() {
                Step::Again if self.turn.work.is_share_used() => break,
                Step::Again => {}
                Step::Done => return Next::Done,
                Step::Later => return Next::Later,
                Step::Act(unfinished, outcome) => return Next::Act(unfinished, outcome),
            }
        }
        Next::Later
    }

    /// As [`Active::receive`], after going on with what is unfinished.
    pub(super) fn resume(&mut self, unfinished: Unfinished, reads_left: &mut usize) -> Next {
        match self.go_on(unfinished) {
            Step::Again => self.receive(reads_left),
            Step::Done => Next::Done,
            Step::Later => Next::Later,
            Step::Act(unfinished, outcome) => Next::Act(unfinished, outcome),
        }
    }

    fn receive_once(&mut self) -> Step {
        let flags = self.conn.flags;
        match self.conn.state.phase() {
            // Here and not when the close frame was written: only now is the read dealt with that
            // brought the peer's, and `INPUT_PENDING` tells whether anything came behind it.
            Phase::Lingering if flags.has(Flags::CLOSE_RECEIVED) => {
                return Step::Act(None, Outcome::EndAfterClose);
            }
            Phase::Closing | Phase::Lingering => return self.discard(),
            Phase::Dead => return Step::Done,
            Phase::Handshake | Phase::Refusing => {
                if let Protocol::Proxied(awaited) = self.conn.protocol {
                    return self.receive_proxy_header(awaited);
                }
            }
            Phase::Exchanging | Phase::Open | Phase::Reaching => {}
        }
        let has_undecoded = flags.has(Flags::UNDECODED);
        if flags.is_paused() || !(has_undecoded || flags.has(Flags::INPUT_PENDING)) {
            return Step::Done;
        }
        let mut buffer = self.input.lend(self.conn.partial);
        // What was read before comes first. The socket is not read again before it is decoded, so a
        // paused connection holds at most one read.
        let received = if has_undecoded {
            Received::Bytes { ahead: 0, behind: 0, source: Source::MayHaveMore }
        } else {
            match self.read(&mut buffer) {
                Ok(received) => received,
                Err(OverBudget) => return self.wait_for_memory(buffer),
            }
        };
        if let Some(source) = self.is_secured(&received) {
            // What came with the end of the handshake is decoded once the client is let in.
            self.conn.flags.set(Flags::UNDECODED);
            return act_and_keep(buffer, Outcome::LinesBegin, source);
        }
        match received {
            Received::Bytes { behind, source, .. } => {
                // Before decoding, which sets it again if it has to stop early.
                self.conn.flags.clear(Flags::UNDECODED);
                if !self.conn.state.is_open()
                    && let Some(outcome) = self.receive_first(&mut buffer)
                {
                    let stage = Stage::Keep;
                    let unfinished = Unfinished { buffer, behind, source, stage };
                    return Step::Act(Some(unfinished), outcome);
                }
                // Most often all that has come is dealt with at once.
                match self.receive_messages(&mut buffer) {
                    None if behind == 0 => self.keep_and_go_on(buffer, source),
                    outcome => self.go_on_after(outcome, buffer, behind, source),
                }
            }
            // Readiness may be spurious. With the flag left set, `after_read` would ask for a
            // further read without end; an end that does come is announced then (EPOLLRDHUP,
            // epoll_ctl(2)).
            Received::Nothing(source) => {
                if source == Source::Drained {
                    self.conn.flags.clear(Flags::INPUT_ENDING);
                }
                self.go_on(Unfinished { buffer, behind: 0, source, stage: Stage::Keep })
            }
            Received::Ended { clean } => self.end_input(buffer, clean),
            Received::Broken => {
                if self.conn.state.phase() == Phase::Reaching {
                    // Nothing has been said to it that would have to be ended.
                    let outcome = Outcome::Abort(CloseReason::Tls);
                    return act_and_keep(buffer, outcome, Source::Drained);
                }
                if self.conn.state.is_handshake() {
                    self.turn.note_failed_handshake(self.key);
                }
                act_and_keep(buffer, Outcome::Finish(CloseReason::Tls), Source::MayHaveMore)
            }
            Received::NoMemory | Received::NoRoom(_) => {
                act_and_keep(buffer, Outcome::NoRoom, Source::MayHaveMore)
            }
            Received::Failed => {
                act_and_keep(buffer, Outcome::Abort(CloseReason::Reset), Source::Drained)
            }
        }
    }

    /// There is no memory to read into. Nothing was read, so it can go on in the next turn, unless it has
    /// waited long enough.
    #[cold]
    fn wait_for_memory(&mut self, buffer: ReadBuffer) -> Step {
        if !self.turn.memory.may_wait(self.key) {
            // What the socket holds is yet to be discarded: closing with it unread would reset the
            // connection and lose our last bytes.
            return act_and_keep(buffer, Outcome::NoRoom, Source::MayHaveMore);
        }
        match self.keep(buffer) {
            Ok(()) => Step::Later,
            Err(OverBudget) => Step::Act(None, Outcome::NoRoom),
        }
    }

    /// Something has come before the connection is open: of a request, or of a backend's reply.
    #[inline(never)]
    fn receive_first(&mut self, buffer: &mut ReadBuffer) -> Option<Outcome> {
        if matches!(self.conn.state.phase(), Phase::Exchanging | Phase::Reaching) {
            return Some(Outcome::Forward);
        }
        if self.conn.protocol == Protocol::HttpNext {
            self.begin_next_request(buffer);
        }
        self.receive_head(buffer)
    }

    /// The peer has ended its half.
    fn end_input(&mut self, mut buffer: ReadBuffer, clean: bool) -> Step {
        let phase = self.conn.state.phase();
        if phase == Phase::Reaching && self.cold.is_handshaking(self.conn.cold) {
            // It was never reached.
            return act_and_keep(buffer, Outcome::Abort(CloseReason::Gone), Source::Drained);
        }
        let is_reply = phase == Phase::Exchanging && self.conn.protocol.is_backend();
        if phase == Phase::Reaching || is_reply && clean {
            // Where a reply has no length, this is its end.
            self.conn.flags.set(Flags::INPUT_ENDED);
            self.conn.flags.clear(Flags::INPUT_PENDING);
            return act_and_keep(buffer, Outcome::Forward, Source::Drained);
        }
        // A line that was cut short is none.
        if clean
            && self.conn.protocol == Protocol::Line
            && let Err(reason) = self.take_last_line(&mut buffer)
        {
            return act_and_keep(buffer, Outcome::Abort(reason), Source::Drained);
        }
        act_and_keep(buffer, Outcome::InputEnded, Source::Drained)
    }

    /// Reads once into the free room of `buffer`, which grows if it has none.
    fn read(&mut self, buffer: &mut ReadBuffer) -> Result<Received, OverBudget> {
        if buffer.filled == buffer.bytes.len() {
            self.grow(buffer, 1)?;
        }
        loop {
            let has_cipher = self.cold.has_cipher(self.conn.cold);
            let holds_frames = self.conn.state.is_open()
                && self.conn.protocol == Protocol::WebSocket
                && !has_cipher;
            let end = match self.conn.partial.is_none() || !holds_frames {
                true => None,
                false => large_end(buffer),
            };
            // A cipher opens a record as a whole, so it cannot fill two buffers. Before the
            // upgrade, and for lines, no length tells where the unfinished part ends.
            let ahead_end = end.unwrap_or(buffer.bytes.len());
            let ahead = &mut buffer.bytes[buffer.filled..ahead_end];
            let behind = match end {
                Some(_) => self.input.shared_room(),
                // What is read lies apart from its plaintext: it may be longer.
                None if has_cipher && !self.conn.partial.is_none() => self.input.shared_room(),
                None => &mut [],
            };
            let room = Room { ahead, behind };
            let Self { conn, cold, turn, .. } = self;
            let received = cold.receive(&mut conn.socket, conn.cold, room, turn);
            if has_cipher {
                self.after_ciphered();
            }
            match received {
                Received::Bytes { ahead, behind, .. } => {
                    self.turn.work.charge(prices::READ + prices::bytes(ahead + behind));
                    buffer.filled += ahead;
                    self.note_life();
                }
                Received::NoRoom(bytes) => {
                    self.grow(buffer, bytes)?;
                    continue;
                }
                Received::Broken
                | Received::Ended { .. }
                | Received::Failed
                | Received::NoMemory
                | Received::Nothing(_) => self.turn.work.charge(prices::READ),
            }
            return Ok(received);
        }
    }

    /// Whether this read has ended the TLS handshake of a line client, which is let in now.
    #[inline]
    fn is_secured(&self, received: &Received) -> Option<Source> {
        let conn = &*self.conn;
        if conn.protocol != Protocol::Line
            || !conn.state.is_handshake()
            || self.cold.is_handshaking(conn.cold)
        {
            return None;
        }
        match received {
            Received::Bytes { source, .. } | Received::Nothing(source) => Some(*source),
            Received::Broken
            | Received::Ended { .. }
            | Received::Failed
            | Received::NoMemory
            | Received::NoRoom(_) => None,
        }
    }

    /// A stream with a cipher has received, and may have had something to say itself.
    #[inline(never)]
    fn after_ciphered(&mut self) {
        let (conn, tick) = (&mut *self.conn, self.turn.tick);
        if self.cold.unopened(conn.cold).is_some() {
            // The deadline of a record begins.
            conn.rearm();
        }
        let waiting_bytes = self.cold.waiting_bytes(conn.cold);
        self.turn.memory.holders().set_records(self.key, waiting_bytes, tick);
        if self.cold.has_unsent(conn.cold) {
            if !conn.flags.has(Flags::UNSENT) {
                self.output.block_unsent(conn, self.key, self.cold, self.turn);
            }
        } else if conn.flags.has(Flags::WRITE_BLOCKED)
            && !conn.flags.has(Flags::UNSENT)
            && !self.cold.is_handshaking(conn.cold)
        {
            // What waited for the end of the handshake can go.
            conn.flags.clear(Flags::WRITE_BLOCKED);
            self.output.mark_dirty(conn, self.key);
        }
    }

    /// Bytes have come: the peer is there.
    #[inline]
    fn note_life(&mut self) {
        if self.conn.state.is_open() {
            self.conn.note_seen(self.turn.tick);
            self.conn.flags.clear(Flags::PING_UNWRITTEN);
            if self.conn.flags.take(Flags::PINGED) {
                self.conn.rearm();
            }
        }
    }

    /// Makes a buffer longer until it has room for `bytes`.
    fn grow(&mut self, buffer: &mut ReadBuffer, bytes: usize) -> Result<(), OverBudget> {
        let (need, message_bytes_max) = match self.conn.state.is_open() {
            true => {
                let options = &self.services.route(self.conn.route).0.options;
                let bytes_max = options.message_bytes_max;
                match self.conn.protocol.passes_frames() {
                    true => (Need::Message, bytes_max.max(FORWARD_BUFFER_BYTES_MAX)),
                    false => (Need::Message, bytes_max),
                }
            }
            false if self.conn.state.phase() == Phase::Reaching => {
                (Need::Head, self.turn.settings.head_bytes_max + REPLY_BODY_BYTES)
            }
            false => (Need::Head, self.turn.settings.head_bytes_max),
        };
        // Longer than any header, so it covers a message and its header as well. A record comes
        // whole, whatever it holds.
        let record_bytes = if bytes > 1 { bytes } else { 0 };
        let bytes_max = message_bytes_max + CLIENT_CONTROL_FRAME_BYTES_MAX + record_bytes;
        while buffer.bytes.len() - buffer.filled < bytes {
            self.turn.memory.grow_for(need, &mut buffer.bytes, bytes_max)?;
        }
        Ok(())
    }

    /// Answers the request or decodes messages, as far as they have come, and gives the buffer back.
    fn go_on(&mut self, mut unfinished: Unfinished) -> Step {
        if unfinished.stage == Stage::Head {
            unfinished.stage = Stage::Decode;
            if let Some(outcome) = self.receive_head(&mut unfinished.buffer) {
                // The request is answered, and what follows it in the buffer belongs to nothing.
                unfinished.stage = Stage::Keep;
                return Step::Act(Some(unfinished), outcome);
            }
        }
        let outcome = match unfinished.stage {
            Stage::Head | Stage::Decode => self.receive_messages(&mut unfinished.buffer),
            Stage::Keep => None,
        };
        let Unfinished { buffer, behind, source, .. } = unfinished;
        self.go_on_after(outcome, buffer, behind, source)
    }

    /// Goes on when the messages in a buffer are decoded, as far as `outcome` says.
    #[inline(never)]
    fn go_on_after(
        &mut self,
        outcome: Option<Outcome>,
        buffer: ReadBuffer,
        behind: usize,
        source: Source,
    ) -> Step {
        if let Some(outcome) = outcome {
            // All other outcomes end the connection or leave messages that can be decoded once it
            // is acted on.
            let is_over =
                matches!(outcome, Outcome::Forward | Outcome::NeedMore | Outcome::ShareUsed);
            let stage = if is_over { Stage::Keep } else { Stage::Decode };
            return Step::Act(Some(Unfinished { buffer, behind, source, stage }), outcome);
        }
        if behind == 0 || !self.conn.state.is_open() {
            return self.keep_and_go_on(buffer, source);
        }
        if self.keep(buffer).is_err() {
            return Step::Act(None, Outcome::NoRoom);
        }
        // The same read has filled the partial-read buffer to its message's end, which is dealt
        // with, and gone on into the shared one.
        // `Input::keep` above has not touched the shared buffer: the partial-read buffer was lent.
        // So the bytes behind still lie at its start, and are decoded before anything is read into
        // it.
        debug_assert!(self.conn.partial.is_none(), "a message that is complete is not kept");
        let mut buffer = self.input.lend(SlotRef::NONE);
        buffer.filled = behind;
        if self.conn.flags.is_paused() || self.conn.flags.has(Flags::UNDECODED) {
            self.conn.flags.set(Flags::UNDECODED);
            return self.keep_and_go_on(buffer, source);
        }
        let outcome = self.receive_messages(&mut buffer);
        self.go_on_after(outcome, buffer, 0, source)
    }

    // Always: the buffer would be copied for the call otherwise.
    #[inline(always)]
    fn keep_and_go_on(&mut self, buffer: ReadBuffer, source: Source) -> Step {
        match self.keep(buffer) {
            Ok(()) => self.after_read(source),
            Err(OverBudget) => Step::Act(None, Outcome::NoRoom),
        }
    }

    /// Decodes what has arrived, lets the service answer, and writes the answers. `None` when the
    /// buffer can be given back.
    #[inline]
    fn receive_messages(&mut self, buffer: &mut ReadBuffer) -> Option<Outcome> {
        loop {
            // The driver may have ended or paused it between two calls of this.
            if !self.conn.state.is_open() || self.conn.flags.has(Flags::UNDECODED) {
                return None;
            }
            let outcome = match self.conn.protocol {
                Protocol::WebSocket => self.decode(buffer),
                Protocol::Line => self.decode_lines(buffer),
                Protocol::Backend
                | Protocol::FrameBackend
                | Protocol::FrameRelay
                | Protocol::Relay => {
                    let has_more = buffer.kept_bytes() > 0 || self.conn.flags.has(Flags::INFLATING);
                    return has_more.then_some(Outcome::Forward);
                }
                // Of a request nothing is a message.
                Protocol::Exchange
                | Protocol::ExchangeBackend
                | Protocol::Http
                | Protocol::HttpNext
                | Protocol::Proxied(_) => return None,
            };
            // Before any outcome is given: segments in place refer to this buffer, and the effects
            // of the messages must not overtake the replies to them.
            if let Err(reason) = self.flush_outgoing(Some(buffer)) {
                return Some(Outcome::Abort(reason));
            }
            // Effects concern other connections, which a step cannot reach, so even a step that is
            // done hands over to the driver.
            if !self.services.is_quiet() {
                return Some(outcome);
            }
            // By their kind: an outcome that is compared as a whole is compared out of line.
            let is_full = matches!(outcome, Outcome::OutputFull);
            if matches!(outcome, Outcome::NeedMore) {
                return None;
            } else if matches!(outcome, Outcome::ShareUsed)
                || is_full && self.conn.flags.is_paused()
            {
                self.conn.flags.set(Flags::UNDECODED);
                return None;
            } else if !is_full {
                return Some(outcome);
            }
        }
    }

    // As `keep_and_go_on`.
    #[inline(always)]
    fn keep(&mut self, buffer: ReadBuffer) -> Result<(), OverBudget> {
        // Most reads end with whole messages, and need no buffer of their own.
        if self.conn.partial.is_none() && buffer.kept_bytes() == 0 {
            self.input.take_back(buffer);
            return Ok(());
        }
        self.keep_unfinished(buffer)
    }

    #[inline(never)]
    fn keep_unfinished(&mut self, buffer: ReadBuffer) -> Result<(), OverBudget> {
        // Nothing is decoded any more once it ends, so an unfinished message is dropped with its
        // buffer.
        let unfinished = match self.conn.state.phase() {
            Phase::Exchanging | Phase::Handshake | Phase::Reaching | Phase::Refusing => {
                Some(pool::Unfinished::Head)
            }
            Phase::Open if self.conn.protocol.passes_frames() => Some(pool::Unfinished::Forwarded),
            Phase::Open => Some(pool::Unfinished::Message),
            Phase::Closing | Phase::Lingering | Phase::Dead => None,
        };
        let (memory, now) = (&mut self.turn.memory, self.turn.now);
        let partial = &mut self.conn.partial;
        let had_partial = !partial.is_none();
        let kept = self.input.keep(partial, unfinished, buffer, memory, now)?;
        if had_partial || kept != Kept::Nothing {
            let bytes = self.input.partial_bytes(self.conn.partial);
            self.turn.memory.holders().set_input(self.key, bytes, self.turn.tick);
        }
        if kept != Kept::Nothing {
            let is_paused = self.conn.flags.is_paused();
            let goes_on = self.input.set_paused(self.conn.partial, is_paused, self.turn.tick);
            // The deadline of a message begins, or one that stood still does so no longer.
            if goes_on || kept == Kept::Begun {
                self.conn.rearm();
            }
        }
        Ok(())
    }

    /// The end of input that was announced shows only in a further read, and the edge for it has
    /// been given.
    #[inline]
    fn after_read(&mut self, source: Source) -> Step {
        if source != Source::Drained || self.conn.flags.has(Flags::INPUT_ENDING) {
            return Step::Again;
        }
        // The socket was seen empty after the last edge, so the next byte gives a new one
        // (epoll(7)).
        self.conn.flags.clear(Flags::INPUT_PENDING);
        if self.conn.flags.has(Flags::UNDECODED) { Step::Again } else { Step::Done }
    }

    /// Reads and throws away, so that closing the socket resets nothing.
    fn discard(&mut self) -> Step {
        if !self.conn.flags.has(Flags::INPUT_PENDING) {
            return Step::Done;
        }
        // A connection that ends has given its buffer back, and no other is in the middle of a
        // read.
        let room = Room { ahead: self.input.shared_room(), behind: &mut [] };
        let Self { conn, cold, turn, .. } = self;
        let received = cold.receive(&mut conn.socket, conn.cold, room, turn);
        self.turn.work.charge(prices::READ);
        if self.cold.has_cipher(self.conn.cold) {
            // The last words may have waited for the end of a handshake.
            self.after_ciphered();
        }
        match received {
            Received::Bytes { ahead, source, .. } => {
                self.turn.work.charge(prices::bytes(ahead));
                self.after_read(source)
            }
            Received::Ended { .. } => Step::Act(None, Outcome::InputEnded),
            Received::Nothing(source) => {
                if source == Source::Drained {
                    self.conn.flags.clear(Flags::INPUT_ENDING);
                }
                self.after_read(source)
            }
            // What came before is thrown away as well; the peer was told.
            Received::Broken => self.after_read(Source::MayHaveMore),
            Received::Failed | Received::NoMemory | Received::NoRoom(_) => {
                Step::Act(None, Outcome::Abort(CloseReason::Reset))
            }
        }
    }
}

/// Has the driver act before the buffer is given back.
fn act_and_keep(buffer: ReadBuffer, outcome: Outcome, source: Source) -> Step {
    let unfinished = Unfinished { buffer, behind: 0, source, stage: Stage::Keep };
    Step::Act(Some(unfinished), outcome)
}
