//! The backend as loops ask it, and what goes on from one run of the control thread to the next.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::exchange;
use super::settings::ProxySettings;
use super::waiting::Waiting;
use crate::centrifugo::ProxyReply;
use crate::control::breaker::Breaker;
use crate::control::events::Servers;
use crate::control::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::services::{
    ChannelProxy, Peer, ProxyAnswer, ProxyRequest, ServiceMessage, ServiceSender,
};
use crate::timer::Millis;

/// Asks a backend over HTTP. Every question is answered once, unless its client leaves: with nothing if
/// the thread fails meanwhile, pauses after a failure, or has stopped. It goes on over reloads.
#[derive(Debug)]
pub struct HttpProxy(Arc<Backend>);

/// What goes on from one run of the thread to the next.
pub(super) struct Backend {
    settings: ArcSwap<ProxySettings>,
    pub(super) counters: Arc<ControlCounters>,
    /// Itself, for tasks.
    own: Weak<Self>,
    state: Mutex<State>,
}

pub(super) struct State {
    /// What there is of the run that is under way.
    current: Option<Current>,
    waiting: Waiting,
    pub(super) breaker: Breaker,
    /// Whether the last reply was none that a backend may give.
    pub(super) is_invalid: bool,
    /// The time of the loops, and when it was told.
    loop_time: (Millis, Instant),
}

/// What there is of a run of the thread.
#[derive(Clone)]
pub(super) struct Current {
    tasks: Tasks,
    pub(super) servers: Arc<Servers>,
    pub(super) permits: Arc<Semaphore>,
}

impl HttpProxy {
    /// The proxy, and the job that lets it ask in every run of the thread.
    pub(in crate::control) fn new(
        settings: ProxySettings,
        counters: Arc<ControlCounters>,
    ) -> (Arc<Self>, Arc<dyn Job>) {
        let state = State {
            current: None,
            waiting: Waiting::default(),
            breaker: Breaker::new(settings.failures_max),
            is_invalid: false,
            loop_time: (Millis(0), now()),
        };
        let backend = Arc::new_cyclic(|own| Backend {
            settings: ArcSwap::from_pointee(settings),
            counters,
            own: Weak::clone(own),
            state: Mutex::new(state),
        });
        (Arc::new(Self(Arc::clone(&backend))), backend)
    }

    /// Goes on with other settings. Questions under way end with those that they were begun with.
    pub fn set(&self, settings: ProxySettings) {
        let (requests_max, failures_max) = (settings.requests_max, settings.failures_max);
        let before = self.0.settings.swap(Arc::new(settings));
        let mut state = self.0.state();
        if before.requests_max != requests_max
            && let Some(current) = &mut state.current
        {
            current.permits = Arc::new(Semaphore::new(requests_max));
        }
        if before.failures_max != failures_max {
            state.breaker = Breaker::new(failures_max);
        }
    }
}

impl ChannelProxy for HttpProxy {
    fn ask(&self, request: ProxyRequest) {
        let own = &self.0;
        let settings = own.settings.load_full();
        let (peer, serial) = (request.peer, request.serial);
        let mut state = own.state();
        let now = now();
        state.loop_time = (request.now, now);
        let is_left_alone = !state.breaker.is_closed() && !state.breaker.is_due(now);
        let current = state.current.clone().filter(|_| !is_left_alone);
        let current = current.filter(|_| state.waiting.count() < settings.waiting_max);
        let (Some(current), Some(backend)) = (current, own.own.upgrade()) else {
            drop(state);
            own.counters.proxy_refusals.add(1);
            return post(&request.answer_to, ProxyAnswer { peer, serial, reply: None });
        };
        state.waiting.begin(peer, serial);
        drop(state);
        let question = OpenQuestion { backend, peer, serial, answer_to: request.answer_to.clone() };
        let tasks = current.tasks.clone();
        let task = tasks.spawn(async move {
            let reply = exchange::run(&question.backend, &settings, &current, &request).await;
            question.close(reply);
        });
        let ended = own.state().waiting.started(peer, serial, task);
        if let Some(task) = ended {
            task.abort();
        }
    }

    fn cancel(&self, peer: Peer) {
        let (count, tasks) = self.0.state().waiting.cancel(peer);
        self.0.counters.proxy_cancelled.add(count as u64);
        // Outside the lock: the end of a task takes it.
        for task in tasks {
            task.abort();
        }
    }
}

/// A question that is not answered yet. To drop it is to answer it with nothing: when its task panics, or when
/// a run ends with its tasks.
struct OpenQuestion {
    backend: Arc<Backend>,
    peer: Peer,
    serial: u32,
    answer_to: ServiceSender,
}

impl OpenQuestion {
    fn close(self, reply: Option<ProxyReply>) {
        self.answer(reply);
    }

    /// Answers, unless that was done or nothing waits for it.
    fn answer(&self, reply: Option<ProxyReply>) {
        let Self { backend, peer, serial, answer_to } = self;
        if backend.state().waiting.end(*peer, *serial) {
            backend.counters.proxy_failures.add(u64::from(reply.is_none()));
            post(answer_to, ProxyAnswer { peer: *peer, serial: *serial, reply });
        }
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.answer(None);
    }
}

impl Backend {
    /// The time of the loops, as far as it is known.
    pub(super) fn loop_now(&self) -> Millis {
        let (told, at) = self.state().loop_time;
        told.plus(u64::try_from(at.elapsed().as_millis()).unwrap_or(0))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for Backend {
    fn begin(&self, tasks: &Tasks) {
        let servers = Arc::new(Servers::new(tasks));
        let permits = Arc::new(Semaphore::new(self.settings.load().requests_max));
        self.state().current = Some(Current { tasks: tasks.clone(), servers, permits });
    }

    fn end(&self) {
        self.state().current = None;
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("settings", &self.settings.load()).finish_non_exhaustive()
    }
}

fn post(answer_to: &ServiceSender, answer: ProxyAnswer) {
    let held_bytes = answer.held_bytes();
    answer_to.post(ServiceMessage::holding(answer, held_bytes));
}

/// The runtime's clock: it measures pauses, and how old the time of the loops is.
pub(super) fn now() -> Instant {
    Instant::now()
}
