//! Sessions: tokens in a cookie that say who is logged in.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use crate::effects::{Identity, IdentityOutcome};
use crate::http::RequestHead;
use crate::jwt::{Algorithm, ClaimRules, Key, KeySet, SharedSecret, Verifier};
use crate::services::identity::{JwtJudge, JwtKeys, JwtVerdict};
use crate::services::name::{NameError, check_name};
use crate::timer::WallTime;

/// What signs sessions, and verifies them.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key that comes of a configured secret. What is signed by the secret for another purpose is no
    /// session.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&secret, PURPOSE);
        let mut key = [0; 32];
        key.iter_mut().zip(tag.as_ref()).for_each(|(own, byte)| *own = *byte);
        Self(key)
    }

    /// The key of this process, which is made when it is asked for first. `None` if the system has no random
    /// bytes.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        // A reload makes the routes anew, and must not end sessions.
        static KEY: OnceLock<Option<SessionKey>> = OnceLock::new();
        KEY.get_or_init(|| random().map(Self)).clone()
    }
}

/// The sessions of one key.
pub struct ChatSessions {
    secret: SharedSecret,
    judge: Arc<JwtJudge>,
    keys: Arc<KeySet>,
    ttl_s: u64,
}

/// Who is logged in, and the token that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// 16 hexadecimal digits, which no other login has.
    pub(super) user: String,
    /// What others are shown.
    pub(super) name: String,
    /// For the cookie.
    pub(super) token: String,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginError {
    /// The name is none.
    Name(NameError),
    /// The system has no random bytes.
    Random,
}

impl ChatSessions {
    /// Sessions that last for `ttl_s` seconds from the last time the page was opened. `None` for a key that
    /// cannot verify, which none of [`SessionKey`] is.
    #[must_use]
    pub fn new(key: &SessionKey, ttl_s: u64) -> Option<Self> {
        let mut keys = KeySet::default();
        keys.add(None, Key::from_secret(Algorithm::Hs256, &key.0).ok()?);
        let rules = ClaimRules {
            issuers: vec![ISSUER.to_owned()],
            audiences: Vec::new(),
            leeway_ms: 0,
            needs_expiry: true,
            user: "sub".to_owned(),
        };
        let judge = JwtJudge {
            name: Arc::from(IDENTITY),
            verifier: Verifier { token_bytes_max: TOKEN_BYTES_MAX, rules },
            rooms_claim: None,
            rights_claim: None,
            info_claim: Some("info".to_owned()),
        };
        Some(Self {
            secret: SharedSecret::new(&key.0),
            judge: Arc::new(judge),
            keys: Arc::new(keys),
            ttl_s,
        })
    }

    /// Logs in under a name.
    pub(super) fn log_in(&self, name: &str, now: WallTime) -> Result<Session, LoginError> {
        let name = check_name(name).map_err(LoginError::Name)?;
        let user = random::<8>().ok_or(LoginError::Random)?;
        let user = user.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(self.sign(user, name.as_ref().to_owned(), now))
    }

    /// The session that a request shows, renewed; `None` if it shows none that holds.
    pub(super) fn renew(&self, request: &RequestHead<'_>, now: WallTime) -> Option<Session> {
        let token = str::from_utf8(request.cookie(COOKIE).ok()??).ok()?;
        let identity = match self.judge.judge(&self.keys, token, now).0 {
            JwtVerdict::Outcome(IdentityOutcome::Admitted(identity)) => identity,
            JwtVerdict::Outcome(IdentityOutcome::Refused(_) | IdentityOutcome::Unavailable(_))
            | JwtVerdict::UnknownKey => return None,
        };
        let name = name_of(&identity)?;
        Some(self.sign(identity.user().as_ref().to_owned(), name, now))
    }

    /// How long a session lasts, in seconds.
    pub(super) fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// What judges sessions.
    pub(super) fn judge(&self) -> (Arc<JwtJudge>, JwtKeys) {
        (Arc::clone(&self.judge), JwtKeys::Configured(Arc::clone(&self.keys)))
    }

    fn sign(&self, user: String, name: String, now: WallTime) -> Session {
        let end = (now.0 / 1000).saturating_add(self.ttl_s);
        let claims =
            json!({ "iss": ISSUER, "sub": user, "exp": end, "info": { "name": name } }).to_string();
        Session { token: self.secret.sign(&claims), user, name }
    }
}

/// The name in what is told of a user.
fn name_of(identity: &Identity) -> Option<String> {
    let info: Value = serde_json::from_str(identity.info()?).ok()?;
    Some(info.get("name")?.as_str()?.to_owned())
}

fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

impl fmt::Debug for ChatSessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ChatSessions").field("ttl_s", &self.ttl_s).finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionKey {
    /// Shows nothing of it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

/// The cookie with the session.
pub(super) const COOKIE: &str = "tidegate_chat";
/// What the identity of a session is called.
pub(super) const IDENTITY: &str = "chat";
const ISSUER: &str = "tidegate chat";
const PURPOSE: &[u8] = b"tidegate chat sessions";
/// A name of 64 bytes, each of which JSON writes with up to six, in base64 and with all else.
const TOKEN_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::parse_head;

    fn sessions(secret: &str) -> ChatSessions {
        ChatSessions::new(&SessionKey::from_secret(secret), 100).unwrap()
    }

    fn renewed(sessions: &ChatSessions, cookie: &str, now: u64) -> Option<Session> {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}={cookie}\r\n\r\n");
        sessions.renew(&parse_head(request.as_bytes()).unwrap(), WallTime(now))
    }

    #[test]
    fn two_logins_with_one_name_are_two_users() {
        let own = sessions("s3cret");
        let [first, second] = [1, 2].map(|_| own.log_in(" ann  b", WallTime(0)).unwrap());
        assert_eq!([&*first.name, &*second.name], ["ann b", "ann b"]);
        assert_ne!(first.user, second.user);
        assert!(first.user.len() == 16 && first.user.bytes().all(|own| own.is_ascii_hexdigit()));
        assert!(matches!(own.log_in("\n", WallTime(0)), Err(LoginError::Name(_))));
    }

    #[test]
    fn a_session_lasts_from_when_it_was_shown_last() {
        let own = sessions("s3cret");
        let first = own.log_in("ann", WallTime(0)).unwrap();
        let later = renewed(&own, &first.token, 99_000).unwrap();
        assert_eq!((&later.user, &later.name), (&first.user, &first.name));
        assert_eq!(renewed(&own, &first.token, 100_000), None);
        assert!(renewed(&own, &later.token, 198_000).is_some());
    }

    #[test]
    fn only_the_key_makes_sessions() {
        let own = sessions("s3cret");
        let theirs = sessions("s3creT").log_in("ann", WallTime(0)).unwrap();
        assert_eq!(renewed(&own, &theirs.token, 0), None);
        // The secret itself may sign for others.
        let elsewhere = SharedSecret::new(b"s3cret")
            .sign(r#"{"iss":"tidegate chat","sub":"00","exp":1000,"info":{"name":"ann"}}"#);
        assert_eq!(renewed(&own, &elsewhere, 0), None);
        let token = own.log_in("ann", WallTime(0)).unwrap().token;
        for bad in ["", "a.b.c", &token[1..], &format!("{token}; {COOKIE}={token}")] {
            assert_eq!(renewed(&own, bad, 0), None, "{bad}");
        }
        assert_eq!(SessionKey::of_process().unwrap().0, SessionKey::of_process().unwrap().0);
    }

    proptest! {
        /// Whatever name is taken, its session holds, and says it.
        #[test]
        fn every_name_fits_into_a_session(text in "\\PC{0,40}|[\"\\\\]{1,64}") {
            let own = sessions("s3cret");
            if let Ok(session) = own.log_in(&text, WallTime(0)) {
                let again = renewed(&own, &session.token, 0);
                prop_assert_eq!(again.map(|own| own.name), Some(session.name));
            }
        }
    }
}
