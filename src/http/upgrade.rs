//! The checks of a WebSocket handshake: a valid request, and a client that is allowed to make it
//! (RFC 6455 §4.2.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use super::{
    accept_key::accept_key,
    authority::Authority,
    deflate::{Deflate, accept_deflate},
    extensions::{MalformedExtensions, check_extensions},
    head::{Method, RequestHead, Version},
    list::{find_token, has_token},
    origin::{OriginRule, is_origin},
    rejection::{Allow, Rejection},
    subprotocol::{OfferError, Subprotocol, choose_subprotocol},
    target::{Path, Query},
};

/// The conditions of a route for opening a WebSocket on it.
#[derive(Clone, Copy, Debug)]
pub struct UpgradePolicy<'p> {
    /// The pages that may open one.
    pub origins: &'p OriginRule,
    /// The subprotocols that the service speaks, in order of preference.
    pub subprotocols: &'p [Subprotocol],
}

/// Whether the request asks for a WebSocket: `websocket` is in its `Upgrade` list.
///
/// This lets a page and a WebSocket share a path. Whether the request is a valid handshake is
/// checked by [`check_upgrade`].
pub fn wants_upgrade(head: &RequestHead<'_>) -> bool {
    has_token(head.header_values("Upgrade"), b"websocket")
}

/// Checks a request by the rules of the handshake and by the route's policy.
///
/// # Errors
/// The [`Rejection`] to reply with: 405 for another method than `GET`; 426 for a request that does
/// not ask for a WebSocket, or asks for an unsupported version of it or of HTTP; 403 for a page of
/// another origin; 400 for a handshake that breaks a rule, which its body names.
pub fn check_upgrade<'h, 'p>(
    head: &'h RequestHead<'h>,
    policy: &UpgradePolicy<'p>,
) -> Result<UpgradeRequest<'h, 'p>, Rejection> {
    Ok(UpgradeRequest::parse(head, policy)?)
}

/// A handshake request that passed all checks, as services see it.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeRequest<'h, 'p> {
    head: &'h RequestHead<'h>,
    key: &'h [u8; 24],
    subprotocol: Option<&'p Subprotocol>,
}

impl<'h, 'p> UpgradeRequest<'h, 'p> {
    /// The whole head.
    pub fn head(&self) -> &'h RequestHead<'h> {
        self.head
    }

    /// The path of the request.
    pub fn path(&self) -> Path<'h> {
        self.head.path()
    }

    /// The query of the request.
    pub fn query(&self) -> Query<'h> {
        self.head.query()
    }

    /// The value of the first header called `name`, in any letter case.
    pub fn header(&self, name: &str) -> Option<&'h [u8]> {
        self.head.header(name)
    }

    /// The host of the request; `None` if it names none.
    pub fn host(&self) -> Option<Authority<'h>> {
        self.head.host()
    }

    /// The value of `Origin`, which browsers send; the policy allows it.
    pub fn origin(&self) -> Option<&'h [u8]> {
        self.head.header("Origin")
    }

    /// The value of `Sec-WebSocket-Key`: the base64 of 16 bytes.
    pub fn key(&self) -> &'h [u8; 24] {
        self.key
    }

    /// The value of `Sec-WebSocket-Accept` for the reply.
    pub fn accept_key(&self) -> [u8; 28] {
        accept_key(self.key)
    }

    /// The first of the policy's subprotocols that the client offers, if there is one.
    pub fn subprotocol(&self) -> Option<&'p Subprotocol> {
        self.subprotocol
    }

    /// The compression that the client offers and the server accepts, if any. Messages may refer to
    /// those before them within windows of 2^`context_bits` bytes, or not at all (see
    /// `accept_deflate`).
    pub fn deflate(&self, context_bits: Option<u8>) -> Option<Deflate> {
        accept_deflate(self.head.header_values("Sec-WebSocket-Extensions"), context_bits)
    }

    fn parse(head: &'h RequestHead<'h>, policy: &UpgradePolicy<'p>) -> Result<Self, UpgradeError> {
        if head.method() != Method::Get {
            return Err(UpgradeError::Method);
        }
        // A server must ignore `Upgrade` in HTTP/1.0 (RFC 9110 §7.8).
        if head.version() < Version::HTTP_11 {
            return Err(UpgradeError::HttpVersion);
        }
        check_protocol(head)?;
        check_no_body(head)?;
        check_connection(head)?;
        check_version(head)?;
        let key = parse_key(head)?;
        check_origin(head, policy.origins)?;
        let offers = head.header_values("Sec-WebSocket-Protocol");
        let subprotocol = choose_subprotocol(offers, policy.subprotocols)?;
        check_extensions(head.header_values("Sec-WebSocket-Extensions"))?;
        Ok(Self { head, key, subprotocol })
    }
}

fn check_protocol(head: &RequestHead<'_>) -> Result<(), UpgradeError> {
    let protocols = head.header_values("Upgrade");
    match find_token(protocols, b"websocket") {
        Some(true) => Ok(()),
        Some(false) => Err(UpgradeError::NotUpgrade),
        None => Err(UpgradeError::NotTokens { name: "Upgrade" }),
    }
}

fn check_connection(head: &RequestHead<'_>) -> Result<(), UpgradeError> {
    let options = head.header_values("Connection");
    match find_token(options, b"upgrade") {
        Some(true) => Ok(()),
        Some(false) => Err(UpgradeError::Connection),
        None => Err(UpgradeError::NotTokens { name: "Connection" }),
    }
}

/// Refuses bodies: the gateway would read them as frames and a proxy in front as a body, or the
/// other way round.
fn check_no_body(head: &RequestHead<'_>) -> Result<(), UpgradeError> {
    if head.header("Transfer-Encoding").is_some() {
        return Err(UpgradeError::TransferEncoding);
    }
    if head.header_values("Content-Length").any(|length| length != b"0") {
        return Err(UpgradeError::ContentLength);
    }
    Ok(())
}

fn check_version(head: &RequestHead<'_>) -> Result<(), UpgradeError> {
    let mut values = head.header_values("Sec-WebSocket-Version");
    let version = values.next().ok_or(UpgradeError::MissingVersion)?;
    if values.next().is_some() {
        return Err(UpgradeError::RepeatedVersion);
    }
    if version == b"13" { Ok(()) } else { Err(UpgradeError::UnsupportedVersion) }
}

fn parse_key<'h>(head: &'h RequestHead<'h>) -> Result<&'h [u8; 24], UpgradeError> {
    let mut values = head.header_values("Sec-WebSocket-Key");
    let key = values.next().ok_or(UpgradeError::MissingKey)?;
    if values.next().is_some() {
        return Err(UpgradeError::RepeatedKey);
    }
    let key: &[u8; 24] = key.try_into().map_err(|_| UpgradeError::Key)?;
    // 24 characters hold up to 18 bytes; the padding and its unused bits must be canonical.
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key, &mut nonce) {
        Ok(16) => Ok(key),
        _ => Err(UpgradeError::Key),
    }
}

fn check_origin(head: &RequestHead<'_>, origins: &OriginRule) -> Result<(), UpgradeError> {
    let mut values = head.header_values("Origin");
    // Only browsers must send `Origin`, and only their users need its protection (RFC 6455 §10.2).
    let Some(origin) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(UpgradeError::RepeatedOrigin);
    }
    if origins.permits(origin, head.host()) {
        Ok(())
    } else if is_origin(origin) {
        Err(UpgradeError::Origin)
    } else {
        Err(UpgradeError::NotOrigin)
    }
}

/// Why a handshake is refused; a variant for each check, in their order.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
enum UpgradeError {
    /// RFC 6455 §4.2.1 item 1.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// RFC 6455 §4.2.1 item 1.
    #[error(
        "a WebSocket needs HTTP/1.1; a proxy in front must speak it too \
         (nginx: proxy_http_version 1.1)"
    )]
    HttpVersion,
    /// RFC 6455 §4.2.1 item 3.
    #[error(
        "this path is a WebSocket: send `Upgrade: websocket`; a proxy in front must pass it on"
    )]
    NotUpgrade,
    /// A body before the first frame.
    #[error("a request to open a WebSocket must not have a Transfer-Encoding")]
    TransferEncoding,
    /// A body before the first frame, or an invalid length.
    #[error("a request to open a WebSocket must not have a Content-Length other than 0")]
    ContentLength,
    /// RFC 6455 §4.2.1 item 4.
    #[error("the Connection header must list `Upgrade` (RFC 6455 section 4.2.1)")]
    Connection,
    /// RFC 9110 §7.6.1 and §7.8.
    #[error("the {name} header must list tokens (RFC 9110 section 5.6.1)")]
    NotTokens { name: &'static str },
    /// RFC 6455 §4.2.1 item 6.
    #[error("the Sec-WebSocket-Version header is missing (RFC 6455 section 4.2.1)")]
    MissingVersion,
    /// RFC 6455 §11.3.5.
    #[error("the Sec-WebSocket-Version header is given more than once (RFC 6455 section 11.3.5)")]
    RepeatedVersion,
    /// RFC 6455 §4.4.
    #[error("only version 13 of the WebSocket protocol is spoken here (RFC 6455 section 4.4)")]
    UnsupportedVersion,
    /// RFC 6455 §4.2.1 item 5.
    #[error("the Sec-WebSocket-Key header is missing (RFC 6455 section 4.2.1)")]
    MissingKey,
    /// RFC 6455 §11.3.1.
    #[error("the Sec-WebSocket-Key header is given more than once (RFC 6455 section 11.3.1)")]
    RepeatedKey,
    /// RFC 6455 §4.2.1 item 5.
    #[error("the Sec-WebSocket-Key header must be 16 bytes in base64 (RFC 6455 section 4.2.1)")]
    Key,
    /// RFC 6454 §7.3.
    #[error("the Origin header is given more than once (RFC 6454 section 7.3)")]
    RepeatedOrigin,
    /// RFC 6455 §10.2.
    #[error(
        "pages of this origin may not open this socket; to permit them, \
         add the origin to `origins` of this route in the configuration"
    )]
    Origin,
    /// RFC 6454 §7.1: no list could permit it.
    #[error("the Origin header names no origin such as https://example.com (RFC 6454 section 7.1)")]
    NotOrigin,
    /// RFC 6455 §4.1 item 10.
    #[error(transparent)]
    Subprotocol(#[from] OfferError),
    /// RFC 6455 §9.1.
    #[error(transparent)]
    Extensions(#[from] MalformedExtensions),
}

impl From<UpgradeError> for Rejection {
    fn from(error: UpgradeError) -> Self {
        let body = error.to_string();
        match error {
            UpgradeError::Method => Self::method_not_allowed(Allow::Get).with_body(body),
            UpgradeError::HttpVersion
            | UpgradeError::NotUpgrade
            | UpgradeError::UnsupportedVersion => Self::upgrade_required(body),
            UpgradeError::Origin | UpgradeError::NotOrigin => Self::forbidden(body),
            UpgradeError::TransferEncoding
            | UpgradeError::ContentLength
            | UpgradeError::Connection
            | UpgradeError::MissingVersion
            | UpgradeError::RepeatedVersion
            | UpgradeError::MissingKey
            | UpgradeError::RepeatedKey
            | UpgradeError::Key
            | UpgradeError::RepeatedOrigin
            | UpgradeError::NotTokens { .. }
            | UpgradeError::Subprotocol(_)
            | UpgradeError::Extensions(_) => Self::bad_request(body),
        }
    }
}

#[cfg(test)]
mod tests;
