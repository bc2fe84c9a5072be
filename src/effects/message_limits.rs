//! What the clients of a route may send, and what becomes of more.

use crate::rate::Rate;

/// What each client of a route may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Messages.
    pub messages: Option<Rate>,
    /// Bytes of messages, after they are inflated.
    pub bytes: Option<Rate>,
    /// Control frames that are no close frame.
    pub control_frames: Option<Rate>,
    /// What becomes of more than these rates allow.
    pub policy: RatePolicy,
    /// Frames of one message; more end the connection.
    pub fragments_max: Option<u16>,
    /// The connection ends when the client has sent no message for this long, in milliseconds.
    pub message_idle_ms: Option<u64>,
}

impl Default for MessageLimits {
    /// Only control frames have a limit, which no client meets that means well.
    fn default() -> Self {
        Self {
            messages: None,
            bytes: None,
            control_frames: Some(CONTROL_FRAMES),
            policy: RatePolicy::Pause,
            fragments_max: None,
            message_idle_ms: None,
        }
    }
}

impl MessageLimits {
    /// Whether something is to be remembered of each connection.
    #[must_use]
    pub fn needs_record(&self) -> bool {
        self.limits_messages() || self.fragments_max.is_some() || self.message_idle_ms.is_some()
    }

    /// Whether messages or their bytes have a rate.
    #[must_use]
    pub fn limits_messages(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }
}

/// What becomes of what a client sends above a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RatePolicy {
    /// The connection is not read until the rate allows more. Nothing is lost.
    #[default]
    Pause,
    /// It is thrown away.
    Drop,
    /// The connection is closed with code 1008.
    Close,
}

/// A client that asks for a sign of life ten times a second stays far below it.
pub const CONTROL_FRAMES: Rate = Rate { per_s: 100, burst: 200 };
