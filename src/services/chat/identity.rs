//! Who a connection is by the session of the chat, and how often one user may connect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sessions::{COOKIE, ChatSessions, IDENTITY};
use crate::admission::SharedUserRates;
use crate::effects::{Checked, IdentityCheck, IdentityOutcome, Inquiry, Presented};
use crate::http::Rejection;
use crate::rate::Rate;
use crate::services::identity::{JwtIdentity, TokenPlaces};
use crate::timer::Millis;

/// An identity that is proven by the session of the chat.
///
/// A page that connects again and again is recognised by its session, from whatever address it comes, and is
/// refused above a rate.
pub struct ChatIdentity {
    sessions: JwtIdentity,
    connects: Rate,
    users: SharedUserRates,
    /// Connections that were let in, to know when to forget users.
    admitted: AtomicU64,
}

impl ChatIdentity {
    /// The identity of these sessions. Each user may connect at the rate `connects`.
    #[must_use]
    pub fn new(sessions: &ChatSessions, connects: Rate) -> Self {
        let (judge, keys) = sessions.judge();
        let places = TokenPlaces { cookie: Some(COOKIE.to_owned()), ..TokenPlaces::default() };
        Self {
            sessions: JwtIdentity::new(judge, places, keys),
            connects,
            users: SharedUserRates::default(),
            admitted: AtomicU64::new(0),
        }
    }

    /// Lets a user in who has not connected too often.
    ///
    /// # Errors
    /// The refusal, which says when to try again.
    fn take_turn(&self, user: &Arc<str>, now: Millis) -> Result<(), Rejection> {
        let limits = [Some(self.connects), None];
        let key = self.users.key(0, IDENTITY, user);
        if self.users.room(key, limits, now)[0] == 0 {
            let wait_ms = self.users.room_at(key, limits, now).since(now);
            let wait_s = u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1);
            return Err(Rejection::too_many_requests(wait_s, TOO_OFTEN));
        }
        self.users.charge(key, limits, [1, 0], now);
        if self.admitted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.users.trim(now);
        }
        Ok(())
    }
}

impl IdentityCheck for ChatIdentity {
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked {
        let checked = self.sessions.check(presented, inquiry);
        let Checked::Now(IdentityOutcome::Admitted(identity)) = checked else { return checked };
        // A clock that is set back lets a user wait for longer, by what it was set back.
        let now = Millis(presented.wall_now().0);
        Checked::Now(match self.take_turn(identity.user(), now) {
            Ok(()) => IdentityOutcome::Admitted(identity),
            Err(rejection) => IdentityOutcome::Refused(rejection),
        })
    }
}

impl fmt::Debug for ChatIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChatIdentity")
            .field("connects", &self.connects)
            .finish_non_exhaustive()
    }
}

const TOO_OFTEN: &str = "this user connects too often, try again later";
/// Users are forgotten once for this number of connections: it looks at all that are remembered.
const FORGET_EVERY: u64 = 256;

#[cfg(test)]
mod tests {
    use super::super::sessions::SessionKey;
    use super::*;
    use crate::effects::{IdentitySender, Peer};
    use crate::http::{Status, parse_head};
    use crate::key::ConnKey;
    use crate::timer::WallTime;

    /// What comes of a request with this cookie: the user, or the status; `None` without a session.
    fn outcome(own: &ChatIdentity, cookie: &str, now: u64) -> Option<Result<String, Status>> {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
        let head = parse_head(head.as_bytes()).unwrap();
        let presented = Presented {
            request: Some(&head),
            paths: &[],
            address: None,
            is_from_trusted_proxy: false,
            certificate_names: None,
            wall_now: WallTime(now),
        };
        let peer = Peer { loop_index: 0, key: ConnKey { index: 0, generation: 1 } };
        let sender = IdentitySender::new(Arc::new(|_, _| {}));
        match own.check(&presented, &mut Inquiry { peer, sender: &sender, work: 0 }) {
            Checked::Absent => None,
            Checked::Now(IdentityOutcome::Admitted(own)) => Some(Ok(own.user().to_string())),
            Checked::Now(IdentityOutcome::Refused(rejection)) => Some(Err(rejection.status())),
            Checked::Now(IdentityOutcome::Unavailable(_)) | Checked::Later => panic!("{cookie}"),
        }
    }

    #[test]
    fn a_user_that_connects_in_a_loop_is_refused_and_others_are_not() {
        let sessions = ChatSessions::new(&SessionKey::from_secret("s3cret"), 1000).unwrap();
        let own = ChatIdentity::new(&sessions, Rate { per_s: 1, burst: 3 });
        let [ann, bob] = ["ann", "bob"].map(|name| sessions.log_in(name, WallTime(0)).unwrap());
        let cookie = |token: &str| format!("a=b; {COOKIE}={token}");
        let come = |token: &str, now| outcome(&own, &cookie(token), now);
        for _ in 0..3 {
            assert_eq!(come(&ann.token, 0), Some(Ok(ann.user.clone())));
        }
        for now in [0, 10, 999] {
            assert_eq!(come(&ann.token, now), Some(Err(Status::TooManyRequests)), "{now}");
        }
        assert_eq!(come(&bob.token, 0), Some(Ok(bob.user)));
        assert_eq!(come(&ann.token, 1000), Some(Ok(ann.user)));
        assert_eq!(come(&ann.token, 1000), Some(Err(Status::TooManyRequests)));
        assert_eq!(come("x", 0), Some(Err(Status::Unauthorized)));
        assert_eq!(outcome(&own, "a=b", 0), None);
    }

    #[test]
    fn users_are_forgotten_once_they_may_come_as_they_like() {
        let sessions = ChatSessions::new(&SessionKey::from_secret("s3cret"), 1000).unwrap();
        let own = ChatIdentity::new(&sessions, Rate { per_s: 1, burst: 3 });
        for number in 0..FORGET_EVERY - 1 {
            own.take_turn(&number.to_string().into(), Millis(0)).unwrap();
        }
        assert_eq!(own.users.count(), 255);
        own.take_turn(&Arc::from("ann"), Millis(1000)).unwrap();
        assert_eq!(own.users.count(), 1);
    }
}
