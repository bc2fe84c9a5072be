//! Compares a message with the expected one, chunk by chunk as it arrives.

use super::message_id::{HEAD_BYTES_MAX, MessageId, head};
use super::mismatch::Mismatch;
use crate::websocket::{Chunk, DataKind};

/// The message that is expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    kind: DataKind,
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    body: &'a [u8],
    /// The message shrinks enough that a server which agreed to compression has to compress it.
    is_to_be_compressed: bool,
}

impl<'a> Expected<'a> {
    pub(super) fn new(kind: DataKind, id: MessageId, head_bytes: usize, body: &'a [u8]) -> Self {
        Self { kind, head: head(id), head_bytes, body, is_to_be_compressed: false }
    }

    /// Sets whether the message must arrive compressed.
    pub(super) fn to_be_compressed(self, is_to_be_compressed: bool) -> Self {
        Self { is_to_be_compressed, ..self }
    }

    /// Compares a chunk with the bytes at its offset in the message.
    pub(crate) fn verify(&self, chunk: &Chunk<'_>) -> Result<(), Mismatch> {
        if chunk.kind != self.kind {
            return Err(Mismatch::Kind);
        }
        if self.is_to_be_compressed && !chunk.is_compressed {
            return Err(Mismatch::Plain);
        }
        if !self.has_at(chunk.offset, chunk.payload) {
            return Err(self.locate(chunk));
        }
        let arrived = chunk.offset + chunk.payload.len();
        if chunk.is_end && arrived < self.payload_bytes() {
            return Err(Mismatch::TooShort { arrived, sent: self.payload_bytes() });
        }
        Ok(())
    }

    fn payload_bytes(&self) -> usize {
        self.head_bytes + self.body.len()
    }

    /// Whether `bytes` stand at `offset` of the message.
    fn has_at(&self, offset: usize, bytes: &[u8]) -> bool {
        let head = self.head[..self.head_bytes].get(offset..).unwrap_or_default();
        let (in_head, in_body) = bytes.split_at(head.len().min(bytes.len()));
        let offset = offset.saturating_sub(self.head_bytes);
        in_head == &head[..in_head.len()]
            && self.body.get(offset..offset + in_body.len()) == Some(in_body)
    }

    fn locate(&self, chunk: &Chunk<'_>) -> Mismatch {
        let is_right = |end: &usize| self.has_at(chunk.offset, &chunk.payload[..=*end]);
        let offset = chunk.offset + (0..chunk.payload.len()).take_while(is_right).count();
        let sent = self.payload_bytes();
        if offset == sent { Mismatch::TooLong { sent } } else { Mismatch::Byte { offset } }
    }

    #[cfg(test)]
    pub(crate) fn to_vec(self) -> Vec<u8> {
        [&self.head[..self.head_bytes], self.body].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::message_id::MESSAGE_ID_BYTES;

    const ID: MessageId = MessageId { sender: 3, sequence: 70_000 };

    /// Bytes that differ from their neighbours, so that a shift shows.
    const BODY: [u8; 300] = {
        let mut body = [0_u8; 300];
        let mut at = 1;
        while at < body.len() {
            body[at] = body[at - 1].wrapping_add(7);
            at += 1;
        }
        body
    };

    fn expected(payload_bytes: usize) -> Expected<'static> {
        let head_bytes = payload_bytes.min(MESSAGE_ID_BYTES);
        Expected::new(DataKind::Binary, ID, head_bytes, &BODY[..payload_bytes - head_bytes])
    }

    fn chunk(offset: usize, payload: &[u8], is_end: bool) -> Chunk<'_> {
        Chunk { kind: DataKind::Binary, offset, payload, is_end, is_compressed: false }
    }

    proptest! {
        #[test]
        fn a_message_is_verified_in_any_chunks(
            payload_bytes in 0_usize..300,
            ends: [prop::sample::Index; 2],
        ) {
            let expected = expected(payload_bytes);
            let payload = expected.to_vec();
            let mut ends = ends.map(|end| end.index(payload_bytes + 1));
            ends.sort_unstable();
            let [start, end] = ends;
            prop_assert_eq!(expected.verify(&chunk(start, &payload[start..end], false)), Ok(()));
            prop_assert_eq!(expected.verify(&chunk(start, &payload[start..], true)), Ok(()));
        }

        #[test]
        fn a_wrong_byte_is_located(
            payload_bytes in 1_usize..300,
            start: prop::sample::Index,
            wrong: prop::sample::Index,
        ) {
            let expected = expected(payload_bytes);
            let mut payload = expected.to_vec();
            let start = start.index(payload_bytes);
            let offset = start + wrong.index(payload_bytes - start);
            payload[offset] ^= 0x80;
            let verified = expected.verify(&chunk(start, &payload[start..], true));
            prop_assert_eq!(verified, Err(Mismatch::Byte { offset }));
        }
    }

    #[test]
    fn length_and_kind_must_agree() {
        let expected = expected(20);
        let payload = expected.to_vec();
        let short = expected.verify(&chunk(0, &payload[..19], true));
        assert_eq!(short, Err(Mismatch::TooShort { arrived: 19, sent: 20 }));
        let long = expected.verify(&chunk(0, &[&payload[..], b"x"].concat(), true));
        assert_eq!(long, Err(Mismatch::TooLong { sent: 20 }));
        let beyond = expected.verify(&chunk(20, b"x", false));
        assert_eq!(beyond, Err(Mismatch::TooLong { sent: 20 }));
        let text = Chunk { kind: DataKind::Text, ..chunk(0, &payload, true) };
        assert_eq!(expected.verify(&text), Err(Mismatch::Kind));
        let plain = expected.to_be_compressed(true).verify(&chunk(0, &payload, true));
        assert_eq!(plain, Err(Mismatch::Plain));
    }
}
