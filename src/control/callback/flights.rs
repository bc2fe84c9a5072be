//! Requests under way, and the clients that wait for each: equal requests share one.

use std::collections::HashMap;

use tokio::task::AbortHandle;

use super::request::RequestDigest;
use crate::services::{IdentityReply, Peer};

/// Requests under way, by the digest of what the backend is told.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_request: HashMap<RequestDigest, Flight>,
    by_peer: HashMap<Peer, RequestDigest>,
    serials_used: u64,
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    /// Tells it from a later one that is equal.
    serial: u64,
    waiting: Vec<(Peer, IdentityReply)>,
    /// `None` between its beginning and the start of its task.
    task: Option<AbortHandle>,
}

/// A client that has left.
#[derive(Debug)]
pub(super) struct Cancelled {
    pub(super) reply: IdentityReply,
    /// Given if it was the last one that waited for a request; `Some(None)` if the request has no task
    /// yet.
    pub(super) abandoned: Option<Option<AbortHandle>>,
}

impl Flights {
    /// Clients that wait.
    pub(super) fn waiting(&self) -> usize {
        self.by_peer.len()
    }

    /// Has a client wait for an equal request that is under way, or gives its reply back.
    pub(super) fn join(
        &mut self,
        request: &RequestDigest,
        peer: Peer,
        reply: IdentityReply,
    ) -> Result<(), IdentityReply> {
        let Some(flight) = self.by_request.get_mut(request) else { return Err(reply) };
        flight.waiting.push((peer, reply));
        self.by_peer.insert(peer, *request);
        Ok(())
    }

    /// A request begins, for which a client waits. No equal one may be under way. Gives its serial.
    pub(super) fn begin(
        &mut self,
        request: RequestDigest,
        peer: Peer,
        reply: IdentityReply,
    ) -> u64 {
        self.serials_used += 1;
        let serial = self.serials_used;
        let flight = Flight { serial, waiting: vec![(peer, reply)], task: None };
        self.by_request.insert(request, flight);
        self.by_peer.insert(peer, request);
        serial
    }

    /// Notes the task of a request. Gives it back if the request has ended meanwhile.
    pub(super) fn started(
        &mut self,
        request: &RequestDigest,
        serial: u64,
        task: AbortHandle,
    ) -> Option<AbortHandle> {
        match self.by_request.get_mut(request) {
            Some(flight) if flight.serial == serial => flight.task.replace(task),
            Some(_) | None => Some(task),
        }
    }

    /// A request has ended. Gives the replies to those who wait for it; `None` if it was abandoned.
    pub(super) fn end(
        &mut self,
        request: &RequestDigest,
        serial: u64,
    ) -> Option<Vec<IdentityReply>> {
        self.by_request.get(request).filter(|own| own.serial == serial)?;
        let flight = self.by_request.remove(request)?;
        let replies = flight.waiting.into_iter().map(|(peer, reply)| {
            self.by_peer.remove(&peer);
            reply
        });
        Some(replies.collect())
    }

    /// A client has left.
    pub(super) fn cancel(&mut self, peer: Peer) -> Option<Cancelled> {
        let request = self.by_peer.remove(&peer)?;
        let flight = self.by_request.get_mut(&request)?;
        let position = flight.waiting.iter().position(|(own, _)| *own == peer)?;
        let (_, reply) = flight.waiting.swap_remove(position);
        let is_last = flight.waiting.is_empty();
        let abandoned = is_last.then(|| self.by_request.remove(&request).and_then(|own| own.task));
        Some(Cancelled { reply, abandoned })
    }
}
