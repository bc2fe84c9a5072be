//! Pokes: whether each loop still takes its turns.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::gateway::Gateway;
use crate::mail::Reply;

/// The pokes of loops that are under way: at most one for each, however many ask.
#[derive(Debug)]
pub(super) struct Pokes(Vec<Mutex<Option<watch::Receiver<bool>>>>);

impl Pokes {
    pub(super) fn new(loops: usize) -> Self {
        Self((0..loops).map(|_| Mutex::default()).collect())
    }

    /// Whether the loop answers within [`PATIENCE`]. An idle loop is woken, and answers at once.
    pub(super) async fn is_alive(&self, gateway: &dyn Gateway, index: usize) -> bool {
        let Some(mut answered) = self.poke(gateway, index) else { return false };
        timeout(PATIENCE, answered.wait_for(|answered| *answered))
            .await
            .is_ok_and(|own| own.is_ok())
    }

    /// Where the answer to a poke will be; `None` if the loop cannot be asked.
    fn poke(&self, gateway: &dyn Gateway, index: usize) -> Option<watch::Receiver<bool>> {
        let mut slot = self.0.get(index)?.lock().unwrap_or_else(PoisonError::into_inner);
        // A loop that owes an answer is not asked again: its mailbox would fill up.
        if let Some(asked) =
            slot.as_ref().filter(|asked| !*asked.borrow() && asked.has_changed().is_ok())
        {
            return Some(asked.clone());
        }
        let (sender, receiver) = watch::channel(false);
        gateway
            .poke(
                index,
                Reply::new(move |()| {
                    sender.send_replace(true);
                }),
            )
            .ok()?;
        *slot = Some(receiver.clone());
        Some(receiver)
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
