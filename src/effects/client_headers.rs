//! Headers of a client's request that backends are told with each question about it.

use std::fmt;

use crate::events::EventHead;

/// The headers that some proxy of channels passes on, kept as long as the connection, and those that the
/// client has written into its first command because browsers let pages set no headers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientHeaders {
    /// `NAME:VALUE` and a line break, each.
    lines: Box<[u8]>,
    emulated: Vec<(Box<str>, Box<str>)>,
}

impl ClientHeaders {
    /// The headers with these names, which are written in lower case.
    #[must_use]
    pub fn of(head: &EventHead, names: &[String]) -> Self {
        let mut lines = Vec::new();
        for (name, value) in head.lines() {
            if names.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes())) {
                lines.extend_from_slice(name);
                lines.push(b':');
                lines.extend_from_slice(value);
                lines.push(b'\n');
            }
        }
        Self { lines: lines.into(), emulated: Vec::new() }
    }

    /// The same with those that the client has written itself, as far as some proxy passes them on: `names`
    /// in lower case. A name that comes twice counts once, and a long value not at all.
    #[must_use]
    pub fn with_emulated<'e>(
        mut self,
        pairs: impl IntoIterator<Item = (&'e str, &'e str)>,
        names: &[String],
    ) -> Self {
        for (name, value) in pairs {
            let name = name.to_ascii_lowercase();
            let is_known = self.emulated.iter().any(|(own, _)| **own == *name);
            if !is_known && names.contains(&name) && value.len() <= EMULATED_BYTES_MAX {
                self.emulated.push((name.into(), value.into()));
            }
        }
        self.emulated.shrink_to_fit();
        self
    }

    /// Names and values of what stands in the client's request.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], &line[colon + 1..]))
        })
    }

    /// Names, in lower case, and values of what the client has written itself.
    pub fn emulated(&self) -> impl Iterator<Item = (&str, &str)> {
        self.emulated.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.emulated.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let emulated = self.emulated.iter().map(|(name, value)| name.len() + value.len());
        let pairs = self.emulated.len() * size_of::<(Box<str>, Box<str>)>();
        self.lines.len() + pairs + emulated.sum::<usize>()
    }
}

impl fmt::Debug for ClientHeaders {
    /// Omits the values: tokens and cookies in them must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientHeaders")
            .field("bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

/// The longest value that a client writes into its first command, in bytes.
const EMULATED_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ClientFacts, ForwardRules, parse_head};

    fn headers(text: &str, names: &[&str]) -> ClientHeaders {
        let text = format!("GET /ws HTTP/1.1\r\nHost: app\r\n{text}\r\n");
        let head = parse_head(text.as_bytes()).unwrap();
        let client = ClientFacts { address: Some([192, 0, 2, 1].into()), ..ClientFacts::default() };
        let head = EventHead::new(&head, b"/", &ForwardRules::default(), &client);
        let names: Vec<String> = names.iter().map(|own| (*own).to_owned()).collect();
        ClientHeaders::of(&head, &names)
    }

    #[test]
    fn those_that_are_named_are_kept_and_no_others() {
        let text = "Cookie: a=b: c\r\nX-Own: 1\r\nx-own: 2\r\nX-Forwarded-For: 9.9.9.9\r\n";
        let own = headers(text, &["cookie", "x-own", "x-forwarded-for"]);
        let lines: Vec<_> = own.lines().collect();
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"Cookie", b"a=b: c"),
            (b"X-Own", b"1"),
            (b"x-own", b"2"),
            // What the gateway knows, and not what the client says.
            (b"X-Forwarded-For", b"192.0.2.1"),
        ];
        assert_eq!(lines, wanted);
        assert!(headers(text, &["authorization"]).is_empty());
        assert!(!format!("{own:?}").contains("a=b"));
    }

    #[test]
    fn what_a_client_writes_itself_is_bounded() {
        let names = ["authorization".to_owned(), "x-own".to_owned()];
        let long = "x".repeat(EMULATED_BYTES_MAX + 1);
        let pairs =
            [("Authorization", "a"), ("authorization", "b"), ("Cookie", "c"), ("X-Own", &long)];
        let own = ClientHeaders::default().with_emulated(pairs, &names);
        assert_eq!(own.emulated().collect::<Vec<_>>(), [("authorization", "a")]);
        assert!(own.held_bytes() < 100);
    }
}
