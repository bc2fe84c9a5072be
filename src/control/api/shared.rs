//! What all requests share.

use std::sync::Arc;

use super::publisher::Publisher;
use super::settings::ApiSettings;
use crate::control::admin::Gateway;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) settings: ApiSettings,
}
