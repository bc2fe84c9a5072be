//! Splits the input into lines, which may arrive in any parts.

use std::mem;

use thiserror::Error;

/// Splits input into lines without their ends, `\n` or `\r\n`.
#[derive(Debug)]
pub(super) struct Lines {
    bytes_max: usize,
    /// The start of the line whose end has not arrived; empty if it is too long already.
    unfinished: Vec<u8>,
    is_too_long: bool,
    /// The number of complete lines.
    count: u64,
}

/// A line that cannot be sent as a text message. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BadLine {
    /// Not UTF-8, as text messages must be (RFC 6455 §5.6).
    #[error("line {number} of the input was not sent: it is not UTF-8")]
    NotUtf8 { number: u64 },
    /// Longer than the limit.
    #[error("line {number} of the input was not sent: it is longer than {bytes_max} bytes")]
    TooLong { number: u64, bytes_max: usize },
}

impl Lines {
    /// Accepts lines of up to `bytes_max` bytes without their end.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, unfinished: Vec::new(), is_too_long: false, count: 0 }
    }

    /// Returns the lines that end in `bytes`. What follows the last line end is kept.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Result<String, BadLine>> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(rest) => {
                    self.extend(rest);
                    lines.push(self.end_line());
                }
                None => self.extend(part),
            }
        }
        lines
    }

    /// The last line, if the input ended without a line end.
    pub(super) fn finish(&mut self) -> Option<Result<String, BadLine>> {
        let is_line = self.is_too_long || !self.unfinished.is_empty();
        is_line.then(|| self.end_line())
    }

    fn extend(&mut self, bytes: &[u8]) {
        // One byte more than the limit may be the `\r` of the line end.
        self.is_too_long |= self.unfinished.len() + bytes.len() > self.bytes_max + 1;
        if self.is_too_long {
            self.unfinished = Vec::new();
        } else {
            self.unfinished.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) -> Result<String, BadLine> {
        self.count += 1;
        let (number, bytes_max) = (self.count, self.bytes_max);
        let mut line = mem::take(&mut self.unfinished);
        if line.ends_with(b"\r") {
            line.pop();
        }
        if mem::take(&mut self.is_too_long) || line.len() > bytes_max {
            return Err(BadLine::TooLong { number, bytes_max });
        }
        String::from_utf8(line).map_err(|_| BadLine::NotUtf8 { number })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut Lines, parts: &[&[u8]]) -> Vec<Result<String, BadLine>> {
        let mut found: Vec<_> = parts.iter().flat_map(|part| lines.push(part)).collect();
        found.extend(lines.finish());
        found
    }

    fn ok(text: &str) -> Result<String, BadLine> {
        Ok(text.to_owned())
    }

    #[test]
    fn line_ends_are_removed_and_nothing_else() {
        let input = b"one\ntwo\r\n\n\r\n a\rb \r\r\nlast";
        let found = all(&mut Lines::new(100), &[input]);
        assert_eq!(found, ["one", "two", "", "", " a\rb \r", "last"].map(ok));
    }

    #[test]
    fn input_that_ends_with_a_line_end_has_no_further_line() {
        assert_eq!(all(&mut Lines::new(100), &[b"one\n"]), [ok("one")]);
        assert_eq!(all(&mut Lines::new(100), &[]), []);
    }

    #[test]
    fn a_bad_line_does_not_affect_its_neighbours() {
        let found = all(&mut Lines::new(100), &["张\n\u{ff}".as_bytes(), b"\xff\nfine\n\xe5\xbc"]);
        let [bad, last] = [2, 4].map(|number| Err(BadLine::NotUtf8 { number }));
        assert_eq!(found, [ok("张"), bad, ok("fine"), last]);
    }

    #[test]
    fn the_limit_does_not_count_the_line_end() {
        let input: &[u8] = b"12345\r\n12345\n123456\n123456\r\n1234567890\n\n123456";
        let [third, fourth, fifth, last] =
            [3, 4, 5, 7].map(|number| Err(BadLine::TooLong { number, bytes_max: 5 }));
        let expected = [ok("12345"), ok("12345"), third, fourth, fifth, ok(""), last];
        assert_eq!(all(&mut Lines::new(5), &[input]), expected);
        let bytewise: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(all(&mut Lines::new(5), &bytewise), expected);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit() {
        let mut lines = Lines::new(1000);
        for _ in 0..100 {
            assert_eq!(lines.push(&[b'x'; 900]), []);
            assert!(lines.unfinished.capacity() <= 2000);
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_parts(text in "[a-c\r\n张]{0,40}", at in any::<prop::sample::Index>()) {
            let bytes = text.as_bytes();
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            let mut expected: Vec<&str> = text.lines().collect();
            // `lines` keeps a `\r` at the very end, where no `\n` follows.
            if let (true, Some(last)) = (text.ends_with('\r'), expected.last_mut()) {
                *last = last.strip_suffix('\r').unwrap();
            }
            let expected: Vec<_> = expected.into_iter().map(ok).collect();
            prop_assert_eq!(all(&mut Lines::new(100), &[first, second]), expected);
        }
    }
}
