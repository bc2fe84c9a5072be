//! Compression of messages: what a client offers and what it is answered (RFC 7692 §5, §7.1).

use std::fmt;

use super::grammar::{is_token, trim_whitespace};

/// What both sides agreed on: each message is compressed on its own, by either.
///
/// Displays as the value of `Sec-WebSocket-Extensions` in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The base-two logarithm of our LZ77 window, 9 to 15.
    pub window_bits: u8,
    /// Whether the client asked for a window of this size and has to hear that it gets it.
    names_window: bool,
}

impl fmt::Display for Deflate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        )?;
        if self.names_window {
            write!(formatter, "; server_max_window_bits={}", self.window_bits)?;
        }
        Ok(())
    }
}

/// The answer to the offers of a client: `values` are the values of all its
/// `Sec-WebSocket-Extensions` lines, in order. `None` if there is no offer that can be accepted;
/// the connection then goes on without compression.
///
/// An offer with a parameter that is unknown, repeated or out of range is passed over, and so is
/// whatever is no offer of compression (RFC 7692 §7.1). The client's wish for no context takeover
/// is granted to all, for we may say so unasked, and so is any window of its own (§7.1.1, §7.1.2).
pub fn accept_deflate<'b>(values: impl Iterator<Item = &'b [u8]>) -> Option<Deflate> {
    values.flat_map(|value| split(value, b',')).find_map(accept_offer)
}

fn accept_offer(offer: &[u8]) -> Option<Deflate> {
    let mut parts = split(offer, b';').map(trim_whitespace);
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut seen = [false; 4];
    let mut window_bits = None;
    for part in parts {
        let mut sides = split(part, b'=').map(trim_whitespace);
        let name = sides.next()?;
        let value = match sides.next() {
            Some(written) => Some(Value::parse(written)?),
            None => None,
        };
        if sides.next().is_some() {
            return None;
        }
        let place = PARAMETERS.iter().position(|known| name.eq_ignore_ascii_case(known))?;
        if std::mem::replace(&mut seen[place], true) {
            return None;
        }
        match (PARAMETERS[place], value) {
            (SERVER_NO_CONTEXT_TAKEOVER | CLIENT_NO_CONTEXT_TAKEOVER, None)
            | (CLIENT_MAX_WINDOW_BITS, None) => {}
            (CLIENT_MAX_WINDOW_BITS, Some(value)) => {
                value.window_bits()?;
            }
            (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                // No library compresses with the smallest window that the specification knows.
                window_bits = Some(value.window_bits().filter(|bits| *bits >= WINDOW_BITS_MIN)?);
            }
            _ => return None,
        }
    }
    Some(Deflate {
        window_bits: window_bits.unwrap_or(WINDOW_BITS_MAX),
        names_window: window_bits.is_some(),
    })
}

/// The parts between separators that do not stand in quotes.
fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    bytes.split(move |&byte| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match byte {
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => return byte == separator && !is_quoted,
        }
        false
    })
}

/// The value of a parameter, out of its quotes; no value that means something is longer.
#[derive(Clone, Copy, Debug)]
struct Value([u8; 2]);

impl Value {
    /// A value of one or two characters, given as a token or in quotes (RFC 6455 §9.1).
    fn parse(written: &[u8]) -> Option<Self> {
        match written {
            [b'"', inner @ .., b'"'] => Self::of(unescaped(inner)?),
            [b'"', ..] => None,
            token if is_token(token) => Self::of(token.iter().copied()),
            _ => None,
        }
    }

    fn of(mut bytes: impl Iterator<Item = u8>) -> Option<Self> {
        let value = Self([bytes.next()?, bytes.next().unwrap_or(0)]);
        bytes.next().is_none().then_some(value)
    }

    /// The number, if it is one from 8 to 15 without leading zeros.
    fn window_bits(self) -> Option<u8> {
        match self.0 {
            [digit @ b'8'..=b'9', 0] => Some(digit - b'0'),
            [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}

/// What stands between quotes; `None` if the last quote is escaped itself, or one is not.
fn unescaped(inner: &[u8]) -> Option<impl Iterator<Item = u8> + '_> {
    let mut is_escaped = false;
    let is_plain = inner.iter().all(|&byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        is_escaped = byte == b'\\' && !was_escaped;
        byte != b'"' || was_escaped
    });
    let mut was_escaped = false;
    let bytes = inner.iter().copied().filter(move |&byte| {
        let is_escape = byte == b'\\' && !was_escaped;
        was_escaped = is_escape;
        !is_escape
    });
    (is_plain && !is_escaped).then_some(bytes)
}

const SERVER_NO_CONTEXT_TAKEOVER: &[u8] = b"server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &[u8] = b"client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &[u8] = b"server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &[u8] = b"client_max_window_bits";
const PARAMETERS: [&[u8]; 4] = [
    SERVER_NO_CONTEXT_TAKEOVER,
    CLIENT_NO_CONTEXT_TAKEOVER,
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
];
/// The smallest window that compressors can do with.
const WINDOW_BITS_MIN: u8 = 9;
/// The window of an offer that asks for none (RFC 7692 §7.1.2.1).
const WINDOW_BITS_MAX: u8 = 15;

#[cfg(test)]
mod tests;
