//! How much is pushed, as routes count it.

use super::shared_frame::SharedFrame;

/// Messages, and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Volume {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Volume {
    /// That of one message.
    pub(crate) fn of(frame: &SharedFrame) -> Self {
        Self { messages: 1, bytes: frame.frame().payload().len() as u64 }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}
