//! Token look-ups in Redis, which stores the token of NAME at the key `ChatroomToken<NAME>`.

mod checked_connection;
mod commands;
mod lookup;
mod outages;
mod permits;
mod progress;
mod redis_connection;
mod reports;
mod settings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use self::lookup::Lookup;
use self::permits::{Permit, Permits};
use self::redis_connection::RedisConnection;
pub use self::settings::RedisSettings;
use super::panics;
use super::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::services::{
    Peer, ServiceSender, TokenAnswer, TokenInquiry, TokenLookup, TokenVerdict, TooManyLookups,
};

/// Looks tokens up in Redis, on the control thread. Every inquiry is answered once, unless it is
/// cancelled: as unavailable if the thread fails meanwhile, pauses after a failure, or has stopped.
#[derive(Debug)]
pub struct RedisTokens(Arc<Shared>);

/// What goes on from one run of the thread to the next.
#[derive(Debug)]
struct Shared {
    settings: RedisSettings,
    permits: Arc<Permits>,
    counters: Arc<ControlCounters>,
    /// What there is of the run that is under way.
    current: Mutex<Option<Current>>,
}

#[derive(Clone, Debug)]
struct Current {
    tasks: Tasks,
    lookup: Arc<Lookup>,
}

impl RedisTokens {
    /// Look-ups, and the job that begins them in every run of the thread.
    pub(super) fn new(
        settings: RedisSettings,
        counters: Arc<ControlCounters>,
    ) -> (Self, Arc<dyn Job>) {
        let permits = Arc::new(Permits::new(settings.lookups_max));
        let shared = Arc::new(Shared { settings, permits, counters, current: Mutex::default() });
        (Self(Arc::clone(&shared)), shared)
    }
}

impl TokenLookup for RedisTokens {
    fn ask(&self, inquiry: TokenInquiry) -> Result<(), TooManyLookups> {
        let TokenInquiry { peer, name, token, answer_to } = inquiry;
        // A second inquiry of a peer replaces the first, whose answer is not awaited any more.
        self.cancel(peer);
        let shared = &self.0;
        let Some(permit) = shared.permits.take(peer) else {
            shared.counters.lookups_refused.add(1);
            return Err(TooManyLookups);
        };
        shared.counters.lookups.add(1);
        let serial = permit.serial();
        let open_lookup =
            OpenLookup { permit, peer, answer_to, counters: Arc::clone(&shared.counters) };
        // Without a run to ask in, the look-up is dropped here and thereby answered.
        let Some(Current { tasks, lookup }) = shared.current().clone() else { return Ok(()) };
        let task = tasks.spawn(async move {
            let verdict = lookup.verdict(&name, &token).await;
            open_lookup.answer(verdict);
        });
        shared.permits.occupy(peer, serial, task);
        Ok(())
    }

    fn cancel(&self, peer: Peer) {
        if self.0.permits.cancel(peer) {
            self.0.counters.lookups_cancelled.add(1);
        }
    }

    fn is_available(&self) -> bool {
        self.0.current().as_ref().is_some_and(|current| current.lookup.is_connected())
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for Shared {
    fn begin(&self, tasks: &Tasks) {
        let redis = RedisConnection::start(tasks, &self.settings);
        let lookup = Arc::new(Lookup::new(redis, self.settings.clone()));
        *self.current() = Some(Current { tasks: tasks.clone(), lookup });
    }

    fn end(&self) {
        *self.current() = None;
    }
}

/// A look-up that is not answered yet. To drop it is to answer it, as unavailable: when its task panics,
/// when a run ends with its tasks, or when there is no run to start a task in. The permit sees to it
/// that only one answer goes out, and none after a cancellation.
struct OpenLookup {
    permit: Permit,
    peer: Peer,
    answer_to: ServiceSender,
    counters: Arc<ControlCounters>,
}

impl OpenLookup {
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

impl Drop for OpenLookup {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("a token look-up {}; it is answered as unavailable", panics::take_text());
        }
        self.answer(TokenVerdict::Unavailable);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    use super::*;
    use crate::key::ConnKey;

    #[test]
    fn an_open_look_up_is_answered_once_however_it_ends() {
        let permits = Arc::new(Permits::new(1));
        let peer = Peer { loop_index: 0, key: ConnKey { index: 1, generation: 1 } };
        let (sender, answers) = mpsc::channel();
        let answer_to = ServiceSender::new(Arc::new(move |message| {
            sender.send(message.downcast::<TokenAnswer>().unwrap().verdict).unwrap();
        }));
        let open = || OpenLookup {
            permit: permits.take(peer).unwrap(),
            peer,
            answer_to: answer_to.clone(),
            counters: Arc::default(),
        };
        let answered = || answers.try_iter().collect::<Vec<_>>();

        open().answer(TokenVerdict::Right);
        assert_eq!(answered(), [TokenVerdict::Right]);
        drop(open());
        assert_eq!(answered(), [TokenVerdict::Unavailable]);
        let panicking = open();
        let panic = catch_unwind(AssertUnwindSafe(move || {
            let _panicking = panicking;
            panic!("in a task");
        }));
        assert!(panic.is_err());
        assert_eq!(answered(), [TokenVerdict::Unavailable]);
        let cancelled = open();
        permits.cancel(peer);
        cancelled.answer(TokenVerdict::Right);
        drop(cancelled);
        assert!(answered().is_empty());
    }
}
