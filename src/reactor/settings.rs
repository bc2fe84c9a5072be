//! How much a loop does in a turn.

use super::listener::ListenerSettings;
use crate::mail::MailLimits;

/// How much work one turn may do.
#[derive(Clone, Debug)]
pub struct LoopSettings {
    /// Of the listeners.
    pub listeners: ListenerSettings,
    /// Terminal messages handled in one turn, and forwarding ones with what is left of it, or with a
    /// quarter if less is.
    pub mail_per_turn: usize,
    /// Deadlines acted upon in one turn.
    pub timers_per_turn: usize,
    /// Connections written in one turn that were pushed to.
    pub flushes_per_turn: usize,
    /// Sockets closed in one turn.
    pub reaps_per_turn: usize,
    /// What may wait for full mailboxes, for all other loops together, before the connections that
    /// cause it are no longer read.
    pub outbox: MailLimits,
}
