//! Questions that wait for an answer, by the connections that they are about.

use std::collections::HashMap;

use tokio::task::AbortHandle;

use crate::services::Peer;
use crate::shrink::Shrink as _;

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_peer: HashMap<Peer, Vec<(u32, Option<AbortHandle>)>>,
    count: usize,
}

impl Waiting {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A question begins to wait.
    pub(super) fn begin(&mut self, peer: Peer, serial: u32) {
        self.by_peer.entry(peer).or_default().push((serial, None));
        self.count += 1;
    }

    /// Notes the task of a question. Gives it back if the question waits no more.
    pub(super) fn started(
        &mut self,
        peer: Peer,
        serial: u32,
        task: AbortHandle,
    ) -> Option<AbortHandle> {
        let own = self.by_peer.get_mut(&peer);
        let own = own.and_then(|all| all.iter_mut().find(|(own, _)| *own == serial));
        match own {
            Some((_, place)) => place.replace(task),
            None => Some(task),
        }
    }

    /// A question waits no more. Whether it did.
    pub(super) fn end(&mut self, peer: Peer, serial: u32) -> bool {
        let Some(all) = self.by_peer.get_mut(&peer) else { return false };
        let Some(position) = all.iter().position(|(own, _)| *own == serial) else { return false };
        all.swap_remove(position);
        if all.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.count -= 1;
        self.by_peer.shrink_if_sparse(0);
        true
    }

    /// The questions about a connection wait no more. Gives how many there were, and their tasks.
    pub(super) fn cancel(&mut self, peer: Peer) -> (usize, Vec<AbortHandle>) {
        let all = self.by_peer.remove(&peer).unwrap_or_default();
        let count = all.len();
        self.count -= count;
        self.by_peer.shrink_if_sparse(0);
        (count, all.into_iter().filter_map(|(_, task)| task).collect())
    }
}
