//! Identities of kind `jwt`: finds a token in a request, verifies it on the loop, and maps its claims.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize as _;
use serde_json::Value;

use super::token_places::TokenPlaces;
use crate::effects::{
    Checked, INFO_BYTES_MAX, Identity, IdentityCheck, IdentityOutcome, IdentityReply, Inquiry,
    Peer, Presented, Rights, RoomGrants,
};
use crate::http::{HeaderValue, Rejection};
use crate::jwt::{Claims, KeySet, Naming, TokenError, Verified, Verifier};
use crate::timer::WallTime;

/// What tokens must be like, and which claims say what. It verifies by whatever keys it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtJudge {
    /// The name of the `[[identity]]`.
    pub name: Arc<str>,
    /// What tokens must be like.
    pub verifier: Verifier,
    /// The claim with the rooms, a list or a table as [`RoomGrants`] or one text of words; `None` to let
    /// everybody into all rooms. A token without the claim opens none.
    pub rooms_claim: Option<String>,
    /// The claim with the rights, a list or one text of words as in `scope`, of which others are passed
    /// over; `None` for all rights. A token without the claim gives none.
    pub rights_claim: Option<String>,
    /// The claim with further information about the user, any JSON.
    pub info_claim: Option<String>,
}

/// What a token came to by the keys of the moment.
#[derive(Debug)]
pub enum JwtVerdict {
    /// It is decided.
    Outcome(IdentityOutcome),
    /// It is signed with a key that is not known, perhaps a new one.
    UnknownKey,
}

/// Fetches keys anew when a token asks for one that is not known.
pub trait KeyRefresh: Send + Sync {
    /// Has `token` judged once keys have been fetched that may hold the one that it asks for, or at once
    /// if they are not to be fetched yet again.
    fn await_key(&self, peer: Peer, token: &str, reply: IdentityReply);

    /// The connection of `peer` has ended.
    fn cancel(&self, peer: Peer);

    /// Whether keys have been fetched, however long ago.
    fn has_keys(&self) -> bool;
}

/// The keys of an identity.
#[derive(Clone)]
pub enum JwtKeys {
    /// Those of the configuration.
    Configured(Arc<KeySet>),
    /// Those that another server publishes, as they were last fetched.
    Fetched(Arc<ArcSwap<KeySet>>, Arc<dyn KeyRefresh>),
}

/// An identity that is proven by a signed token.
#[derive(Debug)]
pub struct JwtIdentity {
    judge: Arc<JwtJudge>,
    places: TokenPlaces,
    keys: JwtKeys,
}

impl JwtIdentity {
    /// Tokens from these places, judged by these keys.
    #[must_use]
    pub fn new(judge: Arc<JwtJudge>, places: TokenPlaces, keys: JwtKeys) -> Self {
        Self { judge, places, keys }
    }
}

impl IdentityCheck for JwtIdentity {
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked {
        let token = match self.places.find(presented) {
            Ok(Some(token)) => token,
            Ok(None) => return Checked::Absent,
            Err(rejection) => return Checked::Now(IdentityOutcome::Refused(rejection)),
        };
        let judge = |keys: &KeySet| self.judge.judge(keys, &token, presented.wall_now());
        let ((verdict, work), refresh) = match &self.keys {
            JwtKeys::Configured(keys) => (judge(keys), None),
            JwtKeys::Fetched(keys, refresh) => (judge(&keys.load()), Some(refresh)),
        };
        inquiry.charge(work);
        match (verdict, refresh) {
            (JwtVerdict::Outcome(outcome), _) => Checked::Now(outcome),
            (JwtVerdict::UnknownKey, Some(refresh)) => {
                refresh.await_key(inquiry.peer(), &token, inquiry.reply());
                Checked::Later
            }
            (JwtVerdict::UnknownKey, None) => Checked::Now(refused_token(TokenError::UnknownKey)),
        }
    }

    fn cancel(&self, peer: Peer) {
        if let JwtKeys::Fetched(_, refresh) = &self.keys {
            refresh.cancel(peer);
        }
    }

    fn verify_token(&self, peer: Peer, token: &str, now: WallTime) -> Option<Verified> {
        let verifier = &self.judge.verifier;
        let verify = |keys: &KeySet| verifier.verify_naming(keys, token, now, Naming::Optional);
        let verified = match &self.keys {
            JwtKeys::Configured(keys) => verify(keys),
            JwtKeys::Fetched(keys, refresh) => {
                let verified = verify(&keys.load());
                if verified.result == Err(TokenError::UnknownKey) {
                    refresh.await_key(peer, token, IdentityReply::to_nowhere(peer));
                }
                verified
            }
        };
        Some(verified)
    }

    fn is_available(&self) -> bool {
        match &self.keys {
            JwtKeys::Configured(_) => true,
            JwtKeys::Fetched(_, refresh) => refresh.has_keys(),
        }
    }

    fn challenge(&self) -> Option<&str> {
        Some("Bearer")
    }
}

impl JwtJudge {
    /// Judges a token by these keys at a time, and tells what that cost in units of [`crate::work`].
    #[must_use]
    pub fn judge(&self, keys: &KeySet, token: &str, now: WallTime) -> (JwtVerdict, u64) {
        let verified = self.verifier.verify(keys, token, now);
        let verdict = match verified.result.and_then(|claims| self.identity(&claims)) {
            Ok(identity) => JwtVerdict::Outcome(IdentityOutcome::Admitted(Box::new(identity))),
            Err(TokenError::UnknownKey) => JwtVerdict::UnknownKey,
            Err(error) => JwtVerdict::Outcome(refused_token(error)),
        };
        (verdict, verified.work)
    }

    fn identity(&self, claims: &Claims) -> Result<Identity, TokenError> {
        let claim = |name: &Option<String>| name.as_ref().and_then(|name| claims.all.get(name));
        let mut identity = Identity::new(&self.name, &claims.user).map_err(|_| TokenError::User)?;
        if let Some(expires_at) = claims.expires_at {
            identity = identity.until(expires_at);
        }
        if let Some(value) = claim(&self.info_claim) {
            identity = identity.with_info(info(value)?);
        }
        if self.rights_claim.is_some() {
            let rights = claim(&self.rights_claim).map_or(Ok(Rights::NONE), rights)?;
            identity = identity.with_rights(rights);
        }
        if self.rooms_claim.is_some() {
            let rooms =
                claim(&self.rooms_claim).map_or_else(|| Ok(RoomGrants::default()), rooms)?;
            identity = identity.in_rooms(rooms);
        }
        Ok(identity)
    }
}

/// 401, in the words of RFC 6750 section 3.
#[must_use]
pub fn refused_token(error: TokenError) -> IdentityOutcome {
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{error}\"");
    let rejection = match HeaderValue::new(challenge) {
        Ok(challenge) => Rejection::unauthorized(challenge, error.to_string()),
        Err(_) => Rejection::forbidden(error.to_string()),
    };
    IdentityOutcome::Refused(rejection)
}

fn info(value: &Value) -> Result<Box<str>, TokenError> {
    let text = value.to_string();
    if text.len() > INFO_BYTES_MAX { Err(TokenError::Claims) } else { Ok(text.into()) }
}

/// The rights that a claim lists. It may be a `scope`, which lists rights of other services as well.
fn rights(value: &Value) -> Result<Rights, TokenError> {
    let known = words(value)?.into_iter().filter_map(|word| Rights::of_word(&word));
    Ok(known.fold(Rights::NONE, Rights::and))
}

fn rooms(value: &Value) -> Result<RoomGrants, TokenError> {
    let list = match value {
        Value::String(_) => Cow::Owned(Value::from_iter(words(value)?.iter().map(|word| &**word))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Cow::Borrowed(value)
        }
    };
    RoomGrants::deserialize(&*list).map_err(|_| TokenError::Claims)
}

/// The texts of a list, or the words of one text (RFC 8693 section 4.2).
fn words(value: &Value) -> Result<Vec<Cow<'_, str>>, TokenError> {
    if let Some(text) = value.as_str() {
        return Ok(text.split_whitespace().map(Cow::Borrowed).collect());
    }
    let list = value.as_array().ok_or(TokenError::Claims)?;
    list.iter().map(|word| word.as_str().map(Cow::Borrowed).ok_or(TokenError::Claims)).collect()
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured(_) => "Configured",
            Self::Fetched(..) => "Fetched",
        })
    }
}
