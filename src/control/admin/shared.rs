//! What all requests share.

use std::sync::Arc;

use super::gateway::Gateway;
use super::metrics_body::MetricsBody;
use super::pokes::Pokes;
use super::sessions::Sessions;
use super::settings::AdminSettings;
use super::trace_permits::TracePermits;
use crate::control::api::Publisher;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) settings: AdminSettings,
    pub(super) sessions: Sessions,
    pub(super) pokes: Pokes,
    pub(super) metrics: MetricsBody,
    pub(super) traces: TracePermits,
}

impl Shared {
    pub(super) fn new(
        gateway: Arc<dyn Gateway>,
        settings: AdminSettings,
        publisher: Arc<Publisher>,
    ) -> Self {
        let pokes = Pokes::new(gateway.loop_count());
        Self {
            gateway,
            publisher,
            settings,
            sessions: Sessions::default(),
            pokes,
            metrics: MetricsBody::default(),
            traces: TracePermits::default(),
        }
    }
}
