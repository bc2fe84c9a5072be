//! The places for live traces.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::inspect::TraceId;

/// The places for traces: a bounded number.
#[derive(Debug)]
pub(super) struct TracePermits {
    permits: Arc<Semaphore>,
    last_id: AtomicU64,
}

impl TracePermits {
    /// A place, with the number of the trace that takes it; `None` if all are taken.
    pub(super) fn take(&self) -> Option<(TraceId, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some((TraceId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1), permit))
    }
}

impl Default for TracePermits {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(TRACES_MAX)), last_id: AtomicU64::new(0) }
    }
}

/// How many traces may be on.
pub(super) const TRACES_MAX: usize = 16;
