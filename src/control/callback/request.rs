//! What a backend is told of a client's request.

use hyper::header::{
    ACCEPT, COOKIE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, ORIGIN,
};
use sha2::{Digest as _, Sha256};

use super::settings::CallbackSettings;
use crate::http::{Rejection, RequestHead};
use crate::services::Presented;

/// A request to the backend: its headers, and a digest by which equal ones are known.
#[derive(Debug)]
pub(super) struct CallbackRequest {
    pub(super) headers: HeaderMap,
    pub(super) digest: RequestDigest,
}

/// The digest of all that a backend is told.
pub(super) type RequestDigest = [u8; 32];

impl CallbackRequest {
    /// The request about a client; `None` if it presents nothing that the backend could go by: none of
    /// the headers, cookies and parameters that are passed on, although there are some to pass.
    ///
    /// # Errors
    /// The rejection of a request with a cookie that is sent twice.
    pub(super) fn of(
        presented: &Presented<'_>,
        settings: &CallbackSettings,
    ) -> Result<Option<Self>, Rejection> {
        let Some(head) = presented.request() else { return Ok(None) };
        let mut headers = HeaderMap::new();
        let passes = [&settings.headers, &settings.cookies, &settings.query];
        let has_conditions = passes.iter().any(|names| !names.is_empty());
        let query = query(head, &settings.query);
        let has_credential = pass_headers(head, &settings.headers, &mut headers)
            | pass_cookies(presented, &settings.cookies, &mut headers)?
            | !query.is_empty();
        if has_conditions && !has_credential {
            return Ok(None);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut tell = |name: HeaderName, value: &[u8]| -> Result<(), InvalidHeaderValue> {
            headers.insert(name, HeaderValue::from_bytes(value)?);
            Ok(())
        };
        let mut uri = head.path().raw().to_vec();
        if !query.is_empty() {
            uri.push(b'?');
            uri.extend_from_slice(&query);
        }
        let told = tell(FORWARDED_URI, &uri)
            .and_then(|()| head.header("Host").map_or(Ok(()), |host| tell(FORWARDED_HOST, host)))
            .and_then(|()| head.header("Origin").map_or(Ok(()), |origin| tell(ORIGIN, origin)))
            .and_then(|()| match presented.address() {
                Some(address) => {
                    tell(FORWARDED_FOR, address.ip().to_canonical().to_string().as_bytes())
                }
                None => Ok(()),
            });
        // The head was parsed by stricter rules.
        told.map_err(|_| Rejection::bad_request("the request cannot be passed on"))?;
        let digest = digest_of(&headers);
        Ok(Some(Self { headers, digest }))
    }
}

/// Passes the headers with these names on, each line of them. Whether there is any.
fn pass_headers(head: &RequestHead<'_>, names: &[String], headers: &mut HeaderMap) -> bool {
    for name in names {
        for value in head.header_values(name) {
            // Both were checked, by the configuration and by the parser of the head.
            let own = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_bytes(value).ok();
            if let (Some(own), Some(value)) = (own, value) {
                headers.append(own, value);
            }
        }
    }
    !headers.is_empty()
}

/// Passes the cookies with these names on, and no others. Whether there is any.
fn pass_cookies(
    presented: &Presented<'_>,
    names: &[String],
    headers: &mut HeaderMap,
) -> Result<bool, Rejection> {
    let mut line = Vec::new();
    for name in names {
        let value =
            presented.cookie(name).map_err(|error| Rejection::bad_request(error.to_string()))?;
        let Some(value) = value else { continue };
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(name.as_bytes());
        line.push(b'=');
        line.extend_from_slice(value);
    }
    match HeaderValue::from_bytes(&line) {
        Ok(line) if !line.is_empty() => {
            headers.insert(COOKIE, line);
            Ok(true)
        }
        Ok(_) | Err(_) => Ok(false),
    }
}

/// The parameters with these names as they were sent, joined by `&`.
fn query(head: &RequestHead<'_>, names: &[String]) -> Vec<u8> {
    let pairs = head.query().pairs();
    let chosen = pairs.filter(|(own, _)| names.iter().any(|name| own.matches(name)));
    let written = chosen.map(|(name, value)| [name.raw(), b"=", value.raw()].concat());
    written.collect::<Vec<_>>().join(&b'&')
}

fn digest_of(headers: &HeaderMap) -> RequestDigest {
    let mut hash = Sha256::new();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
