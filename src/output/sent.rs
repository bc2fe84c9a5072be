//! The messages in output that is about to be written, for those who follow a connection.

use memchr::memchr;

/// A message as it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingMessage<'o> {
    pub(crate) is_text: bool,
    pub(crate) is_compressed: bool,
    pub(crate) payload: &'o [u8],
}

/// The messages in whole output of a connection: the reply to its request, if that comes first, and then
/// frames (RFC 6455 §5.2), or lines. Control frames are left out.
pub(crate) fn messages(
    output: &[u8],
    are_lines: bool,
) -> impl Iterator<Item = OutgoingMessage<'_>> {
    let mut rest = behind_reply(output);
    std::iter::from_fn(move || {
        loop {
            let (message, next) = if are_lines { next_line(rest)? } else { next_frame(rest)? };
            rest = next;
            if message.is_some() {
                return message;
            }
        }
    })
}

/// What follows the head of a reply. No frame and no line of ours begins as that does.
fn behind_reply(output: &[u8]) -> &[u8] {
    if !output.starts_with(b"HTTP/1.1 101") {
        return output;
    }
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    end.and_then(|end| output.get(end + 4..)).unwrap_or_default()
}

type Next<'o> = (Option<OutgoingMessage<'o>>, &'o [u8]);

fn next_line(output: &[u8]) -> Option<Next<'_>> {
    let end = memchr(b'\n', output)?;
    let payload = &output[..end];
    Some((
        Some(OutgoingMessage { is_text: true, is_compressed: false, payload }),
        &output[end + 1..],
    ))
}

/// Frames of a server are not masked, and ours are never fragments.
fn next_frame(output: &[u8]) -> Option<Next<'_>> {
    let [first, short, ..] = *output else { return None };
    let (bytes, at) = match short & 0x7F {
        126 => (u64::from(u16::from_be_bytes(output.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(output.get(2..10)?.try_into().ok()?), 10),
        bytes => (u64::from(bytes), 2),
    };
    let end = usize::try_from(bytes).ok()?.checked_add(at)?;
    let payload = output.get(at..end)?;
    let message = match first & 0x0F {
        opcode @ (1 | 2) => {
            let is_compressed = first & RSV1 != 0;
            Some(OutgoingMessage { is_text: opcode == 1, is_compressed, payload })
        }
        _ => None,
    };
    Some((message, &output[end..]))
}

/// Set in the first byte of a compressed message (RFC 7692 §6).
const RSV1: u8 = 0x40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::{Framing, Outgoing};
    use crate::pool::SharedBudget;
    use crate::ws::Opcode;

    proptest! {
        #[test]
        fn what_was_added_is_found(
            has_reply: bool,
            frames in prop::collection::vec((0..4usize, 0..70_000usize), 0..12),
        ) {
            let mut outgoing = Outgoing::new(SharedBudget::new(0));
            if has_reply {
                outgoing.cork().extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n");
            }
            let payloads: Vec<Vec<u8>> = frames.iter().map(|(_, len)| vec![b'x'; *len]).collect();
            let mut expected = Vec::new();
            for ((kind, _), payload) in frames.iter().zip(&payloads) {
                let opcode = [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close][*kind];
                let short = &payload[..payload.len().min(125)];
                outgoing.frame(opcode, if *kind < 2 { payload } else { short });
                if *kind < 2 {
                    let is_text = *kind == 0;
                    expected.push(OutgoingMessage { is_text, is_compressed: false, payload });
                }
            }
            let found: Vec<_> = messages(outgoing.cork_bytes(), false).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>, are_lines: bool) {
            let held: usize = messages(&bytes, are_lines).map(|own| own.payload.len()).sum();
            prop_assert!(held <= bytes.len());
        }
    }

    #[test]
    fn lines_are_messages_of_text() {
        let mut outgoing = Outgoing::new(SharedBudget::new(0));
        outgoing.set_framing(Framing::Lines);
        outgoing.frame(Opcode::Text, b"one");
        outgoing.frame(Opcode::Text, b"");
        let found: Vec<_> = messages(outgoing.cork_bytes(), true).map(|own| own.payload).collect();
        assert_eq!(found, [&b"one"[..], b""]);
    }
}
