//! The handshakes of a run, counted, and what they agreed on.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::client::TlsClient;

/// One complete handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsHandshake {
    /// From the beginning of the TCP connection to the end of the handshake.
    pub(crate) age: Duration,
    /// It resumed an earlier session.
    pub(crate) is_resumed: bool,
}

/// Counts complete handshakes.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsTally {
    full: u64,
    resumed: u64,
    agreed: Option<Agreed>,
}

/// What the last handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) version: &'static str,
    pub(super) cipher_suite: &'static str,
    pub(super) group: Option<&'static str>,
}

impl TlsTally {
    pub(super) fn record(&mut self, is_resumed: bool, agreed: Agreed) {
        *(if is_resumed { &mut self.resumed } else { &mut self.full }) += 1;
        self.agreed = Some(agreed);
    }

    /// The counts since the beginning, for the report of a run with `client`.
    pub(crate) fn summary(&self, client: &TlsClient) -> TlsSummary {
        let agreed = self.agreed.as_ref();
        TlsSummary {
            version: agreed.map(|agreed| agreed.version),
            cipher_suite: agreed.map(|agreed| agreed.cipher_suite),
            group: agreed.and_then(|agreed| agreed.group),
            full_handshakes: self.full,
            resumed_handshakes: self.resumed,
            is_certificate_verified: client.is_verified,
        }
    }
}

/// The TLS of a run, for its report. Without a complete handshake nothing was agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TlsSummary {
    version: Option<&'static str>,
    cipher_suite: Option<&'static str>,
    group: Option<&'static str>,
    pub(crate) full_handshakes: u64,
    pub(crate) resumed_handshakes: u64,
    is_certificate_verified: bool,
}

impl fmt::Display for TlsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS: ")?;
        if let (Some(version), Some(cipher_suite)) = (self.version, self.cipher_suite) {
            write!(f, "{version}, {cipher_suite}")?;
            if let Some(group) = self.group {
                write!(f, ", {group}")?;
            }
            f.write_str("; ")?;
        }
        let Self { full_handshakes, resumed_handshakes, .. } = self;
        write!(f, "{full_handshakes} full and {resumed_handshakes} resumed handshakes")?;
        if !self.is_certificate_verified {
            f.write_str("; the server's certificate was NOT verified (--insecure)")?;
        }
        Ok(())
    }
}
