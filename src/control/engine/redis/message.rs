//! What is heard in the channel of Redis that belongs to a channel of the gateway.
//!
//! | bytes | meaning |
//! |---|---|
//! | `p` EPOCH `:` OFFSET `:` PAYLOAD | a publication that is kept; the epoch as 8 hexadecimal digits, as it is stored |
//! | `u` PAYLOAD | a publication that is not kept |
//! | `n` PAYLOAD | a note |

use crate::channels::{EPOCH_BYTES, Epoch, Position};

/// A message, with the number of bytes before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A publication, and where it stands in the stream, by the epoch that is stored.
    Kept(Position, usize),
    /// A publication that is not kept.
    Unkept(usize),
    /// A note.
    Note(usize),
}

/// Takes a message apart; `None` if it is none.
#[must_use]
pub fn parse_message(bytes: &[u8]) -> Option<Message> {
    let (&kind, rest) = bytes.split_first()?;
    match kind {
        b'p' => {
            let epoch_end = memchr::memchr(b':', rest)?;
            let offset_end = epoch_end + 1 + memchr::memchr(b':', rest.get(epoch_end + 1..)?)?;
            let position = parse_position(rest.get(..offset_end)?)?;
            (position.offset > 0).then_some(Message::Kept(position, offset_end + 2))
        }
        b'u' => Some(Message::Unkept(1)),
        b'n' => Some(Message::Note(1)),
        _ => None,
    }
}

/// EPOCH `:` OFFSET, as the scripts give it.
pub(super) fn parse_position(bytes: &[u8]) -> Option<Position> {
    let (epoch, offset) = bytes.split_at_checked(EPOCH_BYTES)?;
    let epoch = Epoch::parse(str::from_utf8(epoch).ok()?)?;
    let offset = parse_number(offset.strip_prefix(b":")?)?;
    Some(Position { offset, epoch })
}

/// A number in decimal digits and nothing else.
pub(super) fn parse_number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// A note with these bytes.
pub(super) fn note(payload: &[u8]) -> Vec<u8> {
    [b"n", payload].concat()
}

/// A publication that is not kept, with these bytes.
pub(super) fn unkept(payload: &[u8]) -> Vec<u8> {
    [b"u", payload].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_is_what_was_written(epoch: u32, offset in 1..=u64::MAX, payload: Vec<u8>) {
            let position = Position { offset, epoch: Epoch(epoch) };
            let text = format!("p{}:{offset}:", position.epoch);
            let bytes = [text.as_bytes(), &*payload].concat();
            prop_assert_eq!(parse_message(&bytes), Some(Message::Kept(position, text.len())));
            prop_assert_eq!(parse_message(&unkept(&payload)), Some(Message::Unkept(1)));
            prop_assert_eq!(parse_message(&note(&payload)), Some(Message::Note(1)));
        }

        #[test]
        fn other_bytes_are_refused(bytes in "[pqx]?[0-9a-g:+-]{0,14}") {
            if let Some(Message::Kept(position, head)) = parse_message(bytes.as_bytes()) {
                let text = bytes[1..head - 1].split_once(':').unwrap();
                prop_assert_eq!(text.0, position.epoch.to_string());
                prop_assert_eq!(text.1.parse(), Ok(position.offset));
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            "",
            "x",
            "p",
            "p:",
            "p0000000a",
            "p0000000a:",
            "p0000000a:1",
            "p0000000a::",
            "p0000000A:1:",
            "p0000000a:0:",
            "p0000000a:-1:",
            "p0000000a:+1:",
            "p000000a:1:",
            "p0000000a:18446744073709551616:",
        ] {
            assert_eq!(parse_message(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
