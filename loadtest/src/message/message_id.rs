//! The message id at the front of a payload: the sender, and the number of the message.

use std::array;

/// Names one message of a run. Both numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageId {
    pub(crate) sender: u32,
    pub(crate) sequence: u32,
}

/// The length of a whole message id.
pub(crate) const MESSAGE_ID_BYTES: usize = 16;

impl MessageId {
    /// The id of message `sequence` of the connection `serial`. Of the serial number it takes the
    /// low half: no machine has the ports for two open connections with the same one.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
    pub(crate) fn new(serial: u64, sequence: u32) -> Self {
        Self { sender: serial as u32, sequence }
    }

    /// Encodes the id in hex digits, which suit text and binary messages alike. The lowest digit of
    /// the sequence number comes first, so that it is there even in a payload too short for the
    /// whole id.
    pub(crate) fn encode(self) -> [u8; MESSAGE_ID_BYTES] {
        let value = self.value();
        array::from_fn(|digit| DIGITS[(value >> (4 * digit) & 0xF) as usize])
    }

    /// `None` if the bytes are not digits.
    pub(crate) fn parse(bytes: &[u8; MESSAGE_ID_BYTES]) -> Option<Self> {
        let mut value = 0_u64;
        for byte in bytes.iter().rev() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            value = value << 4 | u64::from(digit);
        }
        let [a, b, c, d, sender @ ..] = value.to_le_bytes();
        let sequence = u32::from_le_bytes([a, b, c, d]);
        Some(Self { sender: u32::from_le_bytes(sender), sequence })
    }

    /// Both numbers as one.
    pub(super) fn value(self) -> u64 {
        u64::from(self.sender) << 32 | u64::from(self.sequence)
    }
}

/// The longest head of a payload: its message id, and dots so that whole characters follow.
pub(super) fn head(id: MessageId) -> [u8; HEAD_BYTES_MAX] {
    let mut head = [b'.'; HEAD_BYTES_MAX];
    head[..MESSAGE_ID_BYTES].copy_from_slice(&id.encode());
    head
}

/// The length of each character in a Chinese payload.
pub(super) const CHARACTER_BYTES: usize = 3;
pub(super) const HEAD_BYTES_MAX: usize = MESSAGE_ID_BYTES + CHARACTER_BYTES - 1;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn message_ids_begin_with_the_lowest_digit() {
        let id = MessageId { sender: 0xA, sequence: 0x12 };
        assert_eq!(&id.encode(), b"21000000a0000000");
    }

    #[test]
    fn only_hex_digits_parse_as_a_message_id() {
        assert_eq!(MessageId::parse(b"2100000000000g00"), None);
        assert_eq!(MessageId::parse(b"2100000000000A00"), None);
    }

    proptest! {
        #[test]
        fn message_ids_parse_to_what_was_encoded(sender: u32, sequence: u32) {
            let id = MessageId { sender, sequence };
            prop_assert_eq!(MessageId::parse(&id.encode()), Some(id));
        }
    }
}
