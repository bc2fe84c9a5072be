//! The library's part of a handshake, and how its secrets are taken over.

use std::fmt;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus,
};
use rustls::{
    CommonState, ConnectionTrafficSecrets, Error, ExtractedSecrets, HandshakeKind, ProtocolVersion,
    ServerConfig, SupportedCipherSuite,
};

use super::outbound::Outbound;
use super::tickets::TicketTaker;
use crate::certificates::{expiry_of, names_of};
use crate::foreign::Protocol;
use crate::pool::OverBudget;
use crate::timer::WallTime;
use crate::tls::{Alert, Cipher, Records, Secret, SecretLog, Suite, Version, yields};
use crate::upstream::ServerTls;
use crate::work::prices;

/// A handshake that is under way.
pub(super) struct Handshake {
    conn: LibraryConnection,
    /// What the first answer to a client costs in a full handshake.
    full_price: u64,
    /// The traffic secrets, once they were logged.
    client: Option<Secret>,
    server: Option<Secret>,
    /// Bytes at the front of what has come that the library has looked at and wants to keep, as they
    /// begin a message. It must see them again with what follows, and no less of them.
    pub(super) looked_at: usize,
    /// The client's first message was answered, which is what costs.
    has_answered: bool,
    /// The peer has shown a certificate, and its verification is paid for.
    has_verified: bool,
    /// Bytes that the library has taken so far.
    taken: usize,
    /// Bytes that it is charged to the pool with.
    pub(super) charged: usize,
}

/// The library's connection, with a client or with a server.
enum LibraryConnection {
    WithClient(UnbufferedServerConnection),
    WithServer(UnbufferedClientConnection),
}

/// Why a handshake cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// What came is of this protocol.
    Foreign(Protocol),
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
pub(super) enum Step {
    /// More records are needed.
    Blocked,
    /// The share of the turn is used up, and whole records are left.
    Later,
    /// It is over.
    Done,
    /// The peer gave it up.
    Ended,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handshake")
    }
}

impl Handshake {
    /// One of which nothing has come. `full_price` is what the answer to the client's first message costs
    /// in a full handshake.
    ///
    /// # Errors
    /// If the library refuses the configuration.
    pub(super) fn new(config: Arc<ServerConfig>, full_price: u64) -> Result<Self, Fault> {
        let conn = UnbufferedServerConnection::new(config).map_err(Fault::Library)?;
        Ok(Self::of(LibraryConnection::WithClient(conn), full_price))
    }

    /// One with a server, which is to be sent the first message.
    ///
    /// # Errors
    /// If the library refuses the configuration.
    pub(super) fn with_server(tls: &ServerTls, outbound: &mut Outbound) -> Result<Self, Fault> {
        let config = outbound.config(&tls.config);
        let conn = UnbufferedClientConnection::new(config, tls.name.clone());
        let conn = LibraryConnection::WithServer(conn.map_err(Fault::Library)?);
        Ok(Self { has_answered: true, ..Self::of(conn, 0) })
    }

    fn of(conn: LibraryConnection, full_price: u64) -> Self {
        Self {
            conn,
            full_price,
            client: None,
            server: None,
            looked_at: 0,
            has_answered: false,
            has_verified: false,
            taken: 0,
            charged: HANDSHAKE_BYTES,
        }
    }

    /// Whether it is with a server.
    pub(super) fn is_with_server(&self) -> bool {
        matches!(self.conn, LibraryConnection::WithServer(_))
    }

    /// The library has taken `bytes` more. Those beyond the usual are charged for by `charge`: a client
    /// may show a long chain of certificates, which is kept to the end.
    ///
    /// # Errors
    /// [`OverBudget`] if there is no room for them.
    pub(super) fn take(
        &mut self,
        bytes: usize,
        charge: impl FnOnce(usize) -> Result<(), OverBudget>,
    ) -> Result<(), OverBudget> {
        self.taken += bytes;
        let beyond = self.taken.saturating_sub(TAKEN_BYTES_USUAL);
        let added = (HANDSHAKE_BYTES + COPIES * beyond).saturating_sub(self.charged);
        if added > 0 {
            charge(added)?;
            self.charged += added;
        }
        Ok(())
    }

    /// Gives the library whole records, until it needs more. Gives how many bytes of them it is done
    /// with. What it says is appended to `out`, an alert too.
    ///
    /// # Errors
    /// Where the handshake cannot go on.
    pub(super) fn process(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<(Step, usize), Fault> {
        match &mut self.conn {
            LibraryConnection::WithClient(conn) => {
                let start = out.len();
                let result = process(&mut **conn, input, out);
                if result.is_err() && out[start..] == *ACCESS_DENIED {
                    // No certificate was chosen, which is said before there are keys.
                    out.truncate(start);
                    out.extend_from_slice(UNRECOGNIZED_NAME);
                }
                result
            }
            LibraryConnection::WithServer(conn) => process(&mut **conn, input, out),
        }
    }

    /// What the last step has cost, by whether it had anything to say. Only the first answer takes a
    /// key exchange; tickets, which come later, are cheap.
    pub(super) fn price(&mut self, has_said: bool) -> u64 {
        let is_first = has_said && !self.has_answered;
        self.has_answered |= has_said;
        let step = match is_first {
            true if self.is_resumed() => prices::TLS_RESUMED,
            true => self.full_price,
            false => prices::TLS_STEP,
        };
        let has_shown = !self.has_verified && self.common().peer_certificates().is_some();
        self.has_verified |= has_shown;
        // That of a session that is resumed was verified when it began.
        match has_shown && !self.is_resumed() {
            true => step + prices::TLS_CLIENT_CERTIFICATE,
            false => step,
        }
    }

    /// Whether it goes on from an earlier session.
    pub(super) fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn common(&self) -> &CommonState {
        match &self.conn {
            LibraryConnection::WithClient(conn) => conn,
            LibraryConnection::WithServer(conn) => conn,
        }
    }

    /// Whom the client's certificate names, if it has shown one.
    pub(super) fn names(&self) -> Option<Box<str>> {
        if self.is_with_server() {
            return None;
        }
        let certificate = self.common().peer_certificates()?.first()?;
        names_of(certificate).map(String::into_boxed_str)
    }

    /// Whether the client's certificate, if it has shown one, has expired by `date`. The library looks at
    /// that in a full handshake and not where a session is resumed. That of a server is the library's
    /// matter: its tickets end with their lifetime (RFC 8446 §4.6.1).
    pub(super) fn has_expired(&self, date: WallTime) -> bool {
        if self.is_with_server() {
            return false;
        }
        let certificate = self.common().peer_certificates().and_then(|chain| chain.first());
        self.is_resumed() && certificate.and_then(expiry_of).is_some_and(|expiry| expiry < date)
    }

    /// Takes what was logged in the last step.
    pub(super) fn take_secrets(&mut self, log: &SecretLog) {
        let captured = log.take();
        self.client = captured.client.or_else(|| self.client.take());
        self.server = captured.server.or_else(|| self.server.take());
    }

    /// Takes the secrets over, once the handshake is over, and what takes the tickets of a server. Those
    /// that were logged are wiped where they lie.
    ///
    /// # Errors
    /// If the library has not kept its word.
    pub(super) fn into_records(self: Box<Self>) -> Result<(Records, Option<TicketTaker>), Fault> {
        let is_with_server = self.is_with_server();
        // What is read is protected by the other's secret.
        let logged = match is_with_server {
            true => self.server.clone().zip(self.client.clone()),
            false => self.client.clone().zip(self.server.clone()),
        };
        let is_13 = self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let version = if is_13 { Version::Tls13 } else { Version::Tls12 };
        let sound = match self.common().negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls13(_)) => is_13,
            Some(SupportedCipherSuite::Tls12(_)) => !is_13,
            None => false,
        };
        if !sound {
            return Err(Fault::Internal("a suite of another version"));
        }
        let (secrets, taker) = self.conn.into_secrets()?;
        let ((read_number, read), (write_number, write)) = (secrets.rx, secrets.tx);
        let (cipher, read_key) = keys_of(&read)?;
        let (_, write_key) = keys_of(&write)?;
        let suite = Suite { version, cipher };
        let (read, write) = match version {
            Version::Tls12 => (read_key, write_key),
            Version::Tls13 => {
                let logged = logged.ok_or(Fault::Internal("secrets not logged"))?;
                // What is derived here must be what the library has derived.
                if !yields(suite, &logged.0, &read_key) || !yields(suite, &logged.1, &write_key) {
                    return Err(Fault::Internal("secrets of another connection"));
                }
                logged
            }
        };
        let records = Records::new(suite, (read_number, read), (write_number, write));
        // Before TLS 1.3 tickets are of the handshake.
        Ok(if is_with_server {
            (records.of_client(), taker.filter(|_| is_13))
        } else {
            (records, None)
        })
    }
}

impl LibraryConnection {
    fn into_secrets(self) -> Result<(ExtractedSecrets, Option<TicketTaker>), Fault> {
        match self {
            Self::WithClient(conn) => {
                let extracted = conn.dangerous_into_kernel_connection();
                extracted.map(|(secrets, _)| (secrets, None))
            }
            Self::WithServer(conn) => {
                let extracted = conn.dangerous_into_kernel_connection();
                extracted.map(|(secrets, rest)| (secrets, Some(TicketTaker(Box::new(rest)))))
            }
        }
        .map_err(Fault::Library)
    }
}

/// What the library does for either side.
trait TakesRecords {
    type Data;

    fn take_records<'c, 'i>(
        &'c mut self,
        input: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn state(&self) -> &CommonState;
}

impl TakesRecords for UnbufferedConnectionCommon<ServerConnectionData> {
    type Data = ServerConnectionData;

    fn take_records<'c, 'i>(
        &'c mut self,
        input: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl TakesRecords for UnbufferedConnectionCommon<ClientConnectionData> {
    type Data = ClientConnectionData;

    fn take_records<'c, 'i>(
        &'c mut self,
        input: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn state(&self) -> &CommonState {
        self
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
fn process<C: TakesRecords>(
    conn: &mut C,
    input: &mut [u8],
    out: &mut Vec<u8>,
) -> Result<(Step, usize), Fault> {
    let mut consumed = 0;
    loop {
        let UnbufferedStatus { discard, state } = conn.take_records(&mut input[consumed..]);
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
            // A server may send already while the client is yet to finish.
            Ok(ConnectionState::WriteTraffic(_)) => match conn.state().is_handshaking() {
                true => Step::Blocked,
                false => Step::Done,
            },
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Step::Ended,
            Ok(_) => return Err(Fault::Internal("data before the end of a handshake")),
            Err(error) => {
                // What is left to be said, the alert above all, comes with further calls. The library
                // takes it out before it looks at any input, of which it must get none twice.
                while conn.state().wants_write()
                    && let Ok(ConnectionState::EncodeTlsData(mut message)) =
                        conn.take_records(&mut []).state
                {
                    encode(out, |room| message.encode(room))?;
                }
                return Err(Fault::Library(error));
            }
        };
        return Ok((step, consumed));
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

/// How the library refuses a client for whose name there is no certificate, and how RFC 6066 §3 has it
/// refused. It says the first of these in no other case that a client can bring about.
const ACCESS_DENIED: &[u8] = &[21, 3, 3, 0, 2, 2, 49];
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::UNRECOGNIZED_NAME.0];

/// Bytes of a peer's messages in most handshakes.
const TAKEN_BYTES_USUAL: usize = 4 << 10;
/// How often what is taken is kept: as a chain of certificates, and before TLS 1.3 in the transcript.
const COPIES: usize = 2;
/// What the library's connection takes while a usual handshake lasts.
pub(super) const HANDSHAKE_BYTES: usize = 12 << 10;
