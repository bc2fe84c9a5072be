//! The thread, with a runtime for its tasks.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::{RedisSettings, RedisTokens};
use crate::metrics::ControlCounters;

/// The running control thread. Dropping it stops the thread.
#[derive(Debug)]
pub struct ControlThread {
    tasks: Handle,
    counters: Arc<ControlCounters>,
    /// `None` only while this is dropped.
    running: Option<(oneshot::Sender<Infallible>, JoinHandle<()>)>,
}

impl ControlThread {
    /// Starts the thread, without any tasks.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and of creating a thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Threads for getaddrinfo(3), which blocks.
            .max_blocking_threads(RESOLVERS_MAX)
            .thread_name("control-names")
            .build()?;
        let tasks = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            // Nothing is sent: dropping the sender ends the wait.
            let Err(_) = runtime.block_on(stopped);
            // Drops all tasks. Unlike a plain drop it does not wait for a name look-up that hangs.
            runtime.shutdown_background();
        })?;
        let counters = Arc::new(ControlCounters::default());
        Ok(Self { tasks, counters, running: Some((stop, thread)) })
    }

    /// Starts to look tokens up in Redis. The server need not be reachable yet.
    #[must_use]
    pub fn redis_tokens(&self, settings: RedisSettings) -> RedisTokens {
        RedisTokens::start(&self.tasks, settings, Arc::clone(&self.counters))
    }

    /// The counters of the thread.
    #[must_use]
    pub fn counters(&self) -> &ControlCounters {
        &self.counters
    }

    /// Stops the thread and waits for its end, which takes only a moment, since it waits for no
    /// task. Look-ups under way are dropped without an answer, so call this after the loops have
    /// ended.
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
