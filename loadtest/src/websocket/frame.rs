//! Frames (RFC 6455 §5): encodes masked client frames, parses the headers of server frames.

use thiserror::Error;

/// The type of a frame (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Binary,
    Close,
    Continuation,
    Ping,
    Pong,
    Text,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, FrameError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xA => Ok(Self::Pong),
            unknown => Err(FrameError::UnknownOpcode { opcode: unknown }),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(super) fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// The header of a frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) opcode: Opcode,
    pub(crate) fin: bool,
    /// The message is compressed (RFC 7692 §6).
    pub(crate) is_compressed: bool,
    pub(crate) payload_bytes: usize,
}

/// A frame that RFC 6455 forbids to the server, or that this client does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("a continuation frame continues nothing")]
    ContinuesNothing,
    #[error("the server split a control frame")]
    FragmentedControl,
    #[error("a compressed message is split, longer than what is taken, or cannot be inflated")]
    Compressed,
    #[error("a Close frame carries half a close code")]
    HalfCloseCode,
    #[error("a message began before the one under way was finished")]
    InterleavedMessage,
    #[error("the server masked a frame")]
    Masked,
    #[error("a frame's length is not written in the fewest bytes")]
    NonMinimalLength,
    #[error("a control frame announces {payload_bytes} bytes, more than 125")]
    OversizedControl { payload_bytes: u64 },
    #[error("reserved bits are set although no extension was agreed")]
    ReservedBits,
    #[error("a frame announces {payload_bytes} bytes, more than the {PAYLOAD_BYTES_MAX} taken")]
    TooLong { payload_bytes: u64 },
    #[error("unknown opcode {opcode:#x}")]
    UnknownOpcode { opcode: u8 },
}

/// Appends one unfragmented frame, masked as every client frame must be (§5.1).
pub(crate) fn encode_frame(opcode: Opcode, payload: &[u8], mask_key: [u8; 4], out: &mut Vec<u8>) {
    encode_header(opcode, payload.len(), mask_key, out);
    out.extend(payload.iter().zip(mask_key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends the header of such a frame. The caller appends the masked payload.
pub(crate) fn encode_header(
    opcode: Opcode,
    payload_bytes: usize,
    mask_key: [u8; 4],
    out: &mut Vec<u8>,
) {
    out.push(FIN | opcode.bits());
    if let Some(length) = u8::try_from(payload_bytes).ok().filter(|length| *length < LENGTH_16) {
        out.push(MASKED | length);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.push(MASKED | LENGTH_16);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(MASKED | LENGTH_64);
        out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask_key);
}

/// Parses the frame header at the front of `input`: the header and its length in bytes, or `None`
/// while it is incomplete. Refuses a forbidden header before its payload arrives.
pub(crate) fn parse_header(
    input: &[u8],
    deflate: bool,
) -> Result<Option<(FrameHeader, usize)>, FrameError> {
    let [first, second, rest @ ..] = input else {
        return Ok(None);
    };
    let is_compressed = deflate && first & COMPRESSED != 0;
    let allowed = if is_compressed { COMPRESSED } else { 0 };
    if first & RESERVED & !allowed != 0 {
        return Err(FrameError::ReservedBits);
    }
    if second & MASKED != 0 {
        return Err(FrameError::Masked);
    }
    let opcode = Opcode::from_bits(first & 0x0F)?;
    let fin = first & FIN != 0;
    if is_compressed && !matches!(opcode, Opcode::Binary | Opcode::Text) {
        return Err(FrameError::ReservedBits);
    }
    if opcode.is_control() && !fin {
        return Err(FrameError::FragmentedControl);
    }
    let Some((payload_bytes, rest)) = parse_length(*second, rest)? else {
        return Ok(None);
    };
    if opcode.is_control() && payload_bytes >= u64::from(LENGTH_16) {
        return Err(FrameError::OversizedControl { payload_bytes });
    }
    let payload_bytes = usize::try_from(payload_bytes)
        .ok()
        .filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX)
        .ok_or(FrameError::TooLong { payload_bytes })?;
    Ok(Some((FrameHeader { opcode, fin, is_compressed, payload_bytes }, input.len() - rest.len())))
}

/// The length of the payload, and the input after the length.
fn parse_length(second: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    let (length, rest, fewest) = match second & !MASKED {
        LENGTH_16 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(*bytes)), rest, u64::from(LENGTH_16))
        }
        LENGTH_64 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from_be_bytes(*bytes), rest, u64::from(u16::MAX) + 1)
        }
        length => (u64::from(length), rest, 0),
    };
    if length < fewest {
        return Err(FrameError::NonMinimalLength);
    }
    Ok(Some((length, rest)))
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RSV1, with permessage-deflate.
pub(crate) const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// The longest message that a command sends, and so the longest that it accepts.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tungstenite::Message;
    use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
    use tungstenite::protocol::frame::{Frame as OracleFrame, FrameHeader as OracleHeader};
    use tungstenite::protocol::{Role, WebSocket};

    use super::*;

    fn oracle_opcode(opcode: Opcode) -> OpCode {
        match opcode {
            Opcode::Binary => OpCode::Data(Data::Binary),
            Opcode::Close => OpCode::Control(Control::Close),
            Opcode::Continuation => OpCode::Data(Data::Continue),
            Opcode::Ping => OpCode::Control(Control::Ping),
            Opcode::Pong => OpCode::Control(Control::Pong),
            Opcode::Text => OpCode::Data(Data::Text),
        }
    }

    fn server_frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let opcode = oracle_opcode(opcode);
        let header = OracleHeader { is_final: fin, opcode, ..OracleHeader::default() };
        let mut bytes = Vec::new();
        OracleFrame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
        bytes
    }

    fn any_data_opcode() -> impl Strategy<Value = Opcode> {
        prop_oneof![Just(Opcode::Binary), Just(Opcode::Continuation), Just(Opcode::Text)]
    }

    fn any_control_opcode() -> impl Strategy<Value = Opcode> {
        prop_oneof![Just(Opcode::Close), Just(Opcode::Ping), Just(Opcode::Pong)]
    }

    /// Lengths on both sides of each change of the length's encoding.
    fn any_payload() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0_usize..300, 65_530_usize..65_545];
        (length, any::<u8>())
            .prop_map(|(length, first)| (first..=u8::MAX).cycle().take(length).collect())
    }

    fn any_frame() -> impl Strategy<Value = (Opcode, bool, Vec<u8>)> {
        prop_oneof![
            (any_data_opcode(), any::<bool>(), any_payload()),
            (any_control_opcode(), Just(true), prop::collection::vec(any::<u8>(), 0..=125)),
        ]
    }

    proptest! {
        #[test]
        fn a_server_reads_what_the_client_wrote(payload in any_payload(), mask: [u8; 4]) {
            let mut bytes = Vec::new();
            encode_frame(Opcode::Binary, &payload, mask, &mut bytes);
            let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, None);
            prop_assert_eq!(server.read().unwrap(), Message::Binary(payload.into()));
        }

        #[test]
        fn a_server_reads_the_client_s_pings(
            payload in prop::collection::vec(any::<u8>(), 0..=125),
            mask: [u8; 4],
        ) {
            let mut bytes = Vec::new();
            encode_frame(Opcode::Ping, &payload, mask, &mut bytes);
            let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, None);
            prop_assert_eq!(server.read().unwrap(), Message::Ping(payload.into()));
        }

        #[test]
        fn the_client_reads_what_a_server_wrote(
            (opcode, fin, payload) in any_frame(),
            cut: prop::sample::Index,
        ) {
            let bytes = server_frame(opcode, fin, &payload);
            let header_bytes = bytes.len() - payload.len();
            let header = FrameHeader {
                opcode,
                fin,
                is_compressed: false,
                payload_bytes: payload.len(),
            };
            prop_assert_eq!(parse_header(&bytes, false), Ok(Some((header, header_bytes))));
            let incomplete = &bytes[..cut.index(header_bytes)];
            prop_assert_eq!(parse_header(incomplete, false), Ok(None));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_header(&bytes, false);
        }
    }

    #[test]
    fn only_messages_may_be_compressed_and_only_if_agreed() {
        for (first, is_right) in [(0xC1, true), (0xC2, true), (0xC0, false), (0xC9, false)] {
            let header = parse_header(&[first, 0x00], true);
            assert_eq!(header.is_ok_and(|header| header.unwrap().0.is_compressed), is_right);
            assert_eq!(parse_header(&[first, 0x00], false), Err(FrameError::ReservedBits));
        }
        assert_eq!(parse_header(&[0xA1, 0x00], true), Err(FrameError::ReservedBits));
    }

    #[test]
    fn forbidden_headers_are_refused_before_their_payload() {
        let refusals: [(&[u8], FrameError); 8] = [
            (&[0xC1, 0x00], FrameError::ReservedBits),
            (&[0x81, 0x80], FrameError::Masked),
            (&[0x83, 0x00], FrameError::UnknownOpcode { opcode: 0x3 }),
            (&[0x09, 0x00], FrameError::FragmentedControl),
            (&[0x89, 126, 0, 126], FrameError::OversizedControl { payload_bytes: 126 }),
            (&[0x82, 126, 0, 125], FrameError::NonMinimalLength),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], FrameError::NonMinimalLength),
            (
                &[0x82, 127, 0x7F, 0, 0, 0, 0, 0, 0, 0],
                FrameError::TooLong { payload_bytes: 0x7F << 56 },
            ),
        ];
        for (bytes, refusal) in refusals {
            assert_eq!(parse_header(bytes, false), Err(refusal), "{bytes:02x?}");
        }
    }
}
