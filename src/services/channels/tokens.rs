//! What tokens of connections and of subscriptions say.

use std::sync::Arc;

use serde_json::Value;

use crate::centrifugo::{
    Disconnect, ErrorCode, PROXY_INFO_BYTES_MAX, ServerSubscription, SubscriptionOptions, Ttl,
    info_of_claims, server_subscriptions,
};
use crate::jwt::{Claims, TokenError, numeric_date};
use crate::services::{Effects, IdentityCheck, Peer};
use crate::timer::WallTime;

/// What the token of a connection says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConnectionToken {
    pub(super) user: String,
    /// What others are told of the connection, as JSON.
    pub(super) info: Option<Arc<[u8]>>,
    /// Until when the connection may last.
    pub(super) expires_at: Option<WallTime>,
    /// Channels to which the connection is subscribed, by their names.
    pub(super) subscriptions: Vec<ServerSubscription>,
    /// What backends are told of the connection, as JSON.
    pub(super) meta: Option<Arc<[u8]>>,
}

/// Why a token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadToken {
    /// Its time is past, or is to come.
    Expired,
    /// It cannot be checked now.
    Unavailable,
    /// It does not hold, or not for this connection.
    Invalid,
    /// It holds, for another channel, user or connection.
    Mismatch,
}

impl BadToken {
    /// What a command leads to that brings it: an error, or the end of the connection.
    pub(super) fn of_subscription(self) -> Result<ErrorCode, Disconnect> {
        match self {
            Self::Expired => Ok(ErrorCode::TokenExpired),
            Self::Unavailable => Ok(ErrorCode::Internal),
            Self::Invalid => Ok(ErrorCode::PermissionDenied),
            Self::Mismatch => Err(Disconnect::InvalidToken),
        }
    }

    /// As above, where it is to say who a connection is.
    pub(super) fn of_connection(self) -> Result<ErrorCode, Disconnect> {
        match self {
            Self::Expired => Ok(ErrorCode::TokenExpired),
            Self::Unavailable => Ok(ErrorCode::Internal),
            Self::Invalid | Self::Mismatch => Err(Disconnect::InvalidToken),
        }
    }
}

/// Reads the token of a connection.
pub(super) fn connection_token(
    check: Option<&Arc<dyn IdentityCheck>>,
    peer: Peer,
    token: &str,
    effects: &mut Effects<'_>,
) -> Result<ConnectionToken, BadToken> {
    let claims = verified(check, peer, token, effects)?;
    // One for a channel says nothing of whose connection it is.
    if claims.all.contains_key("channel") {
        return Err(BadToken::Invalid);
    }
    let expires_at = expiry(&claims)?;
    let subscriptions = server_subscriptions(&claims.all).map_err(|_| BadToken::Invalid)?;
    let (info, meta) = (info(&claims)?, meta(&claims)?);
    Ok(ConnectionToken { info, user: claims.user, expires_at, subscriptions, meta })
}

/// Reads the token for a channel, and whether it is for this connection.
pub(super) fn subscription_token(
    check: Option<&Arc<dyn IdentityCheck>>,
    peer: Peer,
    token: &str,
    (channel, user, client): (&str, &str, &str),
    effects: &mut Effects<'_>,
) -> Result<SubscriptionOptions, BadToken> {
    let claims = verified(check, peer, token, effects)?;
    let is = |name: &str, wanted: &str| {
        claims.all.get(name).is_some_and(|value| value.as_str() == Some(wanted))
    };
    let is_for_client = claims.all.get("client").is_none_or(|own| own == "" || own == client);
    if !is("channel", channel) || claims.user != user || !is_for_client {
        return Err(BadToken::Mismatch);
    }
    let options = SubscriptionOptions::of_claims(&claims.all).map_err(|_| BadToken::Invalid)?;
    Ok(SubscriptionOptions { expires_at: expiry(&claims)?, ..options })
}

fn verified(
    check: Option<&Arc<dyn IdentityCheck>>,
    peer: Peer,
    token: &str,
    effects: &mut Effects<'_>,
) -> Result<Claims, BadToken> {
    let verified = check.and_then(|own| own.verify_token(peer, token, effects.wall_now()));
    let verified = verified.ok_or(BadToken::Invalid)?;
    effects.charge_work(verified.work);
    verified.result.map_err(|error| match error {
        TokenError::Expired | TokenError::NotYet => BadToken::Expired,
        TokenError::UnknownKey => BadToken::Unavailable,
        TokenError::Audience
        | TokenError::Claims
        | TokenError::Critical
        | TokenError::Form
        | TokenError::Header
        | TokenError::Issuer
        | TokenError::NoExpiry
        | TokenError::Signature
        | TokenError::TooLong
        | TokenError::User => BadToken::Invalid,
    })
}

/// `expire_at` tells the end of what a token has allowed apart from its own; 0 is never.
fn expiry(claims: &Claims) -> Result<Option<WallTime>, BadToken> {
    match claims.all.get("expire_at") {
        None | Some(Value::Null) => Ok(claims.expires_at),
        Some(value) => {
            let date = numeric_date(value).ok_or(BadToken::Invalid)?;
            Ok((date.0 > 0).then_some(date))
        }
    }
}

fn info(claims: &Claims) -> Result<Option<Arc<[u8]>>, BadToken> {
    info_of_claims(&claims.all).map_err(|_| BadToken::Invalid)
}

fn meta(claims: &Claims) -> Result<Option<Arc<[u8]>>, BadToken> {
    let Some(value) = claims.all.get("meta").filter(|own| !own.is_null()) else { return Ok(None) };
    let text = value.to_string();
    if text.len() > PROXY_INFO_BYTES_MAX {
        return Err(BadToken::Invalid);
    }
    Ok(Some(text.into_bytes().into()))
}

/// Seconds from now to a date, at least 1; 0 without a date.
pub(super) fn ttl(expires_at: Option<WallTime>, now: WallTime) -> Ttl {
    let Some(WallTime(date)) = expires_at else { return Ttl(0) };
    let seconds = date.saturating_sub(now.0).div_ceil(1000).clamp(1, TTL_MAX_S);
    Ttl(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// What a credential lasts longer is cut to a year: timers of clients end at 2³¹ milliseconds, and a client
/// that renews too early does no harm.
const TTL_MAX_S: u64 = 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::effects::INFO_BYTES_MAX;

    use super::*;

    fn claims(all: Value) -> Claims {
        let Value::Object(all) = all else { panic!("claims are an object") };
        let expires_at = all.get("exp").and_then(numeric_date);
        Claims { user: "ann".to_owned(), expires_at, all }
    }

    #[test]
    fn the_end_of_a_connection_is_told_apart_from_that_of_its_token() {
        let end = |all| expiry(&claims(all));
        assert_eq!(end(json!({})), Ok(None));
        assert_eq!(end(json!({ "exp": 5 })), Ok(Some(WallTime(5000))));
        assert_eq!(end(json!({ "exp": 5, "expire_at": 7 })), Ok(Some(WallTime(7000))));
        assert_eq!(end(json!({ "exp": 5, "expire_at": 0 })), Ok(None));
        assert_eq!(end(json!({ "expire_at": "x" })), Err(BadToken::Invalid));
    }

    #[test]
    fn a_credential_lasts_a_second_at_least_and_a_year_at_most() {
        let seconds = |date| ttl(Some(WallTime(date)), WallTime(1000)).0;
        assert_eq!([seconds(0), seconds(1001), seconds(4000)], [1, 1, 3]);
        assert_eq!(u64::from(seconds(u64::MAX)), TTL_MAX_S);
        assert_eq!(ttl(None, WallTime(0)).0, 0);
    }

    #[test]
    fn what_others_are_told_is_bounded() {
        let own = |value| info(&claims(json!({ "info": value })));
        assert_eq!(own(json!(null)), Ok(None));
        assert_eq!(own(json!({ "a": [1] })), Ok(Some(br#"{"a":[1]}"#.as_slice().into())));
        assert_eq!(own(json!("x".repeat(INFO_BYTES_MAX))), Err(BadToken::Invalid));
    }
}
