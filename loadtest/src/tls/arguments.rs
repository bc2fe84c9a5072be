//! The options of TLS, for every command that opens connections.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Whether connections are encrypted, and how.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TlsArguments {
    /// Encrypt all connections, as a URL with wss:// does
    #[arg(long)]
    pub(crate) tls: bool,

    /// Trust the certificates of authorities in this PEM file, instead of those of the system
    #[arg(long, value_name = "FILE", requires = "tls", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,

    /// Take any certificate of the server, whatever its name and issuer
    #[arg(long, requires = "tls")]
    pub(super) insecure: bool,

    /// Present the certificate in this PEM file, with those between it and its authority, to servers
    /// that ask for one
    #[arg(long, value_name = "FILE", requires_all = ["tls", "client_key"])]
    pub(super) client_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub(super) client_key: Option<PathBuf>,

    /// Agree to this version alone
    #[arg(long, value_name = "VERSION", value_enum, requires = "tls")]
    pub(super) tls_version: Option<TlsVersion>,

    /// Agree to this cipher alone
    #[arg(long, value_name = "CIPHER", value_enum, requires = "tls")]
    pub(super) tls_cipher: Option<TlsCipher>,

    /// Agree to this key exchange group alone
    #[arg(long, value_name = "GROUP", value_enum, requires = "tls")]
    pub(super) tls_group: Option<TlsGroup>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
pub(crate) enum TlsVersion {
    #[value(name = "1.2")]
    #[serde(rename = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsVersion {
    /// Its name in reports.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

/// A cipher of records, in suites of both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsCipher {
    #[value(name = "aes-128-gcm")]
    Aes128Gcm,
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// A group of the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsGroup {
    #[value(name = "x25519")]
    X25519,
    #[value(name = "p-256")]
    P256,
    #[value(name = "p-384")]
    P384,
}
