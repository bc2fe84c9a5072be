//! A fake cipher for the simulation: records as TLS has them, and no cryptography. It proves that
//! nothing above [`stream`](super) relies on what only plain sockets do.
//!
//! ```text
//!   [kind 1][length 4][payload, each byte changed][tag 16: serial number and checksum]
//! ```

use std::io::{ErrorKind, IoSlice};

use super::contract::{Received, Sent, Source, StreamError};
use crate::transport::Transport;

/// Bytes before the payload of a record.
const HEADER_BYTES: usize = 5;
/// Bytes behind the payload of a record.
const TAG_BYTES: usize = 16;
/// Bytes of the longest payload.
pub const PAYLOAD_BYTES_MAX: usize = 1024;

/// Bytes of one read: less than a record may have, so that records come in parts.
const READ_BYTES: usize = 700;

const DATA: u8 = 23;
const CLOSE_NOTIFY: u8 = 21;

/// One end of a connection whose bytes go in records.
#[derive(Debug, Default)]
pub struct FakeCipher {
    /// What arrived and is not opened.
    unopened: Vec<u8>,
    /// What is sealed and not sent.
    unsent: Vec<u8>,
    records_opened: u64,
    records_sealed: u64,
    /// The peer's notice that it ends its half was opened.
    has_ended: bool,
    /// Our own notice is sealed.
    says_end: bool,
}

/// What was opened from the records that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// So many bytes, and whether whole records remain.
    Bytes(usize, bool),
    /// The peer ends its half.
    Ended,
    /// The next record needs so much room.
    NoRoom(usize),
    /// It is no record.
    Broken,
}

impl FakeCipher {
    /// Seals `payload`, of at most [`PAYLOAD_BYTES_MAX`], behind what waits to be sent.
    pub fn seal(&mut self, payload: &[u8]) {
        self.seal_as(DATA, payload);
    }

    /// Seals the notice that this end sends no more.
    pub fn seal_end(&mut self) {
        if !self.says_end {
            self.says_end = true;
            self.seal_as(CLOSE_NOTIFY, &[]);
        }
    }

    /// Takes what is sealed and not sent.
    pub fn take_sealed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unsent)
    }

    /// Notes bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unopened.extend_from_slice(bytes);
    }

    /// Opens whole records into `room`, as many as fit.
    pub fn open(&mut self, room: &mut [u8]) -> Opened {
        let mut filled = 0;
        while let Some(payload_bytes) = self.whole_record() {
            let Some(payload_bytes) = payload_bytes else { return Opened::Broken };
            // A record is opened whole or not at all: its tag covers all of it.
            if payload_bytes > room.len() - filled {
                return match filled {
                    0 => Opened::NoRoom(payload_bytes),
                    _ => Opened::Bytes(filled, true),
                };
            }
            let record = &self.unopened[..HEADER_BYTES + payload_bytes + TAG_BYTES];
            let (payload, tag) = record[HEADER_BYTES..].split_at(payload_bytes);
            let plain = &mut room[filled..filled + payload_bytes];
            plain.copy_from_slice(payload);
            change(plain, self.records_opened);
            let is_genuine = tag == tag_of(plain, self.records_opened);
            let kind = record[0];
            self.unopened.drain(..HEADER_BYTES + payload_bytes + TAG_BYTES);
            self.records_opened += 1;
            match kind {
                _ if !is_genuine || self.has_ended => return Opened::Broken,
                CLOSE_NOTIFY => {
                    self.has_ended = true;
                    break;
                }
                _ => filled += payload_bytes,
            }
        }
        match filled {
            0 if self.has_ended => Opened::Ended,
            _ => Opened::Bytes(filled, self.has_ended),
        }
    }

    /// The payload of the first record in bytes, if that has arrived whole; `Some(None)` where what
    /// arrived cannot be one.
    fn whole_record(&self) -> Option<Option<usize>> {
        let header = self.unopened.first_chunk::<HEADER_BYTES>()?;
        let [kind, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        let is_sound = matches!(kind, DATA | CLOSE_NOTIFY)
            && (TAG_BYTES..=TAG_BYTES + PAYLOAD_BYTES_MAX).contains(&length);
        if !is_sound {
            return Some(None);
        }
        (self.unopened.len() >= HEADER_BYTES + length).then_some(Some(length - TAG_BYTES))
    }

    fn seal_as(&mut self, kind: u8, payload: &[u8]) {
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        let length = u32::try_from(payload.len() + TAG_BYTES).unwrap_or(0);
        self.unsent.push(kind);
        self.unsent.extend_from_slice(&length.to_be_bytes());
        let start = self.unsent.len();
        self.unsent.extend_from_slice(payload);
        change(&mut self.unsent[start..], self.records_sealed);
        self.unsent.extend_from_slice(&tag_of(payload, self.records_sealed));
        self.records_sealed += 1;
    }

    /// Reads until something is opened or the socket says that it is empty: a part of a record is
    /// nothing, and the rest of it gives an edge only if the socket was seen empty.
    pub(super) fn receive<S: Transport>(&mut self, socket: &mut S, ahead: &mut [u8]) -> Received {
        let mut source = Source::MayHaveMore;
        loop {
            match self.open(ahead) {
                Opened::Bytes(0, _) => {}
                Opened::Bytes(ahead, true) => {
                    return Received::Bytes { ahead, behind: 0, source: Source::Unopened };
                }
                Opened::Bytes(ahead, false) => {
                    return Received::Bytes { ahead, behind: 0, source };
                }
                Opened::Ended => return Received::Ended { clean: true },
                Opened::NoRoom(bytes) => return Received::NoRoom(bytes),
                Opened::Broken => return Received::Failed,
            }
            let mut bytes = [0; READ_BYTES];
            match socket.read(&mut bytes) {
                // An end without the peer's notice may be an attacker's: what came before may be
                // cut short (RFC 8446 §6.1).
                Ok(0) => return Received::Ended { clean: false },
                Ok(count) => {
                    self.feed(&bytes[..count]);
                    source =
                        if count < bytes.len() { Source::Drained } else { Source::MayHaveMore };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Received::Nothing(Source::Drained);
                }
                Err(_) => return Received::Failed,
            }
        }
    }

    /// Seals one record at the most, and only once the one before is sent.
    pub(super) fn send<S: Transport>(
        &mut self,
        socket: &mut S,
        slices: &[IoSlice<'_>],
    ) -> Result<Sent, StreamError> {
        let mut moved = self.write_unsent(socket)?;
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut taken = 0;
        // What is sealed cannot be taken back, because the peer counts records. So no more is
        // sealed than is about to be sent, and the rest can still be discarded.
        if self.unsent.is_empty() && offered > 0 {
            let plain: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            taken = offered.min(PAYLOAD_BYTES_MAX);
            self.seal(&plain[..taken]);
            moved |= self.write_unsent(socket)?;
        }
        let unsent = !self.unsent.is_empty();
        Ok(Sent { taken, unsent, blocked: unsent, moved })
    }

    pub(super) fn finish<S: Transport>(&mut self, socket: &mut S) -> Result<bool, StreamError> {
        // Sealed once, however often this is called until there is room for it.
        self.seal_end();
        self.write_unsent(socket)?;
        if !self.unsent.is_empty() {
            return Ok(false);
        }
        socket.shutdown_write().map_err(|_| StreamError)?;
        Ok(true)
    }

    /// Writes what is sealed, as far as the socket takes it; whether it took any.
    fn write_unsent<S: Transport>(&mut self, socket: &mut S) -> Result<bool, StreamError> {
        let mut moved = false;
        while !self.unsent.is_empty() {
            match socket.write(&[IoSlice::new(&self.unsent)]) {
                Ok(0) => return Err(StreamError),
                Ok(count) => {
                    self.unsent.drain(..count);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(StreamError),
            }
        }
        Ok(moved)
    }
}

/// Changes each byte by the record's number and the byte's position, and back.
fn change(bytes: &mut [u8], record: u64) {
    let key = record.to_le_bytes()[0] ^ 0xA5;
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key ^ position.to_le_bytes()[0];
    }
}

fn tag_of(plain: &[u8], record: u64) -> [u8; TAG_BYTES] {
    let sum =
        plain.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let mut tag = [0; TAG_BYTES];
    tag[..8].copy_from_slice(&record.to_be_bytes());
    tag[8..].copy_from_slice(&sum.to_be_bytes());
    tag
}
