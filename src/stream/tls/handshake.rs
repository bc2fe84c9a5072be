//! Handshakes: the library's, fed with one whole record at a time, so that what follows the last
//! one is still untouched when the secrets are taken over.

use std::fmt;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ConnectionTrafficSecrets, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    SupportedCipherSuite,
};

use super::traffic::read_once;
use super::{READS_MAX, Received, Source, State, StreamError, TlsStream};
use crate::certificates::subject_of;
use crate::pool::{Need, OverBudget};
use crate::tls::{
    Alert, Cipher, ContentType, HEADER_BYTES, Header, HeaderFault, RECORD_BYTES_MAX, Records,
    Secret, SecretLog, Suite, Version,
};
use crate::transport::Transport;
use crate::work::{meter, prices};

/// A handshake that is under way.
pub(super) struct Handshake {
    conn: UnbufferedServerConnection,
    /// The traffic secrets, once they were logged.
    client: Option<Secret>,
    server: Option<Secret>,
    /// Bytes at the front of what has come that the library has looked at and wants to keep, as they
    /// begin a message. It must see them again with what follows, and no less of them.
    looked_at: usize,
}

/// Why a handshake cannot go on.
#[derive(Debug)]
enum Fault {
    /// What came is HTTP.
    PlainHttp,
    /// What came is no TLS at all.
    NoTls,
    /// The library says why, and has told the peer.
    Library(Error),
    /// The pool has no room.
    NoMemory,
    /// The library broke its word.
    Internal(&'static str),
}

/// What a step came to.
enum Step {
    /// More records are needed.
    Blocked,
    /// It is over.
    Done,
    /// The peer gave it up.
    Ended,
}

impl TlsStream<'_> {
    /// Goes on with a handshake, as far as bytes have come. They lie in `room` unless some wait
    /// already. `None` once it is over or has failed.
    pub(super) fn receive_handshake<S: Transport>(
        &mut self,
        socket: &mut S,
        room: &mut [u8],
    ) -> Option<Received> {
        for number in 0..READS_MAX {
            let step = if self.session.has_unopened() {
                self.advance_held()
            } else {
                match self.read_and_advance(socket, room) {
                    Ok(step) => step,
                    Err(received) => return Some(received),
                }
            };
            if let Err(fault) = &step {
                self.fail_handshake(fault);
            }
            if let Err(StreamError) = self.write_sealed(socket) {
                return Some(Received::Failed);
            }
            match step {
                Err(Fault::NoMemory) => return Some(Received::NoMemory),
                Err(_) => return Some(Received::Broken),
                Ok(Step::Done) => return None,
                Ok(Step::Ended) => return Some(Received::Ended { clean: true }),
                // One read at least: whoever asks wants to know whether there is anything to read.
                Ok(Step::Blocked) if number > 0 && self.turn.work.is_share_used() => break,
                Ok(Step::Blocked) => {}
            }
            if self.session.has_unopened()
                && let Err(received) = self.read_behind(socket)
            {
                return Some(received);
            }
        }
        Some(Received::Nothing(Source::MayHaveMore))
    }

    /// Reads once, and goes on with what has come, of which the rest is kept.
    fn read_and_advance<S: Transport>(
        &mut self,
        socket: &mut S,
        room: &mut [u8],
    ) -> Result<Result<Step, Fault>, Received> {
        let count = read_once(socket, room)?;
        self.turn.work.charge(prices::READ + prices::bytes(count));
        let mut consumed = 0;
        let step = self.advance(&mut room[..count], &mut consumed);
        if step.is_err() {
            return Ok(step);
        }
        let kept = self.keep_unopened(Need::Head, &room[consumed..count]);
        Ok(kept.map_err(|OverBudget| Fault::NoMemory).and(step))
    }

    /// Reads once, behind what waits.
    fn read_behind<S: Transport>(&mut self, socket: &mut S) -> Result<(), Received> {
        if self.session.held().room().is_empty() {
            let room = self.make_room(Need::Head, 1, INPUT_BYTES_MAX);
            room.map_err(|OverBudget| Received::NoMemory)?;
        }
        let held = self.session.held();
        let count = read_once(socket, held.room())?;
        held.filled += count;
        self.turn.work.charge(prices::READ + prices::bytes(count));
        Ok(())
    }

    /// Goes on with what waits.
    fn advance_held(&mut self) -> Result<Step, Fault> {
        let held = self.session.held();
        let (start, filled) = (held.start, held.filled);
        let mut buffer = std::mem::take(&mut held.unopened);
        let mut consumed = 0;
        let step = self.advance(&mut buffer[start..filled], &mut consumed);
        self.session.held().unopened = buffer;
        self.consume_unopened(consumed);
        step
    }

    /// Gives the library `input`, one record more at a time, and adds up how many bytes of it are
    /// dealt with.
    fn advance(&mut self, input: &mut [u8], consumed: &mut usize) -> Result<Step, Fault> {
        let mut records_bytes = match &self.session.state {
            State::Handshake(handshake) => handshake.looked_at,
            _ => 0,
        };
        loop {
            let unopened = &input[*consumed..];
            let is_first = matches!(self.session.state, State::Silent(_)) && records_bytes == 0;
            let header = match Header::read(&unopened[records_bytes..]) {
                Ok(header) => header,
                Err(HeaderFault::NoTls) if is_first && unopened[0].is_ascii_uppercase() => {
                    return Err(Fault::PlainHttp);
                }
                Err(_) => return Err(Fault::NoTls),
            };
            if is_first && header.is_some_and(|own| own.content_type != ContentType::Handshake) {
                return Err(Fault::NoTls);
            }
            records_bytes += match header {
                Some(header) if records_bytes + header.record_bytes() <= unopened.len() => {
                    header.record_bytes()
                }
                _ => return Ok(Step::Blocked),
            };
            if let State::Silent(config) = &self.session.state {
                let config = Arc::clone(config);
                self.begin(config)?;
            }
            let (step, done) = self.step(&mut input[*consumed..*consumed + records_bytes])?;
            *consumed += done;
            records_bytes -= done;
            if let State::Handshake(handshake) = &mut self.session.state {
                handshake.looked_at = records_bytes;
            }
            match step {
                Step::Blocked => {}
                Step::Done if records_bytes > 0 => {
                    return Err(Fault::Internal("a handshake is over inside a record"));
                }
                Step::Done => {
                    self.open()?;
                    return Ok(Step::Done);
                }
                Step::Ended => return Ok(Step::Ended),
            }
        }
    }

    fn begin(&mut self, config: Arc<ServerConfig>) -> Result<(), Fault> {
        let charged = self.turn.memory.charge_for(Need::Head, HANDSHAKE_BYTES);
        charged.map_err(|OverBudget| Fault::NoMemory)?;
        let conn = match UnbufferedServerConnection::new(config) {
            Ok(conn) => conn,
            Err(error) => {
                self.turn.memory.discharge(HANDSHAKE_BYTES);
                return Err(Fault::Library(error));
            }
        };
        let handshake = Handshake { conn, client: None, server: None, looked_at: 0 };
        self.session.state = State::Handshake(Box::new(handshake));
        Ok(())
    }

    /// Gives the library whole records, until it needs more. Gives how many bytes of them it is done
    /// with. What it has to say stands in the scratch.
    fn step(&mut self, input: &mut [u8]) -> Result<(Step, usize), Fault> {
        let Self { session, shared, turn, .. } = self;
        let State::Handshake(handshake) = &mut session.state else {
            return Err(Fault::Internal("no handshake"));
        };
        let out = &mut shared.sealed;
        let said = out.len();
        let result = process(&mut handshake.conn, input, out);
        if let Some(log) = &shared.secrets {
            handshake.take_secrets(log);
        }
        let price = price(&handshake.conn, out.len() > said);
        meter::spend(price);
        turn.work.charge(price);
        result
    }

    /// Takes the secrets over; all else of the library is freed.
    fn open(&mut self) -> Result<(), Fault> {
        let State::Handshake(handshake) = std::mem::replace(&mut self.session.state, State::Failed)
        else {
            return Err(Fault::Internal("no handshake"));
        };
        self.turn.memory.discharge(HANDSHAKE_BYTES);
        let certificate = handshake.conn.peer_certificates().and_then(|chain| chain.first());
        self.session.subject = certificate.and_then(subject_of).map(String::into_boxed_str);
        let counters = self.turn.counters;
        match handshake.conn.handshake_kind() {
            Some(HandshakeKind::Resumed) => counters.tls_resumed.add(1),
            _ => counters.tls_full.add(1),
        }
        let records = handshake.into_records()?;
        match records.suite().version {
            Version::Tls12 => counters.tls_12.add(1),
            Version::Tls13 => counters.tls_13.add(1),
        }
        self.session.state = State::Open(records);
        Ok(())
    }

    /// Notes why the handshake failed, and leaves a last word in the scratch where the library has
    /// none.
    fn fail_handshake(&mut self, fault: &Fault) {
        if matches!(self.session.state, State::Handshake(_)) {
            self.turn.memory.discharge(HANDSHAKE_BYTES);
        }
        self.session.state = State::Failed;
        self.drop_unopened();
        let counters = self.turn.counters;
        let (counter, last_word): (_, &[u8]) = match fault {
            Fault::PlainHttp => (&counters.tls_failed_plain_http, PLAIN_HTTP_REPLY),
            Fault::NoTls => (&counters.tls_failed_malformed, UNEXPECTED_MESSAGE),
            Fault::Library(error) => (
                match error {
                    Error::PeerIncompatible(_) => &counters.tls_failed_incompatible,
                    Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                        &counters.tls_failed_certificate
                    }
                    Error::AlertReceived(_) => &counters.tls_failed_by_peer,
                    // What the library says where no certificate is chosen for a name.
                    Error::General(_) => &counters.tls_failed_name,
                    _ => &counters.tls_failed_malformed,
                },
                match error {
                    Error::AlertReceived(_) => &[],
                    _ => DECODE_ERROR,
                },
            ),
            Fault::NoMemory => (&counters.tls_failed_memory, INTERNAL_ERROR),
            Fault::Internal(what) => {
                log::error!("a TLS handshake failed: {what}");
                (&counters.tls_failed_internal, INTERNAL_ERROR)
            }
        };
        counter.add(1);
        if !matches!(fault, Fault::Internal(_)) {
            log::debug!("a TLS handshake failed: {fault:?}");
        }
        // The library has no alert for all that it refuses.
        if self.shared.sealed.is_empty() || !matches!(fault, Fault::Library(_)) {
            self.shared.sealed.extend_from_slice(last_word);
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handshake")
    }
}

impl Handshake {
    fn take_secrets(&mut self, log: &SecretLog) {
        let captured = log.take();
        self.client = captured.client.or(self.client.take());
        self.server = captured.server.or(self.server.take());
    }

    fn into_records(self) -> Result<Records, Fault> {
        let Self { conn, client, server, .. } = self;
        let is_13 = conn.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let version = if is_13 { Version::Tls13 } else { Version::Tls12 };
        let sound = match conn.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls13(_)) => is_13,
            Some(SupportedCipherSuite::Tls12(_)) => !is_13,
            None => false,
        };
        if !sound {
            return Err(Fault::Internal("a suite of another version"));
        }
        let (secrets, _) = conn.dangerous_into_kernel_connection().map_err(Fault::Library)?;
        let ((read_number, read), (write_number, write)) = (secrets.rx, secrets.tx);
        let (cipher, read_key) = keys_of(&read)?;
        let (_, write_key) = keys_of(&write)?;
        let suite = Suite { version, cipher };
        let (read, write) = match version {
            Version::Tls12 => (read_key, write_key),
            Version::Tls13 => {
                let logged = client.zip(server).ok_or(Fault::Internal("secrets not logged"))?;
                // What is derived here must be what the library has derived.
                if !suite.yields(&logged.0, &read_key) || !suite.yields(&logged.1, &write_key) {
                    return Err(Fault::Internal("secrets of another connection"));
                }
                logged
            }
        };
        Ok(Records::new(suite, (read_number, read), (write_number, write)))
    }
}

/// The cipher, and the key with the iv behind it.
fn keys_of(secrets: &ConnectionTrafficSecrets) -> Result<(Cipher, Secret), Fault> {
    let (cipher, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            (Cipher::ChaCha20Poly1305, key, iv)
        }
        _ => return Err(Fault::Internal("a cipher of no known kind")),
    };
    let secret = Secret::of(&[key.as_ref(), iv.as_ref()]);
    Ok((cipher, secret.ok_or(Fault::Internal("a key of no known length"))?))
}

/// Has the library process `input` until it needs more than that. What it says is appended to
/// `out`, an alert too.
fn process(
    conn: &mut UnbufferedServerConnection,
    input: &mut [u8],
    out: &mut Vec<u8>,
) -> Result<(Step, usize), Fault> {
    let mut consumed = 0;
    loop {
        let UnbufferedStatus { discard, state } = conn.process_tls_records(&mut input[consumed..]);
        consumed += discard;
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                encode(out, |room| message.encode(room))?;
                continue;
            }
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                continue;
            }
            Ok(ConnectionState::BlockedHandshake) => Step::Blocked,
            // It may send already while the client is yet to finish.
            Ok(ConnectionState::WriteTraffic(_)) => match conn.is_handshaking() {
                true => Step::Blocked,
                false => Step::Done,
            },
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Step::Ended,
            Ok(_) => return Err(Fault::Internal("data before the end of a handshake")),
            Err(error) => {
                // What is left to be said, the alert above all, comes with further calls. The library
                // takes it out before it looks at any input, of which it must get none twice.
                while conn.wants_write()
                    && let Ok(ConnectionState::EncodeTlsData(mut message)) =
                        conn.process_tls_records(&mut []).state
                {
                    encode(out, |room| message.encode(room))?;
                }
                return Err(Fault::Library(error));
            }
        };
        return Ok((step, consumed));
    }
}

/// What the library's last step has cost, by whether it has answered.
fn price(conn: &UnbufferedServerConnection, has_answered: bool) -> u64 {
    match (has_answered, conn.handshake_kind()) {
        (true, Some(HandshakeKind::Resumed)) => prices::TLS_RESUMED,
        (true, _) => prices::TLS_FULL,
        (false, _) => prices::TLS_STEP,
    }
}

/// Appends what `encode` writes, with as much room as it asks for.
fn encode(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Fault> {
    let start = out.len();
    for _ in 0..2 {
        match encode(&mut out[start..]) {
            Ok(bytes) => {
                out.truncate(start + bytes);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) => {
                out.resize(start + needed.required_size, 0);
            }
            Err(EncodeError::AlreadyEncoded) => break,
        }
    }
    Err(Fault::Internal("a message that cannot be encoded"))
}

/// What the library's connection takes while a handshake lasts.
pub(super) const HANDSHAKE_BYTES: usize = 12 << 10;
/// Handshake messages may be split over records, and are put together where they lie; the library takes
/// messages of up to 64 KiB.
const INPUT_BYTES_MAX: usize = (64 << 10) + 5 * HEADER_BYTES + RECORD_BYTES_MAX;

const PLAIN_HTTP_REPLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Connection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 47\r\n\r\n\
    This port speaks TLS: use https:// or wss:// .\n";
/// An alert as it goes unprotected, before there are keys.
const UNEXPECTED_MESSAGE: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::UNEXPECTED_MESSAGE.0];
const DECODE_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::DECODE_ERROR.0];
const INTERNAL_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::INTERNAL_ERROR.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_to_plain_http_is_as_long_as_it_says() {
        let reply = std::str::from_utf8(PLAIN_HTTP_REPLY).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
