//! What a client sends, and is sent, beside its end.

/// What a client has sent, or is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

impl ClientEvent {
    /// Whether it is a control frame, of at most 125 bytes (RFC 6455 §5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        match self {
            Self::Ping | Self::Pong => true,
            Self::Text | Self::Binary => false,
        }
    }
}
