//! Who may do what: the right that a request needs, and what it proves.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::error::ApiError;
use super::shared::Shared;
use crate::control::http_listener::ListenPlace;
use crate::http::{Authority, HostRule};

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Nothing: it shows no data of clients and changes nothing.
    Open,
    /// A metrics token, or what [`Right::Read`] needs.
    Metrics,
    /// A token, unless the listener is for this machine only.
    Read,
    /// A token.
    Change,
}

/// What the page that asks may do.
#[derive(Debug, Serialize)]
pub(super) struct Access {
    /// Whether it may change things, and trace.
    may_change: bool,
    /// Whether there is a token to log in with.
    has_tokens: bool,
}

/// `GET /session`: what the page that asks may do, so that it offers nothing else.
pub(super) async fn session(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
) -> Json<Access> {
    let may_change = check(&shared, Right::Change, &Method::GET, &uri, &headers).is_ok();
    Json(Access { may_change, has_tokens: !shared.settings.tokens.is_empty() })
}

/// Lets a request through if it has the right that its path needs.
pub(super) async fn guard(
    State((shared, right)): State<(Arc<Shared>, Right)>,
    request: Request,
    next: Next,
) -> Response {
    match check(&shared, right, request.method(), request.uri(), request.headers()) {
        Ok(()) => {
            let mut response = next.run(request).await;
            let headers = response.headers_mut();
            for (name, value) in SAFE {
                headers.insert(name, axum::http::HeaderValue::from_static(value));
            }
            response
        }
        Err(error) => error.into_response(),
    }
}

fn check(
    shared: &Shared,
    right: Right,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    check_host(shared, uri, headers)?;
    let settings = &shared.settings;
    let is_local = settings.is_local();
    let bearer = bearer(headers);
    let has_token = bearer.is_some_and(|token| settings.is_token(token));
    let has_session = !has_token && shared.sessions.holds(headers);
    if has_session && !method.is_safe() {
        check_origin(headers)?;
    }
    let is_granted = has_token
        || has_session
        // A wrong token is an error even where none is needed.
        || match right {
            Right::Open => true,
            Right::Metrics => {
                is_local && !headers.contains_key(header::AUTHORIZATION)
                    || bearer.is_some_and(|token| settings.is_metrics_token(token))
            }
            Right::Read => is_local && !headers.contains_key(header::AUTHORIZATION),
            Right::Change => false,
        };
    if is_granted {
        return Ok(());
    }
    if settings.tokens.is_empty() {
        let message = "this needs a token, and the configuration has no admin.token";
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    let message = "this needs a token: Authorization: Bearer TOKEN";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, message))
}

/// A page whose name resolves to this machine must not read what needs no token (DNS rebinding).
fn check_host(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    check_local_host(&shared.settings.place, uri, headers)
}

/// A listener for programs of this machine is asked by an address or as localhost.
pub(in crate::control) fn check_local_host(
    place: &ListenPlace,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let rule = match place {
        ListenPlace::Tcp(_) if place.is_local() => HostRule::Local,
        ListenPlace::Tcp(_) | ListenPlace::Unix(_) => return Ok(()),
    };
    let named = uri.authority().map(|authority| authority.as_str().as_bytes());
    let named = named.or_else(|| headers.get(header::HOST).map(|host| host.as_bytes()));
    let host = named.map(Authority::parse);
    match host {
        // HTTP/1.1 requires it, and every browser sends it.
        None => Ok(()),
        Some(host) if host.is_some() && rule.permits(host) => Ok(()),
        Some(_) => {
            let message = "requests must name this host by an address or as localhost";
            Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message))
        }
    }
}

/// A cookie goes along with whatever any page asks for; where a browser says which page that is, it must
/// be one of this listener.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let of_page = origin.as_bytes();
    let authority = of_page.strip_prefix(b"http://").or_else(|| of_page.strip_prefix(b"https://"));
    if authority == Some(host) {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "the request comes from a page of another origin"))
}

/// The token of a request (RFC 6750 §2.1).
pub(in crate::control) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What every answer says to browsers: nothing is kept, framed, guessed or loaded from elsewhere.
const SAFE: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
];
