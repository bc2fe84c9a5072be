//! Where the body of a message ends (RFC 9112 §6.3), found as strictly as heads are parsed: what two
//! readers of one message take for different ends smuggles a request (RFC 9112 §11.2).

use thiserror::Error;

use super::{
    head::{RequestHead, Version},
    reply_head::ReplyHead,
};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    Empty,
    /// After this many bytes, at least one.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection; of replies only.
    UntilEnd,
}

/// Why it is not certain where a message ends.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FramingError {
    /// RFC 9112 §6.1: such a request may be an attempt to smuggle another.
    #[error(
        "a message must not have both Transfer-Encoding and Content-Length (RFC 9112 section 6.1)"
    )]
    Both,
    /// RFC 9112 §6.1: the framing of a sender that cannot know of transfer codings.
    #[error("HTTP/1.0 has no Transfer-Encoding (RFC 9112 section 6.1)")]
    CodedInOldVersion,
    /// RFC 9112 §6.3 item 4: chunked is not the last coding, or is named in another way or twice.
    #[error("the Transfer-Encoding must be `chunked`, once (RFC 9112 section 6.3)")]
    Coding,
    /// A coding beside `chunked` (RFC 9112 §6.1, 501).
    #[error("only the transfer coding `chunked` is understood here (RFC 9112 section 6.1)")]
    UnknownCoding,
    /// RFC 9110 §8.6: not digits alone, or too many.
    #[error("the Content-Length must be a number of bytes in digits (RFC 9110 section 8.6)")]
    Length,
    /// RFC 9112 §6.3 item 5.
    #[error("the Content-Length is given more than once (RFC 9112 section 6.3)")]
    RepeatedLength,
}

/// How the end of a request's body is told. A request without `Content-Length` and `Transfer-Encoding`
/// has none.
///
/// # Errors
/// [`FramingError`] names the rule that the request breaks.
pub fn request_framing(head: &RequestHead<'_>) -> Result<BodyFraming, FramingError> {
    let codings = head.header_values("Transfer-Encoding");
    let lengths = head.header_values("Content-Length");
    Ok(framing(head.version(), codings, lengths)?.unwrap_or(BodyFraming::Empty))
}

/// How the end of a reply's body is told, of the final reply to a `HEAD` or to another request.
///
/// # Errors
/// [`FramingError`] names the rule that the reply breaks.
pub fn reply_framing(head: &ReplyHead<'_>, to_head: bool) -> Result<BodyFraming, FramingError> {
    let codings = head.header_values("Transfer-Encoding");
    let lengths = head.header_values("Content-Length");
    let framing = framing(head.version(), codings, lengths)?;
    // Whatever its headers say (RFC 9112 §6.3 item 1).
    if to_head || matches!(head.code(), 204 | 304) {
        return Ok(BodyFraming::Empty);
    }
    Ok(framing.unwrap_or(BodyFraming::UntilEnd))
}

fn framing<'b>(
    version: Version,
    mut codings: impl Iterator<Item = &'b [u8]>,
    mut lengths: impl Iterator<Item = &'b [u8]>,
) -> Result<Option<BodyFraming>, FramingError> {
    let (coding, length) = (codings.next(), lengths.next());
    if coding.is_some() && length.is_some() {
        return Err(FramingError::Both);
    }
    if let Some(coding) = coding {
        if version < Version::HTTP_11 {
            return Err(FramingError::CodedInOldVersion);
        }
        if coding.eq_ignore_ascii_case(b"chunked") {
            let is_one = codings.next().is_none();
            return if is_one { Ok(Some(BodyFraming::Chunked)) } else { Err(FramingError::Coding) };
        }
        return Err(match is_known_list(coding) && codings.next().is_none() {
            true => FramingError::UnknownCoding,
            false => FramingError::Coding,
        });
    }
    let Some(length) = length else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(FramingError::RepeatedLength);
    }
    let is_number =
        (1..=LENGTH_DIGITS_MAX).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(length).ok().filter(|_| is_number);
    match number.and_then(|digits| digits.parse().ok()) {
        None => Err(FramingError::Length),
        Some(0) => Ok(Some(BodyFraming::Empty)),
        Some(bytes) => Ok(Some(BodyFraming::Length(bytes))),
    }
}

/// Whether codings are registered ones (RFC 9112 §7) with `chunked` last, which is well-formed and not
/// understood here.
fn is_known_list(value: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(value) else { return false };
    let mut names = text.rsplit(',').map(str::trim);
    let is_last = names.next().is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
    is_last && names.all(|name| CODINGS.iter().any(|own| name.eq_ignore_ascii_case(own)))
}

/// Finds the end of a body in the bytes that follow its head, as they come in parts of any size, and
/// keeps none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyReader {
    state: State,
    /// Bytes of the body so far, without its framing.
    received: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This number of bytes is to come.
    Length(u64),
    UntilEnd,
    Chunks(Chunks),
    Done,
}

/// A place in a chunked body (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    /// In the size that a chunk begins with, after this number of digits.
    Size { digits: u8, size: u32 },
    /// In what follows the size, of which this number of bytes has come.
    Extension { size: u32, bytes: u16 },
    /// Before the LF of the line with the size.
    SizeEnd { size: u32 },
    /// In the data, of which this number of bytes is to come.
    Data(u32),
    /// Before the CR behind the data.
    DataCr,
    /// Before its LF.
    DataLf,
    /// In the trailers, of which this number of bytes has come: at the beginning of a line, or behind it.
    Trailer { bytes: u16, in_line: bool },
    /// Before the LF of a trailer, or of the empty line that ends the body.
    TrailerLf { bytes: u16, in_line: bool },
}

/// A chunked body breaks the grammar of RFC 9112 §7.1, or a limit of its framing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// The size of a chunk is not one to eight hexadecimal digits.
    #[error("the size of a chunk must be one to eight hexadecimal digits (RFC 9112 section 7.1)")]
    Size,
    /// A line of the framing does not end in CRLF, or holds a control character.
    #[error(
        "each line around chunks must end in CRLF and hold no control characters (RFC 9112 section 7.1)"
    )]
    Line,
    /// More than 4 KiB follow a size, or more than 8 KiB the last chunk.
    #[error("the extensions of a chunk or the trailers are too long")]
    TooLong,
}

/// What a reader has found at the beginning of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPart<'b> {
    /// Bytes of the body, without framing; may be empty.
    pub data: &'b [u8],
    /// Bytes of the input that were looked at, the data and the framing before it.
    pub consumed: usize,
}

impl BodyReader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new(framing: BodyFraming) -> Self {
        let state = match framing {
            BodyFraming::Empty => State::Done,
            BodyFraming::Length(bytes) => State::Length(bytes),
            BodyFraming::Chunked => State::Chunks(Chunks::Size { digits: 0, size: 0 }),
            BodyFraming::UntilEnd => State::UntilEnd,
        };
        Self { state, received: 0 }
    }

    /// Whether the body has come to its end. What follows belongs to no body.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is the end of the body.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::Done | State::UntilEnd)
    }

    /// Bytes of the body so far, without its framing.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next part of the body in `input`, up to the end of a chunk. Where nothing is consumed, the
    /// input is at its end or the body is.
    ///
    /// # Errors
    /// [`BodyError`], after which nothing of the connection means anything.
    pub fn next<'b>(&mut self, input: &'b [u8]) -> Result<BodyPart<'b>, BodyError> {
        let part = match &mut self.state {
            State::Done => BodyPart { data: &[], consumed: 0 },
            State::UntilEnd => BodyPart { data: input, consumed: input.len() },
            State::Length(left) => {
                let data = up_to(input, *left);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                BodyPart { data, consumed: data.len() }
            }
            State::Chunks(chunks) => {
                let (part, is_done) = next_of_chunks(chunks, input)?;
                if is_done {
                    self.state = State::Done;
                }
                part
            }
        };
        self.received = self.received.saturating_add(part.data.len() as u64);
        Ok(part)
    }
}

/// The next data of a chunked body, and whether its end is reached.
fn next_of_chunks<'b>(
    chunks: &mut Chunks,
    input: &'b [u8],
) -> Result<(BodyPart<'b>, bool), BodyError> {
    let mut consumed = 0;
    while let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) {
        if let Chunks::Data(left) = chunks {
            let data = up_to(rest, u64::from(*left));
            // Data has at most as many bytes as are left of a chunk.
            *left -= u32::try_from(data.len()).unwrap_or(*left);
            if *left == 0 {
                *chunks = Chunks::DataCr;
            }
            return Ok((BodyPart { data, consumed: consumed + data.len() }, false));
        }
        let Some(byte) = rest.first() else { break };
        consumed += 1;
        match chunks.after(*byte)? {
            Some(next) => *chunks = next,
            None => return Ok((BodyPart { data: &[], consumed }, true)),
        }
    }
    Ok((BodyPart { data: &[], consumed }, false))
}

impl Chunks {
    /// Where a byte of the framing leads to; `None` behind the last one of the body.
    fn after(self, byte: u8) -> Result<Option<Self>, BodyError> {
        Ok(Some(match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { digits: 1.., size }, b';') => Self::Extension { size, bytes: 0 },
            (Self::Size { digits, size }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(BodyError::Size)?;
                if digits >= SIZE_DIGITS_MAX {
                    return Err(BodyError::Size);
                }
                Self::Size { digits: digits + 1, size: size << 4 | digit }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { bytes: EXTENSION_BYTES_MAX.., .. }, _) => {
                return Err(BodyError::TooLong);
            }
            (Self::Extension { size, bytes }, _) if is_text(byte) => {
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { bytes: 0, in_line: false },
            (Self::SizeEnd { size }, b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Trailer { bytes, in_line }, b'\r') => Self::TrailerLf { bytes, in_line },
            (Self::Trailer { bytes: TRAILER_BYTES_MAX.., .. }, _) => {
                return Err(BodyError::TooLong);
            }
            (Self::Trailer { bytes, .. }, _) if is_text(byte) => {
                Self::Trailer { bytes: bytes + 1, in_line: true }
            }
            (Self::TrailerLf { in_line: false, .. }, b'\n') => return Ok(None),
            (Self::TrailerLf { bytes, in_line: true }, b'\n') => {
                Self::Trailer { bytes, in_line: false }
            }
            (
                Self::Extension { .. }
                | Self::SizeEnd { .. }
                | Self::Data(_)
                | Self::DataCr
                | Self::DataLf
                | Self::Trailer { .. }
                | Self::TrailerLf { .. },
                _,
            ) => return Err(BodyError::Line),
        }))
    }
}

/// Appends a chunk with this data, of which there is some, as every recipient reads it: without
/// extensions.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    use std::io::Write as _;
    if !data.is_empty() {
        // Writing to a `Vec` never fails.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Ends a chunked body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn up_to(input: &[u8], bytes: u64) -> &[u8] {
    let bytes = usize::try_from(bytes).map_or(input.len(), |bytes| bytes.min(input.len()));
    input.get(..bytes).unwrap_or_default()
}

/// What a line may hold beside its end: `field-vchar`, space and tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Those of RFC 9112 §7, beside `chunked`.
const CODINGS: [&str; 5] = ["compress", "deflate", "gzip", "x-compress", "x-gzip"];
/// More than a number of 63 bits has.
const LENGTH_DIGITS_MAX: usize = 18;
/// As many as 32 bits have.
const SIZE_DIGITS_MAX: u8 = 8;
const EXTENSION_BYTES_MAX: u16 = 4096;
const TRAILER_BYTES_MAX: u16 = 8192;

#[cfg(test)]
mod tests;
