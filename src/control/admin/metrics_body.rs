//! The body of `/metrics`: one a second for all who ask.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::gateway::Gateway;
use crate::metrics::prometheus_text;

/// The last body, and when it was made.
#[derive(Debug, Default)]
pub(super) struct MetricsBody(Mutex<Option<(Instant, Bytes)>>);

impl MetricsBody {
    /// The body, which is at most a second old.
    pub(super) fn get(&self, gateway: &dyn Gateway) -> Bytes {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((made, body)) if now.duration_since(*made) < AGE_MAX => body.clone(),
            _ => {
                let body = Bytes::from(prometheus_text(&gateway.metrics()));
                *last = Some((now, body.clone()));
                body
            }
        }
    }
}

const AGE_MAX: Duration = Duration::from_secs(1);
