//! The TLS of one connection: opens what arrives and seals what is sent.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, HandshakeKind};

use super::client::TlsClient;
use super::error::TlsError;
use super::summary::{Agreed, TlsHandshake, TlsTally};

/// A client's session, from the ClientHello on.
#[derive(Debug)]
pub(crate) struct TlsSession {
    connection: ClientConnection,
    handshake: Option<TlsHandshake>,
}

impl TlsSession {
    /// A session whose ClientHello the next [`TlsSession::seal`] writes.
    pub(crate) fn new(client: &TlsClient) -> Result<Self, TlsError> {
        let TlsClient { config, server_name, .. } = client;
        let mut connection = ClientConnection::new(Arc::clone(config), server_name.clone())?;
        // What is sealed goes to the backlog of the connection, which is the one place for it.
        connection.set_buffer_limit(None);
        Ok(Self { connection, handshake: None })
    }

    /// The handshake, if it is complete.
    pub(crate) fn handshake(&self) -> Option<TlsHandshake> {
        self.handshake
    }

    /// Appends what the records in `sealed` hold to `plain`. Returns whether the server has announced
    /// the end of its stream (RFC 8446 §6.1). After an error, [`TlsSession::seal`] writes the alert
    /// that the server gets.
    pub(crate) fn open(&mut self, sealed: &[u8], plain: &mut Vec<u8>) -> Result<bool, TlsError> {
        let mut left = sealed;
        let mut has_ended = false;
        while !left.is_empty() && !has_ended {
            // Reads from memory fail only where records are left unprocessed, which none are here.
            if self.connection.read_tls(&mut left).map_err(|error| broken(&error))? == 0 {
                break;
            }
            let state = self.connection.process_new_packets()?;
            has_ended = state.peer_has_closed();
            let (begin, bytes) = (plain.len(), state.plaintext_bytes_to_read());
            if bytes > 0 {
                plain.resize(begin + bytes, 0);
                self.connection
                    .reader()
                    .read_exact(&mut plain[begin..])
                    .map_err(|error| broken(&error))?;
            }
        }
        Ok(has_ended)
    }

    /// Notes the end of the handshake, `age` after the beginning of the connection; returns whether
    /// it ended just now.
    pub(crate) fn has_just_opened(&mut self, age: Duration, tally: &mut TlsTally) -> bool {
        if self.handshake.is_some() || self.connection.is_handshaking() {
            return false;
        }
        let connection = &self.connection;
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let version = connection.protocol_version().and_then(|version| version.as_str());
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let group = connection.negotiated_key_exchange_group();
        tally.record(
            is_resumed,
            Agreed {
                version: version.unwrap_or("?"),
                cipher_suite: suite.unwrap_or("?"),
                group: group.and_then(|group| group.name().as_str()),
            },
        );
        self.handshake = Some(TlsHandshake { age, is_resumed });
        true
    }

    /// Appends records with `plain`, after those of the handshake that are due, to `sealed`.
    pub(crate) fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        if !plain.is_empty() {
            self.connection.writer().write_all(plain)?;
        }
        while self.connection.wants_write() {
            self.connection.write_tls(sealed)?;
        }
        Ok(())
    }
}

fn broken(error: &io::Error) -> TlsError {
    TlsError::Protocol(rustls::Error::General(error.to_string()))
}
