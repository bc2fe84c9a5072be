//! TLS: the certificates, and what listeners with TLS have in common.

use super::declare::keys;
use super::file_path::FilePath;
use super::rule::Rule;
use super::word::{one_of, words};
use crate::certificates::{ClientCertificates, TlsVersion, UnknownSni};

keys! {
    /// A certificate with its key. Both files are read again when they change.
    "certificate." pub struct CertificateFiles {
        /// PEM file with the certificate of the server, then those between it and its authority.
        pub certificate: FilePath {
            rule: Rule::File,
            reload: true,
        }
        /// PEM file with the private key of the certificate.
        pub key: FilePath {
            rule: Rule::File,
            reload: true,
        }
    }
}

impl CertificateFiles {
    /// The pair in these files.
    pub fn new(certificate: FilePath, key: FilePath) -> Self {
        Self { certificate, key }
    }
}

keys! {
    /// What all listeners with TLS have in common.
    "tls." pub struct TlsOptions {
        /// The oldest version of TLS that is spoken; the newest is 1.3.
        pub version_min: TlsVersion {
            default: TlsVersion::Tls12,
            rule: one_of::<TlsVersion>(),
            reload: true,
        }
        /// What becomes of a client that names a host which no certificate has: it gets the first
        /// certificate, or its handshake is refused.
        pub unknown_sni: UnknownSni {
            default: UnknownSni::Default,
            rule: one_of::<UnknownSni>(),
            reload: true,
        }
        /// File with 1 to 16 keys of 32 random bytes each, from which the keys of session tickets are
        /// made, so that processes which share it resume each other's sessions. The first key makes
        /// tickets, all accept them. By default keys are random and replaced every 12 hours.
        pub ticket_keys_file: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            reload: true,
        }
        /// File to which the secrets of all connections are appended, so that other programs can
        /// decrypt captured traffic. For debugging only: it undoes the protection of TLS.
        pub key_log_file: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            // Loops capture secrets of their own by the same log, also of handshakes under way.
            reload: false,
        }
    }
}

words! { ClientCertificates: "off" = Off, "optional" = Optional, "required" = Required }
words! { TlsVersion: "1.2" = Tls12, "1.3" = Tls13 }
words! { UnknownSni: "default" = Default, "refuse" = Refuse }
