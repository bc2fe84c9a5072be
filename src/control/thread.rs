//! The thread itself: a runtime for tasks that wait, started again when it fails, and its end.
//!
//! The thread lives in lives: each is a runtime of its own, and what it does is begun anew in each.
//! When a life ends, by a panic or because the thread is stopped, its tasks are dropped, and whatever
//! they owed an answer is told so as they are.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

use super::tasks::{Life, Tasks};
use super::{RedisSettings, RedisTokens, panics};
use crate::metrics::ControlCounters;

/// Work of the control thread that goes on from one life to the next.
pub(super) trait Job: fmt::Debug + Send + Sync {
    /// A life begins.
    fn begin(&self, tasks: &Tasks);

    /// The life has ended: no task may be started any more. Those that were are dropped after this.
    fn end(&self);
}

/// The running control thread, which starts and stops independently of servers. If it fails it is
/// started again; whoever holds [`RedisTokens`] need not know. It ends when this is dropped.
#[derive(Debug)]
pub struct ControlThread {
    shared: Arc<Shared>,
    /// There until the end.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    life: watch::Sender<Life>,
    counters: Arc<ControlCounters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the life that is under way.
    tasks: Option<Tasks>,
    jobs: Vec<Weak<dyn Job>>,
}

impl ControlThread {
    /// Starts the thread, which has nothing to do yet.
    ///
    /// # Errors
    /// If the system gives no event queue or no thread.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime()?;
        let shared = Arc::new(Shared {
            life: watch::Sender::new(Life::GoesOn),
            counters: Arc::default(),
            state: Mutex::default(),
        });
        // Begun here, so that what is asked next finds it.
        shared.begin(&runtime);
        let own = Arc::clone(&shared);
        let run = move || own.run(runtime);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Begins to look tokens up in Redis, which need not be there yet.
    #[must_use]
    pub fn redis_tokens(&self, settings: RedisSettings) -> RedisTokens {
        let (tokens, job) = RedisTokens::new(settings, Arc::clone(&self.shared.counters));
        self.shared.add(&job);
        tokens
    }

    /// What was counted, in all lives.
    #[must_use]
    pub fn counters(&self) -> &ControlCounters {
        &self.shared.counters
    }

    /// Ends the thread, and waits for it: a moment, whatever it was waiting for. Look-ups under way
    /// are answered as unavailable, and so are those that are asked for later.
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
        self.shared.life.send_replace(Life::Stopped);
        // It may rest between two lives.
        thread.thread().unpark();
        if thread.join().is_err() {
            log::error!("the control thread ended with a panic");
        }
    }
}

impl Shared {
    /// Lives one life after the other until it is stopped.
    fn run(&self, first: Runtime) {
        let mut next = Ok(first);
        let mut rest = REST_MIN;
        loop {
            let began = now();
            let why = match next {
                Ok(runtime) => self.live(runtime),
                Err(error) => Some(format!("cannot start: {error}")),
            };
            let Some(why) = why.filter(|_| !self.is_stopped()) else { return };
            if began.elapsed() >= STEADY {
                rest = REST_MIN;
            }
            log::error!("the control thread {why}; it starts again in {} ms", rest.as_millis());
            self.counters.control_restarts.add(1);
            // Only the drop of its handle wakes it early.
            thread::park_timeout(rest);
            if self.is_stopped() {
                return;
            }
            rest = (rest * 2).min(REST_MAX);
            next = runtime();
            if let Ok(runtime) = &next {
                self.begin(runtime);
            }
        }
    }

    /// Lives until the thread is stopped, or until something fails: then it gives what.
    fn live(&self, runtime: Runtime) -> Option<String> {
        let mut life = self.life.subscribe();
        let over = async move { life.wait_for(|life| *life != Life::GoesOn).await.is_ok() };
        let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(over))).err();
        self.end();
        // Drops all tasks, and does not wait for a resolver that hangs.
        runtime.shutdown_background();
        let has_failed = panic.is_some() || *self.life.borrow() == Life::Failed;
        has_failed.then(panics::take_text)
    }

    fn begin(&self, runtime: &Runtime) {
        let mut state = self.state();
        self.life.send_if_modified(|life| {
            // A stop that came during the rest counts.
            let has_failed = *life == Life::Failed;
            if has_failed {
                *life = Life::GoesOn;
            }
            has_failed
        });
        let tasks = Tasks::new(runtime.handle().clone(), self.life.clone());
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

    /// Adds a job, which begins at once unless the thread is between two lives.
    fn add(&self, job: &Arc<dyn Job>) {
        let mut state = self.state();
        state.jobs.push(Arc::downgrade(job));
        if let Some(tasks) = &state.tasks {
            job.begin(tasks);
        }
    }

    fn is_stopped(&self) -> bool {
        *self.life.borrow() == Life::Stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The jobs that somebody still needs.
    fn jobs(&mut self) -> Vec<Arc<dyn Job>> {
        self.jobs.retain(|job| job.strong_count() > 0);
        self.jobs.iter().filter_map(Weak::upgrade).collect()
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Beside the thread itself, for the system's resolver of host names, which blocks.
        .max_blocking_threads(RESOLVERS_MAX)
        .thread_name("control-names")
        .build()
}

/// The runtime's clock: it measures lives and rests only.
fn now() -> Instant {
    Instant::now()
}

const RESOLVERS_MAX: usize = 4;
/// Between a life and the next: long enough that one which fails at once does no harm, short enough
/// that nobody has to care.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);
/// A life that lasted so long is followed by the shortest rest.
const STEADY: Duration = Duration::from_secs(60);
