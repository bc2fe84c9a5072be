//! What the clients of a route may send, and what becomes of more.

use crate::admission::UserLimits;
use crate::rate::Rate;

/// What each client of a route may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Messages.
    pub messages: Option<Rate>,
    /// Bytes of messages, after they are inflated.
    pub bytes: Option<Rate>,
    /// Messages of one user, with all connections together.
    pub user_messages: Option<Rate>,
    /// Bytes of messages of one user, with all connections together.
    pub user_bytes: Option<Rate>,
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
            user_messages: None,
            user_bytes: None,
            control_frames: Some(CONTROL_FRAMES),
            policy: RatePolicy::Pause,
            fragments_max: None,
            message_idle_ms: None,
        }
    }
}

impl MessageLimits {
    /// Whether each message and fragment is to be looked at.
    #[must_use]
    pub fn meters_messages(&self) -> bool {
        self.limits_messages()
            || self.user_limits().is_some()
            || self.fragments_max.is_some()
            || self.message_idle_ms.is_some()
    }

    /// What one user may send, if that is limited.
    #[must_use]
    pub fn user_limits(&self) -> Option<UserLimits> {
        let limits = [self.user_messages, self.user_bytes];
        limits.iter().any(Option::is_some).then_some(limits)
    }

    /// Whether messages of a connection or their bytes have a rate.
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
