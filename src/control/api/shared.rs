//! What all requests share.

use std::sync::Arc;

use super::publisher::Publisher;
use super::replies::Replies;
use super::settings::ApiSettings;
use crate::control::admin::Gateway;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) replies: Arc<Replies>,
    pub(super) settings: ApiSettings,
}
