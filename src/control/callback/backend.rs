//! The backend as an identity, on the loop and on the control thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::HeaderMap;
use log::Level;
use tokio::time::Instant;

use super::flights::Flights;
use super::refusals::Refusals;
use super::reply::{Judgement, judge};
use super::request::{CallbackRequest, RequestDigest};
use super::settings::CallbackSettings;
use crate::control::breaker::Breaker;
use crate::control::fetch::Fetcher;
use crate::control::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::os::SystemClock;
use crate::services::{Checked, IdentityCheck, IdentityOutcome, Inquiry, Peer, Presented};
use crate::timer::Clock as _;

/// An identity that a backend answers for. Every client that waits is answered once, unless it leaves: as
/// unavailable if the thread fails meanwhile, pauses after a failure, or has stopped.
#[derive(Debug)]
pub struct CallbackIdentity(Arc<Backend>);

/// What goes on from one run of the thread to the next.
#[derive(Debug)]
struct Backend {
    settings: CallbackSettings,
    counters: Arc<ControlCounters>,
    clock: SystemClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What there is of the run that is under way.
    current: Option<Current>,
    flights: Flights,
    refusals: Refusals,
    breaker: Breaker,
    /// Whether the last reply was none that a backend may give.
    is_invalid: bool,
}

#[derive(Clone, Debug)]
struct Current {
    tasks: Tasks,
    fetcher: Arc<Fetcher>,
}

impl CallbackIdentity {
    /// The identity, and the job that lets it ask in every run of the thread.
    pub(in crate::control) fn new(
        settings: CallbackSettings,
        counters: Arc<ControlCounters>,
    ) -> (Self, Arc<dyn Job>) {
        let state = State {
            current: None,
            flights: Flights::default(),
            refusals: Refusals::new(settings.refusal()),
            breaker: Breaker::new(settings.failures_max),
            is_invalid: false,
        };
        let clock = SystemClock::start();
        let backend = Backend { settings, counters, clock, state: Mutex::new(state) };
        let backend = Arc::new(backend);
        (Self(Arc::clone(&backend)), backend)
    }
}

impl IdentityCheck for CallbackIdentity {
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked {
        let request = match CallbackRequest::of(presented, &self.0.settings) {
            Ok(Some(request)) => request,
            Ok(None) => return Checked::Absent,
            Err(rejection) => return Checked::Now(IdentityOutcome::Refused(rejection)),
        };
        match self.0.ask(request, inquiry) {
            Some(outcome) => Checked::Now(outcome),
            None => Checked::Later,
        }
    }

    fn cancel(&self, peer: Peer) {
        let mut state = self.0.state();
        let Some(cancelled) = state.flights.cancel(peer) else { return };
        if cancelled.abandoned.is_some() {
            state.breaker.abandoned(now());
        }
        drop(state);
        // Outside the lock: the end of a task takes it.
        cancelled.reply.discard();
        self.0.counters.callbacks_cancelled.add(1);
        if let Some(Some(task)) = cancelled.abandoned {
            task.abort();
        }
    }

    fn is_available(&self) -> bool {
        let state = self.0.state();
        state.current.is_some() && state.breaker.is_closed()
    }
}

impl Backend {
    /// Has the client wait for the answer to its request, or gives what is known already.
    fn ask(
        self: &Arc<Self>,
        request: CallbackRequest,
        inquiry: &Inquiry<'_>,
    ) -> Option<IdentityOutcome> {
        let CallbackRequest { headers, digest } = request;
        let now = now();
        let mut state = self.state();
        if let Some(refusal) = state.refusals.find(&digest, now) {
            self.counters.callbacks_repeated.add(1);
            return Some(refusal.clone());
        }
        let Some(current) = state.current.clone() else { return Some(self.unavailable()) };
        if state.flights.waiting() >= self.settings.waiting_max {
            return Some(self.unavailable());
        }
        let reply = match state.flights.join(&digest, inquiry.peer(), inquiry.reply()) {
            Ok(()) => {
                self.counters.callbacks_shared.add(1);
                return None;
            }
            Err(reply) => reply,
        };
        if !state.breaker.admits(now) {
            drop(state);
            reply.discard();
            return Some(self.unavailable());
        }
        self.counters.callbacks.add(1);
        let serial = state.flights.begin(digest, inquiry.peer(), reply);
        drop(state);
        let flight = OpenFlight { backend: Arc::clone(self), digest, serial, is_open: true };
        let task = current.tasks.spawn(async move { flight.fly(&current.fetcher, &headers).await });
        let ended = self.state().flights.started(&digest, serial, task);
        if let Some(task) = ended {
            task.abort();
        }
        None
    }

    fn unavailable(&self) -> IdentityOutcome {
        self.counters.callbacks_unavailable.add(1);
        IdentityOutcome::unavailable()
    }

    /// Takes what a request came to, and answers those who wait for it.
    fn land(&self, digest: &RequestDigest, serial: u64, judgement: Judgement) {
        let now = now();
        let mut state = self.state();
        let replies = state.flights.end(digest, serial).unwrap_or_default();
        let was_invalid = std::mem::take(&mut state.is_invalid);
        let (outcome, line) = match judgement {
            Judgement::Admitted(outcome) => (outcome, self.answered(&mut state)),
            Judgement::Refused(outcome) => {
                state.refusals.keep(*digest, outcome.clone(), now);
                (outcome, self.answered(&mut state))
            }
            Judgement::Invalid(why) => {
                state.is_invalid = true;
                let line = self.answered(&mut state);
                let CallbackSettings { name, url, .. } = &self.settings;
                let warning = format!("identity {name}: a reply of {url} is of no use: {why}");
                (
                    IdentityOutcome::unavailable(),
                    line.or_else(|| (!was_invalid).then_some((Level::Warn, warning))),
                )
            }
            Judgement::Failed(why) => {
                (IdentityOutcome::unavailable(), self.failed(&mut state, now, &why))
            }
        };
        drop(state);
        if let Some((level, line)) = line {
            log::log!(level, "{line}");
        }
        let counter = match &outcome {
            IdentityOutcome::Admitted(_) => &self.counters.callbacks_admitted,
            IdentityOutcome::Refused(_) => &self.counters.callbacks_refused,
            IdentityOutcome::Unavailable(_) => &self.counters.callbacks_unavailable,
        };
        counter.add(replies.len() as u64);
        for reply in replies {
            reply.send(outcome.clone());
        }
    }

    /// The backend has answered. Gives a line for the log if it did not before.
    fn answered(&self, state: &mut State) -> Option<(Level, String)> {
        let CallbackSettings { name, url, .. } = &self.settings;
        let line = format!("identity {name}: the backend at {url} answers again");
        state.breaker.answered().then_some((Level::Info, line))
    }

    /// The backend has failed. Gives a line for the log if it is left alone now, or still.
    fn failed(&self, state: &mut State, now: Instant, why: &str) -> Option<(Level, String)> {
        let CallbackSettings { name, url, .. } = &self.settings;
        let first = state.breaker.is_closed();
        let pause = state.breaker.failed(now)?;
        self.counters.callbacks_stopped.add(1);
        let line = format!(
            "identity {name}: the backend at {url} fails: {why}; its clients are refused with 503, and \
             it is asked again in {} s",
            pause.as_secs()
        );
        Some((if first { Level::Warn } else { Level::Debug }, line))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for Backend {
    fn begin(&self, tasks: &Tasks) {
        let fetcher = Arc::new(Fetcher::new(self.settings.fetch(), tasks));
        self.state().current = Some(Current { tasks: tasks.clone(), fetcher });
    }

    fn end(&self) {
        self.state().current = None;
    }
}

/// A request that has not landed yet. To drop it is to answer that identities cannot be checked now: when
/// its task panics, or when a run ends with its tasks.
struct OpenFlight {
    backend: Arc<Backend>,
    digest: RequestDigest,
    serial: u64,
    is_open: bool,
}

impl OpenFlight {
    async fn fly(mut self, fetcher: &Fetcher, headers: &HeaderMap) {
        let backend = &self.backend;
        let judgement = match fetcher.get(headers).await {
            Ok(reply) => judge(&backend.settings.name, &reply, backend.clock.wall_now()),
            Err(error) => Judgement::Failed(error.to_string()),
        };
        self.is_open = false;
        self.backend.land(&self.digest, self.serial, judgement);
    }
}

impl Drop for OpenFlight {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let mut state = self.backend.state();
        // Abandoned by its last client, which has said so.
        let Some(replies) = state.flights.end(&self.digest, self.serial) else { return };
        state.breaker.abandoned(now());
        drop(state);
        self.backend.counters.callbacks_unavailable.add(replies.len() as u64);
        // To drop a reply is to answer.
        drop(replies);
    }
}

/// The runtime's clock: it measures pauses and how long refusals hold.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
