//! Compression of messages: what a client offers and what it is answered (RFC 7692 §5, §7.1).

use std::fmt;

use super::grammar::{is_token, trim_whitespace};

/// What both sides agreed on.
///
/// Displays as the value of `Sec-WebSocket-Extensions` in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The base-two logarithm of our LZ77 window, 9 to 15.
    pub window_bits: u8,
    /// Whether our messages may refer back to those before them, within that window. If not, each
    /// is compressed on its own.
    pub takes_over: bool,
    /// The base-two logarithm of the window, 8 to 15, within which the client's messages may refer
    /// back to those before them; `None` if each is compressed on its own.
    pub client_context_bits: Option<u8>,
    /// Whether the client has to hear how large our window is.
    names_window: bool,
    /// Whether the client has to hear how large its own may be.
    names_client_window: bool,
}

impl fmt::Display for Deflate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("permessage-deflate")?;
        if !self.takes_over {
            formatter.write_str("; server_no_context_takeover")?;
        }
        if self.client_context_bits.is_none() {
            formatter.write_str("; client_no_context_takeover")?;
        }
        if self.names_window {
            write!(formatter, "; server_max_window_bits={}", self.window_bits)?;
        }
        match self.client_context_bits {
            Some(bits) if self.names_client_window => {
                write!(formatter, "; client_max_window_bits={bits}")
            }
            _ => Ok(()),
        }
    }
}

/// The answer to the offers of a client: `values` are the values of all its
/// `Sec-WebSocket-Extensions` lines, in order. `None` if there is no offer that can be accepted;
/// the connection then goes on without compression.
///
/// With `context_bits`, 9 to 15, messages may refer back to those before them within windows of
/// that size at most, in each direction in which the client neither asks for the opposite nor keeps
/// a window of its own that we cannot bound (RFC 7692 §7.1.1, §7.1.2.2). Without, none may: a server
/// may say so unasked.
///
/// An offer with a parameter that is unknown, repeated or out of range is passed over, and so is
/// whatever is no offer of compression (RFC 7692 §7.1).
pub fn accept_deflate<'b>(
    values: impl Iterator<Item = &'b [u8]>,
    context_bits: Option<u8>,
) -> Option<Deflate> {
    let mut offers = values.flat_map(|value| split(value, b','));
    offers.find_map(|offer| Some(Offer::parse(offer)?.answer(context_bits)))
}

/// An offer of compression that can be accepted.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    /// The largest window that the client wants us to have, if it says one.
    server_bits: Option<u8>,
    /// The window that the client will have at most, if it can be told to have a smaller one.
    client_bits: Option<u8>,
}

impl Offer {
    fn parse(offer: &[u8]) -> Option<Self> {
        let mut parts = split(offer, b';').map(trim_whitespace);
        if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
            return None;
        }
        let mut seen = [false; 4];
        let mut offer = Self::default();
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
                (SERVER_NO_CONTEXT_TAKEOVER, None) => offer.server_no_context_takeover = true,
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => offer.client_no_context_takeover = true,
                (CLIENT_MAX_WINDOW_BITS, None) => offer.client_bits = Some(WINDOW_BITS_MAX),
                (CLIENT_MAX_WINDOW_BITS, Some(value)) => {
                    offer.client_bits = Some(value.window_bits()?);
                }
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    // No library compresses with the smallest window that the specification knows.
                    let bits = value.window_bits().filter(|bits| *bits >= WINDOW_BITS_MIN)?;
                    offer.server_bits = Some(bits);
                }
                _ => return None,
            }
        }
        Some(offer)
    }

    fn answer(self, context_bits: Option<u8>) -> Deflate {
        let server_context_bits = context_bits.filter(|_| !self.server_no_context_takeover);
        let client_context_bits = match (context_bits, self.client_bits) {
            _ if self.client_no_context_takeover => None,
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            // It cannot be told to have a smaller window, so ours would have to be as large as any.
            (ours, None) => ours.filter(|bits| *bits == WINDOW_BITS_MAX),
            (None, _) => None,
        };
        let asked = self.server_bits.unwrap_or(WINDOW_BITS_MAX);
        let window_bits = server_context_bits.map_or(asked, |bits| bits.min(asked));
        Deflate {
            window_bits,
            takes_over: server_context_bits.is_some(),
            client_context_bits,
            // A window smaller than any client has to expect may be named unasked (§7.1.2.1): the
            // client then needs no larger one either.
            names_window: self.server_bits.is_some() || window_bits < WINDOW_BITS_MAX,
            names_client_window: self.client_bits.is_some(),
        }
    }
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
