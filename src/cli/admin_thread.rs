//! The control thread for operators and for certificates, which is started with the first work for it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::control::{ControlRole, ControlThread};
use crate::metrics::ControlCounters;

/// The thread. Dropping this ends it.
#[derive(Debug)]
pub(super) struct AdminThread(Arc<Mutex<Option<ControlThread>>>);

/// The thread, for those whose work on it may be what keeps them alive.
#[derive(Clone, Debug, Default)]
pub(super) struct AdminThreadRef(Weak<Mutex<Option<ControlThread>>>);

impl AdminThread {
    /// One that is started when it is needed.
    pub(super) fn idle() -> Self {
        Self(Arc::default())
    }

    /// As long as the thread may be used.
    pub(super) fn downgrade(&self) -> AdminThreadRef {
        AdminThreadRef(Arc::downgrade(&self.0))
    }
}

impl AdminThreadRef {
    /// Gives the thread something to do. It counts in `counters` if it is started for that.
    ///
    /// # Errors
    /// Those of [`ControlThread::start`].
    pub(super) fn with(
        &self,
        counters: &Arc<ControlCounters>,
        work: impl FnOnce(&ControlThread),
    ) -> io::Result<()> {
        // The process ends.
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let mut thread = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let started = match thread.take() {
            Some(thread) => thread,
            None => ControlThread::start(ControlRole::Admin, counters)?,
        };
        work(thread.insert(started));
        Ok(())
    }
}
