//! Where a token may stand in a request.

use std::borrow::Cow;

use crate::effects::Presented;
use crate::http::Rejection;

/// Where a token may stand. The first place that holds one decides, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenPlaces {
    /// In `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
    pub authorization: bool,
    /// In `Sec-WebSocket-Protocol`, as an entry that begins so: scripts in browsers can set no other
    /// header. The reply names another entry that the client offers, never this one.
    pub subprotocol_prefix: Option<String>,
    /// In the cookie with this name.
    pub cookie: Option<String>,
    /// In the parameter of the query with this name.
    pub query: Option<String>,
}

impl TokenPlaces {
    /// The token of a request.
    ///
    /// # Errors
    /// The rejection of a request with several tokens in one place, of which none takes precedence, or
    /// with one that is not text.
    pub(super) fn find<'p>(
        &self,
        presented: &Presented<'p>,
    ) -> Result<Option<Cow<'p, str>>, Rejection> {
        if self.authorization
            && let Some(token) = in_authorization(presented)?
        {
            return Ok(Some(token));
        }
        if let Some(prefix) = &self.subprotocol_prefix
            && let Some(token) = in_subprotocols(presented, prefix)?
        {
            return Ok(Some(token));
        }
        if let Some(name) = &self.cookie {
            let value = presented.cookie(name).map_err(|error| several(error.to_string()))?;
            if let Some(value) = value {
                return text(value).map(Some);
            }
        }
        match &self.query {
            Some(name) => presented.query(name).map_err(Rejection::from),
            None => Ok(None),
        }
    }
}

fn in_authorization<'p>(presented: &Presented<'p>) -> Result<Option<Cow<'p, str>>, Rejection> {
    let Some(request) = presented.request() else { return Ok(None) };
    let mut values = request.header_values("Authorization").filter_map(bearer);
    let Some(token) = values.next() else { return Ok(None) };
    match values.next() {
        Some(_) => Err(several("the request has several bearer tokens")),
        None => text(token).map(Some),
    }
}

/// What stands behind the scheme `Bearer`, whose letter case means nothing (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    let token = token.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii_start())
}

fn in_subprotocols<'p>(
    presented: &Presented<'p>,
    prefix: &str,
) -> Result<Option<Cow<'p, str>>, Rejection> {
    let Some(request) = presented.request() else { return Ok(None) };
    let mut tokens = request
        .header_values("Sec-WebSocket-Protocol")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .filter_map(|offer| offer.trim_ascii().strip_prefix(prefix.as_bytes()));
    let Some(token) = tokens.next() else { return Ok(None) };
    match tokens.next() {
        Some(_) => Err(several("the request has several tokens among its subprotocols")),
        None => text(token).map(Some),
    }
}

fn text(token: &[u8]) -> Result<Cow<'_, str>, Rejection> {
    let token = str::from_utf8(token).map_err(|_| Rejection::bad_request("a token is not text"))?;
    Ok(Cow::Borrowed(token))
}

fn several(why: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::bad_request(why)
}

const SCHEME: &[u8] = b"Bearer";
