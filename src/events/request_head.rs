//! The request of a client as its backend gets it, with each request about the connection.

use crate::http::{ClientFacts, ForwardRules, RequestHead, write_request_headers};

/// Target and headers of the requests about one connection, kept as one block of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EventHead {
    bytes: Box<[u8]>,
    target_bytes: usize,
}

/// A line of the headers.
pub type ClientLine<'h> = (&'h [u8], &'h [u8]);

impl std::fmt::Debug for EventHead {
    /// Omits the headers: tokens and cookies in them must not reach a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventHead")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl EventHead {
    /// What of a client's request goes to the backend, for this target. As a relay passes it on, but
    /// without what belongs to the WebSocket or to a body, and what a backend takes for the gateway's own
    /// word about the conversation.
    #[must_use]
    pub fn new(
        head: &RequestHead<'_>,
        target: &[u8],
        rules: &ForwardRules,
        client: &ClientFacts<'_>,
    ) -> Self {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(target);
        write_request_headers(&mut bytes, head, rules, client, is_left_out);
        Self { bytes: bytes.into(), target_bytes: target.len() }
    }

    /// The target, in origin form (RFC 9112 §3.2.1).
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.bytes[..self.target_bytes]
    }

    /// Names and values of the headers, `Host` among them.
    pub fn lines(&self) -> impl Iterator<Item = ClientLine<'_>> {
        let rest = &self.bytes[self.target_bytes..];
        let lines = rest.split(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\r"));
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Whether a header of a client is not for its backend, or would be taken for the gateway's.
fn is_left_out(name: &[u8]) -> bool {
    let has_prefix =
        |own: &&str| name.get(..own.len()).is_some_and(|prefix| is_spelled(prefix, own.as_bytes()));
    NAMES.iter().any(|own| is_spelled(name, own.as_bytes())) || PREFIXES.iter().any(has_prefix)
}

/// Whether both are the same in any letter case, with `_` or `-`, which some frameworks take for the same.
fn is_spelled(name: &[u8], own: &[u8]) -> bool {
    name.len() == own.len()
        && name.iter().zip(own).all(|(byte, own)| {
            let byte = if *byte == b'_' { b'-' } else { *byte };
            byte.eq_ignore_ascii_case(own)
        })
}

/// Most heads are shorter.
const HEAD_BYTES: usize = 1024;
const PREFIXES: [&str; 4] = ["Meta-", "Grip-", "Content-", "X-Tidegate-"];
const NAMES: [&str; 8] = [
    "Accept",
    "Accept-Encoding",
    "Connection-Id",
    "Expect",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn lines(head: &EventHead) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        head.lines().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    #[test]
    fn the_backend_gets_what_the_client_sent_and_no_more() {
        let text = "GET /ws?a=1 HTTP/1.1\r\nHost: app.example\r\nUpgrade: websocket\r\n\
            Connection: Upgrade, X-Hop\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\nX-Hop: 1\r\nCookie: a=b\r\n\
            Meta-User: root\r\nmeta_user: root\r\nGrip-Sig: x\r\nConnection-Id: 1\r\nAccept: */*\r\n\
            Content-Bytes-Replayed: 4\r\nContent-Length: 0\r\nX-Tidegate-Sequence: 1\r\n\
            X-Forwarded-For: 9.9.9.9\r\nAccept-Encoding: gzip\r\nX-Own: a: b\r\nExpect: x\r\n\r\n";
        let head = parse_head(text.as_bytes()).unwrap();
        let client = ClientFacts {
            address: Some([192, 0, 2, 1].into()),
            user: Some("ann"),
            ..ClientFacts::default()
        };
        let own = EventHead::new(&head, b"/ws?a=1", &ForwardRules::default(), &client);
        assert_eq!(own.target(), b"/ws?a=1");
        assert_eq!(
            lines(&own),
            [
                "Host: app.example",
                "Sec-WebSocket-Protocol: chat",
                "Cookie: a=b",
                "X-Own: a: b",
                "X-Forwarded-For: 192.0.2.1",
                "X-Real-IP: 192.0.2.1",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Port: 80",
                "X-Forwarded-Host: app.example",
                "Forwarded: for=192.0.2.1;host=\"app.example\";proto=http",
                "X-Tidegate-User: ann",
            ]
        );
        assert!(!format!("{own:?}").contains("a=b"));
    }
}
