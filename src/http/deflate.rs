//! The negotiation of `permessage-deflate`: the client's offers and our answer (RFC 7692 §5, §7.1).

use std::fmt;

use super::grammar::{is_token, trim_whitespace};

/// The agreed parameters.
///
/// Displays as the value of `Sec-WebSocket-Extensions` in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The base-two logarithm of our LZ77 window, 9 to 15.
    pub window_bits: u8,
    /// Whether our messages may refer to those before them within that window. Otherwise each is
    /// compressed on its own.
    pub takes_over: bool,
    /// The base-two logarithm of the window, 8 to 15, within which the client's messages may refer
    /// to those before them; `None` if each is compressed on its own.
    pub client_context_bits: Option<u8>,
    /// Whether the answer names the size of our window.
    names_window: bool,
    /// Whether the answer limits the size of the client's window.
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

/// Chooses the first acceptable offer of a client: `values` are the values of all its
/// `Sec-WebSocket-Extensions` lines, in order. `None` if there is none; the connection then has no
/// compression.
///
/// With `context_bits`, 9 to 15, messages may refer to those before them within windows of at most
/// that size. A direction is excluded if the client asks for that, or if the client's own window
/// cannot be limited to it (RFC 7692 §7.1.1, §7.1.2.2). Without `context_bits` both directions are
/// excluded, which a server may do unasked.
///
/// An offer with a parameter that is unknown, repeated or out of range is declined, and other
/// extensions are ignored (RFC 7692 §7.1).
pub fn accept_deflate<'b>(
    values: impl Iterator<Item = &'b [u8]>,
    context_bits: Option<u8>,
) -> Option<Deflate> {
    let mut offers = values.flat_map(|value| split(value, b','));
    offers.find_map(|offer| Some(Offer::parse(offer)?.answer(context_bits)))
}

/// An acceptable offer.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    /// The largest window that the client wants us to use, if it names one.
    server_bits: Option<u8>,
    /// The largest window that the client will use, if it accepts a limit.
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
            let index = PARAMETERS.iter().position(|known| name.eq_ignore_ascii_case(known))?;
            if std::mem::replace(&mut seen[index], true) {
                return None;
            }
            match (PARAMETERS[index], value) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => offer.server_no_context_takeover = true,
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => offer.client_no_context_takeover = true,
                (CLIENT_MAX_WINDOW_BITS, None) => offer.client_bits = Some(WINDOW_BITS_MAX),
                (CLIENT_MAX_WINDOW_BITS, Some(value)) => {
                    offer.client_bits = Some(value.window_bits()?);
                }
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    // zlib and its successors cannot compress with a window of 8 bits.
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
            // The client accepts no limit, so its window may have the largest size.
            (ours, None) => ours.filter(|bits| *bits == WINDOW_BITS_MAX),
            (None, _) => None,
        };
        let asked = self.server_bits.unwrap_or(WINDOW_BITS_MAX);
        let window_bits = server_context_bits.map_or(asked, |bits| bits.min(asked));
        Deflate {
            window_bits,
            takes_over: server_context_bits.is_some(),
            client_context_bits,
            // A client must understand a smaller window that it did not ask for (§7.1.2.1), and
            // needs no larger one for its decompressor then.
            names_window: self.server_bits.is_some() || window_bits < WINDOW_BITS_MAX,
            names_client_window: self.client_bits.is_some(),
        }
    }
}

/// Splits at separators outside of quotes.
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

/// The value of a parameter without its quotes. No valid value is longer than two bytes.
#[derive(Clone, Copy, Debug)]
struct Value([u8; 2]);

impl Value {
    /// Parses a value of one or two characters, a token or a quoted string (RFC 6455 §9.1).
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

    /// The number, if it is 8 to 15 without leading zeros.
    fn window_bits(self) -> Option<u8> {
        match self.0 {
            [digit @ b'8'..=b'9', 0] => Some(digit - b'0'),
            [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}

/// Removes the escapes of a quoted string; `None` if a quote inside is not escaped, or the closing
/// quote is.
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
/// The smallest window that zlib compresses with.
const WINDOW_BITS_MIN: u8 = 9;
/// The window of an offer that names none (RFC 7692 §7.1.2.1).
const WINDOW_BITS_MAX: u8 = 15;

#[cfg(test)]
mod tests;
