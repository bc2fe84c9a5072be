//! What a service may do, written down while its callback runs.
//!
//! Replies to the peer whose message is being handled go straight into that connection's output:
//! small ones are copied behind each other, so that one write takes them all, large ones are sent
//! from where they were read. What concerns other connections is noted and done afterwards, so a
//! callback never meets a table that changes under its hands.

use std::borrow::Cow;
use std::ops::Range;

use super::Peer;
use crate::conn::Outgoing;
use crate::ws::{CloseCode, EncodedFrame, MessageKind};

/// A whole message, unmasked and checked, where it lies in the loop's buffer.
#[derive(Debug)]
pub struct Message<'m> {
    kind: MessageKind,
    payload: &'m mut [u8],
}

impl<'m> Message<'m> {
    pub(crate) fn new(kind: MessageKind, payload: &'m mut [u8]) -> Self {
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

    /// The text of a text message.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => std::str::from_utf8(self.payload).ok(),
            MessageKind::Binary => None,
        }
    }
}

/// Something to be done to another connection after the callback.
#[derive(Debug)]
pub(crate) enum Effect {
    Close(Peer, CloseRequest),
    Send(Peer, EncodedFrame),
}

/// A close that a service asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseRequest {
    pub(crate) code: CloseCode,
    pub(crate) reason: Cow<'static, str>,
}

/// Collects the effects of one callback.
#[derive(Debug)]
pub struct Effects<'e> {
    current: Option<Current<'e>>,
    later: &'e mut Vec<Effect>,
    ignored: &'e mut u64,
}

/// The connection that the callback is about, while it is open.
#[derive(Debug)]
struct Current<'e> {
    peer: Peer,
    outgoing: &'e mut Outgoing,
    /// Where the message being handled lies in the read buffer.
    message: Range<usize>,
}

impl<'e> Effects<'e> {
    /// Effects of a callback about an open connection.
    pub(crate) fn on(
        peer: Peer,
        message: Range<usize>,
        outgoing: &'e mut Outgoing,
        later: &'e mut Vec<Effect>,
        ignored: &'e mut u64,
    ) -> Self {
        Self { current: Some(Current { peer, outgoing, message }), later, ignored }
    }

    /// Effects of a callback about a connection that is no longer open.
    pub(crate) fn after(later: &'e mut Vec<Effect>, ignored: &'e mut u64) -> Self {
        Self { current: None, later, ignored }
    }

    /// Answers the current peer with a copy of `payload`. Text must be UTF-8.
    pub fn reply(&mut self, kind: MessageKind, payload: &[u8]) {
        match &mut self.current {
            Some(current) => current.outgoing.frame(kind.opcode(), payload),
            None => *self.ignored += 1,
        }
    }

    /// Answers the current peer with text.
    pub fn reply_text(&mut self, text: &str) {
        self.reply(MessageKind::Text, text.as_bytes());
    }

    /// Answers the current peer with its own message, as it is now, without copying a large one.
    pub fn reply_in_place(&mut self, message: Message<'_>) {
        let Message { kind, payload } = message;
        match &mut self.current {
            Some(current) => {
                debug_assert_eq!(payload.len(), current.message.len());
                current.outgoing.frame_in_place(kind.opcode(), payload, current.message.clone());
            }
            None => *self.ignored += 1,
        }
    }

    /// Sends a frame to any peer, on any loop. If that peer is slow, its route's policy decides
    /// what becomes of it; if it is gone, nothing.
    pub fn send(&mut self, peer: Peer, frame: EncodedFrame) {
        match &mut self.current {
            Some(current) if current.peer == peer => current.outgoing.encoded(&frame),
            _ => self.later.push(Effect::Send(peer, frame)),
        }
    }

    /// Closes a connection, after what was sent to it before. `reason` is cut to 123 bytes.
    pub fn close(&mut self, peer: Peer, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let request = CloseRequest { code, reason: reason.into() };
        match &mut self.current {
            Some(current) if current.peer == peer => current.outgoing.request_close(request),
            _ => self.later.push(Effect::Close(peer, request)),
        }
    }
}
