//! The frame header: two to fourteen bytes before every payload (RFC 6455 §5.2).

use super::Violation;

/// The kind of a frame (RFC 6455 §5.2, "Opcode").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The close handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, or is sent unsolicited.
    Pong = 10,
}

impl Opcode {
    /// Whether frames of this kind may be sent between the fragments of a message (RFC 6455 §5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }

    fn parse(bits: u8) -> Result<Self, Violation> {
        match bits {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            _ => Err(Violation::ReservedOpcode),
        }
    }
}

/// A parsed frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// Whether RSV1 is set, which marks the first frame of a compressed message (RFC 7692 §6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, which every client frame has (RFC 6455 §5.3).
    pub mask: Option<[u8; 4]>,
    /// The length that the peer claims for the payload, in bytes. Reserve no memory for it before
    /// the payload arrives.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Appends the header to `output`, its length in the shortest form.
    pub fn append_to(&self, output: &mut Vec<u8>) {
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.rsv1 { RSV1 } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        output.push(fin | rsv1 | self.opcode as u8);
        match (u8::try_from(self.payload_len), u16::try_from(self.payload_len)) {
            (Ok(len @ 0..=125), _) => output.push(masked | len),
            (_, Ok(len)) => {
                output.push(masked | 126);
                output.extend_from_slice(&len.to_be_bytes());
            }
            (_, Err(_)) => {
                output.push(masked | 127);
                output.extend_from_slice(&self.payload_len.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            output.extend_from_slice(&key);
        }
    }

    /// The header of the frame that is left when the first `bytes` of the payload are cut off: a
    /// continuation (RFC 6455 §5.4).
    #[must_use]
    pub fn rest_after(&self, bytes: usize) -> Self {
        let mut mask = self.mask;
        if let Some(key) = &mut mask {
            key.rotate_left(bytes % 4);
        }
        let payload_len = self.payload_len.saturating_sub(bytes as u64);
        Self { fin: self.fin, rsv1: false, opcode: Opcode::Continuation, mask, payload_len }
    }
}

/// Parses a frame header at the start of `input`. Returns the header and its own length in bytes,
/// or `None` while it is incomplete.
///
/// # Errors
/// A [`Violation`] of the rules for both endpoints, as soon as it can be seen: reserved bits and
/// opcodes, control frames that are fragmented or longer than 125 bytes, lengths that are not in
/// their shortest form or above 2⁶³ − 1 (RFC 6455 §5.2, §5.5).
pub fn parse_header(input: &[u8]) -> Result<Option<(FrameHeader, usize)>, Violation> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if first & (RSV2 | RSV3) != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::parse(first & 0x0F)?;
    let fin = first & FIN != 0;
    let short_len = second & 0x7F;
    if opcode.is_control() {
        if !fin {
            return Err(Violation::ControlFragmented);
        }
        if short_len > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
    }
    let (payload_len, rest) = match short_len {
        126 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(*bytes));
            if len < 126 {
                return Err(Violation::LengthNotMinimal);
            }
            (len, rest)
        }
        127 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let len = u64::from_be_bytes(*bytes);
            if len > i64::MAX as u64 {
                return Err(Violation::LengthOverflow);
            }
            if len <= u64::from(u16::MAX) {
                return Err(Violation::LengthNotMinimal);
            }
            (len, rest)
        }
        len => (u64::from(len), rest),
    };
    let (mask, rest) = if second & MASKED == 0 {
        (None, rest)
    } else {
        let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
        (Some(*key), rest)
    };
    let header = FrameHeader { fin, rsv1: first & RSV1 != 0, opcode, mask, payload_len };
    Ok(Some((header, input.len() - rest.len())))
}

/// Longest header that a client can send: a length in eight bytes and a masking key.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// Longest control frame that a client can send. A buffer needs room for one even when a fragmented
/// message has reached the limit, because the control frame may precede the last fragment.
pub const CLIENT_CONTROL_FRAME_BYTES_MAX: usize = 2 + 4 + CONTROL_PAYLOAD_BYTES_MAX as usize;

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
pub(super) const MASKED: u8 = 0x80;
const CONTROL_PAYLOAD_BYTES_MAX: u8 = 125;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, Violation> {
        parse_header(bytes)
    }

    #[test]
    fn the_examples_of_rfc_6455_section_5_7_are_parsed() {
        let hello = FrameHeader {
            fin: true,
            rsv1: false,
            opcode: Opcode::Text,
            mask: None,
            payload_len: 5,
        };
        assert_eq!(parse(b"\x81\x05Hello"), Ok(Some((hello, 2))));
        let masked = FrameHeader { mask: Some([0x37, 0xfa, 0x21, 0x3d]), ..hello };
        assert_eq!(parse(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f"), Ok(Some((masked, 6))));
        let first = FrameHeader { fin: false, payload_len: 3, ..hello };
        assert_eq!(parse(b"\x01\x03Hel"), Ok(Some((first, 2))));
        let binary_256 = FrameHeader { opcode: Opcode::Binary, payload_len: 256, ..hello };
        assert_eq!(parse(b"\x82\x7e\x01\x00"), Ok(Some((binary_256, 4))));
        let binary_64k = FrameHeader { payload_len: 65_536, ..binary_256 };
        assert_eq!(parse(b"\x82\x7f\0\0\0\0\0\x01\0\0"), Ok(Some((binary_64k, 10))));
    }

    #[test]
    fn headers_that_are_written_are_parsed_back() {
        for payload_len in [0, 1, 125, 126, 65_535, 65_536, 1 << 40] {
            for (fin, rsv1, opcode) in [
                (true, false, Opcode::Text),
                (true, true, Opcode::Binary),
                (false, false, Opcode::Continuation),
            ] {
                for mask in [None, Some([1, 2, 3, 4])] {
                    let header = FrameHeader { fin, rsv1, opcode, mask, payload_len };
                    let mut bytes = Vec::new();
                    header.append_to(&mut bytes);
                    assert_eq!(parse(&bytes), Ok(Some((header, bytes.len()))));
                }
            }
        }
    }

    #[test]
    fn an_incomplete_header_is_not_an_error() {
        let whole = b"\x82\xff\0\0\0\0\0\x01\0\0abcd";
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), Ok(None), "{len} bytes");
        }
        assert!(matches!(parse(whole), Ok(Some((_, CLIENT_HEADER_BYTES_MAX)))));
    }

    #[test]
    fn reserved_bits_and_opcodes_are_refused_rfc_6455_section_5_2() {
        assert_eq!(parse(b"\xa1\x80"), Err(Violation::ReservedBits));
        assert_eq!(parse(b"\x91\x80"), Err(Violation::ReservedBits));
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(parse(&[FIN | opcode, 0x80]), Err(Violation::ReservedOpcode));
        }
    }

    #[test]
    fn lengths_are_minimal_and_positive_rfc_6455_section_5_2() {
        assert_eq!(parse(b"\x82\xfe\0\x7d"), Err(Violation::LengthNotMinimal));
        assert!(parse(b"\x82\xfe\0\x7eabcd").is_ok());
        assert_eq!(parse(b"\x82\xff\0\0\0\0\0\0\xff\xff"), Err(Violation::LengthNotMinimal));
        assert_eq!(parse(b"\x82\xff\x80\0\0\0\0\0\0\0"), Err(Violation::LengthOverflow));
    }

    #[test]
    fn control_frames_are_short_and_unfragmented_rfc_6455_section_5_5() {
        for opcode in [8, 9, 10] {
            assert_eq!(parse(&[opcode, 0x80]), Err(Violation::ControlFragmented));
            assert_eq!(parse(&[FIN | opcode, 0xfe]), Err(Violation::ControlTooLong));
            assert!(parse(&[FIN | opcode, 0xfd, 0, 0, 0, 0]).is_ok());
        }
    }
}
