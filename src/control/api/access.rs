//! What a request proves: a key, or a token that a key has signed.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::shared::Shared;
use super::signature;
use crate::control::admin::access::{bearer, check_local_host};
use crate::control::admin::error::ApiError;
use crate::control::wall_now::wall_now;
use crate::jwt::SharedSecret;
use crate::timer::WallTime;

/// Lets a request through if it may do what the listener serves.
pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_for_channels = path == "/api" || path.starts_with("/api/");
    let is_signed = signature::is_signed(request.headers()) && !shared.settings.keys.is_empty();
    let request = match is_signed {
        true => check_signed(&shared, request).await,
        false => check(&shared, &request).map(|()| request),
    };
    match request {
        Ok(request) => next.run(request).await,
        // What libraries for channels expect has no body.
        Err(error) if is_for_channels && error.status() == StatusCode::UNAUTHORIZED => {
            StatusCode::UNAUTHORIZED.into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// A request whose signature covers its body, which is read for that.
async fn check_signed(shared: &Shared, request: Request) -> Result<Request, ApiError> {
    check_local_host(&shared.settings.place, request.uri(), request.headers())?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, shared.settings.body_bytes_max).await.map_err(|_| {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than api.body_bytes_max")
    })?;
    let now = wall_now();
    let is_right = |key: &SharedSecret| signature::verifies(key.expose(), &parts, &body, now);
    if shared.settings.keys.iter().fold(false, |any, key| any | is_right(key)) {
        return Ok(Request::from_parts(parts, Body::from(body)));
    }
    let message = "the signature is not one by a key of api.keys";
    Err(ApiError::new(StatusCode::FORBIDDEN, message))
}

fn check(shared: &Shared, request: &Request) -> Result<(), ApiError> {
    let (headers, keys) = (request.headers(), &shared.settings.keys);
    check_local_host(&shared.settings.place, request.uri(), headers)?;
    if keys.is_empty() {
        // Then a page that a browser of this machine shows could use it: a page sends this header with
        // all that could change anything (fetch.spec.whatwg.org), and no backend does.
        return match headers.contains_key(header::ORIGIN) {
            true => {
                let message = "pages may not use this listener without api.keys";
                Err(ApiError::new(StatusCode::FORBIDDEN, message))
            }
            false => Ok(()),
        };
    }
    if is_permitted(keys, headers, api_key(request.uri()), wall_now()) {
        return Ok(());
    }
    let message = "this needs a key of api.keys: Authorization: Bearer KEY, or X-API-Key: KEY";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, message))
}

/// Whether the headers hold a key, or a token that a key has signed and that has not expired.
fn is_permitted(
    keys: &[SharedSecret],
    headers: &HeaderMap,
    of_query: Option<String>,
    now: WallTime,
) -> bool {
    let plain = headers.get("x-api-key").map(|value| value.as_bytes().to_vec());
    let password = basic_password(headers);
    let bearer = bearer(headers);
    let is_token = |key: &SharedSecret| bearer.is_some_and(|token| key.verifies(token, now));
    let of_scheme = apikey(headers).map(|own| own.as_bytes().to_vec());
    let bearer_key = bearer.map(|own| own.as_bytes().to_vec());
    let given = [plain, password, bearer_key, of_scheme, of_query.map(String::into_bytes)];
    let is_key =
        |key: &SharedSecret| given.iter().flatten().fold(false, |any, own| any | key.is(own));
    // All are looked at, so that the time does not tell which one fits.
    keys.iter().fold(false, |any, key| any | is_key(key) | is_token(key))
}

/// The key of `Authorization: apikey KEY`, as libraries for channels send it.
fn apikey(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("apikey").then(|| key.trim())
}

/// The key of `?api_key=KEY`.
fn api_key(uri: &Uri) -> Option<String> {
    #[derive(Deserialize)]
    struct Fields {
        api_key: String,
    }
    let Query(Fields { api_key }) = Query::try_from_uri(uri).ok()?;
    Some(api_key)
}

/// The password of `Authorization: Basic` (RFC 7617); the user may be anything.
fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| decoded[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_key_is_taken_in_every_form_in_which_libraries_send_it() {
        let keys = [SharedSecret::new(b"0123456789abcdef"), SharedSecret::new(b"second-of-them")];
        let now = WallTime(1_000_000);
        let is_permitted = |headers: &HeaderMap| is_permitted(&keys, headers, None, now);
        let basic = format!("Basic {}", STANDARD.encode("anyone:second-of-them"));
        for (name, value) in [
            ("x-api-key", "0123456789abcdef"),
            ("authorization", "Bearer second-of-them"),
            ("authorization", "apikey second-of-them"),
            ("authorization", &basic),
        ] {
            assert!(is_permitted(&headers(name, value)), "{name}: {value}");
            assert!(!is_permitted(&headers(name, &format!("{value}x"))), "{name}: {value}");
        }
        let token = |exp: u64| keys[1].sign(&format!("{{\"iss\":\"app\",\"exp\":{exp}}}"));
        assert!(is_permitted(&headers("authorization", &format!("Bearer {}", token(1001)))));
        assert!(!is_permitted(&headers("authorization", &format!("Bearer {}", token(999)))));
        assert!(!is_permitted(&HeaderMap::new()));
    }

    #[test]
    fn a_key_may_stand_in_the_query() {
        let keys = [SharedSecret::new(b"0123456789+bcdef")];
        let is_permitted = |query: &str| {
            let uri = format!("/api/info?{query}").parse().unwrap();
            is_permitted(&keys, &HeaderMap::new(), api_key(&uri), WallTime(0))
        };
        assert!(is_permitted("a=b&api_key=0123456789%2Bbcdef"));
        assert!(!is_permitted("xapi_key=0123456789%2Bbcdef") && !is_permitted("api_key="));
    }
}
