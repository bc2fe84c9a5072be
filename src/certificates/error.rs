//! Why a file of certificates, keys or authorities cannot be used.

use crate::display::debug_as_display;

/// Why a file of certificates, keys or authorities cannot be used. Displays as the end of a
/// sentence that names the file.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file is not PEM, or what is in it is no certificate.
    #[error("is no PEM file of certificates: {0}")]
    Chain(String),
    /// The file has no certificate.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// The file is not PEM, or has no key, or one that cannot be used.
    #[error("holds no private key that can be used: {0}")]
    Key(String),
    /// The key is not that of the certificate.
    #[error("holds a key that does not belong to the certificate")]
    OtherKey,
    /// A certificate is no authority that certificates could come from.
    #[error("holds a certificate that cannot be an authority: {0}")]
    Authority(String),
    /// The keys of tickets have another length.
    #[error("must hold 1 to 16 keys of 32 random bytes, and has {0} bytes")]
    TicketKeys(usize),
    /// The same key of tickets stands twice, as in a file of zeros.
    #[error("holds the same key twice: its bytes are not random")]
    RepeatedTicketKey,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The library of TLS refuses what was asked of it.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

debug_as_display!(CertificateError);
