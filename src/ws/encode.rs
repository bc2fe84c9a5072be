//! Frames of the server. They are never masked (RFC 6455 §5.1), so one encoding serves any number
//! of recipients.

use bytes::{BufMut, Bytes, BytesMut};

use super::close_code::CloseCode;
use super::decoder::MessageKind;
use super::header::{FIN, MASKED, Opcode, RSV1};
use crate::line::write_line;

/// Longest header of a server frame: a length in eight bytes, no masking key.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// An encoded header of a server frame.
#[derive(Clone, Copy, Debug)]
pub struct ServerHeader {
    bytes: [u8; SERVER_HEADER_BYTES_MAX],
    len: u8,
}

impl ServerHeader {
    /// The header of an unfragmented frame with `payload_len` bytes (RFC 6455 §5.2).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each arm checks the range")]
    pub fn new(opcode: Opcode, payload_len: usize) -> Self {
        let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
        bytes[0] = FIN | opcode as u8;
        let len = match payload_len {
            0..=125 => {
                bytes[1] = payload_len as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, len }
    }

    /// As [`ServerHeader::new`], for a compressed message (RFC 7692 §6).
    #[must_use]
    pub fn compressed(opcode: Opcode, payload_len: usize) -> Self {
        let mut header = Self::new(opcode, payload_len);
        header.bytes[0] |= RSV1;
        header
    }

    /// Appends the header to `output`.
    pub fn append_to(&self, output: &mut Vec<u8>) {
        // Copying all ten bytes and truncating is faster than copying `len` bytes: a copy of fixed
        // length needs no loop and no call.
        let end = output.len() + usize::from(self.len);
        output.extend_from_slice(&self.bytes);
        output.truncate(end);
    }

    /// The header's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The header that the bytes of a server frame begin with: whether it is of a message and not of a control
/// frame, its own bytes, and those of the payload. `None` if it is no whole header.
pub(crate) fn read_server_header(frame: &[u8]) -> Option<(bool, usize, usize)> {
    let [first, second, ..] = *frame else { return None };
    let (header_bytes, payload_bytes) = match second {
        0..=125 => (2, u64::from(second)),
        126 => (4, u64::from(u16::from_be_bytes(frame.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(frame.get(2..10)?.try_into().ok()?)),
        // The bit of a mask, which servers never set (RFC 6455 §5.1).
        _ => return None,
    };
    Some((first & CONTROL == 0, header_bytes, usize::try_from(payload_bytes).ok()?))
}

/// Bytes of the header of a server frame with `frame_bytes` in all.
pub(crate) const fn server_header_bytes(frame_bytes: usize) -> usize {
    match frame_bytes {
        0..=127 => 2,
        128..=0x1_0003 => 4,
        _ => 10,
    }
}

/// The bit of the opcode that control frames have (RFC 6455 §5.5).
const CONTROL: u8 = 8;

/// What the allocator adds to a frame: the header of its block, and the count of references, which is
/// a block of its own once the frame is shared.
const ALLOCATIONS_BYTES: usize = 64;

/// A server frame that is encoded once and shared by all its recipients, on all loops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    bytes: Bytes,
    /// The offset of the payload.
    payload_at: u8,
    is_joinable: bool,
    conflation_key: u32,
}

impl EncodedFrame {
    /// A text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(MessageKind::Text, text.as_bytes())
    }

    /// A text frame that may be joined with others of its kind that wait for the same connection:
    /// their texts become one message, with line breaks between them.
    #[must_use]
    pub fn joinable_text(text: &str) -> Self {
        Self { is_joinable: true, ..Self::text(text) }
    }

    /// The same frame, which a later one with this key makes superfluous where both wait for a connection that
    /// is too slow for all. With 0, as frames have it, no other does.
    #[must_use]
    pub fn conflated_by(self, conflation_key: u32) -> Self {
        Self { conflation_key, ..self }
    }

    /// A binary frame.
    #[must_use]
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(MessageKind::Binary, payload)
    }

    /// A frame of this kind. The payload of text must be UTF-8, which is not checked.
    #[must_use]
    pub fn new(kind: MessageKind, payload: &[u8]) -> Self {
        Self::with_header(ServerHeader::new(kind.opcode(), payload.len()), payload)
    }

    /// A ping. Its payload has at most 125 bytes (RFC 6455 §5.5).
    #[must_use]
    pub fn ping(payload: &[u8]) -> Self {
        debug_assert!(payload.len() <= 125);
        Self::with_header(ServerHeader::new(Opcode::Ping, payload.len()), payload)
    }

    /// A pong. Its payload has at most 125 bytes (RFC 6455 §5.5).
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        debug_assert!(payload.len() <= 125);
        Self::with_header(ServerHeader::new(Opcode::Pong, payload.len()), payload)
    }

    /// A frame of this kind whose payload is already compressed.
    #[must_use]
    pub fn compressed(kind: MessageKind, payload: &[u8]) -> Self {
        Self::with_header(ServerHeader::compressed(kind.opcode(), payload.len()), payload)
    }

    fn with_header(header: ServerHeader, payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(header.as_bytes().len() + payload.len());
        bytes.put_slice(header.as_bytes());
        bytes.put_slice(payload);
        Self {
            bytes: bytes.freeze(),
            payload_at: header.len,
            is_joinable: false,
            conflation_key: 0,
        }
    }

    /// Bytes of memory that it holds while nothing else refers to it: for a short one many times its
    /// payload.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + ALLOCATIONS_BYTES
    }

    /// The text as a line for a plain TCP client; `None` if the frame is binary.
    #[must_use]
    pub fn to_line(&self) -> Option<Self> {
        if !self.is_text() {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.payload().len() + 1);
        write_line(self.payload(), &mut bytes);
        let conflation_key = self.conflation_key;
        Some(Self { bytes: bytes.into(), payload_at: 0, is_joinable: false, conflation_key })
    }

    /// Several frames or lines, concatenated. The batch itself is not joinable, and has no conflation key.
    #[must_use]
    pub(crate) fn batch<'f>(frames: impl Iterator<Item = &'f Self> + Clone) -> Self {
        let total = frames.clone().map(|frame| frame.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(total);
        for frame in frames {
            bytes.extend_from_slice(&frame.bytes);
        }
        Self { bytes: bytes.into(), payload_at: 0, is_joinable: false, conflation_key: 0 }
    }

    /// The first `len` bytes of a batch, sharing its memory.
    #[must_use]
    pub(crate) fn cut(&self, len: usize) -> Self {
        let bytes = self.bytes.slice(..len.min(self.bytes.len()));
        Self { bytes, payload_at: 0, is_joinable: false, conflation_key: 0 }
    }

    /// The bytes for the wire: header and payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the frame may be joined with others.
    #[must_use]
    pub fn is_joinable(&self) -> bool {
        self.is_joinable
    }

    /// What [`EncodedFrame::conflated_by`] was given; 0 for none.
    #[must_use]
    pub fn conflation_key(&self) -> u32 {
        self.conflation_key
    }

    /// Whether this is an unfragmented, uncompressed text frame.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.bytes.first() == Some(&(FIN | Opcode::Text as u8))
    }

    /// The kind of the message, compressed or not.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self.bytes.first() {
            Some(first) if first & 0x0F == Opcode::Binary as u8 => MessageKind::Binary,
            _ => MessageKind::Text,
        }
    }

    /// The payload alone.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.payload_at)..]
    }
}

/// Appends a close frame to `output`. A reason that does not fit into a control frame is cut after
/// the last character that fits (RFC 6455 §5.5.1). Without a code the payload is empty.
pub fn encode_close(code: Option<CloseCode>, reason: &str, output: &mut Vec<u8>) {
    let Some(code) = code else {
        output.extend_from_slice(ServerHeader::new(Opcode::Close, 0).as_bytes());
        return;
    };
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    output.extend_from_slice(ServerHeader::new(Opcode::Close, 2 + reason.len()).as_bytes());
    output.extend_from_slice(&code.number().to_be_bytes());
    output.extend_from_slice(reason.as_bytes());
}

/// Masks the control frame that `output` ends with and that begins at `frame_at`: a server gets it from
/// a client (RFC 6455 §5.3).
pub fn mask_control_frame(output: &mut Vec<u8>, frame_at: usize, key: [u8; 4]) {
    // Two bytes of header, as control frames are short (RFC 6455 §5.5).
    let payload_at = frame_at + 2;
    let Some([_, length]) = output.get_mut(frame_at..payload_at) else { return };
    *length |= MASKED;
    output.splice(payload_at..payload_at, key);
    super::apply_mask(output.get_mut(payload_at + key.len()..).unwrap_or_default(), key, 0);
}

/// The payload of a control frame without the two bytes of the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::super::header::parse_header;
    use super::*;

    #[test]
    fn encoded_headers_are_parsed_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 40] {
            for opcode in [Opcode::Text, Opcode::Binary] {
                let written = ServerHeader::new(opcode, len);
                let (header, read) = parse_header(written.as_bytes()).unwrap().unwrap();
                assert_eq!(read, written.as_bytes().len());
                assert_eq!(header.payload_len, len as u64);
                assert_eq!((header.opcode, header.fin, header.mask), (opcode, true, None));
            }
        }
    }

    #[test]
    fn an_encoded_frame_gives_its_payload_back() {
        let frame = EncodedFrame::text(&"é".repeat(100));
        assert_eq!(frame.payload(), "é".repeat(100).as_bytes());
        assert_eq!(frame.as_bytes().len(), 4 + 200);
        assert_eq!(EncodedFrame::binary(b"").as_bytes(), b"\x82\x00");
    }

    #[test]
    fn a_control_frame_is_masked_where_it_lies() {
        let mut output = b"before".to_vec();
        encode_close(Some(CloseCode::NORMAL), "bye", &mut output);
        mask_control_frame(&mut output, 6, [1, 2, 3, 4]);
        let (header, len) = parse_header(&output[6..]).unwrap().unwrap();
        assert_eq!((header.mask, header.payload_len), (Some([1, 2, 3, 4]), 5));
        let payload = &mut output[6 + len..];
        super::super::apply_mask(payload, [1, 2, 3, 4], 0);
        assert_eq!(payload, b"\x03\xe8bye");
    }

    #[test]
    fn a_long_close_reason_is_cut_between_characters() {
        let mut output = Vec::new();
        encode_close(Some(CloseCode::NORMAL), &"é".repeat(100), &mut output);
        assert_eq!(output.len(), 2 + 2 + 122);
        let close = super::super::parse_close(&output[2..]).unwrap();
        assert_eq!(close.reason, "é".repeat(61));
        output.clear();
        encode_close(None, "never said", &mut output);
        assert_eq!(output, b"\x88\x00");
    }
}
