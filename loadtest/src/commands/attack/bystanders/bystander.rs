//! One bystander: what it waits for, and when it acts next.

use std::time::Instant;

use super::figures::Stage;
use crate::commands::attack::frames::frame;
use crate::driver::{ConnKey, Failure};
use crate::message::MessageId;
use crate::websocket::{Chunk, DataKind};

/// A client that sends one message at a time.
#[derive(Debug)]
pub(super) struct Bystander {
    pub(super) key: Option<ConnKey>,
    pub(super) state: State,
    pub(super) id: MessageId,
    /// Since when it is without service.
    pub(super) out_since: Option<Instant>,
}

/// What a bystander does.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// It is not connected, and connects at this time.
    Away(Instant),
    /// It is connecting, and sends the second part of its request at this time.
    Requesting(Instant),
    Connecting,
    /// It sends its next message at this time.
    Pausing(Instant),
    /// The first half of a message is sent; the second follows at this time.
    Begun(Instant),
    /// The message is sent, in this stage and at this time.
    Waiting(Stage, Instant),
}

impl Bystander {
    pub(super) fn new(index: usize, connects_at: Instant) -> Self {
        Self {
            key: None,
            state: State::Away(connects_at),
            id: MessageId::new(index as u64, 0),
            out_since: None,
        }
    }

    /// When it acts next by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Away(at) | State::Requesting(at) | State::Pausing(at) | State::Begun(at) => {
                Some(at)
            }
            State::Connecting | State::Waiting(..) => None,
        }
    }

    /// Whether the server owes it an echo, or will when its message is whole.
    pub(super) fn has_message_under_way(&self) -> bool {
        matches!(self.state, State::Begun(_) | State::Waiting(..))
    }

    /// The frame of its present message.
    pub(super) fn frame(&self) -> Vec<u8> {
        frame(DataKind::Binary, &payload(self.id))
    }

    /// Compares a chunk with the message that is awaited; returns whether it completes it.
    pub(super) fn verify(&self, chunk: &Chunk<'_>) -> Result<bool, Failure> {
        if !matches!(self.state, State::Waiting(..)) {
            return Err(Failure::UnaskedMessage);
        }
        let expected = payload(self.id);
        let end = chunk.offset.saturating_add(chunk.payload.len());
        let is_whole = !chunk.is_end || end == expected.len();
        if expected.get(chunk.offset..end) != Some(chunk.payload) || !is_whole {
            return Err(Failure::WrongEcho);
        }
        Ok(chunk.is_end)
    }
}

/// The id of the message, then dots.
fn payload(id: MessageId) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [b'.'; PAYLOAD_BYTES];
    let id = id.encode();
    payload[..id.len()].copy_from_slice(&id);
    payload
}

const PAYLOAD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::clock;

    fn chunk(payload: &[u8], offset: usize, is_end: bool) -> Chunk<'_> {
        Chunk { kind: DataKind::Binary, offset, payload, is_end, is_compressed: false }
    }

    #[test]
    fn only_the_message_that_was_sent_is_its_echo() {
        let now = clock::now();
        let mut bystander = Bystander::new(3, now);
        let sent = payload(bystander.id);
        assert!(matches!(bystander.verify(&chunk(&sent, 0, true)), Err(Failure::UnaskedMessage)));
        bystander.state = State::Waiting(Stage::Before, now);
        assert!(bystander.verify(&chunk(&sent, 0, true)).unwrap());
        assert!(!bystander.verify(&chunk(&sent[..20], 0, false)).unwrap());
        assert!(bystander.verify(&chunk(&sent[20..], 20, true)).unwrap());
        for wrong in [chunk(&sent[..20], 0, true), chunk(&sent, 1, true), chunk(b"x", 0, false)] {
            assert!(matches!(bystander.verify(&wrong), Err(Failure::WrongEcho)));
        }
    }
}
