use proptest::prelude::*;

use super::*;

/// A response as a naive client reads it.
#[derive(Debug)]
pub(in crate::http) struct ReadResponse {
    pub(in crate::http) status_line: String,
    pub(in crate::http) headers: Vec<(String, String)>,
    pub(in crate::http) body: Vec<u8>,
}

impl ReadResponse {
    /// Reads a response and panics if it is not well formed.
    pub(in crate::http) fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| {
                assert!(!line.contains(['\r', '\n']), "bare line ending in {line:?}");
                let (name, value) = line.split_once(": ").unwrap();
                assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
                (name.to_owned(), value.to_owned())
            })
            .collect();
        assert!(!status_line.contains(['\r', '\n']));
        Self { status_line, headers, body: bytes[end + 4..].to_vec() }
    }

    /// The value of the only header called `name`; panics if there are several.
    pub(in crate::http) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is repeated");
        value
    }

    /// Checks what every response must have, if it is not a 101.
    pub(in crate::http) fn check_closing(&self, head_only: bool) {
        let body_bytes: usize = self.header("Content-Length").unwrap().parse().unwrap();
        assert_eq!(self.body.len(), if head_only { 0 } else { body_bytes });
        assert!(self.header("Content-Type").is_some());
        assert!(self.header("Date").is_some_and(|date| date.ends_with(" GMT")));
        assert_eq!(self.header("Transfer-Encoding"), None);
        if self.status_line == "HTTP/1.1 426 Upgrade Required" {
            assert_eq!(self.header("Connection"), Some("upgrade, close"));
            assert_eq!(self.header("Upgrade"), Some("websocket"));
            assert_eq!(self.header("Sec-WebSocket-Version"), Some("13"));
        } else {
            assert_eq!(self.header("Connection"), Some("close"));
            assert_eq!(self.header("Upgrade"), None);
        }
    }
}

fn date() -> HttpDate {
    HttpDate::from_unix_seconds(784_111_777)
}

pub(in crate::http) const STATUSES: [Status; 11] = [
    Status::Ok,
    Status::NotModified,
    Status::BadRequest,
    Status::Forbidden,
    Status::NotFound,
    Status::MethodNotAllowed,
    Status::UpgradeRequired,
    Status::HeaderFieldsTooLarge,
    Status::InternalServerError,
    Status::ServiceUnavailable,
    Status::VersionNotSupported,
];

fn extra_headers() -> impl Strategy<Value = Vec<ResponseHeader>> {
    let header = ("X-[A-Za-z0-9-]{1,8}", "([!-~]([ -~é\t]{0,20}[!-~])?)?")
        .prop_map(|(name, value)| ResponseHeader::new(name, value).unwrap());
    prop::collection::vec(header, 0..4)
}

proptest! {
    #[test]
    fn every_page_is_well_formed(
        status in prop::sample::select(STATUSES.to_vec()),
        extra_headers in extra_headers(),
        body: Vec<u8>,
        head_only: bool,
    ) {
        let mut out = b"before".to_vec();
        write_page(&mut out, &date(), status, &HeaderValue::HTML, &extra_headers, &body, head_only);
        let head_only = head_only || status == Status::NotModified;
        prop_assert!(out.starts_with(b"before"), "appends only");
        let page = ReadResponse::read(&out[6..]);
        page.check_closing(head_only);
        let status_line = format!("HTTP/1.1 {} {}", status.code(), status.reason());
        prop_assert_eq!(&page.status_line, &status_line);
        prop_assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
        let body_bytes = body.len().to_string();
        prop_assert_eq!(page.header("Content-Length"), Some(body_bytes.as_str()));
        for header in &extra_headers {
            let added = (header.name().to_owned(), header.value().to_owned());
            prop_assert!(page.headers.contains(&added));
        }
        if !head_only {
            prop_assert_eq!(page.body, body);
        }
    }

    #[test]
    fn every_switch_is_well_formed(
        accept in "[A-Za-z0-9+/]{27}=",
        subprotocol in prop::option::of("[a-z.]{1,10}"),
        extra_headers in extra_headers(),
    ) {
        let accept_bytes: &[u8; 28] = accept.as_bytes().try_into().unwrap();
        let chosen = subprotocol.clone().map(|name| Subprotocol::new(name).unwrap());
        let mut out = Vec::new();
        write_switching_protocols(&mut out, &date(), accept_bytes, chosen.as_ref(), None, &extra_headers);
        let response = ReadResponse::read(&out);
        prop_assert_eq!(&response.status_line, "HTTP/1.1 101 Switching Protocols");
        prop_assert_eq!(response.header("Upgrade"), Some("websocket"));
        prop_assert_eq!(response.header("Connection"), Some("Upgrade"));
        prop_assert_eq!(response.header("Sec-WebSocket-Accept"), Some(accept.as_str()));
        prop_assert_eq!(response.header("Sec-WebSocket-Protocol"), subprotocol.as_deref());
        prop_assert_eq!(response.header("Content-Length"), None);
        prop_assert!(response.body.is_empty());
        let added = response.headers.len() - 4 - usize::from(subprotocol.is_some());
        prop_assert_eq!(added, extra_headers.len());
    }
}

#[test]
fn a_switch_has_these_bytes_rfc_6455_section_1_3() {
    let mut out = Vec::new();
    let subprotocol = Subprotocol::new("chat").unwrap();
    let cookie = ResponseHeader::new("Set-Cookie", "user=1").unwrap();
    let accept = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    write_switching_protocols(&mut out, &date(), accept, Some(&subprotocol), None, &[cookie]);
    let expected = "HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\n\
        Set-Cookie: user=1\r\n\
        \r\n";
    assert_eq!(str::from_utf8(&out), Ok(expected));
}

#[test]
fn a_page_has_these_bytes() {
    let mut out = Vec::new();
    write_page(&mut out, &date(), Status::Ok, &HeaderValue::HTML, &[], b"<p>", false);
    let expected = "HTTP/1.1 200 OK\r\n\
        Connection: close\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Content-Type: text/html; charset=utf-8\r\n\
        Content-Length: 3\r\n\
        \r\n\
        <p>";
    assert_eq!(str::from_utf8(&out), Ok(expected));
}
