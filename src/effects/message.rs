//! A whole message, as a service receives it.

use crate::work::{meter, prices};
use crate::ws::MessageKind;

/// A whole message, unmasked and checked, in the loop's buffer. It is valid during one callback: a
/// service copies what it keeps.
#[derive(Debug)]
pub struct Message<'m> {
    pub(super) kind: MessageKind,
    pub(super) payload: &'m mut [u8],
}

impl<'m> Message<'m> {
    pub(crate) fn new(kind: MessageKind, payload: &'m mut [u8]) -> Self {
        meter::spend(prices::MESSAGE);
        Self { kind, payload }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The payload; UTF-8 if the message is text.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.payload
    }

    /// The payload, to be changed in place before it is sent back. Text must stay UTF-8.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    /// The text of a text message; `None` if the message is binary.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => std::str::from_utf8(self.payload).ok(),
            MessageKind::Binary => None,
        }
    }
}
