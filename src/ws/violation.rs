//! Violations of the protocol by a peer, and the close codes that report them.

use super::close_code::CloseCode;

/// A violation of RFC 6455, or of a limit, by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A close frame with a one-byte payload (§5.5.1).
    #[error("close frame with half a code")]
    CloseCodeCut,
    /// A close code that must not be sent (§7.4).
    #[error("close code not allowed on the wire")]
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (§5.5.1).
    #[error("close reason not UTF-8")]
    CloseReasonNotUtf8,
    /// A control frame without FIN (§5.5).
    #[error("control frame fragmented")]
    ControlFragmented,
    /// A control frame with more than 125 bytes (§5.5).
    #[error("control frame too long")]
    ControlTooLong,
    /// A new message before the fragmented one ended (§5.4).
    #[error("expected a continuation frame")]
    ExpectedContinuation,
    /// A length that has a shorter encoding (§5.2).
    #[error("length not in its shortest form")]
    LengthNotMinimal,
    /// A length with its top bit set (§5.2).
    #[error("length above 2^63 - 1")]
    LengthOverflow,
    /// A server frame with a mask (§5.1).
    #[error("server frame masked")]
    Masked,
    /// More than `message_bytes_max` in one message.
    #[error("message too big")]
    MessageTooBig,
    /// A compressed message that cannot be inflated (RFC 7692 §7.2.2).
    #[error("message not compressed properly")]
    NotDeflate,
    /// The first bytes of a client of lines are those of another protocol.
    #[error("this port takes lines of text, not HTTP, TLS, SSH or the PROXY protocol")]
    NotLines,
    /// A client frame without a mask (§5.1).
    #[error("client frame not masked")]
    NotMasked,
    /// RSV1, RSV2 or RSV3 without an extension that uses it (§5.2).
    #[error("reserved bit set")]
    ReservedBits,
    /// An opcode that is not defined (§5.2).
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A text message that is not UTF-8 (§8.1).
    #[error("text not UTF-8")]
    TextNotUtf8,
    /// A continuation frame without a message to continue (§5.4).
    #[error("unexpected continuation frame")]
    UnexpectedContinuation,
}

impl Violation {
    /// The code to close with (RFC 6455 §7.4.1).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::CloseReasonNotUtf8 | Self::NotDeflate | Self::TextNotUtf8 => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::CloseCodeCut
            | Self::CloseCodeInvalid
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::ExpectedContinuation
            | Self::LengthNotMinimal
            | Self::LengthOverflow
            | Self::Masked
            | Self::NotLines
            | Self::NotMasked
            | Self::ReservedBits
            | Self::ReservedOpcode
            | Self::UnexpectedContinuation => CloseCode::PROTOCOL_ERROR,
        }
    }
}
