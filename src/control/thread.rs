//! The thread itself: a runtime for tasks that wait, and its end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::{RedisSettings, RedisTokens};
use crate::metrics::ControlCounters;

/// The running control thread. It ends when this is dropped.
#[derive(Debug)]
pub struct ControlThread {
    tasks: Handle,
    counters: Arc<ControlCounters>,
    /// Both are there until the end.
    running: Option<(oneshot::Sender<Infallible>, JoinHandle<()>)>,
}

impl ControlThread {
    /// Starts the thread, which has nothing to do yet.
    ///
    /// # Errors
    /// If the system gives no event queue or no thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Beside the thread itself, for the system's resolver of host names, which blocks.
            .max_blocking_threads(RESOLVERS_MAX)
            .thread_name("control-names")
            .build()?;
        let tasks = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            // Nothing is ever sent: the other end is dropped.
            let Err(_) = runtime.block_on(stopped);
            // Drops all tasks, and does not wait for a resolver that hangs.
            runtime.shutdown_background();
        })?;
        let counters = Arc::new(ControlCounters::default());
        Ok(Self { tasks, counters, running: Some((stop, thread)) })
    }

    /// Begins to look tokens up in Redis, which need not be there yet.
    #[must_use]
    pub fn redis_tokens(&self, settings: RedisSettings) -> RedisTokens {
        RedisTokens::start(&self.tasks, settings, Arc::clone(&self.counters))
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &ControlCounters {
        &self.counters
    }

    /// Ends the thread, and waits for it: a moment, whatever it was waiting for. Look-ups under way
    /// are dropped without an answer, so this comes last, after the loops have ended.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.running.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            log::error!("the control thread panicked");
        }
    }
}

const RESOLVERS_MAX: usize = 4;
