//! What a backend is asked with, and what goes on from one run of the control thread to the next.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::settings::ProxySettings;
use super::waiting::Waiting;
use crate::control::breaker::Breaker;
use crate::control::events::Servers;
use crate::control::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::timer::Millis;

/// What goes on from one run of the thread to the next.
pub(super) struct Backend {
    settings: ArcSwap<ProxySettings>,
    pub(super) counters: Arc<ControlCounters>,
    state: Mutex<State>,
}

pub(super) struct State {
    /// What there is of the run that is under way.
    pub(super) current: Option<Current>,
    pub(super) waiting: Waiting,
    pub(super) breaker: Breaker,
    /// Whether the last reply was none that a backend may give.
    pub(super) is_invalid: bool,
    /// The time of the loops, and when it was told.
    pub(super) loop_time: (Millis, Instant),
}

/// What there is of a run of the thread.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) tasks: Tasks,
    pub(super) servers: Arc<Servers>,
    pub(super) permits: Arc<Semaphore>,
}

impl Backend {
    pub(super) fn new(settings: ProxySettings, counters: Arc<ControlCounters>) -> Arc<Self> {
        let state = State {
            current: None,
            waiting: Waiting::default(),
            breaker: Breaker::new(settings.failures_max),
            is_invalid: false,
            loop_time: (Millis(0), now()),
        };
        Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            counters,
            state: Mutex::new(state),
        })
    }

    /// Goes on with other settings.
    pub(super) fn set(&self, settings: ProxySettings) {
        let (requests_max, failures_max) = (settings.requests_max, settings.failures_max);
        let before = self.settings.swap(Arc::new(settings));
        let mut state = self.state();
        if before.requests_max != requests_max
            && let Some(current) = &mut state.current
        {
            current.permits = Arc::new(Semaphore::new(requests_max));
        }
        if before.failures_max != failures_max {
            state.breaker = Breaker::new(failures_max);
        }
    }

    pub(super) fn settings(&self) -> Arc<ProxySettings> {
        self.settings.load_full()
    }

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

/// The runtime's clock: it measures pauses, and how old the time of the loops is.
pub(super) fn now() -> Instant {
    Instant::now()
}
