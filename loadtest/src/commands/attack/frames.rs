//! Frames that attackers and bystanders send.

use crate::websocket::{COMPRESSED, DataKind, encode_header};

/// A whole masked frame.
pub(super) fn frame(kind: DataKind, payload: &[u8]) -> Vec<u8> {
    let mut frame = begun_frame(kind, payload.len(), payload.len());
    let header_bytes = frame.len() - payload.len();
    for (index, byte) in payload.iter().enumerate() {
        frame[header_bytes + index] = byte ^ MASK_KEY[index % MASK_KEY.len()];
    }
    frame
}

/// A whole masked frame that holds a compressed message (RFC 7692 §6).
pub(super) fn compressed_frame(kind: DataKind, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(kind, payload);
    frame[0] |= COMPRESSED;
    frame
}

/// The header of a frame that announces `announced_bytes`, and the first `sent_bytes` of a payload of
/// zeros.
pub(super) fn begun_frame(kind: DataKind, announced_bytes: usize, sent_bytes: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(sent_bytes + HEADER_BYTES_MAX);
    encode_header(kind.opcode(), announced_bytes, MASK_KEY, &mut frame);
    frame.extend(MASK_KEY.iter().cycle().take(sent_bytes));
    frame
}

/// A masked control frame without a payload.
pub(super) fn control_frame(opcode: u8) -> Vec<u8> {
    let mut frame = fragment(opcode);
    frame[0] |= FIN;
    frame
}

/// A masked frame without a payload that does not end its message.
pub(super) fn fragment(opcode: u8) -> Vec<u8> {
    let mut frame = vec![opcode, MASKED];
    frame.extend(MASK_KEY);
    frame
}

/// Bits of the two first bytes (RFC 6455 §5.2).
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASK_KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const HEADER_BYTES_MAX: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_unmasks_to_its_payload() {
        let frame = frame(DataKind::Text, b"hello");
        assert_eq!(frame[..6], [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D]);
        let plain: Vec<u8> = frame[6..]
            .iter()
            .zip(MASK_KEY.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        assert_eq!(plain, b"hello");
        assert_eq!(compressed_frame(DataKind::Binary, b"")[..2], [0xC2, 0x80]);
    }

    #[test]
    fn frames_without_payload_are_six_bytes() {
        assert_eq!(control_frame(9), [0x89, 0x80, 0x37, 0xFA, 0x21, 0x3D]);
        assert_eq!(fragment(0), [0x00, 0x80, 0x37, 0xFA, 0x21, 0x3D]);
    }

    #[test]
    fn a_begun_frame_announces_more_than_it_holds() {
        let frame = begun_frame(DataKind::Binary, 1 << 20, 3);
        assert_eq!(frame[..2], [0x82, 0xFF]);
        assert_eq!(frame[2..10], (1_u64 << 20).to_be_bytes());
        assert_eq!(frame.len(), 14 + 3);
    }
}
