//! How large an attack is, and when it ends.

use std::time::Duration;

/// The bounds of an attack.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttackOptions {
    /// Connections of the attackers.
    pub(super) connections: usize,
    /// Messages of the attacks that send a certain number.
    pub(super) messages: usize,
    /// It ends after this time, if not earlier.
    pub(super) duration: Duration,
}
