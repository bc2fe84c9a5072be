//! A user that is stated and not proven: by the client itself, or by a proxy that has checked it.

use std::sync::Arc;

use super::unreadable;
use crate::effects::{Checked, Identity, IdentityCheck, IdentityOutcome, Inquiry, Presented};

/// Identities as they are stated.
#[derive(Clone, Debug)]
pub struct StatedIdentity {
    name: Arc<str>,
    place: StatedIn,
}

/// Where the user is stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatedIn {
    /// In a cookie. Any client can send it.
    Cookie(String),
    /// In a header, which counts only in requests that come straight from a trusted proxy. From others it
    /// is no credential at all.
    Header(String),
    /// In a parameter of the query. Any client can send it.
    Query(String),
}

impl StatedIdentity {
    /// The `[[identity]]` called `name`, whose users are stated in `place`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, place: StatedIn) -> Self {
        Self { name: name.into(), place }
    }

    /// The user; `None` if there is none.
    ///
    /// # Errors
    /// The refusal of what cannot be read.
    fn stated<'p>(
        &self,
        presented: &Presented<'p>,
    ) -> Result<Option<std::borrow::Cow<'p, str>>, IdentityOutcome> {
        let bytes = match &self.place {
            StatedIn::Query(parameter) => {
                let value = presented.query(parameter);
                return value.map_err(|error| unreadable(error.to_string()));
            }
            StatedIn::Cookie(cookie) => {
                presented.cookie(cookie).map_err(|error| unreadable(error.to_string()))?
            }
            StatedIn::Header(_) if !presented.is_from_trusted_proxy() => return Ok(None),
            StatedIn::Header(header) => {
                let values = presented.request().map(|request| request.header_values(header));
                let mut values = values.into_iter().flatten();
                let value = values.next();
                if values.next().is_some() {
                    return Err(unreadable("the header with the user is there more than once"));
                }
                // A proxy that has nothing to say sends an empty one.
                value.filter(|value| !value.is_empty())
            }
        };
        let text = bytes
            .map(|bytes| str::from_utf8(bytes).map_err(|_| unreadable("a user must be UTF-8")));
        Ok(text.transpose()?.map(std::borrow::Cow::Borrowed))
    }
}

impl IdentityCheck for StatedIdentity {
    fn check(&self, presented: &Presented<'_>, _: &mut Inquiry<'_>) -> Checked {
        let user = match self.stated(presented) {
            Ok(Some(user)) => user,
            Ok(None) => return Checked::Absent,
            Err(refusal) => return Checked::Now(refusal),
        };
        Checked::Now(match Identity::new(&self.name, &user) {
            Ok(identity) => IdentityOutcome::Admitted(Box::new(identity)),
            Err(error) => unreadable(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{IdentitySender, Peer};
    use crate::http::{Status, parse_head};
    use crate::key::ConnKey;
    use crate::timer::WallTime;

    /// As the outcome of a request: the user, or the status; `None` without a credential.
    fn outcome(
        place: StatedIn,
        (target, headers): (&str, &str),
        is_from_trusted_proxy: bool,
    ) -> Option<Result<String, Status>> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let head = parse_head(head.as_bytes()).unwrap();
        let presented = Presented {
            request: Some(&head),
            paths: &[],
            address: None,
            is_from_trusted_proxy,
            certificate_names: None,
            wall_now: WallTime(0),
        };
        let peer = Peer { loop_index: 0, key: ConnKey { index: 0, generation: 1 } };
        let sender = IdentitySender::new(Arc::new(|_, _| {}));
        let mut inquiry = Inquiry { peer, sender: &sender, work: 0 };
        match StatedIdentity::new("staff", place).check(&presented, &mut inquiry) {
            Checked::Absent => None,
            Checked::Now(IdentityOutcome::Admitted(own)) => Some(Ok(own.user().to_string())),
            Checked::Now(IdentityOutcome::Refused(rejection)) => Some(Err(rejection.status())),
            Checked::Now(IdentityOutcome::Unavailable(_)) | Checked::Later => panic!("{target}"),
        }
    }

    #[test]
    fn a_header_counts_from_a_trusted_proxy_only() {
        let of = |headers, is_trusted| {
            outcome(StatedIn::Header("X-User".to_owned()), ("/", headers), is_trusted)
        };
        let ann = Some(Ok("ann".to_owned()));
        assert_eq!(of("x-user: ann\r\n", true), ann);
        assert_eq!(of("x-user: ann\r\n", false), None);
        assert_eq!(of("X-User: \r\n", true), None);
        assert_eq!(of("", true), None);
        assert_eq!(of("X-User: ann\r\nX-User: bob\r\n", true), Some(Err(Status::BadRequest)));
    }

    #[test]
    fn queries_and_cookies_are_taken_at_their_word() {
        let query = |target| outcome(StatedIn::Query("as".to_owned()), (target, ""), false);
        assert_eq!(query("/?as=J%C3%BCrgen"), Some(Ok("Jürgen".to_owned())));
        assert_eq!(query("/?other=1"), None);
        for bad in ["/?as=", "/?as=%0a", "/?as=a&as=b", "/?as=%ff"] {
            assert_eq!(query(bad), Some(Err(Status::BadRequest)), "{bad}");
        }
        let cookie = |header| outcome(StatedIn::Cookie("as".to_owned()), ("/", header), false);
        assert_eq!(cookie("Cookie: as=ann\r\n"), Some(Ok("ann".to_owned())));
        assert_eq!(cookie("Cookie: sas=ann\r\n"), None);
        assert_eq!(cookie("Cookie: as=a; as=a\r\n"), Some(Err(Status::BadRequest)));
    }
}
