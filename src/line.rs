//! Lines of plain TCP clients such as `nc`, as messages.
//!
//! A message is a line of UTF-8 text that ends in LF or CR LF.

use std::ops::Range;

use memchr::{memchr, memchr2};

use crate::visible::push_visible;

/// A complete line in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The text without its line ending.
    pub text: Range<usize>,
    /// Where the next line begins.
    pub next: usize,
}

/// Why bytes are not a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// The line is longer than a message may be.
    TooLong,
    /// The line is not UTF-8.
    NotUtf8,
}

/// Finds the next line of `arrived` from `start` on; `None` if its end has not arrived. `scanned`
/// is the number of bytes after `start` that are known to hold no line ending; the function updates
/// it, so that a line that arrives in many reads is searched once.
///
/// # Errors
/// [`LineError`] as soon as it is certain.
pub fn next_line(
    arrived: &[u8],
    start: usize,
    scanned: &mut usize,
    line_bytes_max: usize,
) -> Result<Option<Line>, LineError> {
    let rest = arrived.get(start..).unwrap_or(&[]);
    let unscanned = rest.get(*scanned..).unwrap_or(&[]);
    let Some(found) = memchr(b'\n', unscanned) else {
        *scanned = rest.len();
        // One byte more than the limit may still be the CR of the line ending.
        let is_too_long = rest.len() > line_bytes_max.saturating_add(1);
        return if is_too_long { Err(LineError::TooLong) } else { Ok(None) };
    };
    let end = start + *scanned + found;
    *scanned = 0;
    let text = start..end;
    check_line(arrived, text, line_bytes_max).map(|text| Some(Line { text, next: end + 1 }))
}

/// The last line of `arrived` if the stream ended without a line ending; `None` if no bytes follow
/// the line before.
///
/// # Errors
/// [`LineError`] if the bytes are not a valid line.
pub fn last_line(
    arrived: &[u8],
    start: usize,
    line_bytes_max: usize,
) -> Result<Option<Range<usize>>, LineError> {
    if start >= arrived.len() {
        return Ok(None);
    }
    check_line(arrived, start..arrived.len(), line_bytes_max).map(Some)
}

fn check_line(
    arrived: &[u8],
    text: Range<usize>,
    line_bytes_max: usize,
) -> Result<Range<usize>, LineError> {
    let bytes = arrived.get(text.clone()).unwrap_or(&[]);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.len() > line_bytes_max {
        return Err(LineError::TooLong);
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| LineError::NotUtf8)?;
    Ok(text.start..text.start + bytes.len())
}

/// Appends `text` and a line feed. Line breaks inside the text become spaces, and what a terminal
/// would act on is escaped as in `\u{1b}`: lines are read with `nc`, which prints what it gets.
pub fn write_line(text: &[u8], output: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        push_visible(&rest[..at], output);
        output.push(b' ');
        let length = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[at + length..];
    }
    push_visible(rest, output);
    output.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of `bytes` when reads end at `cuts`.
    fn lines(bytes: &[u8], cuts: &[usize], max: usize) -> Result<Vec<String>, LineError> {
        let mut found = Vec::new();
        let (mut start, mut scanned) = (0, 0);
        for arrived in cuts.iter().map(|cut| &bytes[..*cut]).chain([bytes]) {
            while let Some(line) = next_line(arrived, start, &mut scanned, max)? {
                found.push(String::from_utf8(arrived[line.text].to_vec()).unwrap());
                start = line.next;
            }
        }
        if let Some(text) = last_line(bytes, start, max)? {
            found.push(String::from_utf8(bytes[text].to_vec()).unwrap());
        }
        Ok(found)
    }

    proptest! {
        /// The naive twin has the whole input at once.
        #[test]
        fn lines_do_not_depend_on_the_reads(
            text in "([ab\r\n]|é){0,40}",
            mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut cuts: Vec<usize> =
                cuts.drain(..).map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut naive: Vec<&str> = text.split('\n').collect();
            if naive.last() == Some(&"") {
                naive.pop();
            }
            let naive: Vec<String> = naive
                .into_iter()
                .map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
                .collect();
            prop_assert_eq!(lines(text.as_bytes(), &cuts, 100), Ok(naive.clone()));
            let longest = naive.iter().map(String::len).max().unwrap_or(0);
            prop_assert!(lines(text.as_bytes(), &cuts, longest).is_ok());
            if longest > 0 {
                prop_assert_eq!(lines(text.as_bytes(), &cuts, longest - 1), Err(LineError::TooLong));
            }
        }

        #[test]
        fn written_text_is_one_line(text in "([ab\r\n]|é){0,40}") {
            let mut output = Vec::new();
            write_line(text.as_bytes(), &mut output);
            let line = text.replace("\r\n", " ").replace(['\r', '\n'], " ");
            prop_assert_eq!(output, format!("{line}\n").into_bytes());
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let mut output = Vec::new();
        write_line("\u{1b}]0;x\u{7} \u{9b}2J\t\u{202e}\r\nb\u{7f}".as_bytes(), &mut output);
        let line = "\\u{1b}]0;x\\u{7} \\u{9b}2J\t\\u{202e} b\\u{7f}\n";
        assert_eq!(output, line.as_bytes());
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_limit() {
        assert_eq!(lines(&[b'a'; 12], &[], 10), Err(LineError::TooLong));
        let mut scanned = 0;
        assert_eq!(next_line(&[b'a'; 11], 0, &mut scanned, 10), Ok(None));
        assert_eq!(next_line(&[b'a'; 12], 0, &mut scanned, 10), Err(LineError::TooLong));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_refused() {
        assert_eq!(lines(b"a\n\xff\n", &[], 10), Err(LineError::NotUtf8));
    }
}
