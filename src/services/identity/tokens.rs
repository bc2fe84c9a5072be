//! A name, and a token that proves it: the tokens stand in the configuration or in a store.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::unreadable;
use crate::effects::{
    Checked, Identity, IdentityCheck, IdentityOutcome, IdentitySender, Inquiry, Peer, Presented,
    ServiceMessage, ServiceSender, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict,
};
use crate::http::{CookieError, Rejection};
use crate::services::name::check_name;

/// Identities that a token proves.
#[derive(Debug)]
pub struct TokenIdentity {
    name: Arc<str>,
    place: TokenIn,
    tokens: Tokens,
}

/// Where a client states its name and shows its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenIn {
    /// In the segments `:name` and `:token` of the path.
    Path,
    /// In these parameters of the query.
    Query {
        /// The parameter that holds the name.
        name: String,
        /// The parameter that holds the token.
        token: String,
    },
    /// In these cookies.
    Cookie {
        /// The cookie that holds the name.
        name: String,
        /// The cookie that holds the token.
        token: String,
    },
}

/// Where the tokens of names are.
#[derive(Clone)]
pub enum Tokens {
    /// In the configuration: a token by name.
    Configured(Arc<HashMap<String, String>>),
    /// In a store that answers later.
    Looked(Arc<dyn TokenLookup>),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            // Tokens are secrets and must not reach a log.
            Self::Configured(_) => "Configured",
            Self::Looked(_) => "Looked",
        })
    }
}

/// What a client shows. A token that cannot be decoded is the token of no name.
struct NameAndToken<'p> {
    name: Cow<'p, str>,
    token: Option<Cow<'p, str>>,
}

impl TokenIdentity {
    /// The `[[identity]]` called `name`, with names and tokens `place` says where, and what knows them.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, place: TokenIn, tokens: Tokens) -> Self {
        Self { name: name.into(), place, tokens }
    }

    /// What the client shows; `None` if there is no token.
    ///
    /// # Errors
    /// The refusal of what cannot be read.
    fn shown<'p>(
        &self,
        presented: &Presented<'p>,
    ) -> Result<Option<NameAndToken<'p>>, IdentityOutcome> {
        match &self.place {
            TokenIn::Path => {
                let name = presented.path_parameter("name");
                let (Some(name), token) = (name, presented.path_parameter("token")) else {
                    return Ok(None);
                };
                let name = name.decode().map_err(|error| refused_name(&error))?;
                let token = token.and_then(|token| token.decode().ok());
                Ok(Some(NameAndToken { name, token }))
            }
            TokenIn::Query { name, token } => {
                let read = |parameter| {
                    presented.query(parameter).map_err(|error| unreadable(error.to_string()))
                };
                Ok(with_name(read(name)?, read(token)?)?)
            }
            TokenIn::Cookie { name, token } => {
                let read =
                    |cookie| presented.cookie(cookie).map_err(|CookieError| unreadable_cookie());
                let text = |value: &'p [u8]| str::from_utf8(value).map_err(|_| unreadable_cookie());
                let name = read(name)?.map(text).transpose()?;
                let token = read(token)?.map(text).transpose()?;
                with_name(name.map(Cow::Borrowed), token.map(Cow::Borrowed))
            }
        }
    }

    fn identity(&self, user: &str) -> IdentityOutcome {
        match Identity::new(&self.name, user) {
            Ok(identity) => IdentityOutcome::Admitted(Box::new(identity)),
            Err(error) => unreadable(error.to_string()),
        }
    }

    fn look_up(
        &self,
        lookup: &Arc<dyn TokenLookup>,
        (user, token): (&Arc<str>, String),
        inquiry: &Inquiry<'_>,
    ) -> Checked {
        let (peer, admitted) = (inquiry.peer(), self.identity(user));
        let answer_to = answer_by(inquiry.sender().clone(), peer, admitted);
        let name = user.as_ref().to_owned();
        match lookup.ask(TokenInquiry { peer, name, token, answer_to }) {
            Ok(()) => Checked::Later,
            Err(too_many) => Checked::Now(IdentityOutcome::Unavailable(Rejection::unavailable(
                LOOKUP_RETRY_S,
                too_many.to_string(),
            ))),
        }
    }
}

impl IdentityCheck for TokenIdentity {
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked {
        let NameAndToken { name, token } = match self.shown(presented) {
            Ok(Some(shown)) => shown,
            Ok(None) => return Checked::Absent,
            Err(refusal) => return Checked::Now(refusal),
        };
        let user = match check_name(&name) {
            Ok(user) => user,
            Err(error) => return Checked::Now(refused_name(&error)),
        };
        let Some(token) = token else { return Checked::Now(token_wrong()) };
        match &self.tokens {
            Tokens::Configured(tokens) => match is_token_right(tokens, &user, &token) {
                true => Checked::Now(self.identity(&user)),
                false => Checked::Now(token_wrong()),
            },
            Tokens::Looked(lookup) => self.look_up(lookup, (&user, token.into_owned()), inquiry),
        }
    }

    fn cancel(&self, peer: Peer) {
        if let Tokens::Looked(lookup) = &self.tokens {
            lookup.cancel(peer);
        }
    }

    fn is_available(&self) -> bool {
        match &self.tokens {
            Tokens::Configured(_) => true,
            Tokens::Looked(lookup) => lookup.is_available(),
        }
    }
}

/// A name and a token of which either may be missing.
fn with_name<'p>(
    name: Option<Cow<'p, str>>,
    token: Option<Cow<'p, str>>,
) -> Result<Option<NameAndToken<'p>>, IdentityOutcome> {
    match (name, token) {
        (_, None) => Ok(None),
        (None, Some(_)) => Err(unreadable("name refused: there is none beside the token")),
        (Some(name), token) => Ok(Some(NameAndToken { name, token })),
    }
}

/// Turns answers of a look-up into outcomes for the loop of `peer`, which takes the first one.
fn answer_by(sender: IdentitySender, peer: Peer, admitted: IdentityOutcome) -> ServiceSender {
    ServiceSender::new(Arc::new(move |message: ServiceMessage| {
        let Ok(answer) = message.downcast::<TokenAnswer>() else { return };
        let outcome = match answer.verdict {
            TokenVerdict::Right => admitted.clone(),
            TokenVerdict::Wrong => token_wrong(),
            TokenVerdict::Unavailable => {
                let text = "logins cannot be checked now";
                IdentityOutcome::Unavailable(Rejection::internal_error(text))
            }
        };
        sender.post(peer, outcome);
    }))
}

fn token_wrong() -> IdentityOutcome {
    IdentityOutcome::Refused(Rejection::forbidden("token wrong."))
}

fn refused_name(error: &dyn fmt::Display) -> IdentityOutcome {
    unreadable(format!("name refused: {error}"))
}

fn unreadable_cookie() -> IdentityOutcome {
    unreadable("a cookie with the credential is sent more than once, or is not UTF-8")
}

/// Whether `given` is the configured token of `name`.
fn is_token_right(tokens: &HashMap<String, String>, name: &str, given: &str) -> bool {
    // An unknown name costs a comparison as well, so that it does not answer faster than a known one.
    let own = tokens.get(name);
    let expected = own.map_or(given, String::as_str);
    is_same_secret(expected.as_bytes(), given.as_bytes()) && own.is_some()
}

/// Whether two secrets are equal. Their digests are compared, in constant time: the duration reveals
/// neither how many bytes match nor whether the lengths do, which a comparison of slices of different
/// length answers at once.
#[must_use]
pub(crate) fn is_same_secret(expected: &[u8], given: &[u8]) -> bool {
    bool::from(Sha256::digest(expected).as_slice().ct_eq(Sha256::digest(given).as_slice()))
}

/// `Retry-After` of a refusal because too many look-ups are under way.
const LOOKUP_RETRY_S: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{RequestHead, Status, parse_head};
    use crate::key::ConnKey;
    use crate::timer::WallTime;

    fn check(identity: &TokenIdentity, head: &RequestHead<'_>) -> Checked {
        let paths = ["/a/:name/:token".to_owned()];
        let presented = Presented {
            request: Some(head),
            paths: &paths,
            address: None,
            is_from_trusted_proxy: false,
            certificate_names: None,
            wall_now: WallTime(0),
        };
        let peer = Peer { loop_index: 0, key: ConnKey { index: 0, generation: 1 } };
        let sender = IdentitySender::new(Arc::new(|_, _| {}));
        identity.check(&presented, &mut Inquiry { peer, sender: &sender, work: 0 })
    }

    /// `Ok` with the user, or the status of the refusal; `None` without a credential.
    fn outcome(place: TokenIn, target: &str, headers: &str) -> Option<Result<String, Status>> {
        let tokens = HashMap::from([("bob".to_owned(), "s3cret".to_owned())]);
        let identity = TokenIdentity::new("users", place, Tokens::Configured(Arc::new(tokens)));
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        match check(&identity, &parse_head(head.as_bytes()).unwrap()) {
            Checked::Absent => None,
            Checked::Now(IdentityOutcome::Admitted(identity)) => {
                assert_eq!(&**identity.name(), "users");
                Some(Ok(identity.user().to_string()))
            }
            Checked::Now(IdentityOutcome::Refused(rejection)) => {
                assert!(!rejection.body().contains("s3cret"), "{}", rejection.body());
                Some(Err(rejection.status()))
            }
            Checked::Now(IdentityOutcome::Unavailable(_)) | Checked::Later => panic!("{target}"),
        }
    }

    #[test]
    fn secrets_of_any_length_are_compared() {
        assert!(is_same_secret(b"", b"") && is_same_secret(&[0xff; 100], &[0xff; 100]));
        for (expected, given) in
            [(&b"abc"[..], &b"abd"[..]), (b"abc", b"ab"), (b"", b"a"), (b"a", b"a\0")]
        {
            assert!(!is_same_secret(expected, given) && !is_same_secret(given, expected));
        }
    }

    #[test]
    fn only_the_whole_token_of_the_name_is_right() {
        let tokens = HashMap::from([("bob".to_owned(), "s3cret".to_owned())]);
        assert!(is_token_right(&tokens, "bob", "s3cret"));
        for (name, given) in [("bob", "s3cre"), ("bob", ""), ("bob", "S3cret"), ("Bob", "s3cret")] {
            assert!(!is_token_right(&tokens, name, given), "{name} {given}");
        }
    }

    #[test]
    fn name_and_token_stand_in_the_path_the_query_or_cookies() {
        let bob = Some(Ok("bob".to_owned()));
        let (wrong, bad) = (Some(Err(Status::Forbidden)), Some(Err(Status::BadRequest)));
        let names = || ("user".to_owned(), "token".to_owned());
        for (target, expected) in [
            ("/a/bob/s3cret", &bob),
            ("/a/%62ob/s3cre%74", &bob),
            ("/a/bob/s3cre", &wrong),
            ("/a/bob/%ff", &wrong),
            ("/a/bob", &wrong),
            ("/a/%ff/s3cret", &bad),
            ("/a/%20/s3cret", &bad),
            ("/a", &None),
        ] {
            assert_eq!(outcome(TokenIn::Path, target, ""), *expected, "{target}");
        }
        for (query, expected) in [
            ("user=bob&token=s3cret", &bob),
            ("user=bob&token=", &wrong),
            ("user=eve&token=s3cret", &wrong),
            ("token=s3cret", &bad),
            ("user=bob&token=s3cret&token=s3cret", &bad),
            ("user=bob&token=%ff", &bad),
            ("user=bob", &None),
            ("", &None),
        ] {
            let (name, token) = names();
            let place = TokenIn::Query { name, token };
            assert_eq!(outcome(place, &format!("/a?{query}"), ""), *expected, "{query}");
        }
        for (cookies, expected) in [
            ("Cookie: user=bob; token=s3cret\r\n", &bob),
            ("Cookie: user=bob\r\nCookie: token=\"s3cret\"\r\n", &bob),
            ("Cookie: user=bob; token=other\r\n", &wrong),
            ("Cookie: token=s3cret\r\n", &bad),
            ("Cookie: user=bob; user=eve; token=s3cret\r\n", &bad),
            ("Cookie: user=bob\r\n", &None),
            ("", &None),
        ] {
            let (name, token) = names();
            let place = TokenIn::Cookie { name, token };
            assert_eq!(outcome(place, "/a", cookies), *expected, "{cookies}");
        }
    }
}
