//! Alerts (RFC 8446 §6, RFC 5246 §7.2).

/// What an alert says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub(crate) u8);

impl Alert {
    /// The sender sends no more.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A record came that belongs to no state.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record could not be opened.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record is longer than any may be.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// A certificate is no longer valid.
    pub const CERTIFICATE_EXPIRED: Self = Self(45);
    /// A message is not what its type says.
    pub const DECODE_ERROR: Self = Self(50);
    /// Something went wrong here.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The handshake is given up for a reason that has nothing to do with the protocol.
    pub const USER_CANCELED: Self = Self(90);
    /// There is no certificate for the name that the client asked for.
    pub const UNRECOGNIZED_NAME: Self = Self(112);
    /// A new handshake on an open connection is declined (TLS 1.2).
    pub const NO_RENEGOTIATION: Self = Self(100);

    /// The alert as a message: level and description. Both versions know the level; TLS 1.3 ignores
    /// it.
    pub fn to_bytes(self) -> [u8; 2] {
        let is_warning =
            matches!(self, Self::CLOSE_NOTIFY | Self::USER_CANCELED | Self::NO_RENEGOTIATION);
        [if is_warning { WARNING } else { FATAL }, self.0]
    }
}

/// The level of an alert after which a connection may go on.
pub(super) const WARNING: u8 = 1;
/// The level of an alert that ends a connection. One of any other level does so too.
const FATAL: u8 = 2;
