//! Identities of the tests: a check that finds what the query says, and answers now or when the test has it answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate::http::Rejection;
use tidegate::services::{
    Checked, Identities, Identity, IdentityCheck, IdentityOutcome, IdentityReply, Inquiry, Peer,
    Presented, RoomGrants,
};
use tidegate::timer::WallTime;

/// A check of credentials in the query: `NAME=yes`, `NAME=no`, or `NAME=later`, with `until` as the date of
/// expiry and `rooms` as JSON.
#[derive(Clone)]
pub(crate) struct QueryCheck {
    name: Arc<str>,
    asked: Arc<Mutex<Asked>>,
}

/// What is asked for and not answered, and what was cancelled.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) replies: Vec<(IdentityReply, Identity)>,
    pub(crate) cancelled: Vec<Peer>,
}

impl QueryCheck {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), asked: Arc::default() }
    }

    pub(crate) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap()
    }

    /// Answers the oldest question: the credential holds.
    pub(crate) fn admit(&self) {
        let (reply, identity) = self.asked().replies.remove(0);
        reply.send(IdentityOutcome::Admitted(Box::new(identity)));
    }

    /// Answers the oldest question: the credential does not hold.
    pub(crate) fn refuse(&self) {
        let (reply, _) = self.asked().replies.remove(0);
        reply.send(IdentityOutcome::Refused(Rejection::forbidden("no")));
    }

    /// These checks, in this order.
    pub(crate) fn list(checks: &[&Self], is_optional: bool) -> Identities {
        let checks = checks.iter().map(|own| Arc::new((*own).clone()) as Arc<dyn IdentityCheck>);
        Identities::new(checks.collect(), is_optional)
    }

    fn identity(&self, presented: &Presented<'_>) -> Identity {
        let mut identity = Identity::new(&self.name, "ann").unwrap();
        if let Some(until) = presented.query("until").unwrap() {
            identity = identity.until(WallTime(until.parse().unwrap()));
        }
        if let Some(rooms) = presented.query("rooms").unwrap() {
            identity = identity.in_rooms(serde_json::from_str::<RoomGrants>(&rooms).unwrap());
        }
        identity
    }
}

impl IdentityCheck for QueryCheck {
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked {
        match presented.query(&self.name).unwrap().as_deref() {
            None => Checked::Absent,
            Some("yes") => {
                let identity = self.identity(presented);
                Checked::Now(IdentityOutcome::Admitted(Box::new(identity)))
            }
            Some("later") => {
                self.asked().replies.push((inquiry.reply(), self.identity(presented)));
                Checked::Later
            }
            Some(_) => Checked::Now(IdentityOutcome::Refused(Rejection::forbidden("no"))),
        }
    }

    fn cancel(&self, peer: Peer) {
        self.asked().cancelled.push(peer);
    }

    fn challenge(&self) -> Option<&str> {
        Some("Query realm=\"tests\"")
    }
}

/// A check that lets everyone in: with an identity at once or by an answer from elsewhere, or without one.
#[derive(Debug, Default)]
pub(crate) struct Anyone(AtomicU64);

impl Anyone {
    /// This check alone.
    pub(crate) fn list() -> Identities {
        Identities::new(vec![Arc::new(Self::default())], true)
    }
}

impl IdentityCheck for Anyone {
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked {
        let serial = self.0.fetch_add(1, Ordering::Relaxed);
        let identity = Identity::new(&"anyone".into(), "ann").unwrap();
        // Longer than any run, and so looked at in each.
        let identity = identity.until(WallTime(presented.wall_now().0 + 86_400_000));
        let admitted = IdentityOutcome::Admitted(Box::new(identity));
        match serial % 3 {
            0 => Checked::Absent,
            1 => Checked::Now(admitted),
            _ => {
                inquiry.reply().send(admitted);
                Checked::Later
            }
        }
    }
}
