//! The queue of a webhook, between the loops that fill it and the task that tells what is in it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::settings::WebhookSettings;
use crate::control::breaker::Breaker;
use crate::control::fetch::{FetchError, Fetcher};
use crate::control::tasks::Tasks;
use crate::events::webhook::{Pushed, WebhookEvent, WebhookQueue};
use crate::metrics::ControlCounters;

/// What waits for a webhook, and how it goes there.
pub(super) struct Telling {
    settings: WebhookSettings,
    counters: Arc<ControlCounters>,
    state: Mutex<State>,
    /// The task has something to look at: a first event, a full batch, or that it is closed.
    news: Notify,
    /// [`State::has_ended`] was set.
    end: Condvar,
}

struct State {
    queue: WebhookQueue,
    /// Nothing is awaited any more: what is there is told at once, and no request is made again.
    is_closed: bool,
    /// Nothing more is told.
    has_ended: bool,
}

impl Telling {
    pub(super) fn new(
        settings: WebhookSettings,
        source: &str,
        counters: Arc<ControlCounters>,
    ) -> Self {
        let queue = WebhookQueue::new(settings.limits, source, &settings.route);
        Self {
            settings,
            counters,
            state: Mutex::new(State { queue, is_closed: false, has_ended: false }),
            news: Notify::new(),
            end: Condvar::new(),
        }
    }

    /// Something has happened. Called by loops.
    pub(super) fn push(&self, event: &WebhookEvent<'_>) {
        let mut state = self.state();
        let pushed = match state.has_ended {
            true => Pushed::Lost,
            false => state.queue.push(event),
        };
        drop(state);
        match pushed {
            Pushed::Waits => {}
            Pushed::Wakes => self.news.notify_one(),
            Pushed::Lost => self.counters.webhook_lost.add(1),
        }
    }

    /// What waits is told now, and nothing is told again.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.news.notify_one();
    }

    /// Waits until nothing more is told, at most for this long.
    pub(super) fn wait_for_end(&self, within: Duration) {
        let goes_on = |state: &mut State| !state.has_ended;
        // Nothing follows from how it has ended.
        drop(self.end.wait_timeout_while(self.state(), within, goes_on));
    }

    /// Tells what waits, for the rest of the run or until it is closed.
    pub(super) async fn tell(self: Arc<Self>, tasks: Tasks) {
        let fetcher = Fetcher::new(self.settings.fetch(), &tasks);
        // One failure in a row is enough: what fails is told again, and nothing else meanwhile.
        let mut breaker = Breaker::new(1);
        while self.waits_for_more().await {
            let Some(body) = self.state().queue.batch() else { continue };
            if let Err(why) = self.tell_batch(&fetcher, body).await {
                let Some(pause) = self.failed(&mut breaker, &why) else { break };
                self.pause(pause).await;
                // What is due by now is let through.
                let _ = breaker.admits(Instant::now());
            } else if breaker.answered() {
                log::info!("route {}: its webhook answers again", self.settings.route);
            }
        }
        self.ended();
    }

    /// Makes one request with this body.
    async fn tell_batch(&self, fetcher: &Fetcher, body: String) -> Result<(), String> {
        self.counters.webhook_requests.add(1);
        let reply = fetcher.post(Bytes::from(body)).await;
        let status = reply.map_err(|error: FetchError| error.to_string())?.status;
        if !status.is_success() {
            return Err(format!("its status is {}", status.as_u16()));
        }
        let count = self.state().queue.told();
        self.counters.webhook_events.add(count as u64);
        Ok(())
    }

    /// Returns when a batch is to be told: when it is full, or has waited for others. Whether there is
    /// one, which there is not where it is closed and all is told.
    async fn waits_for_more(&self) -> bool {
        while self.state().awaits_first() {
            self.news.notified().await;
        }
        let due = Instant::now() + Duration::from_millis(self.settings.delay_ms);
        while self.state().awaits_others() && timeout_at(due, self.news.notified()).await.is_ok() {}
        !self.state().queue.is_empty()
    }

    /// A request has come to nothing. How long the webhook is left alone; `None` if nothing is told again.
    fn failed(&self, breaker: &mut Breaker, why: &str) -> Option<Duration> {
        self.counters.webhook_failures.add(1);
        let was_closed = breaker.is_closed();
        let pause = breaker.failed(Instant::now()).unwrap_or_default();
        let route = &self.settings.route;
        let state = self.state();
        if state.is_closed {
            log::warn!(
                "route {route}: its webhook fails: {why}; {} events are not told",
                state.queue.len()
            );
            return None;
        }
        if was_closed {
            log::warn!(
                "route {route}: its webhook fails: {why}; the request is made again until it answers"
            );
        }
        Some(pause)
    }

    /// Waits for this long, or until it is closed.
    async fn pause(&self, pause: Duration) {
        let closed = async {
            while !self.state().is_closed {
                self.news.notified().await;
            }
        };
        // Either way the request is made again.
        let _ = timeout(pause, closed).await;
    }

    fn ended(&self) {
        let mut state = self.state();
        state.has_ended = true;
        self.counters.webhook_lost.add(state.queue.len() as u64);
        drop(state);
        self.end.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn awaits_first(&self) -> bool {
        self.queue.is_empty() && !self.is_closed
    }

    fn awaits_others(&self) -> bool {
        !self.queue.is_batch_full() && !self.is_closed
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telling").field("settings", &self.settings).finish_non_exhaustive()
    }
}
