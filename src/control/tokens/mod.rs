//! Token look-ups in Redis, which stores the token of NAME at the key `ChatroomToken<NAME>`.

mod commands;
mod lookup;
mod outages;
mod permits;
mod redis_connection;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use self::lookup::Lookup;
use self::permits::Permits;
use self::redis_connection::RedisConnection;
use super::RedisUrl;
use crate::metrics::ControlCounters;
use crate::services::{
    Peer, ServiceSender, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups,
};

/// How tokens are looked up.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where Redis is.
    pub url: RedisUrl,
    /// The prefix of the name in a key.
    pub token_prefix: String,
    /// The longest time of a look-up in milliseconds, waiting for a connection included.
    pub lookup_ms: u64,
    /// The most look-ups that may wait or be under way.
    pub lookups_max: usize,
    /// Whether a right token is deleted, so that it admits only one login.
    pub one_time: bool,
}

impl RedisSettings {
    /// The default settings for this server.
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

    /// The reason of a failure after `lookup_ms`.
    fn late(&self) -> String {
        format!("no answer within {} ms", self.lookup_ms)
    }
}

/// Looks tokens up in Redis, on the control thread. After the thread has stopped, no answer comes.
#[derive(Debug)]
pub struct RedisTokens {
    tasks: Handle,
    permits: Arc<Permits>,
    lookup: Arc<Lookup>,
    counters: Arc<ControlCounters>,
}

impl RedisTokens {
    pub(super) fn start(
        tasks: &Handle,
        settings: RedisSettings,
        counters: Arc<ControlCounters>,
    ) -> Self {
        let redis = RedisConnection::start(tasks, &settings);
        Self {
            tasks: tasks.clone(),
            permits: Arc::new(Permits::new(settings.lookups_max)),
            lookup: Arc::new(Lookup::new(redis, settings)),
            counters,
        }
    }
}

impl TokenLookup for RedisTokens {
    fn ask(&self, inquiry: TokenInquiry) -> Result<(), TooManyLookups> {
        let TokenInquiry { peer, name, token, answer_to } = inquiry;
        // A second inquiry of a peer replaces the first, whose answer is not awaited any more.
        self.cancel(peer);
        let Some(permit) = self.permits.take(peer) else {
            self.counters.lookups_refused.add(1);
            return Err(TooManyLookups);
        };
        self.counters.lookups.add(1);
        let serial = permit.serial();
        let (lookup, counters) = (Arc::clone(&self.lookup), Arc::clone(&self.counters));
        let task = self.tasks.spawn(async move {
            let verdict = lookup.verdict(&name, &token).await;
            if permit.leave() {
                answer(&counters, &answer_to, TokenAnswer { peer, verdict });
            }
        });
        self.permits.occupy(peer, serial, task.abort_handle());
        Ok(())
    }

    fn cancel(&self, peer: Peer) {
        if self.permits.cancel(peer) {
            self.counters.lookups_cancelled.add(1);
        }
    }
}

fn answer(counters: &ControlCounters, answer_to: &ServiceSender, answer: TokenAnswer) {
    match answer.verdict {
        TokenVerdict::Right => counters.lookups_right.add(1),
        TokenVerdict::Wrong => counters.lookups_wrong.add(1),
        TokenVerdict::Unavailable => counters.lookups_unavailable.add(1),
    }
    if !answer_to.post(Box::new(answer)) {
        counters.answers_lost.add(1);
    }
}
