//! Why TLS with a server came to nothing.

use rustls::{CertificateError, Error};

use super::library::Fault;
use crate::tls::{Alert, RecordFault};

/// Why a server is not spoken to over TLS, as the end of a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServerFault {
    #[error("its certificate is not for this name")]
    OtherName,
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet")]
    NotYetValid,
    #[error("its certificate comes from an unknown authority")]
    UnknownAuthority,
    #[error("its certificate is revoked")]
    Revoked,
    #[error("its certificate does not verify")]
    NotVerified,
    /// It has ended TLS by this alert, such as for a certificate of ours.
    #[error("it ends TLS with the alert {}", .0.0)]
    Alerted(Alert),
    #[error("it supports no version, cipher or scheme of TLS that would do")]
    Incompatible,
    #[error("it does not speak TLS")]
    NoTls,
    #[error("it breaks the rules of TLS")]
    Malformed,
    /// Not its fault: the pool has no room.
    #[error("there is no memory for TLS with it")]
    NoMemory,
}

impl ServerFault {
    /// Whether it is about the certificate that the server has shown.
    pub(crate) fn is_of_certificate(self) -> bool {
        match self {
            Self::OtherName
            | Self::Expired
            | Self::NotYetValid
            | Self::UnknownAuthority
            | Self::Revoked
            | Self::NotVerified => true,
            Self::Alerted(_)
            | Self::Incompatible
            | Self::NoTls
            | Self::Malformed
            | Self::NoMemory => false,
        }
    }

    /// Why a handshake with a server has failed.
    pub(super) fn of_handshake(fault: &Fault) -> Self {
        match fault {
            Fault::Foreign(_) | Fault::NoTls => Self::NoTls,
            Fault::Library(Error::InvalidCertificate(fault)) => Self::of_certificate(fault),
            Fault::Library(Error::NoCertificatesPresented) => Self::NotVerified,
            Fault::Library(Error::AlertReceived(alert)) => Self::Alerted(Alert(u8::from(*alert))),
            Fault::Library(Error::PeerIncompatible(_)) => Self::Incompatible,
            Fault::Library(_) | Fault::Internal(_) => Self::Malformed,
            Fault::NoMemory => Self::NoMemory,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may name further faults")]
    fn of_certificate(fault: &CertificateError) -> Self {
        match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::Revoked => Self::Revoked,
            _ => Self::NotVerified,
        }
    }
}

impl From<RecordFault> for ServerFault {
    fn from(fault: RecordFault) -> Self {
        match fault {
            RecordFault::Alerted(alert) => Self::Alerted(alert),
            RecordFault::NoMemory => Self::NoMemory,
            RecordFault::BadRecord
            | RecordFault::CertificateExpired
            | RecordFault::Exhausted
            | RecordFault::Internal
            | RecordFault::Malformed
            | RecordFault::TooLong
            | RecordFault::Unexpected => Self::Malformed,
        }
    }
}
