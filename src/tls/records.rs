//! Records of one connection, in both directions.

use std::ops::Range;

use ring::aead::{Aad, Nonce};

use super::alert::{Alert, WARNING};
use super::header::{CONTENT_BYTES_MAX, ContentType, HEADER_BYTES, Header, HeaderFault};
use super::key_cache::ExpandedKeys;
use super::key_schedule::{TrafficKey, next_secret, traffic_key};
use super::secret::Secret;
use super::suite::{NONCE_BYTES, Suite, TAG_BYTES, Version};
use crate::work::{meter, prices};

/// All that a connection keeps of TLS while it is idle.
#[derive(Clone, Debug)]
pub struct Records {
    suite: Suite,
    read: Direction,
    write: Direction,
    /// The peer asked for new keys of ours. However often it did: they are made once, before the
    /// next record (RFC 8446 §4.6.3).
    owes_update: bool,
    /// The peer is a server.
    is_client: bool,
    /// Bytes that are missing of a ticket which has come in part. It is not taken.
    ticket_left: u32,
    /// Our own notice of the end is sealed.
    says_end: bool,
    /// The peer's was opened.
    has_ended: bool,
    /// What came since there was data last, of kinds that cost us and need not end.
    updates: u8,
    empties: u8,
    /// Over the whole life of the connection.
    warnings: u8,
    has_renegotiated: bool,
}

/// One direction: the secret that the keys are expanded from, and the number of the next record.
#[derive(Clone, Debug)]
struct Direction {
    secret: Secret,
    sequence: u64,
}

/// What a record came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// So many bytes of plaintext.
    Data(usize),
    /// Nothing that concerns anybody else.
    Nothing,
    /// Of a server: this number of bytes of messages that are tickets, each whole (RFC 8446 §4.6.1).
    Tickets(usize),
    /// The peer has new keys, and may have asked for new ones of ours.
    Updated,
    /// The peer sends no more.
    Ended,
    /// The peer asks for a new handshake, which is declined by a warning (RFC 5746 §4.5).
    Declined,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// A record is not what the peer sealed (RFC 8446 §5.2).
    BadRecord,
    /// A record is longer than any may be (RFC 8446 §5.1, §5.2).
    TooLong,
    /// A record that may not come here, or too many that carry nothing.
    Unexpected,
    /// A message in a record is malformed.
    Malformed,
    /// The peer sent an alert that ends the connection.
    Alerted(Alert),
    /// No key may seal another record (RFC 8446 §5.5).
    Exhausted,
    /// The library refused its own key.
    Internal,
    /// The certificate of a client that resumed a session has expired since.
    CertificateExpired,
    /// The pool has no room for what a handshake leaves.
    NoMemory,
}

impl RecordFault {
    /// Whether it shows at the end of a handshake, and is counted as a failure of that.
    pub fn is_of_handshake(self) -> bool {
        matches!(self, Self::CertificateExpired | Self::NoMemory)
    }

    /// What the peer is told; one that sent an alert itself is told nothing (RFC 8446 §6.2).
    pub fn alert(self) -> Option<Alert> {
        match self {
            Self::BadRecord => Some(Alert::BAD_RECORD_MAC),
            Self::TooLong => Some(Alert::RECORD_OVERFLOW),
            Self::Unexpected => Some(Alert::UNEXPECTED_MESSAGE),
            Self::Malformed => Some(Alert::DECODE_ERROR),
            Self::Alerted(_) => None,
            Self::Exhausted => Some(Alert::CLOSE_NOTIFY),
            Self::Internal | Self::NoMemory => Some(Alert::INTERNAL_ERROR),
            Self::CertificateExpired => Some(Alert::CERTIFICATE_EXPIRED),
        }
    }
}

impl From<HeaderFault> for RecordFault {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::NoTls => Self::Malformed,
            HeaderFault::TooLong => Self::TooLong,
        }
    }
}

impl Records {
    /// Records of a suite, whose next ones in each direction have these numbers. Each secret is a
    /// traffic secret of TLS 1.3; in TLS 1.2 it is the key with its 12 bytes of nonce behind it.
    pub fn new(suite: Suite, read: (u64, Secret), write: (u64, Secret)) -> Self {
        let direction = |(sequence, secret)| Direction { secret, sequence };
        Self {
            suite,
            read: direction(read),
            write: direction(write),
            owes_update: false,
            is_client: false,
            ticket_left: 0,
            says_end: false,
            has_ended: false,
            updates: 0,
            empties: 0,
            warnings: 0,
            has_renegotiated: false,
        }
    }

    /// The same, to a server.
    #[must_use]
    pub fn of_client(self) -> Self {
        Self { is_client: true, ..self }
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Whether our notice of the end is sealed.
    pub fn says_end(&self) -> bool {
        self.says_end
    }

    /// Whether the peer's notice of its end was opened.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the peer waits for new keys of ours.
    pub fn owes_update(&self) -> bool {
        self.owes_update
    }

    /// Opens the whole record that stands at `record` in `buffer`. Its plaintext, if it has any,
    /// is moved to `to`, which is not behind the record's start.
    ///
    /// ```text
    ///   buffer  [ … plaintext so far | … | header | protected | … ]
    ///                                to   └────── record ─────┘
    /// ```
    ///
    /// # Errors
    /// Where the connection cannot go on. What was moved to `to` is not to be used.
    pub fn open(
        &mut self,
        keys: &mut ExpandedKeys,
        buffer: &mut [u8],
        to: usize,
        record: Range<usize>,
    ) -> Result<Opened, RecordFault> {
        debug_assert!(to <= record.start);
        let header = match Header::read(&buffer[record.clone()]) {
            Ok(Some(header)) if header.record_bytes() == record.len() => header,
            _ => return Err(RecordFault::Malformed),
        };
        let (content_type, length) = self.decrypt(keys, buffer, to, record, header)?;
        let content = &buffer[to..to + length];
        match content_type {
            ContentType::ApplicationData if length == 0 => self.note_empty(),
            ContentType::ApplicationData => {
                (self.updates, self.empties) = (0, 0);
                Ok(Opened::Data(length))
            }
            ContentType::Alert => self.take_alert(content),
            ContentType::Handshake => self.take_handshake(keys, content),
            // Only during the handshake (RFC 8446 §5), and never protected.
            ContentType::ChangeCipherSpec => Err(RecordFault::Unexpected),
        }
    }

    /// Opens a record; what it says it carries, and how many bytes lie at `to`.
    fn decrypt(
        &mut self,
        keys: &mut ExpandedKeys,
        buffer: &mut [u8],
        to: usize,
        record: Range<usize>,
        header: Header,
    ) -> Result<(ContentType, usize), RecordFault> {
        let (before, behind) = self.suite.expansion();
        let is_13 = self.suite.version == Version::Tls13;
        // Every protected record of TLS 1.3 looks like application data (RFC 8446 §5.2).
        if is_13 && header.content_type != ContentType::ApplicationData {
            return Err(RecordFault::Unexpected);
        }
        if is_13 && header.length > CONTENT_BYTES_MAX + EXPANSION_BYTES_MAX {
            return Err(RecordFault::TooLong);
        }
        let Some(content_bytes) = header.length.checked_sub(before + behind) else {
            return Err(RecordFault::BadRecord);
        };
        let key = key_of(&mut keys.read, self.suite, &self.read.secret)?;
        let mut nonce = nonce(&key.iv, self.read.sequence);
        let content_start = record.start + HEADER_BYTES + before;
        if before > 0 {
            nonce[..NONCE_BYTES - before].copy_from_slice(&key.iv[..NONCE_BYTES - before]);
            nonce[NONCE_BYTES - before..]
                .copy_from_slice(&buffer[record.start + HEADER_BYTES..content_start]);
        }
        let sequence = self.read.sequence;
        let aad = Additional::new(
            self.suite,
            sequence,
            header.content_type,
            header.length,
            content_bytes,
        );
        meter::spend(prices::opened(record.len()));
        let opened = key.key.open_within(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad.as_bytes()),
            &mut buffer[to..record.end],
            content_start - to..,
        );
        let plaintext = opened.map_err(|_| RecordFault::BadRecord)?;
        self.read.sequence = sequence.checked_add(1).ok_or(RecordFault::Exhausted)?;
        if !is_13 {
            return match plaintext.len() > CONTENT_BYTES_MAX {
                true => Err(RecordFault::TooLong),
                false => Ok((header.content_type, plaintext.len())),
            };
        }
        if plaintext.len() > CONTENT_BYTES_MAX + 1 {
            return Err(RecordFault::TooLong);
        }
        // The type is the last byte that is not padding (RFC 8446 §5.4).
        let Some(type_at) = plaintext.iter().rposition(|byte| *byte != 0) else {
            return Err(RecordFault::Unexpected);
        };
        let content_type = ContentType::from_byte(plaintext[type_at]);
        Ok((content_type.ok_or(RecordFault::Unexpected)?, type_at))
    }

    fn note_empty(&mut self) -> Result<Opened, RecordFault> {
        self.empties += 1;
        if self.empties > EMPTIES_MAX { Err(RecordFault::Unexpected) } else { Ok(Opened::Nothing) }
    }

    fn take_alert(&mut self, content: &[u8]) -> Result<Opened, RecordFault> {
        // Alerts are neither split nor joined (RFC 8446 §5.1).
        let [level, description] = *content else { return Err(RecordFault::Malformed) };
        let alert = Alert(description);
        if alert == Alert::CLOSE_NOTIFY {
            self.has_ended = true;
            return Ok(Opened::Ended);
        }
        // In TLS 1.3 the level says nothing (RFC 8446 §6).
        let goes_on = match self.suite.version {
            Version::Tls12 => level == WARNING,
            Version::Tls13 => alert == Alert::USER_CANCELED,
        };
        self.warnings += 1;
        match goes_on {
            false => Err(RecordFault::Alerted(alert)),
            true if self.warnings > WARNINGS_MAX => Err(RecordFault::Unexpected),
            true => Ok(Opened::Nothing),
        }
    }

    fn take_handshake(
        &mut self,
        keys: &mut ExpandedKeys,
        content: &[u8],
    ) -> Result<Opened, RecordFault> {
        match (self.suite.version, content) {
            (Version::Tls13, [KEY_UPDATE, 0, 0, 1, asks @ (0 | 1)]) => {
                self.updates += 1;
                if self.updates > UPDATES_MAX {
                    return Err(RecordFault::Unexpected);
                }
                self.owes_update |= *asks == 1;
                self.read.advance(self.suite)?;
                keys.read = None;
                Ok(Opened::Updated)
            }
            // The peer may not split it, nor send anything behind it under the old key (RFC 8446
            // §5.1).
            (Version::Tls13, [KEY_UPDATE, 0, 0, 1, _]) => Err(RecordFault::Malformed),
            (Version::Tls12, [kind, ..])
                if *kind == self.renegotiation() && !self.has_renegotiated =>
            {
                self.has_renegotiated = true;
                Ok(Opened::Declined)
            }
            (Version::Tls13, [kind, ..])
                if self.is_client && (*kind == NEW_SESSION_TICKET || self.ticket_left > 0) =>
            {
                self.take_tickets(content)
            }
            _ => Err(RecordFault::Unexpected),
        }
    }

    /// The type of the message by which the peer asks for a new handshake.
    fn renegotiation(&self) -> u8 {
        if self.is_client { HELLO_REQUEST } else { CLIENT_HELLO }
    }

    /// One or more tickets of a server. One that is split over records is passed over: the next connection
    /// does a full handshake.
    fn take_tickets(&mut self, content: &[u8]) -> Result<Opened, RecordFault> {
        self.updates += 1;
        if self.updates > UPDATES_MAX {
            return Err(RecordFault::Unexpected);
        }
        let missing = usize::try_from(self.ticket_left).unwrap_or(usize::MAX);
        let (is_whole, mut rest) = match content.get(missing..) {
            Some(rest) => (missing == 0, rest),
            None => {
                self.ticket_left -= u32::try_from(content.len()).unwrap_or(self.ticket_left);
                return Ok(Opened::Nothing);
            }
        };
        self.ticket_left = 0;
        while !rest.is_empty() {
            let [NEW_SESSION_TICKET, high, middle, low, body @ ..] = rest else {
                return Err(RecordFault::Unexpected);
            };
            let bytes = u32::from_be_bytes([0, *high, *middle, *low]);
            if bytes > TICKET_BYTES_MAX {
                return Err(RecordFault::Malformed);
            }
            match body.get(usize::try_from(bytes).unwrap_or(usize::MAX)..) {
                Some(behind) => rest = behind,
                None => {
                    self.ticket_left = bytes - u32::try_from(body.len()).unwrap_or(bytes);
                    return Ok(Opened::Nothing);
                }
            }
        }
        Ok(if is_whole { Opened::Tickets(content.len()) } else { Opened::Nothing })
    }

    /// Seals one record of at most [`CONTENT_BYTES_MAX`] bytes of data behind what `out` holds.
    /// `fill` appends the bytes. New keys come first where they are due.
    ///
    /// # Errors
    /// [`RecordFault::Exhausted`] where the key of a TLS 1.2 connection has sealed all it may.
    #[inline]
    pub fn seal_data(
        &mut self,
        keys: &mut ExpandedKeys,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RecordFault> {
        let is_used_up = self.write.sequence >= self.suite.sealed_max() - KEPT_BACK;
        if is_used_up && self.suite.version == Version::Tls12 {
            return Err(RecordFault::Exhausted);
        }
        if self.owes_update || is_used_up {
            self.seal_update(keys, out)?;
        }
        self.seal(keys, ContentType::ApplicationData, out, fill)
    }

    /// Seals an alert.
    ///
    /// # Errors
    /// As [`Records::seal_data`].
    pub fn seal_alert(
        &mut self,
        keys: &mut ExpandedKeys,
        out: &mut Vec<u8>,
        alert: Alert,
    ) -> Result<(), RecordFault> {
        self.says_end |= alert == Alert::CLOSE_NOTIFY;
        self.seal(keys, ContentType::Alert, out, |out| out.extend_from_slice(&alert.to_bytes()))
    }

    /// Seals the notice that what follows has new keys, and makes them.
    ///
    /// # Errors
    /// As [`Records::seal_data`].
    pub fn seal_update(
        &mut self,
        keys: &mut ExpandedKeys,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordFault> {
        self.owes_update = false;
        let message = [KEY_UPDATE, 0, 0, 1, 0];
        self.seal(keys, ContentType::Handshake, out, |out| out.extend_from_slice(&message))?;
        self.write.advance(self.suite)?;
        keys.write = None;
        Ok(())
    }

    #[inline]
    fn seal(
        &mut self,
        keys: &mut ExpandedKeys,
        content_type: ContentType,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RecordFault> {
        let sequence = self.write.sequence;
        if sequence >= self.suite.sealed_max() {
            return Err(RecordFault::Exhausted);
        }
        let key = key_of(&mut keys.write, self.suite, &self.write.secret)?;
        let nonce = nonce(&key.iv, sequence);
        let (before, _) = self.suite.expansion();
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        out.extend_from_slice(&nonce[NONCE_BYTES - before..]);
        let content_start = out.len();
        fill(out);
        let content_bytes = out.len() - content_start;
        debug_assert!(content_bytes <= CONTENT_BYTES_MAX);
        let mut outer_type = content_type;
        if self.suite.version == Version::Tls13 {
            out.push(content_type.to_byte());
            outer_type = ContentType::ApplicationData;
        }
        let length = out.len() - start - HEADER_BYTES + TAG_BYTES;
        let aad = Additional::new(self.suite, sequence, outer_type, length, content_bytes);
        meter::spend(prices::sealed(content_bytes));
        let tag = key.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad.as_bytes()),
            &mut out[content_start..],
        );
        let Ok(tag) = tag else {
            out.truncate(start);
            return Err(RecordFault::Internal);
        };
        out.extend_from_slice(tag.as_ref());
        let header = Header { content_type: outer_type, length };
        out[start..start + HEADER_BYTES].copy_from_slice(&header.to_bytes());
        self.write.sequence = sequence + 1;
        Ok(())
    }
}

impl Direction {
    /// The next secret takes the place of this one (RFC 8446 §7.2).
    fn advance(&mut self, suite: Suite) -> Result<(), RecordFault> {
        self.secret = next_secret(suite, &self.secret).ok_or(RecordFault::Internal)?;
        self.sequence = 0;
        Ok(())
    }
}

/// The bodies of the handshake messages in `content`, as far as they are whole (RFC 8446 §4).
pub fn handshake_messages(mut content: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [_, high, middle, low, rest @ ..] = content else { return None };
        let bytes = u32::from_be_bytes([0, *high, *middle, *low]);
        let (body, behind) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        content = behind;
        Some(body)
    })
}

/// The expanded key, which is made if it is not there.
#[inline]
fn key_of<'k>(
    slot: &'k mut Option<TrafficKey>,
    suite: Suite,
    secret: &Secret,
) -> Result<&'k TrafficKey, RecordFault> {
    if slot.is_none() {
        *slot = traffic_key(suite, secret);
    }
    slot.as_ref().ok_or(RecordFault::Internal)
}

/// The nonce of a record: its number, XORed into the end of the iv (RFC 8446 §5.3, RFC 7905 §2). AES-GCM
/// in TLS 1.2 may take any that does not come twice (RFC 5288 §3), and takes the same.
#[inline]
fn nonce(iv: &[u8; NONCE_BYTES], sequence: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = *iv;
    for (byte, number) in nonce[NONCE_BYTES - 8..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

/// What is authenticated beside the content.
struct Additional {
    bytes: [u8; 13],
    count: usize,
}

impl Additional {
    /// In TLS 1.3 the header (RFC 8446 §5.2), in TLS 1.2 the number, and a header with the length of the
    /// content (RFC 5246 §6.2.3.3).
    #[inline]
    fn new(
        suite: Suite,
        sequence: u64,
        content_type: ContentType,
        length: usize,
        content_bytes: usize,
    ) -> Self {
        let mut bytes = [0; 13];
        let header = |length| Header { content_type, length }.to_bytes();
        let count = match suite.version {
            Version::Tls13 => {
                bytes[..HEADER_BYTES].copy_from_slice(&header(length));
                HEADER_BYTES
            }
            Version::Tls12 => {
                bytes[..8].copy_from_slice(&sequence.to_be_bytes());
                bytes[8..].copy_from_slice(&header(content_bytes));
                13
            }
        };
        Self { bytes, count }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

/// The type of a handshake message that announces new keys (RFC 8446 §4.6.3).
const KEY_UPDATE: u8 = 24;
/// The type of one with a ticket (RFC 8446 §4.6.1).
const NEW_SESSION_TICKET: u8 = 4;
/// A ticket of 2¹⁶ bytes, its nonce and its extensions.
const TICKET_BYTES_MAX: u32 = (2 << 16) + 512;
/// The type of one by which a client asks for a handshake.
const CLIENT_HELLO: u8 = 1;
/// That of a server (RFC 5246 §7.4.1.1).
const HELLO_REQUEST: u8 = 0;
/// What protection may add to a record of TLS 1.3 (RFC 8446 §5.2).
const EXPANSION_BYTES_MAX: usize = 256;
/// Key updates without data between them.
const UPDATES_MAX: u8 = 32;
/// Empty records without data between them.
const EMPTIES_MAX: u8 = 32;
/// Warnings in the life of a connection.
const WARNINGS_MAX: u8 = 4;
/// Records that a used-up key can still seal: a key update, or the last alert.
const KEPT_BACK: u64 = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::suite::Cipher;
    use super::*;

    fn pair(version: Version) -> (Records, Records) {
        let suite = Suite { version, cipher: Cipher::Aes128Gcm };
        let secret = |byte: u8| (0, Secret::of(&[&[byte; 32]]).unwrap());
        let client = Records::new(suite, secret(1), secret(2)).of_client();
        (Records::new(suite, secret(2), secret(1)), client)
    }

    /// What a record of a handshake with this content comes to.
    fn open(
        server: &mut Records,
        client: &mut Records,
        content: &[u8],
    ) -> Result<Opened, RecordFault> {
        let (mut sealed, mut keys) = (Vec::new(), ExpandedKeys::default());
        let fill = |out: &mut Vec<u8>| out.extend_from_slice(content);
        server.seal(&mut keys, ContentType::Handshake, &mut sealed, fill).unwrap();
        let record = 0..sealed.len();
        client.open(&mut ExpandedKeys::default(), &mut sealed, 0, record)
    }

    fn message(kind: u8, bytes: u16) -> Vec<u8> {
        let [high, low] = bytes.to_be_bytes();
        let mut message = vec![kind, 0, high, low];
        message.resize(4 + usize::from(bytes), 7);
        message
    }

    #[test]
    fn whole_tickets_are_given_and_others_passed_over() {
        let (mut server, mut client) = pair(Version::Tls13);
        let two = [message(NEW_SESSION_TICKET, 40), message(NEW_SESSION_TICKET, 300)].concat();
        let opened = open(&mut server, &mut client, &two);
        assert_eq!(opened, Ok(Opened::Tickets(two.len())));
        let bodies: Vec<usize> = handshake_messages(&two).map(<[u8]>::len).collect();
        assert_eq!(bodies, [40, 300]);
        for part in [&two[..20], &two[20..60], &two[60..]] {
            assert_eq!(open(&mut server, &mut client, part), Ok(Opened::Nothing));
        }
        assert_eq!(open(&mut server, &mut client, &two), Ok(Opened::Tickets(two.len())));
        // A message with a certificate request, and one that is longer than any ticket.
        for wrong in [&[13, 0, 0, 1, 0][..], &[NEW_SESSION_TICKET, 255, 0, 0]] {
            let (mut server, mut client) = pair(Version::Tls13);
            assert!(open(&mut server, &mut client, wrong).is_err());
        }
        // No client sends any.
        let (mut client, mut server) = pair(Version::Tls13);
        server.is_client = false;
        assert!(open(&mut client, &mut server, &two).is_err());
    }

    #[test]
    fn a_server_that_asks_for_a_handshake_is_declined_once() {
        let (mut server, mut client) = pair(Version::Tls12);
        let request = message(HELLO_REQUEST, 0);
        assert_eq!(open(&mut server, &mut client, &request), Ok(Opened::Declined));
        assert_eq!(open(&mut server, &mut client, &request), Err(RecordFault::Unexpected));
    }

    #[test]
    fn tickets_without_end_are_too_many() {
        let (mut server, mut client) = pair(Version::Tls13);
        let ticket = message(NEW_SESSION_TICKET, 10);
        let opened = (0..=UPDATES_MAX).map(|_| open(&mut server, &mut client, &ticket));
        assert_eq!(opened.filter(Result::is_ok).count(), usize::from(UPDATES_MAX));
    }

    proptest! {
        /// However tickets come in parts, as long as no header is split: none is an error, and behind
        /// the last one the next whole one is given.
        #[test]
        fn tickets_may_be_split(
            sizes in prop::collection::vec(1..2000_u16, 1..5),
            cuts in prop::collection::vec(4..500_usize, 1..20),
        ) {
            let (mut server, mut client) = pair(Version::Tls13);
            for size in sizes {
                let ticket = message(NEW_SESSION_TICKET, size);
                let mut rest = &ticket[..];
                for cut in cuts.iter().take(20) {
                    let (part, behind) = rest.split_at((*cut).min(rest.len()));
                    rest = behind;
                    if !part.is_empty() {
                        prop_assert!(open(&mut server, &mut client, part).is_ok());
                        client.updates = 0;
                    }
                }
                if !rest.is_empty() {
                    prop_assert!(open(&mut server, &mut client, rest).is_ok());
                    client.updates = 0;
                }
            }
            let ticket = message(NEW_SESSION_TICKET, 9);
            prop_assert_eq!(open(&mut server, &mut client, &ticket), Ok(Opened::Tickets(13)));
        }
    }
}
