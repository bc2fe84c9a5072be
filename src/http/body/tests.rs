use proptest::prelude::*;

use super::super::head::parse_head;
use super::*;

/// The framing of a request with these header lines.
fn of_request(version: &str, lines: &str) -> Result<BodyFraming, FramingError> {
    let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
    request_framing(&parse_head(text.as_bytes()).unwrap())
}

fn of_reply(status: &str, lines: &str, to_head: bool) -> Result<BodyFraming, FramingError> {
    let text = format!("HTTP/1.1 {status}\r\n{lines}\r\n");
    reply_framing(&ReplyHead::parse(text.as_bytes(), 64).unwrap(), to_head)
}

#[test]
fn a_request_has_a_length_chunks_or_no_body() {
    for (lines, framing) in [
        ("", BodyFraming::Empty),
        ("Content-Length: 0\r\n", BodyFraming::Empty),
        ("content-length: 0012\r\n", BodyFraming::Length(12)),
        ("Content-Length: 999999999999999999\r\n", BodyFraming::Length(999_999_999_999_999_999)),
        ("Transfer-Encoding: Chunked\r\n", BodyFraming::Chunked),
    ] {
        assert_eq!(of_request("1.1", lines), Ok(framing), "{lines:?}");
    }
}

#[test]
fn a_framing_that_may_be_read_in_two_ways_is_refused() {
    for (lines, error) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", FramingError::Both),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", FramingError::Both),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", FramingError::RepeatedLength),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", FramingError::RepeatedLength),
        ("Content-Length: 5, 5\r\n", FramingError::Length),
        ("Content-Length: +5\r\n", FramingError::Length),
        ("Content-Length: -5\r\n", FramingError::Length),
        ("Content-Length: 0x5\r\n", FramingError::Length),
        ("Content-Length: 5 5\r\n", FramingError::Length),
        ("Content-Length:\r\n", FramingError::Length),
        ("Content-Length: 1000000000000000000\r\n", FramingError::Length),
        ("Transfer-Encoding: xchunked\r\n", FramingError::Coding),
        ("Transfer-Encoding: chunked, identity\r\n", FramingError::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", FramingError::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", FramingError::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", FramingError::Coding),
        ("Transfer-Encoding: chunked;q=1\r\n", FramingError::Coding),
        ("Transfer-Encoding: x, chunked\r\n", FramingError::Coding),
        ("Transfer-Encoding:\r\n", FramingError::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", FramingError::UnknownCoding),
        ("Transfer-Encoding: gzip\r\n", FramingError::Coding),
    ] {
        assert_eq!(of_request("1.1", lines), Err(error), "{lines:?}");
    }
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(of_request("1.0", chunked), Err(FramingError::CodedInOldVersion));
}

#[test]
fn a_reply_without_a_length_ends_with_its_connection_or_has_no_body() {
    assert_eq!(of_reply("200 OK", "", false), Ok(BodyFraming::UntilEnd));
    for (status, lines, to_head) in [
        ("200 OK", "", true),
        ("200 OK", "Content-Length: 5\r\n", true),
        ("204 No", "", false),
        ("304 Not", "Content-Length: 5\r\n", false),
        ("304 Not", "Transfer-Encoding: chunked\r\n", false),
        ("200 OK", "Content-Length: 0\r\n", false),
    ] {
        assert_eq!(of_reply(status, lines, to_head), Ok(BodyFraming::Empty), "{status} {lines:?}");
    }
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(of_reply("200 OK", both, true), Err(FramingError::Both));
}

/// What a reader finds in parts that end at these places: the body, and how much of the input it is.
fn read(
    framing: BodyFraming,
    input: &[u8],
    cuts: &[usize],
) -> Result<(Vec<u8>, Option<usize>), BodyError> {
    let mut reader = BodyReader::new(framing);
    let (mut body, mut at) = (Vec::new(), 0);
    let ends = cuts.iter().map(|cut| cut % (input.len() + 1)).chain([input.len()]);
    let mut ends: Vec<usize> = ends.collect();
    ends.sort_unstable();
    for end in ends {
        while at < end && !reader.is_done() {
            let part = reader.next(&input[at..end])?;
            assert!(part.consumed > 0, "a reader that stands still");
            body.extend_from_slice(part.data);
            at += part.consumed;
        }
    }
    assert_eq!(reader.received(), body.len() as u64);
    Ok((body, reader.is_done().then_some(at)))
}

/// As [`read`], in the plainest way, of a chunked body that is all there; `None` for one that is not
/// whole or breaks a rule.
fn naive(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    let line = |at: usize| {
        let bytes = input[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &input[at..at + bytes];
        let is_text = line.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
        is_text.then_some((line, at + bytes + 2))
    };
    loop {
        let (size, next) = line(at)?;
        let size = size.split(|byte| *byte == b';').next()?;
        if !(1..=8).contains(&size.len()) || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        body.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        if input.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let (trailer, next) = line(at)?;
        at = next;
        if trailer.is_empty() {
            return Some((body, at));
        }
    }
}

#[test]
fn chunks_are_read_as_the_grammar_has_them() {
    let whole = b"5\r\nhello\r\n6;a=\"b c\"\r\n world\r\n000\r\nTrailer: x\r\n\r\nGET /";
    let found = read(BodyFraming::Chunked, whole, &[]);
    assert_eq!(found, Ok((b"hello world".to_vec(), Some(whole.len() - 5))));
    for (text, error) in [
        ("0x5\r\nhello\r\n", BodyError::Size),
        ("+5\r\nhello\r\n", BodyError::Size),
        (" 5\r\nhello\r\n", BodyError::Size),
        ("5 \r\nhello\r\n", BodyError::Size),
        ("5 ;a\r\nhello\r\n", BodyError::Size),
        (";a\r\nhello\r\n", BodyError::Size),
        ("\r\n5\r\nhello\r\n", BodyError::Size),
        ("000000005\r\nhello\r\n", BodyError::Size),
        ("ffffffffffffffff\r\nhello", BodyError::Size),
        ("5\nhello\r\n", BodyError::Size),
        ("5\rhello", BodyError::Line),
        ("5;a\nhello\r\n", BodyError::Line),
        ("5;a\0\r\nhello\r\n", BodyError::Line),
        ("5\r\nhello0\r\n", BodyError::Line),
        ("5\r\nhello\n0\r\n", BodyError::Line),
        ("5\r\nhello\r0\r\n", BodyError::Line),
        ("0\r\na: b\nc", BodyError::Line),
        ("0\r\n\n", BodyError::Line),
        ("0\r\na\rb", BodyError::Line),
    ] {
        let found = read(BodyFraming::Chunked, text.as_bytes(), &[]);
        assert_eq!(found, Err(error), "{text:?}");
    }
}

#[test]
fn what_surrounds_chunks_has_a_limit() {
    let extension = format!("1;{}", "a".repeat(5000));
    assert_eq!(read(BodyFraming::Chunked, extension.as_bytes(), &[]), Err(BodyError::TooLong));
    let trailers = format!("0\r\n{}", "a: b\r\n".repeat(5000));
    assert_eq!(read(BodyFraming::Chunked, trailers.as_bytes(), &[]), Err(BodyError::TooLong));
}

proptest! {
    #[test]
    fn a_length_is_counted(body: Vec<u8>, behind: Vec<u8>, cuts: Vec<usize>) {
        prop_assume!(!body.is_empty());
        let input = [&body[..], &behind].concat();
        let framing = BodyFraming::Length(body.len() as u64);
        prop_assert_eq!(read(framing, &input, &cuts), Ok((body.clone(), Some(body.len()))));
        prop_assert_eq!(read(BodyFraming::UntilEnd, &input, &cuts), Ok((input.clone(), None)));
        prop_assert_eq!(read(BodyFraming::Empty, &input, &cuts), Ok((Vec::new(), Some(0))));
    }

    #[test]
    fn what_is_written_in_chunks_is_read_again(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        behind: Vec<u8>,
        cuts: Vec<usize>,
    ) {
        let mut out = Vec::new();
        parts.iter().for_each(|part| write_chunk(&mut out, part));
        out.extend_from_slice(LAST_CHUNK);
        let end = out.len();
        out.extend(behind);
        prop_assert_eq!(read(BodyFraming::Chunked, &out, &cuts), Ok((parts.concat(), Some(end))));
    }

    #[test]
    fn a_chunked_body_in_parts_is_the_same_as_in_the_whole(
        input in "([0-9a-fx;=]{0,3}(\r\n|\n|\r)?[a\r\n]{0,4}){0,6}",
        cuts: Vec<usize>,
    ) {
        let found = read(BodyFraming::Chunked, input.as_bytes(), &cuts);
        prop_assert_eq!(&found, &read(BodyFraming::Chunked, input.as_bytes(), &[]));
        let whole = found.ok().and_then(|(body, end)| Some((body, end?)));
        prop_assert_eq!(whole, naive(input.as_bytes()));
    }
}
