//! Redirects from `http` to `https`: the same host and target over TLS (RFC 9110 §15.4.9).

use super::{
    HttpDate, RequestHead, Status, authority::default_port, response::Reply,
    response_header::HeaderValue,
};

/// Where TLS is spoken for the hosts of a listener that redirects to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpsRedirect {
    port: u16,
}

impl HttpsRedirect {
    /// Redirects to this port of the host that a request names.
    #[must_use]
    pub fn to_port(port: u16) -> Self {
        Self { port }
    }

    /// The URL to send a client to: the host and the target that its request names, with another scheme
    /// and port. `None` if it names no host, as HTTP/1.0 allows (RFC 9112 §3.2).
    ///
    /// Host and target are of the grammar of [`parse_head`](super::parse_head()), so the URL has no
    /// character that could end the header or its authority.
    #[must_use]
    pub fn location(self, head: &RequestHead<'_>) -> Option<HeaderValue> {
        let host = head.host()?;
        let port = match self.port {
            port if Some(port) == default_port(b"https") => String::new(),
            port => format!(":{port}"),
        };
        let path = str::from_utf8(head.path().raw()).ok()?;
        // A `?` with nothing behind it is a part of the target too.
        let query = head.target().iter().position(|byte| *byte == b'?');
        let query = query.and_then(|at| str::from_utf8(head.target().get(at..)?).ok());
        let url = format!("https://{}{port}{path}{}", host.host(), query.unwrap_or_default());
        HeaderValue::new(url).ok()
    }
}

/// Appends the response that sends a client to `location` for good, with the same method, after which the
/// connection closes.
///
/// With `head_only` (the request was a `HEAD`) the body is omitted, but not its length.
pub fn write_redirect(out: &mut Vec<u8>, date: &HttpDate, location: &HeaderValue, head_only: bool) {
    let mut reply = Reply::begin(out, date, Status::PermanentRedirect);
    reply.header("Content-Type", HeaderValue::PLAIN_TEXT.as_str());
    reply.header("Location", location.as_str());
    reply.finish(&[b"this is served over https only\n"], head_only);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::{find_head_end, parse_head};

    fn location(port: u16, request: &str) -> Option<String> {
        let head = parse_head(request.as_bytes()).unwrap();
        let location = HttpsRedirect::to_port(port).location(&head);
        location.map(|url| url.as_str().to_owned())
    }

    #[test]
    fn host_and_target_stay_and_the_port_is_that_of_tls() {
        for (port, target, host, url) in [
            (443, "/", "example.com", "https://example.com/"),
            (443, "/a/b?c=d&e", "Example.com:80", "https://Example.com/a/b?c=d&e"),
            (8443, "/a", "example.com:8080", "https://example.com:8443/a"),
            (443, "/a?", "[::1]:80", "https://[::1]/a?"),
            (443, "//evil.example/", "example.com", "https://example.com//evil.example/"),
            (443, "/@evil.example", "a.example", "https://a.example/@evil.example"),
            (443, "http://b.example/c?d", "a.example", "https://b.example/c?d"),
            (443, "http://b.example", "a.example", "https://b.example/"),
            (443, "http://b.example?d", "a.example", "https://b.example/?d"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(location(port, &request).as_deref(), Some(url));
        }
        assert_eq!(location(443, "GET / HTTP/1.0\r\n\r\n"), None);
        assert_eq!(location(443, "GET / HTTP/1.0\r\nHost:\r\n\r\n"), None);
    }

    #[test]
    fn a_redirect_byte_for_byte() {
        let mut out = Vec::new();
        let location = HeaderValue::new("https://example.com/a").unwrap();
        write_redirect(&mut out, &HttpDate::from_unix_seconds(784_111_777), &location, false);
        let expected = "HTTP/1.1 308 Permanent Redirect\r\n\
            Connection: close\r\n\
            Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Location: https://example.com/a\r\n\
            Content-Length: 31\r\n\
            \r\n\
            this is served over https only\n";
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }

    proptest! {
        /// Whatever a client sends, it is sent to the host that it named, and nowhere else.
        #[test]
        fn no_request_leads_to_another_authority(
            target in "[!-~]{1,20}",
            host in "[ -~\t]{0,20}|[a-z.]{1,10}(:[0-9]{1,4})?",
            port: u16,
        ) {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            prop_assume!(find_head_end(request.as_bytes(), 0) == Some(request.len()));
            let Ok(head) = parse_head(request.as_bytes()) else { return Ok(()) };
            let Some(location) = HttpsRedirect::to_port(port).location(&head) else { return Ok(()) };
            let rest = location.as_str().strip_prefix("https://").unwrap();
            let (authority, _) = rest.split_once('/').unwrap();
            let named = head.host().unwrap().host();
            let expected = if port == 443 { named.to_owned() } else { format!("{named}:{port}") };
            prop_assert_eq!(authority, expected);
            prop_assert!(location.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
