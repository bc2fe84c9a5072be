//! Events of a connection, and how they are written one after the other in a body.
//!
//! An event is `TYPE\r\n`, or `TYPE SP LENGTH\r\n` with the length of its content in hexadecimal, the
//! content, and `\r\n`.

use std::io::Write as _;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The client wants to connect, or may.
    Open,
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// A close frame: nothing, or a code of two bytes and a reason.
    Close,
    /// The connection ended without a close frame.
    Disconnect,
}

/// An event of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'b> {
    /// What it is about.
    pub kind: EventKind,
    /// Its content; `None` where none is given, which is not the same as an empty one.
    pub content: Option<&'b [u8]>,
}

/// Why a body is none of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A line is too long, or has no end.
    #[error("an event begins with a line that has no end")]
    NoEnd,
    /// A type is not of letters.
    #[error("an event has no type")]
    Type,
    /// A length is not hexadecimal, or larger than any body.
    #[error("the length of an event is no hexadecimal number")]
    Length,
    /// The content ends before its length, or has no `\r\n` behind it.
    #[error("the content of an event is not as long as its length says")]
    Content,
}

impl EventKind {
    /// The word for it in a body.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Text => "TEXT",
            Self::Binary => "BINARY",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Close => "CLOSE",
            Self::Disconnect => "DISCONNECT",
        }
    }

    fn of_word(word: &[u8]) -> Option<Self> {
        ALL.into_iter().find(|kind| kind.word().as_bytes() == word)
    }
}

const ALL: [EventKind; 7] = [
    EventKind::Open,
    EventKind::Text,
    EventKind::Binary,
    EventKind::Ping,
    EventKind::Pong,
    EventKind::Close,
    EventKind::Disconnect,
];

/// Appends an event.
pub fn encode_event(out: &mut Vec<u8>, kind: EventKind, content: Option<&[u8]>) {
    out.extend_from_slice(kind.word().as_bytes());
    if let Some(content) = content {
        // Writing to a `Vec` never fails.
        let _ = write!(out, " {:x}\r\n", content.len());
        out.extend_from_slice(content);
    }
    out.extend_from_slice(b"\r\n");
}

/// Bytes that an event takes in a body, at most.
pub(super) const fn encoded_bytes(content_bytes: usize) -> usize {
    content_bytes + OVERHEAD_BYTES_MAX
}

/// The longest word, a space, sixteen digits and two line ends.
const OVERHEAD_BYTES_MAX: usize = 10 + 1 + 16 + 4;

/// The events of a body, in order. Those of a type that there is not are left out, as later versions
/// of the protocol may have more. It ends with the first error.
#[derive(Clone, Debug)]
pub struct Events<'b> {
    rest: &'b [u8],
}

impl<'b> Events<'b> {
    /// The events of this body.
    #[must_use]
    pub fn of(body: &'b [u8]) -> Self {
        Self { rest: body }
    }

    /// The next event, and `None` for one of a type that there is not.
    fn parse_one(&mut self) -> Result<Option<Event<'b>>, EventError> {
        let (line, rest) = line(self.rest)?;
        let (word, length) = match line.iter().position(|byte| *byte == b' ') {
            Some(space) => (&line[..space], Some(&line[space + 1..])),
            None => (line, None),
        };
        if word.is_empty() || !word.iter().all(u8::is_ascii_alphabetic) {
            return Err(EventError::Type);
        }
        let kind = EventKind::of_word(word);
        let Some(length) = length else {
            self.rest = rest;
            return Ok(kind.map(|kind| Event { kind, content: None }));
        };
        let length = parse_length(length).ok_or(EventError::Length)?;
        let (content, rest) = rest.split_at_checked(length).ok_or(EventError::Content)?;
        self.rest = rest.strip_prefix(b"\r\n").ok_or(EventError::Content)?;
        Ok(kind.map(|kind| Event { kind, content: Some(content) }))
    }
}

impl<'b> Iterator for Events<'b> {
    type Item = Result<Event<'b>, EventError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.parse_one() {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The first line without its end, and what follows it.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), EventError> {
    let beginning = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let end = memchr::memmem::find(beginning, b"\r\n").ok_or(EventError::NoEnd)?;
    Ok((&bytes[..end], &bytes[end + 2..]))
}

/// A hexadecimal number without a sign.
fn parse_length(digits: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_number = (1..=LENGTH_DIGITS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    usize::from_str_radix(text, 16).ok().filter(|_| is_number)
}

/// A type and a length, with room to spare.
const LINE_BYTES_MAX: usize = 64;
/// 4 GiB, which no body has.
const LENGTH_DIGITS_MAX: usize = 8;

/// The content of an event [`EventKind::Close`]: a code with its reason, or nothing.
#[must_use]
pub(super) fn close_content(code: Option<u16>, reason: &str) -> Option<Vec<u8>> {
    let mut content = code?.to_be_bytes().to_vec();
    content.extend_from_slice(cut(reason, CLOSE_REASON_BYTES_MAX).as_bytes());
    Some(content)
}

/// Code and reason of the content of an event [`EventKind::Close`]. A reason that is not UTF-8 is left
/// out, and so is what a close frame has no room for.
pub(super) fn parse_close(content: Option<&[u8]>) -> Option<(u16, &str)> {
    let (code, reason) = content?.split_first_chunk::<2>()?;
    let reason = std::str::from_utf8(reason).unwrap_or_default();
    Some((u16::from_be_bytes(*code), cut(reason, CLOSE_REASON_BYTES_MAX)))
}

/// The beginning of a text, of whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// What a close frame has room for beside its code (RFC 6455 §5.5).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An event that owns its content.
    type Owned = (EventKind, Option<Vec<u8>>);

    fn all(body: &[u8]) -> Result<Vec<Owned>, EventError> {
        let own = |event: Event<'_>| (event.kind, event.content.map(<[u8]>::to_vec));
        Events::of(body).map(|event| event.map(own)).collect()
    }

    fn encoded(events: &[Owned]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, content) in events {
            encode_event(&mut out, *kind, content.as_deref());
        }
        out
    }

    /// The conversation of django-grip, as it is on the wire.
    #[test]
    fn bodies_of_a_library_are_read_and_written() {
        let text = |content: &str| Some(content.as_bytes().to_vec());
        let body = b"OPEN\r\nTEXT 2a\r\nc:{\"channel\": \"room\", \"type\": \"subscribe\"}\r\nTEXT 5\r\nhello\r\n\
              PING\r\nCLOSE 2\r\n\x03\xe8\r\nBINARY 0\r\n\r\n";
        let events = vec![
            (EventKind::Open, None),
            (EventKind::Text, text("c:{\"channel\": \"room\", \"type\": \"subscribe\"}")),
            (EventKind::Text, text("hello")),
            (EventKind::Ping, None),
            (EventKind::Close, Some(vec![3, 0xe8])),
            (EventKind::Binary, Some(Vec::new())),
        ];
        assert_eq!(all(body), Ok(events.clone()));
        assert_eq!(encoded(&events), body);
    }

    #[test]
    fn other_types_are_left_out_and_lengths_are_of_any_case() {
        let body = b"SUBSCRIBED 3\r\nabc\r\nTEXT A\r\n0123456789\r\nX\r\nPONG 0\r\n\r\n";
        let expected = vec![
            (EventKind::Text, Some(b"0123456789".to_vec())),
            (EventKind::Pong, Some(Vec::new())),
        ];
        assert_eq!(all(body), Ok(expected));
    }

    #[test]
    fn what_is_no_body_of_events_is_refused_at_its_place() {
        for (body, error) in [
            ("OPEN", EventError::NoEnd),
            ("OPEN\n", EventError::NoEnd),
            ("\r\n", EventError::Type),
            (" 1\r\na\r\n", EventError::Type),
            ("TE-XT 1\r\na\r\n", EventError::Type),
            ("TEXT \r\na\r\n", EventError::Length),
            ("TEXT +1\r\na\r\n", EventError::Length),
            ("TEXT 0x1\r\na\r\n", EventError::Length),
            ("TEXT 1 \r\na\r\n", EventError::Length),
            ("TEXT 123456789\r\na\r\n", EventError::Length),
            ("TEXT ffffffff\r\na\r\n", EventError::Content),
            ("TEXT 2\r\na\r\n", EventError::Content),
            ("TEXT 1\r\nab\r\n", EventError::Content),
            ("TEXT 1\r\na", EventError::Content),
            ("<html>\r\n", EventError::Type),
        ] {
            assert_eq!(all(body.as_bytes()), Err(error), "{body:?}");
            let after_one = [b"OPEN\r\n", body.as_bytes()].concat();
            let mut events = Events::of(&after_one);
            assert_eq!(events.next(), Some(Ok(Event { kind: EventKind::Open, content: None })));
            assert_eq!((events.next(), events.next()), (Some(Err(error)), None));
        }
        let long = ["T".repeat(LINE_BYTES_MAX).as_bytes(), b"\r\n"].concat();
        assert_eq!(all(&long), Err(EventError::NoEnd));
    }

    #[test]
    fn a_close_has_a_code_and_as_much_of_its_reason_as_fits() {
        assert_eq!(close_content(None, "x"), None);
        assert_eq!(parse_close(None), None);
        assert_eq!(parse_close(Some(&[3])), None);
        assert_eq!(parse_close(Some(&[3, 0xe8, 0xff])), Some((1000, "")));
        let reason = format!("a{}", "\u{e4}".repeat(70));
        let content = close_content(Some(4001), &reason).unwrap();
        assert_eq!(content.len(), 2 + CLOSE_REASON_BYTES_MAX);
        assert_eq!(parse_close(Some(&content)), Some((4001, &reason[..CLOSE_REASON_BYTES_MAX])));
        let even = "\u{e4}".repeat(70);
        assert_eq!(close_content(Some(4001), &even).unwrap().len(), 2 + CLOSE_REASON_BYTES_MAX - 1);
    }

    /// The naive twin: it splits at the first line end, copies, and knows no limits.
    fn naive(mut body: Vec<u8>) -> Option<Vec<(String, Option<Vec<u8>>)>> {
        let mut events = Vec::new();
        while !body.is_empty() {
            let end = body.windows(2).position(|own| own == b"\r\n")?;
            let line = String::from_utf8(body[..end].to_vec()).ok()?;
            body.drain(..end + 2);
            match line.split_once(' ') {
                None => events.push((line, None)),
                Some((word, length)) => {
                    let length = usize::from_str_radix(length, 16).ok()?;
                    if body.len() < length + 2 || &body[length..length + 2] != b"\r\n" {
                        return None;
                    }
                    events.push((word.to_owned(), Some(body[..length].to_vec())));
                    body.drain(..length + 2);
                }
            }
        }
        Some(events)
    }

    fn events() -> impl Strategy<Value = Vec<Owned>> {
        let event = (prop::sample::select(&ALL[..]), any::<Option<Vec<u8>>>());
        prop::collection::vec(event, 0..8)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(own in events()) {
            let body = encoded(&own);
            prop_assert_eq!(all(&body), Ok(own.clone()));
            let words: Vec<_> = own.into_iter().map(|(kind, own)| (kind.word().to_owned(), own)).collect();
            prop_assert_eq!(naive(body), Some(words));
        }

        /// Whatever is taken, the naive twin takes as well, and sees the same.
        #[test]
        fn what_is_read_is_what_a_naive_reader_sees(
            parts in prop::collection::vec("(OPEN|TEXT|PING|NEW)?( ([0-9a-fA-F]|10))?(\r\n)?|.{0,3}(\r\n)?", 0..10),
        ) {
            let body = parts.concat().into_bytes();
            if let Ok(own) = all(&body) {
                let known = |(word, content): (String, Option<Vec<u8>>)| {
                    EventKind::of_word(word.as_bytes()).map(|kind| (kind, content))
                };
                let naive = naive(body).map(|all| all.into_iter().filter_map(known).collect());
                prop_assert_eq!(naive, Some(own));
            }
        }
    }
}
