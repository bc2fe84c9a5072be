//! The task that fetches keys, and judges the tokens that wait for them.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::settings::KeySetSettings;
use super::waiting::{Asked, Waiting, WaitingToken};
use crate::control::fetch::Fetcher;
use crate::control::tasks::Tasks;
use crate::jwt::{JwkSet, KeySet, TokenError};
use crate::metrics::ControlCounters;
use crate::os::SystemClock;
use crate::services::identity::{JwtJudge, JwtVerdict, refused_token};
use crate::services::{IdentityOutcome, IdentityReply, Peer};
use crate::timer::Clock as _;

/// Keys that are fetched again and again, and the tokens that wait for them.
#[derive(Debug)]
pub(super) struct Refresher {
    settings: KeySetSettings,
    judge: Arc<JwtJudge>,
    counters: Arc<ControlCounters>,
    clock: SystemClock,
    keys: Arc<ArcSwap<KeySet>>,
    has_keys: AtomicBool,
    is_closed: AtomicBool,
    waiting: Mutex<Waiting>,
    /// A token needs a fetch, or none is needed any more.
    wanted: Notify,
}

impl Refresher {
    pub(super) fn new(
        settings: KeySetSettings,
        judge: Arc<JwtJudge>,
        counters: Arc<ControlCounters>,
    ) -> Self {
        Self {
            settings,
            judge,
            counters,
            clock: SystemClock::start(),
            keys: Arc::default(),
            has_keys: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            waiting: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    pub(super) fn keys(&self) -> &Arc<ArcSwap<KeySet>> {
        &self.keys
    }

    pub(super) fn has_keys(&self) -> bool {
        self.has_keys.load(Ordering::Relaxed)
    }

    /// Has the token judged by keys that are fetched for it, or at once.
    pub(super) fn await_key(&self, peer: Peer, token: &str, reply: IdentityReply) {
        let token = WaitingToken { peer, token: token.to_owned(), reply };
        let limits = (self.settings.unknown_key(), self.settings.waiting_max);
        let asked = self.waiting().ask(token, now(), limits);
        match asked {
            Asked::Waits => {}
            Asked::Fetch => self.wanted.notify_one(),
            Asked::NoSuchKey(token) => self.answer(token, true),
            Asked::Unavailable(token) => token.reply.send(IdentityOutcome::unavailable()),
        }
    }

    pub(super) fn cancel(&self, peer: Peer) {
        let cancelled = self.waiting().cancel(peer);
        if let Some(token) = cancelled {
            token.reply.discard();
        }
    }

    /// A run begins, with a fetch.
    pub(super) fn begin_run(&self) {
        self.waiting().begin_run();
    }

    /// The run has ended, and no fetch is under way any more.
    pub(super) fn end_run(&self) {
        let waiting = self.waiting().end_run();
        // To drop them is to answer that they cannot be judged now.
        drop(waiting);
    }

    /// The task ends.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    pub(super) async fn run(self: Arc<Self>, tasks: Tasks) {
        let fetcher = Fetcher::new(self.settings.fetch(), &tasks);
        let mut retry = RETRY_MIN;
        let mut is_out = false;
        while !self.is_closed.load(Ordering::Relaxed) {
            self.waiting().begin_fetch();
            let began = now();
            let result = self.fetch(&fetcher).await;
            let was_good = result.is_ok();
            self.take_result(result, &mut is_out);
            let waiting = self.waiting().end_fetch(began, was_good);
            for token in waiting {
                self.answer(token, was_good);
                // Each may cost a signature, and others wait for this thread.
                yield_now().await;
            }
            let pause = if was_good {
                retry = RETRY_MIN;
                shortened(self.settings.refresh())
            } else {
                let pause = retry.min(self.settings.refresh());
                retry *= 2;
                shortened(pause)
            };
            // The end of the pause, or a token that cannot wait for it.
            let _ = timeout(pause, self.wanted.notified()).await;
        }
    }

    /// Fetches the keys once.
    async fn fetch(&self, fetcher: &Fetcher) -> Result<KeySet, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let reply = fetcher.get(&headers).await.map_err(|error| error.to_string())?;
        if reply.status != StatusCode::OK {
            return Err(format!("the status of the reply is {}", reply.status.as_u16()));
        }
        let set = JwkSet::parse(&reply.body, &self.settings.algorithms)
            .map_err(|error| format!("the reply {error}"))?;
        if set.keys.is_empty() {
            return Err(format!("none of its {} keys can serve for jwks_algorithms", set.ignored));
        }
        Ok(set.keys)
    }

    /// Keeps the keys that were fetched. The first failure has a line in the log, and so has its end.
    fn take_result(&self, result: Result<KeySet, String>, is_out: &mut bool) {
        let (name, url) = (&self.judge.name, &self.settings.url);
        match result {
            Ok(keys) => {
                self.counters.key_sets.add(1);
                let count = keys.len();
                self.keys.store(Arc::new(keys));
                let had_keys = self.has_keys.swap(true, Ordering::Relaxed);
                if std::mem::take(is_out) || !had_keys {
                    log::info!("identity {name}: fetched {count} keys from {url}");
                }
            }
            Err(why) => {
                self.counters.key_sets_failed.add(1);
                let meanwhile = match self.has_keys() {
                    true => "the keys that were fetched last are used until it is back",
                    false => "its tokens are refused with 503 until there are keys",
                };
                if !std::mem::replace(is_out, true) {
                    log::warn!("identity {name}: cannot fetch keys from {url}: {why}; {meanwhile}");
                } else {
                    log::debug!("identity {name}: cannot fetch keys from {url}: {why}");
                }
            }
        }
    }

    /// Answers a token that has waited: by the keys of now, or as unavailable if its key may be among
    /// those that could not be fetched.
    fn answer(&self, waiting: WaitingToken, was_fetched: bool) {
        let now = self.clock.wall_now();
        let (verdict, _) = self.judge.judge(&self.keys.load(), &waiting.token, now);
        waiting.reply.send(match verdict {
            JwtVerdict::Outcome(outcome) => outcome,
            JwtVerdict::UnknownKey if was_fetched => refused_token(TokenError::UnknownKey),
            JwtVerdict::UnknownKey => IdentityOutcome::unavailable(),
        });
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No code panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time that is up to a tenth shorter, by chance.
fn shortened(time: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0_u8) % 1000;
    let tenth = time / 10;
    time - tenth * u32::try_from(chance).unwrap_or(0) / 1000
}

/// The runtime's clock: it measures how long ago keys were fetched.
fn now() -> Instant {
    Instant::now()
}

/// The media types of a set (RFC 7517 section 8.5).
const ACCEPTED: &str = "application/jwk-set+json, application/json";
/// The pause after a failure, doubled each time up to the period of refreshes.
const RETRY_MIN: Duration = Duration::from_secs(1);
