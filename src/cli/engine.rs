//! The engine of channels that several gateways share, from the first configuration on.

use std::error::Error;

use super::lookups::Lookups;
use crate::config::ResolvedConfig;
use crate::services::SharedEngineLink;

/// The engine, if it is not in the process.
#[derive(Clone, Default)]
pub(super) struct Engine {
    link: Option<SharedEngineLink>,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Engine {
    /// That of the next configuration, which is the same: another one needs a restart.
    ///
    /// # Errors
    /// Those of starting the control thread, and of what the configuration names.
    pub(super) fn next(&self, _: &ResolvedConfig, _: &mut Lookups) -> Result<Self, Failure> {
        Ok(self.clone())
    }

    /// The way to it.
    pub(super) fn link(&self) -> Option<&SharedEngineLink> {
        self.link.as_ref()
    }
}
