//! The thread itself: a runtime for tasks that wait, started again when it fails, and its end.
//!
//! The thread works in runs, each with a runtime of its own; what it does is begun anew in each. When a
//! run ends, by a panic or because the thread is stopped, its tasks are dropped, and those that owe an
//! answer give it as they are.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

#[cfg(feature = "acme")]
use super::acme::AcmeRenewal;
#[cfg(feature = "admin")]
use super::admin::AdminListener;
#[cfg(feature = "admin")]
use super::api::ApiListener;
#[cfg(feature = "nats")]
use super::engine::nats::{NatsEngineSettings, run_nats};
#[cfg(feature = "redis")]
use super::engine::redis::{RedisEngineSettings, run_redis};
#[cfg(any(feature = "nats", feature = "redis"))]
use super::engine::{RunBroker, SharedEngine};
use super::health::HealthChecks;
use super::names::{NameLookups, SystemResolver};
use super::panics;
use super::role::ControlRole;
use super::tasks::{Job, RunState, Tasks};
#[cfg(feature = "http-backends")]
use super::{
    CallbackIdentity, CallbackSettings, EventBackendSettings, EventBackends, HttpProxy,
    KeySetSettings, ProxySettings, RemoteKeys, Webhook, WebhookSettings,
};
#[cfg(feature = "redis")]
use super::{RedisSettings, RedisTokens};
#[cfg(any(feature = "nats", feature = "redis"))]
use crate::channels::remote::FollowerLimits;
use crate::metrics::ControlCounters;
#[cfg(feature = "http-backends")]
use crate::services::identity::JwtJudge;
use crate::upstream::ServerList;

/// The running control thread, which starts and stops independently of servers. If it fails it is
/// started again, and [`RedisTokens`] go on. It ends when this is dropped.
#[derive(Debug)]
pub struct ControlThread {
    shared: Arc<Shared>,
    /// `None` only while this is dropped.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    role: ControlRole,
    run_state: watch::Sender<RunState>,
    counters: Arc<ControlCounters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the run that is under way.
    tasks: Option<Tasks>,
    jobs: Vec<Weak<dyn Job>>,
}

impl ControlThread {
    /// Starts a thread for this, without any tasks. Threads may share their counters.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and of creating a thread.
    pub fn start(role: ControlRole, counters: &Arc<ControlCounters>) -> io::Result<Self> {
        let runtime = runtime()?;
        let shared = Arc::new(Shared {
            role,
            run_state: watch::Sender::new(RunState::GoesOn),
            counters: Arc::clone(counters),
            state: Mutex::default(),
        });
        // Begun here, so that what is asked next finds it.
        shared.begin(&runtime);
        let own = Arc::clone(&shared);
        let run = move || own.run_all(runtime);
        let thread = thread::Builder::new().name(role.name().to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Starts to look tokens up in Redis. The server need not be reachable yet.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis_tokens(&self, settings: RedisSettings) -> RedisTokens {
        let (tokens, job) = RedisTokens::new(settings, Arc::clone(&self.shared.counters));
        self.shared.add(&job);
        tokens
    }

    /// Begins to share channels with other gateways by Redis. It need not be reachable yet.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis_engine(
        &self,
        settings: RedisEngineSettings,
        limits: FollowerLimits,
    ) -> Arc<SharedEngine> {
        let node = settings.node;
        let run: RunBroker = Box::new(move |commands, events| {
            Box::pin(run_redis(settings.clone(), commands, events))
        });
        self.engine(limits, node, run)
    }

    /// Begins to share channels with other gateways by NATS. It need not be reachable yet.
    #[cfg(feature = "nats")]
    #[must_use]
    pub fn nats_engine(
        &self,
        settings: NatsEngineSettings,
        limits: FollowerLimits,
    ) -> Arc<SharedEngine> {
        let node = settings.node;
        let run: RunBroker = Box::new(move |commands, events| {
            Box::pin(run_nats(settings.clone(), commands, events))
        });
        self.engine(limits, node, run)
    }

    #[cfg(any(feature = "nats", feature = "redis"))]
    fn engine(&self, limits: FollowerLimits, node: u64, run: RunBroker) -> Arc<SharedEngine> {
        let counters = Arc::clone(&self.shared.counters);
        let engine = SharedEngine::new(limits, node, run, counters);
        self.shared.add(engine.job());
        Arc::new(engine)
    }

    /// Begins to ask a backend who clients are. It need not be reachable yet.
    #[cfg(feature = "http-backends")]
    #[must_use]
    pub fn callback(&self, settings: CallbackSettings) -> CallbackIdentity {
        let (identity, job) = CallbackIdentity::new(settings, Arc::clone(&self.shared.counters));
        self.shared.add(&job);
        identity
    }

    /// Begins to tell a backend of the events of connections. It need not be reachable yet.
    #[cfg(feature = "http-backends")]
    #[must_use]
    pub fn event_backend(&self, settings: EventBackendSettings) -> Arc<EventBackends> {
        let counters = Arc::clone(&self.shared.counters);
        let (backend, job) = super::events::event_backend(settings, counters);
        self.shared.add(&job);
        backend
    }

    /// Begins to tell a webhook what happens on a route. It need not be reachable yet.
    #[cfg(feature = "http-backends")]
    #[must_use]
    pub fn webhook(&self, settings: WebhookSettings) -> Arc<Webhook> {
        let webhook = Webhook::new(settings, Arc::clone(&self.shared.counters));
        self.shared.add(webhook.job());
        Arc::new(webhook)
    }

    /// Begins to ask a backend about connections of channels. It need not be reachable yet.
    #[cfg(feature = "http-backends")]
    #[must_use]
    pub fn channel_proxy(&self, settings: ProxySettings) -> Arc<HttpProxy> {
        let (proxy, job) = HttpProxy::new(settings, Arc::clone(&self.shared.counters));
        self.shared.add(&job);
        proxy
    }

    /// Begins to fetch the keys of tokens that `judge` judges. Their server need not be reachable yet.
    #[cfg(feature = "http-backends")]
    #[must_use]
    pub fn remote_keys(&self, settings: KeySetSettings, judge: &Arc<JwtJudge>) -> RemoteKeys {
        let counters = Arc::clone(&self.shared.counters);
        let (keys, job) = RemoteKeys::new(settings, Arc::clone(judge), counters);
        self.shared.add(&job);
        keys
    }

    /// Begins to serve the admin listener.
    #[cfg(feature = "admin")]
    pub fn serve_admin(&self, listener: &Arc<AdminListener>) {
        let job: Arc<dyn Job> = Arc::clone(listener) as Arc<dyn Job>;
        self.shared.add(&job);
    }

    /// Begins to serve the listener for backends.
    #[cfg(feature = "admin")]
    pub fn serve_api(&self, listener: &Arc<ApiListener>) {
        let job: Arc<dyn Job> = Arc::clone(listener) as Arc<dyn Job>;
        self.shared.add(&job);
    }

    /// Begins to get and renew a certificate.
    #[cfg(feature = "acme")]
    pub fn renew_certificate(&self, renewal: &Arc<AcmeRenewal>) {
        let job: Arc<dyn Job> = Arc::clone(renewal) as Arc<dyn Job>;
        self.shared.add(&job);
    }

    /// Begins to ask for the addresses of the names in these lists, again and again until the result is
    /// dropped.
    #[must_use]
    pub fn look_up_names(&self, lists: Vec<Arc<ServerList>>) -> Arc<NameLookups> {
        let lookups = NameLookups::new(lists, Arc::new(SystemResolver));
        let job: Arc<dyn Job> = Arc::clone(&lookups) as Arc<dyn Job>;
        self.shared.add(&job);
        lookups
    }

    /// Begins to check the servers of these lists, again and again until the result is dropped.
    #[must_use]
    pub fn check_servers(&self, lists: Vec<Arc<ServerList>>) -> Arc<HealthChecks> {
        let checks = HealthChecks::new(lists, Arc::clone(&self.shared.counters));
        let job: Arc<dyn Job> = Arc::clone(&checks) as Arc<dyn Job>;
        self.shared.add(&job);
        checks
    }

    /// The counters of the thread, over all runs.
    #[must_use]
    pub fn counters(&self) -> &ControlCounters {
        &self.shared.counters
    }

    /// Stops the thread and waits for its end, which takes only a moment, since it waits for no
    /// task. Look-ups under way are answered as unavailable, and so are later ones.
    pub fn stop(self) {
        drop(self);
    }

    /// Runs `task` on the thread, as a part of it: if it panics, the thread fails.
    #[cfg(any(test, feature = "sim"))]
    pub fn inject(&self, task: impl FnOnce() + Send + 'static) {
        if let Some(tasks) = &self.shared.state().tasks {
            tasks.spawn_vital(async move { task() });
        }
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.run_state.send_replace(RunState::Stopped);
        // It may pause between two runs.
        thread.thread().unpark();
        if thread.join().is_err() {
            log::error!("the control thread ended with a panic");
        }
    }
}

impl Shared {
    /// Does one run after the other until the thread is stopped.
    fn run_all(&self, first: Runtime) {
        let mut next = Ok(first);
        let mut pause = PAUSE_MIN;
        loop {
            let began = now();
            let why = match next {
                Ok(runtime) => self.run(runtime),
                Err(error) => Some(format!("cannot start: {error}")),
            };
            let Some(why) = why.filter(|_| !self.is_stopped()) else { return };
            if began.elapsed() >= STEADY {
                pause = PAUSE_MIN;
            }
            log::error!(
                "the control thread {} {why}; it starts again in {} ms",
                self.role.name(),
                pause.as_millis()
            );
            self.counters.control_restarts.add(1);
            // Only the drop of its handle wakes it early.
            thread::park_timeout(pause);
            if self.is_stopped() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
            next = runtime();
            if let Ok(runtime) = &next {
                self.begin(runtime);
            }
        }
    }

    /// Runs until the thread is stopped, or until something fails: then it gives what.
    fn run(&self, runtime: Runtime) -> Option<String> {
        let mut state = self.run_state.subscribe();
        let over = async move { state.wait_for(|state| *state != RunState::GoesOn).await.is_ok() };
        let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(over))).err();
        self.end();
        // Drops all tasks. Unlike a plain drop it does not wait for a name look-up that hangs.
        runtime.shutdown_background();
        let has_failed = panic.is_some() || *self.run_state.borrow() == RunState::Failed;
        has_failed.then(panics::take_text)
    }

    fn begin(&self, runtime: &Runtime) {
        let mut state = self.state();
        self.run_state.send_if_modified(|state| {
            // A stop that came during the pause counts.
            let has_failed = *state == RunState::Failed;
            if has_failed {
                *state = RunState::GoesOn;
            }
            has_failed
        });
        let tasks = Tasks::new(runtime.handle().clone(), self.run_state.clone());
        for job in state.jobs() {
            job.begin(&tasks);
        }
        state.tasks = Some(tasks);
    }

    fn end(&self) {
        let mut state = self.state();
        state.tasks = None;
        for job in state.jobs() {
            job.end();
        }
    }

    /// Adds a job, which begins at once unless the thread is between two runs.
    fn add(&self, job: &Arc<dyn Job>) {
        let mut state = self.state();
        // Those of settings that were reloaded, or they would gather until the next run.
        state.jobs.retain(|job| job.strong_count() > 0);
        state.jobs.push(Arc::downgrade(job));
        if let Some(tasks) = &state.tasks {
            job.begin(tasks);
        }
    }

    fn is_stopped(&self) -> bool {
        *self.run_state.borrow() == RunState::Stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The jobs that are still needed.
    fn jobs(&mut self) -> Vec<Arc<dyn Job>> {
        self.jobs.retain(|job| job.strong_count() > 0);
        self.jobs.iter().filter_map(Weak::upgrade).collect()
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Threads for getaddrinfo(3), which blocks.
        .max_blocking_threads(RESOLVERS_MAX)
        .thread_name("control-names")
        .build()
}

/// The runtime's clock: it measures runs only.
fn now() -> Instant {
    Instant::now()
}

const RESOLVERS_MAX: usize = 4;
/// Between a run and the next, doubled each time: runs that fail at once must not cost a core.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A run that lasted so long is followed by the shortest pause.
const STEADY: Duration = Duration::from_secs(60);
