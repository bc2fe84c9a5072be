//! Makes the messages of a run, and what is expected when they come back.

use std::{array, iter};

use super::expected::Expected;
use super::json_quotes::quotes;
use super::message_id::{CHARACTER_BYTES, HEAD_BYTES_MAX, MESSAGE_ID_BYTES, MessageId, head};
use crate::random::{Random, mix};
use crate::websocket::{COMPRESSED, DataKind, Deflater, encode_frame, encode_header};

/// What the payloads consist of, after the message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadKind {
    /// Random bytes in binary messages.
    Binary,
    /// Random characters of three bytes each in text messages.
    Chinese,
    /// Text messages of JSON like that of a price feed, which shrinks to a third or less.
    JsonQuotes,
    /// Random printable ASCII in text messages.
    Text,
}

impl PayloadKind {
    pub(crate) fn data_kind(self) -> DataKind {
        match self {
            Self::Binary => DataKind::Binary,
            Self::Chinese | Self::JsonQuotes | Self::Text => DataKind::Text,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Chinese => "chinese text",
            Self::JsonQuotes => "prices in JSON",
            Self::Text => "text",
        }
    }
}

/// All messages of a run: they share length and mask key and differ in message id and body.
#[derive(Debug)]
pub(crate) struct Pattern {
    kind: DataKind,
    mask_key: [u8; 4],
    /// Header of the frame, with the mask key.
    header: Vec<u8>,
    /// The message id, cut off if the payload is shorter, and dots so that whole characters follow.
    head_bytes: usize,
    body_bytes: usize,
    /// Each body is a slice of this that begins at a multiple of `STRIDE`.
    plain: Vec<u8>,
    /// The same bytes, masked for their position after the head.
    masked: Vec<u8>,
    /// Set if messages are sent compressed.
    deflater: Option<Deflater>,
    /// Then the server has to compress them as well.
    is_returned_compressed: bool,
}

impl Pattern {
    /// The messages of `payload_bytes` bytes each that follow from `seed`.
    pub(crate) fn new(kind: PayloadKind, payload_bytes: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        // A server may skip the work of unmasking if a key, or a byte of it, is zero.
        let mask_key = random.mask_key().map(|byte| byte | 1);
        let head_bytes = match kind {
            PayloadKind::Binary | PayloadKind::JsonQuotes | PayloadKind::Text => {
                payload_bytes.min(MESSAGE_ID_BYTES)
            }
            PayloadKind::Chinese if payload_bytes < MESSAGE_ID_BYTES => payload_bytes,
            PayloadKind::Chinese => {
                MESSAGE_ID_BYTES + (payload_bytes - MESSAGE_ID_BYTES) % CHARACTER_BYTES
            }
        };
        let body_bytes = payload_bytes - head_bytes;
        let plain = fill(kind, body_bytes + STRIDE * (BODIES - 1), &mut random);
        let mask = mask_key.iter().cycle().skip(head_bytes % mask_key.len());
        let masked = plain.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        let mut header = Vec::new();
        let data_kind = kind.data_kind();
        encode_header(data_kind.opcode(), payload_bytes, mask_key, &mut header);
        // A server may decide not to compress other messages, or short ones.
        let is_returned_compressed =
            kind == PayloadKind::JsonQuotes && payload_bytes >= SURELY_COMPRESSED_BYTES;
        Self {
            kind: data_kind,
            mask_key,
            header,
            head_bytes,
            body_bytes,
            plain,
            masked,
            deflater: None,
            is_returned_compressed,
        }
    }

    /// Sets whether messages are sent compressed.
    pub(crate) fn compressed(self, deflate: bool) -> Self {
        Self { deflater: deflate.then(Deflater::default), ..self }
    }

    /// Appends the whole frame of a message.
    pub(crate) fn append_frame(&self, id: MessageId, out: &mut Vec<u8>) {
        if let Some(deflater) = &self.deflater {
            let message = [&head(id)[..self.head_bytes], self.body(id, &self.plain)];
            let payload = deflater.compress(&message.concat());
            let first = out.len();
            encode_frame(self.kind.opcode(), &payload, self.mask_key, out);
            out[first] |= COMPRESSED;
            return;
        }
        out.extend_from_slice(&self.header);
        let head = head(id);
        let masked: [u8; HEAD_BYTES_MAX] =
            array::from_fn(|offset| head[offset] ^ self.mask_key[offset % self.mask_key.len()]);
        out.extend_from_slice(&masked[..self.head_bytes]);
        out.extend_from_slice(self.body(id, &self.masked));
    }

    /// The message that the server has to send back.
    pub(crate) fn expected(&self, id: MessageId) -> Expected<'_> {
        Expected::new(self.kind, id, self.head_bytes, self.body(id, &self.plain))
            .to_be_compressed(self.deflater.is_some() && self.is_returned_compressed)
    }

    /// The length of a message's frame in bytes, uncompressed.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.header.len() + self.head_bytes + self.body_bytes
    }

    /// The body of this message.
    fn body<'a>(&self, id: MessageId, bodies: &'a [u8]) -> &'a [u8] {
        let [choice, ..] = mix(id.value()).to_le_bytes();
        let start = STRIDE * (usize::from(choice) % BODIES);
        &bodies[start..start + self.body_bytes]
    }
}

/// Random bytes for the bodies, at least `bytes` of them and a whole number of characters.
fn fill(kind: PayloadKind, bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut draws = iter::repeat_with(|| u32::from_le_bytes(random.mask_key()));
    match kind {
        PayloadKind::Binary => draws.flat_map(u32::to_le_bytes).take(bytes).collect(),
        PayloadKind::Text => {
            draws.map(|draw| b' ' + (draw % PRINTABLE) as u8).take(bytes).collect()
        }
        PayloadKind::Chinese => {
            let count = bytes.div_ceil(CHARACTER_BYTES);
            let text: String = draws
                .by_ref()
                .filter_map(|draw| char::from_u32(FIRST_IDEOGRAPH + draw % IDEOGRAPHS))
                .take(count)
                .collect();
            text.into_bytes()
        }
        PayloadKind::JsonQuotes => quotes(bytes, draws).into_bytes(),
    }
}

/// Bodies begin at multiples of this: of the length of the mask key, so that one masked copy serves
/// them all, and of the length of a character, so that each begins with a whole one.
const STRIDE: usize = 12;
/// The number of different bodies: a server that confuses messages has to be detected.
const BODIES: usize = 64;
/// Not below the thresholds of the servers.
const SURELY_COMPRESSED_BYTES: usize = 1024;
/// The printable characters of ASCII begin with the space.
const PRINTABLE: u32 = 95;
/// CJK Unified Ideographs.
const FIRST_IDEOGRAPH: u32 = 0x4E00;
const IDEOGRAPHS: u32 = 0x5200;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket};

    use super::*;

    fn any_filling() -> impl Strategy<Value = PayloadKind> {
        prop_oneof![
            Just(PayloadKind::Binary),
            Just(PayloadKind::Chinese),
            Just(PayloadKind::JsonQuotes),
            Just(PayloadKind::Text)
        ]
    }

    proptest! {
        #[test]
        fn a_server_receives_the_expected_message(
            kind in any_filling(),
            payload_bytes in 0_usize..300,
            seed: u64,
            sender: u32,
            sequence: u32,
        ) {
            let pattern = Pattern::new(kind, payload_bytes, seed);
            let id = MessageId { sender, sequence };
            let mut frame = Vec::new();
            pattern.append_frame(id, &mut frame);
            prop_assert_eq!(frame.len(), pattern.frame_bytes());
            let mut server = WebSocket::from_raw_socket(Cursor::new(frame), Role::Server, None);
            // The server also checks that text is UTF-8.
            let message = server.read().unwrap();
            prop_assert_eq!(matches!(message, Message::Text(_)), pattern.kind == DataKind::Text);
            prop_assert_eq!(message.len(), payload_bytes);
            prop_assert_eq!(message.into_data(), pattern.expected(id).to_vec());
        }
    }

    #[test]
    fn messages_differ_in_their_bodies_too() {
        let pattern = Pattern::new(PayloadKind::Text, 200, 1);
        let ids = (0..100).map(|sequence| MessageId { sender: 0, sequence });
        let fillings = ids.map(|id| pattern.body(id, &pattern.plain));
        let distinct: std::collections::HashSet<_> = fillings.collect();
        assert!(distinct.len() > 40, "{} of 64", distinct.len());
    }

    #[test]
    fn no_byte_of_the_mask_key_is_zero() {
        for seed in 0..1000 {
            let pattern = Pattern::new(PayloadKind::Binary, 1, seed);
            assert!(pattern.mask_key.iter().all(|byte| *byte != 0));
        }
    }
}
