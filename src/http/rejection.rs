//! A rejection: a status, and a line that tells a developer what to change.

use std::borrow::Cow;

use super::{
    date::HttpDate,
    head::HeadError,
    percent::DecodeError,
    response::{Reply, Status},
    response_header::{HeaderValue, ResponseHeader},
    target::QueryError,
};

/// The reply to a request that is refused. The connection closes after it.
///
/// Each status has its own constructor, which takes the headers that the status needs. Services make
/// one to refuse a request:
///
/// ```
/// use tidegate::http::{HeaderValue, Rejection};
///
/// let challenge = HeaderValue::new("Bearer realm=\"edge\"")?;
/// let rejection = Rejection::unauthorized(challenge, "the token has expired");
/// assert_eq!(rejection.status().code(), 401);
/// # Ok::<(), tidegate::http::InvalidHeader>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: Status,
    body: Cow<'static, str>,
    allow: Option<Allow>,
    retry_after_s: Option<u32>,
    challenge: Option<HeaderValue>,
    of_backend: Option<Box<OfBackend>>,
}

/// What only a rejection of a backend has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfBackend {
    content_type: HeaderValue,
    headers: Vec<ResponseHeader>,
}

impl Rejection {
    /// 400: the request breaks the rule that `body` names.
    pub fn bad_request(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::BadRequest, body)
    }

    /// 401: the request lacks valid credentials. `challenge` says which would do: the value of
    /// `WWW-Authenticate`, which this status must have (RFC 9110 §15.5.2). Browsers show scripts
    /// neither status nor body of a refused handshake.
    pub fn unauthorized(challenge: HeaderValue, body: impl Into<Cow<'static, str>>) -> Self {
        Self { challenge: Some(challenge), ..Self::new(Status::Unauthorized, body) }
    }

    /// 403: this client is not allowed, for the reason in `body`.
    pub fn forbidden(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::Forbidden, body)
    }

    /// 404: nothing is served on this path.
    pub fn not_found() -> Self {
        Self::new(Status::NotFound, "nothing is served on this path")
    }

    /// 405: the path takes only the methods of `allow`.
    pub fn method_not_allowed(allow: Allow) -> Self {
        let body = format!("this path takes {} only", allow.as_str());
        Self { allow: Some(allow), ..Self::new(Status::MethodNotAllowed, body) }
    }

    /// 411: the request must say how long its body is (RFC 9110 §15.5.12).
    pub fn length_required() -> Self {
        let body = "a request of HTTP/1.0 with a body must have a Content-Length";
        Self::new(Status::LengthRequired, body)
    }

    /// 413: the body of the request is longer than `bytes_max` (RFC 9110 §15.5.14).
    pub fn content_too_large(bytes_max: u64) -> Self {
        let body = format!(
            "the body of the request is larger than {bytes_max} bytes (route.body_bytes_max)"
        );
        Self::new(Status::ContentTooLarge, body)
    }

    /// 421: the request names a host that is not served here (RFC 9110 §15.5.20).
    pub fn misdirected() -> Self {
        let body = "this host is not served here; to permit it, add the host to `hosts` of this \
                    listener in the configuration";
        Self::new(Status::MisdirectedRequest, body)
    }

    /// 426: the path is a WebSocket and the request does not open one, for the reason in `body`.
    pub fn upgrade_required(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::UpgradeRequired, body)
    }

    /// 429: the client asks too often; it may try again after `retry_after_s` seconds (RFC 6585 §4).
    pub fn too_many_requests(retry_after_s: u32, body: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_s = Some(retry_after_s);
        Self { retry_after_s, ..Self::new(Status::TooManyRequests, body) }
    }

    /// 500: the server failed. `body` must not reveal more than clients may know.
    pub fn internal_error(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::InternalServerError, body)
    }

    /// 501: the request asks for what is not done here, as `body` says (RFC 9110 §15.6.2).
    pub fn not_implemented(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::NotImplemented, body)
    }

    /// 502: a backend cannot be reached, or its reply is not one.
    pub fn bad_gateway(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::BadGateway, body)
    }

    /// 504: a backend has not answered in time.
    pub fn gateway_timeout(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::GatewayTimeout, body)
    }

    /// 503: overload or shutdown; the client may try again after `retry_after_s` seconds.
    pub fn unavailable(retry_after_s: u32, body: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_s = Some(retry_after_s);
        Self { retry_after_s, ..Self::new(Status::ServiceUnavailable, body) }
    }

    /// What a backend has answered: its status from 300 to 599, headers and body. Any other status becomes
    /// 502, as the client would not take it for a refusal.
    pub fn of_backend(
        code: u16,
        content_type: HeaderValue,
        headers: Vec<ResponseHeader>,
        body: String,
    ) -> Self {
        if !(300..=599).contains(&code) {
            return Self::bad_gateway("the backend has not answered as it must");
        }
        let of_backend = Some(Box::new(OfBackend { content_type, headers }));
        Self { of_backend, ..Self::new(Status::OfBackend(code), body) }
    }

    /// The same rejection with another body.
    pub fn with_body(self, body: impl Into<Cow<'static, str>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Appends the response to `out`: plain text that ends in a newline.
    ///
    /// With `head_only` (the request was a `HEAD`) the body is omitted, but not its length.
    pub fn write_to(&self, date: &HttpDate, head_only: bool, out: &mut Vec<u8>) {
        let mut reply = Reply::begin(out, date, self.status);
        match &self.of_backend {
            Some(own) => {
                reply.header("Content-Type", own.content_type.as_str());
                for header in &own.headers {
                    reply.header(header.name(), header.value());
                }
            }
            None => reply.header("Content-Type", HeaderValue::PLAIN_TEXT.as_str()),
        }
        if let Some(allow) = self.allow {
            reply.header("Allow", allow.as_str());
        }
        if let Some(challenge) = &self.challenge {
            reply.header("WWW-Authenticate", challenge.as_str());
        }
        if let Some(retry_after_s) = self.retry_after_s {
            reply.header("Retry-After", retry_after_s);
        }
        let ends = self.body.ends_with('\n') || self.of_backend.is_some();
        let newline: &[u8] = if ends { b"" } else { b"\n" };
        reply.finish(&[self.body.as_bytes(), newline], head_only);
    }

    fn new(status: Status, body: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: body.into(),
            allow: None,
            retry_after_s: None,
            challenge: None,
            of_backend: None,
        }
    }
}

/// The methods that a path allows (RFC 9110 §10.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// A WebSocket: only a `GET` can upgrade (RFC 6455 §4.1).
    Get,
    /// A page.
    GetAndHead,
}

impl Allow {
    /// The value of the `Allow` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::GetAndHead => "GET, HEAD",
        }
    }
}

impl From<HeadError> for Rejection {
    fn from(error: HeadError) -> Self {
        let status = match error {
            HeadError::TooLarge { .. } | HeadError::TooManyHeaders { .. } => {
                Status::HeaderFieldsTooLarge
            }
            HeadError::UnsupportedVersion => Status::VersionNotSupported,
            HeadError::Truncated
            | HeadError::BareLineFeed
            | HeadError::BareCarriageReturn
            | HeadError::Nul
            | HeadError::ControlCharacter
            | HeadError::RequestLine
            | HeadError::Method
            | HeadError::Version
            | HeadError::Target(_)
            | HeadError::FoldedHeader
            | HeadError::MissingColon
            | HeadError::WhitespaceBeforeColon
            | HeadError::HeaderName
            | HeadError::MissingHost
            | HeadError::RepeatedHost
            | HeadError::InvalidHost => Status::BadRequest,
        };
        Self::new(status, error.to_string())
    }
}

impl From<QueryError<'_>> for Rejection {
    fn from(error: QueryError<'_>) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<DecodeError> for Rejection {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{response::tests::ReadResponse, target::TargetError},
        *,
    };

    fn written(rejection: &Rejection, head_only: bool) -> ReadResponse {
        let mut out = Vec::new();
        rejection.write_to(&HttpDate::from_unix_seconds(0), head_only, &mut out);
        let response = ReadResponse::read(&out);
        response.check_closing(head_only);
        response
    }

    #[test]
    fn each_status_has_its_headers() {
        let response = written(&Rejection::method_not_allowed(Allow::Get), false);
        assert_eq!(response.status_line, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(response.header("Allow"), Some("GET"));
        assert_eq!(response.header("Retry-After"), None);

        let response = written(&Rejection::method_not_allowed(Allow::GetAndHead), false);
        assert_eq!(response.header("Allow"), Some("GET, HEAD"));

        let response = written(&Rejection::unavailable(5, "full"), false);
        assert_eq!(response.status_line, "HTTP/1.1 503 Service Unavailable");
        assert_eq!(response.header("Retry-After"), Some("5"));
        assert_eq!(response.header("Allow"), None);

        let response = written(&Rejection::too_many_requests(7, "slower"), false);
        assert_eq!(response.status_line, "HTTP/1.1 429 Too Many Requests");
        assert_eq!(response.header("Retry-After"), Some("7"));

        let challenge = HeaderValue::new("Bearer realm=\"edge\"").unwrap();
        let response = written(&Rejection::unauthorized(challenge, "who?"), false);
        assert_eq!(response.status_line, "HTTP/1.1 401 Unauthorized");
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer realm=\"edge\""));

        for (rejection, status_line) in [
            (Rejection::bad_request("why"), "HTTP/1.1 400 Bad Request"),
            (Rejection::forbidden("why"), "HTTP/1.1 403 Forbidden"),
            (Rejection::not_found(), "HTTP/1.1 404 Not Found"),
            (Rejection::upgrade_required("why"), "HTTP/1.1 426 Upgrade Required"),
            (Rejection::internal_error("why"), "HTTP/1.1 500 Internal Server Error"),
        ] {
            assert_eq!(written(&rejection, false).status_line, status_line);
        }
    }

    #[test]
    fn head_errors_become_400_431_or_505() {
        for (error, status) in [
            (HeadError::BareLineFeed, Status::BadRequest),
            (HeadError::Target(TargetError::Form), Status::BadRequest),
            (HeadError::MissingHost, Status::BadRequest),
            (HeadError::TooLarge { bytes_max: 1 }, Status::HeaderFieldsTooLarge),
            (HeadError::TooManyHeaders { lines_max: 1 }, Status::HeaderFieldsTooLarge),
            (HeadError::UnsupportedVersion, Status::VersionNotSupported),
        ] {
            let rejection = Rejection::from(error);
            assert_eq!((rejection.status(), rejection.body()), (status, &*error.to_string()));
        }
    }

    #[test]
    fn query_errors_name_the_parameter() {
        let rejection = Rejection::from(QueryError::Repeated { name: "user" });
        assert_eq!(rejection.status(), Status::BadRequest);
        assert!(rejection.body().contains("`user`"));
        assert_eq!(Rejection::from(DecodeError::BadEscape).status(), Status::BadRequest);
    }

    #[test]
    fn a_rejection_byte_for_byte() {
        let date = HttpDate::from_unix_seconds(784_111_777);
        let mut out = Vec::new();
        Rejection::forbidden("token wrong.").write_to(&date, false, &mut out);
        let expected = "HTTP/1.1 403 Forbidden\r\n\
            Connection: close\r\n\
            Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Length: 13\r\n\
            \r\n\
            token wrong.\n";
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }

    proptest! {
        #[test]
        fn every_body_ends_in_a_newline(body in "(\\PC|\n){0,20}", head_only: bool) {
            let rejection = Rejection::not_found().with_body(body.clone());
            prop_assert_eq!(rejection.body(), &body);
            let response = written(&rejection, head_only);
            let expected = if body.ends_with('\n') { body } else { body + "\n" };
            let body_bytes = expected.len().to_string();
            prop_assert_eq!(response.header("Content-Length"), Some(body_bytes.as_str()));
            let sent = if head_only { Vec::new() } else { expected.into_bytes() };
            prop_assert_eq!(response.body, sent);
        }
    }
}
