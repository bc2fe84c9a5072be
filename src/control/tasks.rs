//! Tasks of one run of the control thread.

use std::fmt;
use std::future::Future;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Work of the control thread that goes on from one run to the next.
pub(super) trait Job: fmt::Debug + Send + Sync {
    /// A run begins.
    fn begin(&self, tasks: &Tasks);

    /// The run has ended: no task may be started any more. Those that were are dropped after this.
    fn end(&self);
}

/// How a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunState {
    GoesOn,
    /// A task without which the thread does not do its work has panicked.
    Failed,
    /// The thread is told to end.
    Stopped,
}

/// Starts tasks of one run. When that run has ended, what is started is dropped at once.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    handle: Handle,
    state: watch::Sender<RunState>,
}

impl Tasks {
    pub(super) fn new(handle: Handle, state: watch::Sender<RunState>) -> Self {
        Self { handle, state }
    }

    /// Starts a task. If it panics, that is the end of this task alone.
    #[allow(dead_code, reason = "not every feature has such tasks")]
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(task).abort_handle()
    }

    /// Starts a task that goes on for the whole run. If it panics, the run has failed.
    pub(super) fn spawn_vital(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The runtime catches the panic; that this is dropped by one is what remains of it.
        let guard = FailureGuard(self.state.clone());
        self.handle.spawn(async move {
            let _guard = guard;
            task.await;
        });
    }
}

/// Ends the run if it is dropped by a panic.
struct FailureGuard(watch::Sender<RunState>);

impl Drop for FailureGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send_if_modified(|state| {
                let goes_on = *state == RunState::GoesOn;
                if goes_on {
                    *state = RunState::Failed;
                }
                goes_on
            });
        }
    }
}
