//! The claims of a token: which must hold, and what they say of its bearer (RFC 7519 section 4).

use std::time::Duration;

use serde_json::{Map, Value};

use super::error::TokenError;
use crate::timer::WallTime;

/// What is asked of claims, and which of them say what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules {
    /// The accepted values of `iss`; empty to ask for none.
    pub issuers: Vec<String>,
    /// The accepted values of `aud`; empty for tokens that have none.
    pub audiences: Vec<String>,
    /// How far the clock of a signer may be from this one, in milliseconds.
    pub leeway_ms: u64,
    /// Whether a token must have `exp`.
    pub needs_expiry: bool,
    /// The claim with the name of the user.
    pub user: String,
}

/// Whether a token must name a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It must.
    Required,
    /// It may leave the user out, or leave it empty: then the bearer is anonymous.
    Optional,
}

/// What a verified token says of its bearer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    /// The name of the user; empty only where [`Naming::Optional`] allows it.
    pub user: String,
    /// When the token ceases to be accepted, leeway included; `None` if it has no `exp`.
    pub expires_at: Option<WallTime>,
    /// All claims.
    pub all: Map<String, Value>,
}

impl ClaimRules {
    /// Holds the claims of a verified token, in JSON, to the rules, at a time.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(super) fn check(
        &self,
        json: &[u8],
        now: WallTime,
        naming: Naming,
    ) -> Result<Claims, TokenError> {
        let claims: Map<String, Value> =
            serde_json::from_slice(json).map_err(|_| TokenError::Claims)?;
        let expires_at = self.check_time(&claims, now)?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        let user = match (claims.get(&self.user), naming) {
            (None | Some(Value::Null), Naming::Optional) => String::new(),
            (Some(Value::String(name)), Naming::Optional) => name.clone(),
            (named, Naming::Required | Naming::Optional) => {
                named.and_then(user_name).ok_or(TokenError::User)?
            }
        };
        Ok(Claims { user, expires_at, all: claims })
    }

    /// Checks `exp` and `nbf` (RFC 7519 sections 4.1.4 and 4.1.5), and gives the end of the token.
    fn check_time(
        &self,
        claims: &Map<String, Value>,
        now: WallTime,
    ) -> Result<Option<WallTime>, TokenError> {
        let expiry = claims.get("exp").map(read_date).transpose()?;
        let expires_at = expiry.map(|WallTime(ms)| WallTime(ms.saturating_add(self.leeway_ms)));
        match expires_at {
            None if self.needs_expiry => return Err(TokenError::NoExpiry),
            Some(end) if now >= end => return Err(TokenError::Expired),
            None | Some(_) => {}
        }
        match claims.get("nbf").map(read_date).transpose()? {
            Some(WallTime(begin)) if now.0.saturating_add(self.leeway_ms) < begin => {
                Err(TokenError::NotYet)
            }
            None | Some(_) => Ok(expires_at),
        }
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let issuer = claims.get("iss").and_then(Value::as_str);
        let is_accepted = self.issuers.iter().any(|own| Some(own.as_str()) == issuer);
        if self.issuers.is_empty() || is_accepted { Ok(()) } else { Err(TokenError::Issuer) }
    }

    /// A token with `aud` is only for those whom it names, so one is refused also where no audience is
    /// configured (RFC 7519 section 4.1.3).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let is_own = |value: &Value| {
            value.as_str().is_some_and(|name| self.audiences.iter().any(|own| own == name))
        };
        let is_accepted = match claims.get("aud") {
            None => self.audiences.is_empty(),
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string) && names.iter().any(is_own)
            }
            Some(name) => is_own(name),
        };
        if is_accepted { Ok(()) } else { Err(TokenError::Audience) }
    }
}

fn read_date(value: &Value) -> Result<WallTime, TokenError> {
    numeric_date(value).ok_or(TokenError::Claims)
}

/// The date that a `NumericDate` is: seconds since 1970, perhaps with a fraction (RFC 7519 section 2).
/// `None` for a value that is no number.
#[must_use]
pub fn numeric_date(value: &Value) -> Option<WallTime> {
    let number = value.as_number()?;
    if let Some(seconds) = number.as_u64() {
        return Some(WallTime(seconds.saturating_mul(1000)));
    }
    // A date before 1970 is as past as any, and one that no duration holds as far as any.
    let seconds = number.as_f64()?.max(0.0);
    let ms = Duration::try_from_secs_f64(seconds).map_or(u128::MAX, |own| own.as_millis());
    Some(WallTime(u64::try_from(ms).unwrap_or(u64::MAX)))
}

/// The text, or the whole number, that names a user.
fn user_name(value: &Value) -> Option<String> {
    let name = match value {
        Value::String(name) => name.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return None;
        }
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rules() -> ClaimRules {
        ClaimRules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_ms: 0,
            needs_expiry: false,
            user: "sub".to_owned(),
        }
    }

    fn check(rules: &ClaimRules, claims: &Value, now: WallTime) -> Result<Claims, TokenError> {
        rules.check(claims.to_string().as_bytes(), now, Naming::Required)
    }

    const NOW: WallTime = WallTime(1_000_000);

    proptest! {
        /// A token is accepted from `nbf` until just before `exp`, each widened by the leeway.
        #[test]
        fn a_token_is_valid_between_its_dates(
            (begin, end) in (0_u64..3000, 0_u64..3000),
            leeway_ms in 0_u64..500_000,
            now_ms in 0_u64..3_000_000,
        ) {
            let rules = ClaimRules { leeway_ms, ..rules() };
            let claims = json!({ "sub": "ann", "nbf": begin, "exp": end });
            let result = check(&rules, &claims, WallTime(now_ms)).map(|claims| claims.expires_at);
            let end_ms = end * 1000 + leeway_ms;
            let expected = if now_ms >= end_ms {
                Err(TokenError::Expired)
            } else if now_ms + leeway_ms < begin * 1000 {
                Err(TokenError::NotYet)
            } else {
                Ok(Some(WallTime(end_ms)))
            };
            prop_assert_eq!(result, expected);
        }

        /// Whatever stands in the claims, nothing panics, and no other claim than the configured one
        /// names the user.
        #[test]
        fn any_bytes_are_checked(json: Vec<u8>, text in "\\PC{0,64}") {
            for naming in [Naming::Required, Naming::Optional] {
                let _ = rules().check(&json, NOW, naming);
                let _ = rules().check(text.as_bytes(), NOW, naming);
            }
            let claims = json!({ "sub": text, "user": "other" });
            let user = check(&rules(), &claims, NOW).map(|claims| claims.user);
            prop_assert_eq!(user, if text.is_empty() { Err(TokenError::User) } else { Ok(text) });
        }
    }

    #[test]
    fn dates_may_be_any_number_and_nothing_else() {
        let at = |exp: Value| {
            check(&rules(), &json!({ "sub": "ann", "exp": exp }), NOW)
                .map(|claims| claims.expires_at)
        };
        assert_eq!(at(json!(1000.5)), Ok(Some(WallTime(1_000_500))));
        assert_eq!(at(json!(1e300)), Ok(Some(WallTime(u64::MAX))));
        assert_eq!(at(json!(u64::MAX)), Ok(Some(WallTime(u64::MAX))));
        for past in [json!(1000), json!(999.9), json!(0), json!(-1), json!(-1e300), json!(i64::MIN)]
        {
            assert_eq!(at(past.clone()), Err(TokenError::Expired), "{past}");
        }
        for other in [json!("2000"), json!(null), json!(true), json!([2000]), json!({})] {
            assert_eq!(at(other.clone()), Err(TokenError::Claims), "{other}");
        }
        let rules = ClaimRules { needs_expiry: true, ..rules() };
        assert_eq!(check(&rules, &json!({ "sub": "ann" }), NOW), Err(TokenError::NoExpiry));
    }

    #[test]
    fn an_issuer_is_one_of_the_configured_ones() {
        let rules = ClaimRules { issuers: vec!["a".to_owned(), "b".to_owned()], ..rules() };
        let issuer =
            |iss: Value| check(&rules, &json!({ "sub": "ann", "iss": iss }), NOW).map(drop);
        assert_eq!(issuer(json!("a")), Ok(()));
        assert_eq!(issuer(json!("b")), Ok(()));
        for other in [json!("c"), json!("A"), json!(""), json!(null), json!(["a"]), json!(1)] {
            assert_eq!(issuer(other.clone()), Err(TokenError::Issuer), "{other}");
        }
        assert_eq!(check(&rules, &json!({ "sub": "ann" }), NOW), Err(TokenError::Issuer));
    }

    #[test]
    fn an_audience_names_this_gateway_or_is_left_out() {
        let own = ClaimRules { audiences: vec!["edge".to_owned(), "chat".to_owned()], ..rules() };
        let audience = |rules: &ClaimRules, aud: Value| {
            check(rules, &json!({ "sub": "ann", "aud": aud }), NOW)
        };
        for accepted in [json!("edge"), json!(["x", "chat"]), json!(["edge"])] {
            assert!(audience(&own, accepted.clone()).is_ok(), "{accepted}");
            // A gateway without an audience is named by no token.
            assert_eq!(audience(&rules(), accepted), Err(TokenError::Audience));
        }
        for other in
            [json!("x"), json!([]), json!(["x"]), json!(["edge", 1]), json!(null), json!({})]
        {
            assert_eq!(audience(&own, other.clone()), Err(TokenError::Audience), "{other}");
        }
        assert_eq!(check(&own, &json!({ "sub": "ann" }), NOW), Err(TokenError::Audience));
        assert!(check(&rules(), &json!({ "sub": "ann" }), NOW).is_ok());
    }

    #[test]
    fn the_configured_claim_names_the_user() {
        let rules = ClaimRules { user: "uid".to_owned(), ..rules() };
        for (uid, user) in [(json!("ann"), "ann"), (json!(17), "17"), (json!(-1), "-1")] {
            let claims = check(&rules, &json!({ "sub": "other", "uid": uid }), NOW).unwrap();
            assert_eq!(claims.user, user);
            assert_eq!(claims.all.get("sub"), Some(&json!("other")));
        }
        for wrong in [json!(1.5), json!(null), json!(""), json!(["ann"]), json!({ "a": 1 })] {
            let claims = json!({ "uid": wrong });
            assert_eq!(check(&rules, &claims, NOW), Err(TokenError::User), "{claims}");
        }
    }

    #[test]
    fn a_user_may_be_left_out_where_that_is_allowed() {
        let user = |claims: Value| {
            let json = claims.to_string();
            rules().check(json.as_bytes(), NOW, Naming::Optional).map(|claims| claims.user)
        };
        for none in [json!({}), json!({ "sub": "" }), json!({ "sub": null })] {
            assert_eq!(user(none.clone()), Ok(String::new()), "{none}");
        }
        assert_eq!(user(json!({ "sub": 7 })), Ok("7".to_owned()));
        for wrong in [json!({ "sub": 1.5 }), json!({ "sub": ["ann"] }), json!({ "sub": true })] {
            assert_eq!(user(wrong.clone()), Err(TokenError::User), "{wrong}");
        }
    }
}
