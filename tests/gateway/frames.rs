//! WebSocket frames as bytes, written from RFC 6455 §5.2 without code of the gateway.

/// First bytes: FIN and opcode.
pub(crate) const CONTINUATION: u8 = 0x00;
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
/// Set on the last frame of a message.
pub(crate) const FIN: u8 = 0x80;

/// A frame from a client: masked.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len(), 0x80);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame from a server: not masked.
pub(crate) fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len(), 0);
    bytes.extend(payload);
    bytes
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// `len` bytes without a pattern that a shift by a buffer's size would leave unchanged.
pub(crate) fn sample_bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    });
    bytes.take(len).collect()
}

/// Text of `len` bytes in characters of one to four bytes.
pub(crate) fn sample_text(len: usize) -> String {
    let mut text = String::with_capacity(len);
    for character in ['t', 'ü', '張', '😀', '\u{0}', '\n'].iter().cycle() {
        if text.len() + character.len_utf8() > len {
            break;
        }
        text.push(*character);
    }
    text.push_str(&"x".repeat(len - text.len()));
    text
}

/// A header with the minimal length encoding, as §5.2 requires.
fn header(first: u8, len: usize, mask_bit: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(short) = u8::try_from(len)
        && short <= 125
    {
        bytes.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(len) {
        bytes.push(mask_bit | 126);
        bytes.extend(medium.to_be_bytes());
    } else {
        bytes.push(mask_bit | 127);
        bytes.extend((len as u64).to_be_bytes());
    }
    bytes
}

const MASK: [u8; 4] = [0x3C, 0xA5, 0x00, 0xFF];
