//! The keys of tokens that another server publishes as a JWK set (RFC 7517 section 5): fetched again and
//! again, with the last good set kept, and at once when a token asks for a key that is not known.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | what is fetched, and how often |
//! | `waiting` | tokens that wait for keys, and when keys are fetched for them |
//! | `refresher` | the task that fetches |

mod refresher;
mod settings;
mod waiting;

use std::fmt;
use std::sync::Arc;

use self::refresher::Refresher;
pub use self::settings::KeySetSettings;
use super::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::services::identity::{JwtJudge, JwtKeys, KeyRefresh};
use crate::services::{IdentityReply, Peer};

/// The keys of one identity, kept fresh on the control thread for as long as there is one of these.
pub struct RemoteKeys(Arc<KeySetJob>);

/// Fetches in every run of the thread.
#[derive(Debug)]
struct KeySetJob(Arc<Refresher>);

impl RemoteKeys {
    /// Keys, and the job that begins to fetch them in every run of the thread.
    pub(super) fn new(
        settings: KeySetSettings,
        judge: Arc<JwtJudge>,
        counters: Arc<ControlCounters>,
    ) -> (Self, Arc<dyn Job>) {
        let job = Arc::new(KeySetJob(Arc::new(Refresher::new(settings, judge, counters))));
        (Self(Arc::clone(&job)), job)
    }

    /// The keys as an identity uses them.
    #[must_use]
    pub fn into_keys(self) -> JwtKeys {
        JwtKeys::Fetched(Arc::clone(self.0.0.keys()), Arc::new(self))
    }
}

impl KeyRefresh for RemoteKeys {
    fn await_key(&self, peer: Peer, token: &str, reply: IdentityReply) {
        self.0.0.await_key(peer, token, reply);
    }

    fn cancel(&self, peer: Peer) {
        self.0.0.cancel(peer);
    }

    fn has_keys(&self) -> bool {
        self.0.0.has_keys()
    }
}

impl Job for KeySetJob {
    fn begin(&self, tasks: &Tasks) {
        self.0.begin_run();
        tasks.spawn_vital(Arc::clone(&self.0).run(tasks.clone()));
    }

    fn end(&self) {
        self.0.end_run();
    }
}

impl Drop for KeySetJob {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteKeys")
    }
}

#[cfg(test)]
mod tests;
