//! What there is in place of certificates that the gateway gets itself, in a program that was built without.

use std::io;
use std::sync::Arc;

use super::admin_thread::AdminThreadRef;
use crate::config::ResolvedConfig;
use crate::metrics::ControlCounters;
use crate::server::Handle;

/// No certificate.
#[derive(Debug, Default)]
pub(super) struct Acme;

#[expect(clippy::unused_self, reason = "as those of other builds")]
impl Acme {
    /// Nothing is begun.
    pub(super) fn on(_: AdminThreadRef) -> Self {
        Self
    }

    /// There is none with any configuration.
    pub(super) fn next(
        &self,
        _: &ResolvedConfig,
        _: &Arc<Handle>,
        _: &Arc<ControlCounters>,
    ) -> Self {
        Self
    }

    /// Nothing is needed.
    #[expect(clippy::unnecessary_wraps, reason = "the thread of other builds may not start")]
    pub(super) fn prepare(&self, _: &ResolvedConfig, _: &Arc<ControlCounters>) -> io::Result<()> {
        Ok(())
    }

    /// There is nothing to try.
    pub(super) fn retry(&self) {}
}
