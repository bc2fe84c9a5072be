//! Records once the handshake is over.

use std::io::IoSlice;
use std::ops::Range;

use super::session::{State, TlsStream};
use super::socket::{READS_MAX, read_once};
use crate::pool::{Need, OverBudget};
use crate::stream::contract::{End, Received, Sent, Source, StreamError};
use crate::tls::{
    Alert, CONTENT_BYTES_MAX, ExpandedKeys, HEADER_BYTES, Header, Opened, RECORD_BYTES_MAX,
    RecordFault,
};
use crate::transport::Transport;
use crate::work::prices;

/// How far opening has come in a room.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Bytes of plaintext at the start of the room.
    filled: usize,
    /// Bytes of records that are opened.
    taken: usize,
    ended: bool,
    fault: Option<RecordFault>,
}

impl TlsStream<'_> {
    pub(super) fn receive_records<S: Transport>(
        &mut self,
        socket: &mut S,
        ahead: &mut [u8],
        behind: &mut [u8],
    ) -> Received {
        for _ in 0..READS_MAX {
            if let Some(fault) = self.session.fault {
                return self.fail(socket, fault);
            }
            if matches!(&self.session.state, State::Open(records) if records.has_ended()) {
                self.drop_unopened();
                return Received::Ended { clean: true };
            }
            match self.open_held(ahead) {
                Ok(Some(received)) => return received,
                // What lies behind the end is no record that could be completed.
                Ok(None) if self.is_over() => continue,
                // The share was used up by records without data.
                Ok(None) if self.has_whole() => return Received::Nothing(Source::Unopened),
                Ok(None) => {}
                Err(fault) => {
                    self.fault(fault);
                    continue;
                }
            }
            match self.read_and_open(socket, ahead, behind) {
                Ok(Some(received)) => return received,
                Ok(None) if self.turn.work.is_share_used() => break,
                Ok(None) => {}
                Err(OverBudget) => return Received::NoMemory,
            }
        }
        Received::Nothing(Source::MayHaveMore)
    }

    /// Whether a whole record waits, or what can be none.
    fn has_whole(&mut self) -> bool {
        self.session.has_unopened()
            && !matches!(self.session.held().first(), Ok(None | Some((_, false))))
    }

    /// Whether nothing more is opened: the peer has ended its half, or the connection fails.
    fn is_over(&self) -> bool {
        self.session.fault.is_some()
            || !matches!(&self.session.state, State::Open(records) if !records.has_ended())
    }

    /// Opens whole records that wait, as many as `ahead` has room for.
    fn open_held(&mut self, ahead: &mut [u8]) -> Result<Option<Received>, RecordFault> {
        let mut filled = 0;
        while self.session.has_unopened() {
            let Some((record_bytes, true)) = self.session.held().first()? else { break };
            let content_bytes_max = record_bytes - HEADER_BYTES;
            if content_bytes_max > ahead.len() - filled {
                return Ok(Some(match filled {
                    0 => Received::NoRoom(content_bytes_max),
                    _ => Received::Bytes { ahead: filled, behind: 0, source: Source::Unopened },
                }));
            }
            let held = self.session.held();
            let record = held.start..held.start + record_bytes;
            let mut buffer = std::mem::take(&mut held.unopened);
            let progress = self.open_all(&mut buffer, record.clone(), record_bytes);
            ahead[filled..filled + progress.filled]
                .copy_from_slice(&buffer[record.start..record.start + progress.filled]);
            self.session.held().unopened = buffer;
            self.consume_unopened(record_bytes);
            filled += progress.filled;
            self.note(progress);
            if progress.ended || progress.fault.is_some() || self.turn.work.is_share_used() {
                break;
            }
        }
        let source = Source::MayHaveMore;
        Ok((filled > 0).then_some(Received::Bytes { ahead: filled, behind: 0, source }))
    }

    /// Reads once and opens what is whole then. `None` if that gave no plaintext.
    fn read_and_open<S: Transport>(
        &mut self,
        socket: &mut S,
        ahead: &mut [u8],
        behind: &mut [u8],
    ) -> Result<Option<Received>, OverBudget> {
        // Where records lie apart from their plaintext, no more is read than there is room for, and
        // so at most one whole record is left over.
        let is_apart = !behind.is_empty();
        let area = match is_apart {
            true => {
                let bytes_max = behind.len().min(ahead.len() + RECORD_BYTES_MAX);
                &mut behind[..bytes_max]
            }
            false => &mut *ahead,
        };
        let offered = area.len();
        let Some(waiting) = self.put_waiting(area) else { return self.read_rest(socket) };
        let count = match read_once(socket, &mut area[waiting..]) {
            Ok(count) => count,
            Err(received) => return Ok(Some(self.note_end(received))),
        };
        let end = waiting + count;
        let source = if end < offered { Source::Drained } else { Source::MayHaveMore };
        let room = if is_apart { ahead.len() } else { usize::MAX };
        let area = if is_apart { &mut *behind } else { &mut *ahead };
        let progress = self.open_all(area, 0..end, room);
        self.note(progress);
        let goes_on = !progress.ended && progress.fault.is_none();
        if goes_on && progress.taken == 0 {
            // The record that has begun to wait still does, from the same moment on.
            self.keep_unopened(Need::Message, &area[waiting..end])?;
        } else {
            self.drop_unopened();
            if goes_on {
                // Copied, since what is read next takes its place.
                self.keep_unopened(Need::Message, &area[progress.taken..end])?;
            }
        }
        self.turn.work.charge(prices::bytes(waiting));
        if progress.filled == 0 {
            self.turn.work.charge(prices::READ + prices::bytes(count));
            return Ok(None);
        }
        if is_apart {
            ahead[..progress.filled].copy_from_slice(&behind[..progress.filled]);
        }
        let goes_on = progress.ended || progress.fault.is_some() || self.has_whole();
        let source = if goes_on { Source::Unopened } else { source };
        Ok(Some(Received::Bytes { ahead: progress.filled, behind: 0, source }))
    }

    /// Puts a copy of the record that has come in part at the start of `area`, so that one read brings
    /// its rest and what follows it. Gives its length, or `None` if there is no room for the whole
    /// record.
    fn put_waiting(&mut self, area: &mut [u8]) -> Option<usize> {
        if !self.session.has_unopened() {
            return Some(0);
        }
        let held = self.session.held();
        let record_bytes = match held.first() {
            Ok(Some((record_bytes, _))) => record_bytes,
            Ok(None) => RECORD_BYTES_MAX,
            // `open_held` has looked at it.
            Err(_) => return None,
        };
        let waiting = held.unopened();
        if area.len() < record_bytes {
            return None;
        }
        area[..waiting.len()].copy_from_slice(waiting);
        Some(waiting.len())
    }

    /// Reads the rest of the record that has come in part, to where the rest of it waits.
    fn read_rest<S: Transport>(&mut self, socket: &mut S) -> Result<Option<Received>, OverBudget> {
        let held = self.session.held();
        let waiting = held.filled - held.start;
        let wanted = match held.first() {
            Ok(Some((record_bytes, _))) => record_bytes - waiting,
            Ok(None) => HEADER_BYTES - waiting,
            // `open_held` has looked at it.
            Err(_) => return Ok(None),
        };
        if held.room().is_empty() {
            // The buffer grows with what has come, and not with what the header claims.
            self.make_room(Need::Message, 1, usize::MAX)?;
        }
        let room = self.session.held().room();
        let room_bytes = room.len();
        let count = match read_once(socket, &mut room[..wanted.min(room_bytes)]) {
            Ok(count) => count,
            Err(received) => return Ok(Some(self.note_end(received))),
        };
        self.session.held().filled += count;
        self.turn.work.charge(prices::READ + prices::bytes(count));
        Ok(None)
    }

    /// Opens the whole records at `records` in `area`, as long as plaintext of at most `room` bytes
    /// comes of them. It is put together at their start.
    fn open_all(&mut self, area: &mut [u8], records: Range<usize>, room: usize) -> Progress {
        let mut progress = Progress::default();
        let Self { number, session, shared, turn } = self;
        let State::Open(own) = &mut session.state else { return progress };
        let memory = &mut *turn.memory;
        let may_grow = |bytes| memory.charge(bytes).is_ok();
        let mut expanded = ExpandedKeys::default();
        let keys = shared.keys.keys(*number, turn.now.tick(), may_grow).unwrap_or(&mut expanded);
        loop {
            let start = records.start + progress.taken;
            let record = match Header::read(&area[start..records.end]) {
                Ok(Some(header)) if header.record_bytes() <= records.end - start => {
                    start..start + header.record_bytes()
                }
                Ok(_) => return progress,
                Err(fault) => {
                    progress.fault = Some(fault.into());
                    return progress;
                }
            };
            if progress.filled.saturating_add(record.len() - HEADER_BYTES) > room {
                return progress;
            }
            let key = if keys.lacks_one(true) { prices::TLS_KEY } else { 0 };
            turn.work.charge(prices::opened(record.len()) + key);
            progress.taken += record.len();
            let is_last = turn.work.is_share_used();
            let to = records.start + progress.filled;
            match own.open(keys, area, to, record) {
                Ok(Opened::Data(bytes)) => progress.filled += bytes,
                Ok(Opened::Nothing) => {}
                Ok(Opened::Tickets(bytes)) => {
                    let held = session.held.as_mut();
                    if let Some(taker) = held.and_then(|held| held.tickets.as_mut()) {
                        turn.work.charge(prices::TLS_TICKET);
                        taker.take(&area[to..to + bytes]);
                    }
                }
                Ok(Opened::Updated) => turn.counters.tls_key_updates.add(1),
                Ok(Opened::Declined) => {
                    turn.counters.tls_renegotiations_declined.add(1);
                    let alert = Alert::NO_RENEGOTIATION;
                    if let Err(fault) = own.seal_alert(keys, &mut shared.sealed, alert) {
                        progress.fault = Some(fault);
                        return progress;
                    }
                }
                Ok(Opened::Ended) => {
                    progress.ended = true;
                    return progress;
                }
                Err(fault) => {
                    progress.fault = Some(fault);
                    return progress;
                }
            }
            if is_last {
                return progress;
            }
        }
    }

    #[inline]
    fn note(&mut self, progress: Progress) {
        if progress.filled > 0 {
            self.end_tickets();
        }
        if let Some(fault) = progress.fault {
            self.fault(fault);
        }
    }

    /// The connection fails once what came before is delivered.
    fn fault(&mut self, fault: RecordFault) {
        self.session.fault.get_or_insert(fault);
    }

    /// An end without the peer's notice may be an attacker's: what came before may be cut short (RFC
    /// 8446 §6.1).
    fn note_end(&self, received: Received) -> Received {
        // Once we have ended our own half, nothing that could be cut short is waited for.
        let says_end = matches!(&self.session.state, State::Open(own) if own.says_end());
        if matches!(received, Received::Ended { .. }) && !says_end {
            self.turn.counters.tls_truncated.add(1);
        }
        received
    }

    pub(super) fn send_records<S: Transport>(
        &mut self,
        socket: &mut S,
        slices: &[IoSlice<'_>],
        end: End,
        moved: bool,
    ) -> Result<Sent, StreamError> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        debug_assert!(self.shared.sealed.is_empty(), "sealed bytes of another connection");
        let (mut taken, mut is_over) = (0, false);
        {
            let Self { number, session, shared, turn } = self;
            let State::Open(own) = &mut session.state else { return Err(StreamError) };
            let memory = &mut *turn.memory;
            let may_grow = |bytes| memory.charge(bytes).is_ok();
            let mut expanded = ExpandedKeys::default();
            let keys =
                shared.keys.keys(*number, turn.now.tick(), may_grow).unwrap_or(&mut expanded);
            let mut left = Slices { slices, at: 0 };
            let offered_now = offered.min(RECORDS_PER_WRITE * CONTENT_BYTES_MAX);
            while taken < offered_now {
                let count = (offered_now - taken).min(CONTENT_BYTES_MAX);
                let fill = |out: &mut Vec<u8>| left.take(count, out);
                let key = if keys.lacks_one(false) { prices::TLS_KEY } else { 0 };
                if let Err(fault) = own.seal_data(keys, &mut shared.sealed, fill) {
                    // What is sealed goes out; without any, the connection is over.
                    is_over = taken == 0;
                    if let Some(alert) = fault.alert().filter(|_| is_over) {
                        let _ = own.seal_alert(keys, &mut shared.sealed, alert);
                    }
                    break;
                }
                turn.work.charge(prices::sealed(count) + key);
                taken += count;
            }
            if end == End::HalfClose && taken == offered && !own.says_end() {
                let alert = Alert::CLOSE_NOTIFY;
                // A key that can seal no more leaves the peer without a word.
                let _ = own.seal_alert(keys, &mut shared.sealed, alert);
            }
        }
        let moved = self.write_sealed(socket)? || moved;
        if is_over {
            return Err(StreamError);
        }
        let unsent = self.has_unsent();
        Ok(Sent { taken, unsent, blocked: unsent, moved })
    }

    /// Seals the notice of our end, once.
    pub(super) fn seal_end(&mut self) -> Result<(), StreamError> {
        let Self { session, shared, .. } = self;
        let State::Open(records) = &mut session.state else { return Ok(()) };
        if records.says_end() || session.fault.is_some() {
            return Ok(());
        }
        let mut keys = ExpandedKeys::default();
        let sealed = records.seal_alert(&mut keys, &mut shared.sealed, Alert::CLOSE_NOTIFY);
        sealed.map_err(|_| StreamError)
    }
}

/// Slices that are taken from one behind the other.
struct Slices<'s, 'b> {
    slices: &'s [IoSlice<'b>],
    at: usize,
}

impl Slices<'_, '_> {
    /// Appends the next `count` bytes.
    fn take(&mut self, mut count: usize, out: &mut Vec<u8>) {
        while count > 0
            && let Some(first) = self.slices.first()
        {
            let bytes = &first[self.at..];
            let part = bytes.len().min(count);
            out.extend_from_slice(&bytes[..part]);
            count -= part;
            self.at += part;
            if part == bytes.len() {
                self.slices = &self.slices[1..];
                self.at = 0;
            }
        }
    }
}

/// Records that are sealed together and written at once: a message of 64 KiB with its header. What is
/// sealed can no longer be discarded.
const RECORDS_PER_WRITE: usize = 5;
