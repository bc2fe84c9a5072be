//! What a listener asks of TLS and of its clients.

/// What a listener asks of the certificates of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// It asks for none.
    #[default]
    Off,
    /// It asks for one and serves clients without; one that does not verify is refused.
    Optional,
    /// It serves only clients with a certificate that verifies.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// What becomes of a client that asks for a name which no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownSni {
    /// It gets the first certificate.
    #[default]
    Default,
    /// Its handshake is refused.
    Refuse,
}
