//! Tasks of one life of the control thread.

use std::future::Future;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How a life goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    GoesOn,
    /// A task without which the thread does not do its work has panicked.
    Failed,
    /// The thread is told to end.
    Stopped,
}

/// Starts tasks of one life. When that life has ended, what is started is dropped at once.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    handle: Handle,
    life: watch::Sender<Life>,
}

impl Tasks {
    pub(super) fn new(handle: Handle, life: watch::Sender<Life>) -> Self {
        Self { handle, life }
    }

    /// Starts a task. If it panics, that is the end of this task alone.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(task).abort_handle()
    }

    /// Starts a task that goes on for the whole life. If it panics, the life has failed.
    pub(super) fn spawn_vital(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alarm = Alarm(self.life.clone());
        self.handle.spawn(async move {
            let _alarm = alarm;
            task.await;
        });
    }
}

/// Ends the life if it is dropped by a panic.
struct Alarm(watch::Sender<Life>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send_if_modified(|life| {
                let goes_on = *life == Life::GoesOn;
                if goes_on {
                    *life = Life::Failed;
                }
                goes_on
            });
        }
    }
}
