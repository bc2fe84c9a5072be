//! The server's reply to the handshake, and what a client must check in it (RFC 6455 §4.1).

use std::str;

use httparse::{Header, Status};
use thiserror::Error;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::http::{HeaderMap, StatusCode};

use crate::http::quoted_list_elements;

/// What the reply must agree with.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    accept: String,
    /// The subprotocols that were offered.
    subprotocols: Vec<Vec<u8>>,
}

/// A reply that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The connection is a WebSocket from the next byte on.
    Upgraded { subprotocol: Option<String> },
    /// The server replied with another status.
    Refused(Refusal),
}

/// A reply with another status than 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The length of the body, if the server gives it.
    pub(super) body_bytes: Option<usize>,
    pub(super) is_chunked: bool,
}

/// Why a reply is none of a WebSocket server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ReplyError {
    #[error("{0}")]
    NotHttp(#[from] httparse::Error),
    #[error("the status {0} is none")]
    Status(u16),
    #[error("the reply is HTTP/1.0, which cannot switch protocols")]
    Version,
    #[error("its Upgrade header does not list websocket")]
    Upgrade,
    #[error("its Connection header does not list Upgrade")]
    Connection,
    #[error("its Sec-WebSocket-Accept header is missing, repeated, or does not fit the key")]
    Accept,
    #[error("it chose an extension, and none was offered")]
    Extension,
    #[error("it chose none of the subprotocols that were offered")]
    NoSubprotocol,
    #[error("it chose a subprotocol that was not offered, or several")]
    Subprotocol,
}

impl Expected {
    /// What the reply to a request with these headers and this key must agree with.
    pub(super) fn new(headers: &HeaderMap, key: &str) -> Self {
        let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
        let offers = offers.iter().map(|value| value.as_bytes());
        let subprotocols = quoted_list_elements(offers).map(<[u8]>::to_vec).collect();
        Self { accept: derive_accept_key(key.as_bytes()), subprotocols }
    }
}

/// Parses the reply at the front of `input`: its length and what it says, or `None` while it is
/// incomplete. Interim replies before it are skipped (RFC 9110 §15.2).
///
/// # Errors
/// [`ReplyError`] if it is not HTTP, or an upgrade that RFC 6455 §4.1 has the client fail.
pub(super) fn parse_reply(
    input: &[u8],
    expected: &Expected,
) -> Result<Option<(usize, Reply)>, ReplyError> {
    let mut position = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_LINES_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let Status::Complete(bytes) = head.parse(input.get(position..).unwrap_or_default())? else {
            return Ok(None);
        };
        position += bytes;
        let code = head.code.unwrap_or_default();
        let status = StatusCode::from_u16(code).map_err(|_| ReplyError::Status(code))?;
        let headers = Headers(head.headers);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if head.version == Some(0) {
                return Err(ReplyError::Version);
            }
            let subprotocol = headers.check_upgrade(expected)?;
            return Ok(Some((position, Reply::Upgraded { subprotocol })));
        }
        if !status.is_informational() {
            return Ok(Some((position, Reply::Refused(headers.refusal(status)))));
        }
    }
}

/// The header lines of a reply.
struct Headers<'h, 'b>(&'h [Header<'b>]);

impl<'b> Headers<'_, 'b> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        let lines = self.0.iter().filter(move |line| line.name.eq_ignore_ascii_case(name));
        lines.map(|line| line.value)
    }

    /// The elements of a list, from all its lines. No check is stricter than what the other side of
    /// a handshake needs: what else stands in the list is the server's affair.
    fn list(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        quoted_list_elements(self.values(name))
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The checks of RFC 6455 §4.1, from the second on, in their order. Returns the subprotocol.
    fn check_upgrade(&self, expected: &Expected) -> Result<Option<String>, ReplyError> {
        if !self.lists("Upgrade", "websocket") {
            return Err(ReplyError::Upgrade);
        }
        if !self.lists("Connection", "Upgrade") {
            return Err(ReplyError::Connection);
        }
        // Not a list, and once only (§11.3.3).
        let mut accepts = self.values("Sec-WebSocket-Accept");
        let accept = accepts.next().map(<[u8]>::trim_ascii);
        if accept != Some(expected.accept.as_bytes()) || accepts.next().is_some() {
            return Err(ReplyError::Accept);
        }
        if self.list("Sec-WebSocket-Extensions").next().is_some() {
            return Err(ReplyError::Extension);
        }
        let mut chosen = self.list("Sec-WebSocket-Protocol");
        match chosen.next() {
            None if expected.subprotocols.is_empty() => Ok(None),
            None => Err(ReplyError::NoSubprotocol),
            // One of the offers, in the same letters (§11.3.4).
            Some(name)
                if chosen.next().is_none()
                    && expected.subprotocols.iter().any(|offered| offered == name) =>
            {
                Ok(Some(String::from_utf8_lossy(name).into_owned()))
            }
            Some(_) => Err(ReplyError::Subprotocol),
        }
    }

    fn refusal(&self, status: StatusCode) -> Refusal {
        let mut lengths = self.values("Content-Length");
        let body_bytes = lengths.next().and_then(|value| {
            let text = str::from_utf8(value).ok()?;
            text.trim().parse().ok()
        });
        Refusal { status, body_bytes, is_chunked: self.lists("Transfer-Encoding", "chunked") }
    }
}

/// The most header lines of a reply.
const HEADER_LINES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use tungstenite::http::HeaderValue;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    /// RFC 6455 §1.3.
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn expected(offers: &[&str]) -> Expected {
        let mut headers = HeaderMap::new();
        for offer in offers {
            let value = HeaderValue::from_str(offer).unwrap();
            headers.append(SEC_WEBSOCKET_PROTOCOL, value);
        }
        Expected::new(&headers, KEY)
    }

    fn head(lines: &[&str]) -> String {
        format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n\r\n", lines.join("\r\n"))
    }

    /// What a reply with these lines besides the accept key comes to.
    fn parse(lines: &[&str], offers: &[&str]) -> Result<Reply, ReplyError> {
        let head = head(&[&[ACCEPT], lines].concat());
        parse_reply(head.as_bytes(), &expected(offers)).map(|reply| {
            let (bytes, reply) = reply.expect("the head is complete");
            assert_eq!(bytes, head.len());
            reply
        })
    }

    fn upgraded(subprotocol: Option<&str>) -> Result<Reply, ReplyError> {
        Ok(Reply::Upgraded { subprotocol: subprotocol.map(str::to_owned) })
    }

    const UPGRADE: &str = "Upgrade: websocket";
    const CONNECTION: &str = "Connection: Upgrade";

    #[test]
    fn lists_may_hold_more_than_what_is_looked_for() {
        for lines in [
            &[UPGRADE, CONNECTION][..],
            &[UPGRADE, "Connection: keep-alive, Upgrade"],
            &[UPGRADE, "Connection: keep-alive", CONNECTION],
            &[UPGRADE, "connection:upgrade,Keep-Alive"],
            &[UPGRADE, "Connection: , , UPGRADE ,"],
            &[UPGRADE, "Connection: timeout=5; x, Upgrade"],
            &["Upgrade: h2c, WebSocket", CONNECTION],
            &["Upgrade: foo/2", "upgrade: websocket", CONNECTION],
            &[UPGRADE, CONNECTION, "Sec-WebSocket-Extensions:", "Sec-WebSocket-Protocol: ,"],
        ] {
            assert_eq!(parse(lines, &[]), upgraded(None), "{lines:?}");
        }
    }

    #[test]
    fn an_upgrade_without_its_headers_is_refused() {
        for (lines, error) in [
            (&[CONNECTION][..], ReplyError::Upgrade),
            (&["Upgrade: websockets, web socket", CONNECTION], ReplyError::Upgrade),
            (&["Upgrade: \"a, websocket, b\"", CONNECTION], ReplyError::Upgrade),
            (&[UPGRADE], ReplyError::Connection),
            (&[UPGRADE, "Connection: keep-alive"], ReplyError::Connection),
            (&[UPGRADE, CONNECTION, ACCEPT], ReplyError::Accept),
            (
                &[UPGRADE, CONNECTION, "Sec-WebSocket-Extensions: permessage-deflate"],
                ReplyError::Extension,
            ),
            (
                &[UPGRADE, CONNECTION, "Sec-WebSocket-Extensions: ", "sec-websocket-extensions: x"],
                ReplyError::Extension,
            ),
            (&[UPGRADE, CONNECTION, "Sec-WebSocket-Protocol: v1"], ReplyError::Subprotocol),
        ] {
            assert_eq!(parse(lines, &[]), Err(error), "{lines:?}");
        }
        let wrong = head(&[UPGRADE, CONNECTION, &ACCEPT.replace("s3p", "S3p")]);
        let wrong = parse_reply(wrong.as_bytes(), &expected(&[]));
        assert_eq!(wrong, Err(ReplyError::Accept));
        let old = head(&[UPGRADE, CONNECTION, ACCEPT]).replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(parse_reply(old.as_bytes(), &expected(&[])), Err(ReplyError::Version));
    }

    #[test]
    fn the_subprotocol_is_one_of_those_offered() {
        let answer = |lines: &[&str], offers: &[&str]| {
            parse(&[&[UPGRADE, CONNECTION], lines].concat(), offers)
        };
        for offers in [&["v1, v2"][..], &["v1", "v2"], &["v2,,v1"]] {
            assert_eq!(answer(&["Sec-WebSocket-Protocol: v2"], offers), upgraded(Some("v2")));
            assert_eq!(answer(&["Sec-WebSocket-Protocol: v2,"], offers), upgraded(Some("v2")));
            assert_eq!(answer(&[], offers), Err(ReplyError::NoSubprotocol));
            for several in ["Sec-WebSocket-Protocol: v1, v2", "Sec-WebSocket-Protocol: V1"] {
                assert_eq!(answer(&[several], offers), Err(ReplyError::Subprotocol), "{several}");
            }
            let twice = ["Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Protocol: v1"];
            assert_eq!(answer(&twice, offers), Err(ReplyError::Subprotocol));
        }
    }

    #[test]
    fn interim_replies_are_skipped() {
        let upgrade = head(&[ACCEPT, UPGRADE, CONNECTION]);
        let whole =
            format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100\r\n\r\n{upgrade}");
        let reply = parse_reply(whole.as_bytes(), &expected(&[]));
        assert_eq!(reply, upgraded(None).map(|reply| Some((whole.len(), reply))));
        let cut = &whole.as_bytes()[..whole.len() - 1];
        assert_eq!(parse_reply(cut, &expected(&[])), Ok(None));
    }

    #[test]
    fn other_statuses_are_refusals() {
        let refused = |text: &str| match parse_reply(text.as_bytes(), &expected(&[])).unwrap() {
            Some((_, Reply::Refused(refusal))) => refusal,
            other => panic!("{other:?}"),
        };
        let refusal = refused("HTTP/1.1 503 Busy\r\nContent-Length: 30 \r\n\r\n");
        assert_eq!((refusal.status.as_u16(), refusal.body_bytes), (503, Some(30)));
        assert!(!refusal.is_chunked);
        let refusal = refused("HTTP/1.0 404\r\ntransfer-encoding: gzip, Chunked\r\n\r\n");
        assert_eq!((refusal.status.as_u16(), refusal.body_bytes), (404, None));
        assert!(refusal.is_chunked);
        let none = parse_reply(b"HTTP/1.1 009 x\r\n\r\n", &expected(&[]));
        assert_eq!(none, Err(ReplyError::Status(9)));
        let ssh = parse_reply(b"SSH-2.0-OpenSSH\r\n", &expected(&[]));
        assert!(matches!(ssh, Err(ReplyError::NotHttp(_))));
    }

    proptest! {
        /// Whatever else stands in the lists, in any order and on any number of lines.
        #[test]
        fn an_upgrade_is_found_in_any_list(
            others in prop::collection::vec(select(&["keep-alive", "foo/1", "x", ""][..]), 0..6),
            token in select(&["upgrade", "Upgrade", "UPGRADE"][..]),
            separator in "[ \t]{0,2},[ \t,]{0,2}",
            at: Index,
            cut: Index,
        ) {
            let mut elements = others;
            elements.insert(at.index(elements.len() + 1), token);
            let (first, second) = elements.split_at(cut.index(elements.len() + 1));
            let first = format!("Connection: {}", first.join(&separator));
            let second = format!("Connection: {}", second.join(&separator));
            prop_assert_eq!(parse(&[UPGRADE, &first, &second], &[]), upgraded(None));
        }

        #[test]
        fn a_reply_in_pieces_is_incomplete_until_its_end(cut in 0_usize..120) {
            let whole = head(&[ACCEPT, UPGRADE, "Connection: keep-alive, Upgrade"]);
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(parse_reply(&whole.as_bytes()[..cut], &expected(&[])), Ok(None));
        }

        #[test]
        fn no_bytes_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            start in select(&["", "HTTP/1.1 101 x\r\n", "HTTP/1.1 200 OK\r\nConnection: "][..]),
        ) {
            bytes.splice(0..0, start.bytes());
            let _ = parse_reply(&bytes, &expected(&["a"]));
        }
    }
}
