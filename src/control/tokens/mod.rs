//! Token look-ups in Redis: the token of NAME is kept at the key `ChatroomToken<NAME>`.

mod commands;
mod lookup;
mod notices;
mod permits;
mod redis_connection;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use self::lookup::Lookup;
use self::permits::{Permit, Permits};
use self::redis_connection::RedisConnection;
use super::tasks::Tasks;
use super::thread::Job;
use super::{RedisUrl, panics};
use crate::metrics::ControlCounters;
use crate::services::{
    Peer, ServiceSender, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups,
};

/// How tokens are looked up.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where Redis is.
    pub url: RedisUrl,
    /// What stands before the name in a key.
    pub token_prefix: String,
    /// How long a look-up may take, with connecting and waiting.
    pub lookup_ms: u64,
    /// How many look-ups may wait or be under way.
    pub lookups_max: usize,
    /// Whether a token that was right is deleted, so that it lets nobody in again.
    pub one_time: bool,
}

impl RedisSettings {
    /// The defaults, for this Redis.
    #[must_use]
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            token_prefix: "ChatroomToken".to_owned(),
            lookup_ms: 2000,
            lookups_max: 1024,
            one_time: false,
        }
    }

    fn lookup(&self) -> Duration {
        Duration::from_millis(self.lookup_ms)
    }

    /// Says that `lookup_ms` have passed.
    fn late(&self) -> String {
        format!("no answer within {} ms", self.lookup_ms)
    }
}

/// Asks Redis about tokens, on the control thread. Every question is answered once, unless it is
/// cancelled: as unavailable if the thread fails meanwhile, rests after a failure, or has stopped.
#[derive(Debug)]
pub struct RedisTokens(Arc<Desk>);

/// What goes on from one life of the thread to the next.
#[derive(Debug)]
struct Desk {
    settings: RedisSettings,
    permits: Arc<Permits>,
    counters: Arc<ControlCounters>,
    /// What there is of the life that is under way.
    current: Mutex<Option<Current>>,
}

#[derive(Clone, Debug)]
struct Current {
    tasks: Tasks,
    lookup: Arc<Lookup>,
}

impl RedisTokens {
    /// Look-ups, and the job that begins them in every life of the thread.
    pub(super) fn new(
        settings: RedisSettings,
        counters: Arc<ControlCounters>,
    ) -> (Self, Arc<dyn Job>) {
        let permits = Arc::new(Permits::new(settings.lookups_max));
        let desk = Arc::new(Desk { settings, permits, counters, current: Mutex::default() });
        (Self(Arc::clone(&desk)), desk)
    }
}

impl TokenLookup for RedisTokens {
    fn ask(&self, inquiry: TokenInquiry) -> Result<(), TooManyLookups> {
        let TokenInquiry { peer, name, token, answer_to } = inquiry;
        // A peer waits for one answer.
        self.cancel(peer);
        let desk = &self.0;
        let Some(permit) = desk.permits.take(peer) else {
            desk.counters.lookups_refused.add(1);
            return Err(TooManyLookups);
        };
        desk.counters.lookups.add(1);
        let serial = permit.serial();
        let question = Question { permit, peer, answer_to, counters: Arc::clone(&desk.counters) };
        // Without a life to ask in, the question is dropped here and thereby answered.
        let Some(Current { tasks, lookup }) = desk.current().clone() else { return Ok(()) };
        let task = tasks.spawn(async move {
            let verdict = lookup.verdict(&name, &token).await;
            question.answer(verdict);
        });
        desk.permits.occupy(peer, serial, task);
        Ok(())
    }

    fn cancel(&self, peer: Peer) {
        if self.0.permits.cancel(peer) {
            self.0.counters.lookups_cancelled.add(1);
        }
    }
}

impl Desk {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for Desk {
    fn begin(&self, tasks: &Tasks) {
        let redis = RedisConnection::start(tasks, &self.settings);
        let lookup = Arc::new(Lookup::new(redis, self.settings.clone()));
        *self.current() = Some(Current { tasks: tasks.clone(), lookup });
    }

    fn end(&self) {
        *self.current() = None;
    }
}

/// An open question. Who drops it answers it: a task that panics, a life that ends with its tasks, and
/// one that has ended before the task could start. The permit sees to it that only one answer goes
/// out, and none for a question that was cancelled.
struct Question {
    permit: Permit,
    peer: Peer,
    answer_to: ServiceSender,
    counters: Arc<ControlCounters>,
}

impl Question {
    fn answer(&self, verdict: TokenVerdict) {
        if !self.permit.leave() {
            return;
        }
        match verdict {
            TokenVerdict::Right => self.counters.lookups_right.add(1),
            TokenVerdict::Wrong => self.counters.lookups_wrong.add(1),
            TokenVerdict::Unavailable => self.counters.lookups_unavailable.add(1),
        }
        self.answer_to.post(Box::new(TokenAnswer { peer: self.peer, verdict }));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("a token look-up {}; it is answered as unavailable", panics::take_text());
        }
        self.answer(TokenVerdict::Unavailable);
    }
}
