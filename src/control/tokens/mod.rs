//! Token look-ups in Redis, which stores the token of NAME at the key `ChatroomToken<NAME>`.

mod commands;
mod lookup;
mod outages;
mod permits;
mod redis_connection;
mod settings;

use std::sync::Arc;

use tokio::runtime::Handle;

pub use self::settings::RedisSettings;

use self::lookup::Lookup;
use self::permits::Permits;
use self::redis_connection::RedisConnection;
use crate::metrics::ControlCounters;
use crate::services::{
    Peer, ServiceSender, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups,
};

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
