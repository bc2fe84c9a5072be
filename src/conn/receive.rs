//! Receiving: reads follow one another while there is something to read and the connection's share
//! of the turn lasts, what they brought is dealt with, and what remains unfinished is kept.

use std::io;

use super::decode::Stop;
use super::read::Read;
use super::{Connections, Flags, Phase};
use crate::effects::CloseReason;
use crate::key::{ConnKey, SlotRef};
use crate::pool::ReadBuffer;
use crate::transport::Transport;

/// Whether there may be more to do for the connection right now.
enum Step {
    Again,
    Done,
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
                return self.abort(key, CloseReason::Gone);
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
        let partial = conn.partial;
        let mut buffer = match self.partial_reads.borrow(partial) {
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
                self.abort(key, CloseReason::Reset);
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
                    self.keep(key, partial, buffer);
                    self.receive_behind(key, behind);
                    return self.after_read(key, filled_the_room);
                }
                self.after_read(key, filled_the_room)
            }
            Read::NoRoom => Step::Done,
            Read::Nothing => self.after_read(key, false),
        };
        self.keep(key, partial, buffer);
        step
    }

    /// The same read has filled a partial-read buffer, which is dealt with, and gone on into the receive buffer.
    fn receive_behind(&mut self, key: ConnKey, bytes: usize) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.phase != Phase::Open {
            return;
        }
        debug_assert!(
            conn.partial.is_none(),
            "a partial that was filled to its message's end is done"
        );
        let partial = conn.partial;
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
        self.keep(key, partial, buffer);
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
            let messages = self.mail_out.len();
            self.apply_effects();
            let writes_mail = self.mail_out.len() > messages;
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

    /// Keeps what is unfinished and returns the buffer it was read into.
    pub(super) fn keep(&mut self, key: ConnKey, partial: SlotRef, mut buffer: ReadBuffer) {
        let wanted = self.table.get_mut(key).is_some_and(|conn| {
            matches!(conn.phase, Phase::Handshake | Phase::Open | Phase::Refusing)
        });
        let kept_bytes = if wanted { buffer.kept_bytes() } else { 0 };
        if partial.is_none() {
            if kept_bytes > 0 {
                match self.partial_reads.keep(&buffer, &mut self.buffers, self.now) {
                    Ok(link) => {
                        if let Some(conn) = self.table.get_mut(key) {
                            conn.partial = link;
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
            self.partial_reads.restore(partial, buffer);
            return;
        }
        self.partial_reads.restore(partial, buffer);
        self.partial_reads.release(partial, &mut self.buffers);
        if let Some(conn) = self.table.get_mut(key) {
            conn.partial = SlotRef::NONE;
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
                self.abort(key, CloseReason::Gone);
            }
            Phase::Open => self.finish(key, CloseReason::Gone),
            // Output may still be on its way out; the end of it finds the flag.
            Phase::Closing => {}
            Phase::Lingering => self.abort(key, CloseReason::Gone),
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
                self.abort(key, CloseReason::Reset);
                Step::Done
            }
        }
    }
}
