//! A backend that is told of a connection's events, and the way of its answers back to the service.

use std::sync::Arc;

use super::{Accept, Peer, ServiceSender};
use crate::events::{Action, ClientEvent, End, EventHead};
use crate::http::Rejection;
use crate::timer::{Millis, WallTime};

/// Tells a backend of events elsewhere, without blocking the loop that asks. One instance serves all
/// loops, so what it keeps needs locks that are held for a moment only.
pub trait EventBackend: Send + Sync {
    /// Asks whether a client is let in. [`EventAnswer`]s come to `opening.answer_to`, possibly before this
    /// returns: the first decides, and one follows each further request to the backend. The head is held, and
    /// charged by who asks, until an answer releases it.
    fn open(&self, opening: EventOpening);

    /// The client has sent this, of which a copy is held until an answer releases it.
    fn message(&self, peer: Peer, event: ClientEvent, payload: &[u8], now: Millis) -> EventRoom;

    /// The connection has ended, or no client waits any more to be let in; `reason` is that of the
    /// client's close frame. There is one more answer if anything is still held for it.
    fn end(&self, peer: Peer, end: End, reason: &str, now: Millis);

    /// What an answer says is done, of which [there is more](EventAnswer::has_more): the next part may come.
    fn part_done(&self, peer: Peer, now: Millis) {
        let _ = (peer, now);
    }

    /// Asks the backend about the connection although there is nothing to tell.
    fn refresh(&self, peer: Peer, now: Millis) {
        let _ = (peer, now);
    }

    /// Has an answer come that is a [reminder](EventAnswer::is_reminder), after this time and in place of
    /// one that was asked for before.
    fn remind(&self, peer: Peer, after_ms: u64, now: Millis) {
        let _ = (peer, after_ms, now);
    }
}

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventClient {
    /// When it has asked for it.
    pub connected_at: WallTime,
    /// What it calls itself; empty for nothing.
    pub user_agent: String,
}

/// What has become of a message, and how much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRoom {
    /// The backend is told nothing more of the connection: the message is not held.
    Untold,
    /// More may come.
    Room,
    /// So much waits that the client is not to be read until an answer says otherwise.
    Full,
}

/// A client that wants to connect.
#[derive(Clone, Debug)]
pub struct EventOpening {
    /// The connection that waits for its admission.
    pub peer: Peer,
    /// What the backend is told of its request.
    pub head: EventHead,
    /// Sends answers to the service that asks.
    pub answer_to: ServiceSender,
    /// The time of the loop.
    pub now: Millis,
}

/// What a request to the backend has come to, sent as a [`ServiceMessage`](super::ServiceMessage).
#[derive(Debug)]
pub struct EventAnswer {
    /// The connection.
    pub peer: Peer,
    /// Whether the client is let in; given by the first answer.
    pub decision: Option<Result<Accept, Rejection>>,
    /// What becomes of the connection.
    pub actions: Vec<Action>,
    /// Whether more is to be done, which comes when [this is](EventBackend::part_done). Until then no request is
    /// made about the connection.
    pub has_more: bool,
    /// Bytes that are held for it beyond what is charged.
    pub charged_bytes: usize,
    /// Bytes that are no longer held for it, of messages or with the end of its head.
    pub released_bytes: usize,
    /// Whether it is read again.
    pub resumes: bool,
    /// Whether its service has asked to be reminded of it.
    pub is_reminder: bool,
    /// Whether nothing more comes about it that its service would have to undo: the connection has ended.
    pub is_over: bool,
}

impl EventAnswer {
    /// Bytes that the actions hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.actions.iter().map(Action::held_bytes).sum()
    }
}

/// A backend that is not there: clients are refused with 503.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEventBackend;

impl EventBackend for NoEventBackend {
    fn open(&self, opening: EventOpening) {
        let rejection = Rejection::unavailable(RETRY_AFTER_S, "the backend cannot be asked");
        let answer = EventAnswer {
            peer: opening.peer,
            decision: Some(Err(rejection)),
            actions: Vec::new(),
            has_more: false,
            charged_bytes: 0,
            released_bytes: opening.head.held_bytes(),
            resumes: false,
            is_reminder: false,
            is_over: true,
        };
        opening.answer_to.post(Box::new(answer));
    }

    fn message(&self, _: Peer, _: ClientEvent, _: &[u8], _: Millis) -> EventRoom {
        EventRoom::Untold
    }

    fn end(&self, _: Peer, _: End, _: &str, _: Millis) {}
}

/// A backend by which several services tell of events.
pub type SharedEventBackend = Arc<dyn EventBackend>;

const RETRY_AFTER_S: u32 = 1;
