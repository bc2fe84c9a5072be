//! What a broker says, on its way to the loops: bounded by a number of events, and by their bytes.
//!
//! A thousand publications of a megabyte are a gigabyte, where loops are slower than the broker for a moment. So an
//! event takes room for as long as it waits here, or at a loop; without room the adapter waits, and takes no more
//! of what it is sent meanwhile.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::channels::remote::BrokerEvent;

/// Takes what the broker says.
#[derive(Clone, Debug)]
pub struct EventSender {
    sender: Sender<QueuedEvent>,
    /// In units of [`UNIT_BYTES`].
    room: Arc<Semaphore>,
}

/// Gives it out, in order.
#[derive(Debug)]
pub struct EventReceiver(Receiver<QueuedEvent>);

/// What the broker has said, and the room that it takes until that is dropped.
#[derive(Debug)]
pub struct QueuedEvent {
    /// What it has said.
    pub event: BrokerEvent,
    /// `None` for what is small.
    pub room: Option<OwnedSemaphorePermit>,
}

/// No event is taken any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no event is taken any more")]
pub struct EventsClosed;

/// A queue of up to this many events.
#[must_use]
pub fn event_queue(events_max: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = channel(events_max);
    let room = Arc::new(Semaphore::new(ROOM_UNITS as usize));
    (EventSender { sender, room }, EventReceiver(receiver))
}

impl EventSender {
    /// Adds an event, as soon as there is room.
    ///
    /// # Errors
    /// If no event is taken any more.
    pub async fn send(&self, event: BrokerEvent) -> Result<(), EventsClosed> {
        let room = match units(&event) {
            0 => None,
            units => {
                let permit = Arc::clone(&self.room).acquire_many_owned(units);
                tokio::select! {
                    permit = permit => permit.ok(),
                    () = self.sender.closed() => return Err(EventsClosed),
                }
            }
        };
        self.sender.send(QueuedEvent { event, room }).await.map_err(|_| EventsClosed)
    }
}

impl EventReceiver {
    /// The next event; `None` if there are no more.
    pub async fn recv(&mut self) -> Option<QueuedEvent> {
        self.0.recv().await
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<QueuedEvent> {
        self.0.try_recv().ok()
    }
}

/// What an event takes. One that is larger than all of the room takes all of it.
fn units(event: &BrokerEvent) -> u32 {
    let bytes = match event {
        BrokerEvent::Live { payload, .. }
        | BrokerEvent::Note(_, payload)
        | BrokerEvent::Told(payload) => payload.len(),
        BrokerEvent::Read(_, Ok(batch)) => batch.entries.iter().map(|(_, own)| own.len()).sum(),
        BrokerEvent::Read(_, Err(_))
        | BrokerEvent::Up
        | BrokerEvent::Down
        | BrokerEvent::Subscribed(_)
        | BrokerEvent::Published(..)
        | BrokerEvent::Removed(..)
        | BrokerEvent::Positions(..) => 0,
    };
    u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).min(ROOM_UNITS)
}

/// What is smaller is bounded by the number of events.
const UNIT_BYTES: usize = 1024;
/// The room that events have: 32 MiB.
const ROOM_UNITS: u32 = 32 << 10;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_taken(sender: &EventSender, bytes: usize) -> bool {
        let event = BrokerEvent::Told(vec![1; bytes]);
        let mut context = Context::from_waker(Waker::noop());
        matches!(pin!(sender.send(event)).poll(&mut context), Poll::Ready(Ok(())))
    }

    #[test]
    fn events_wait_for_room_in_bytes_until_those_before_are_done() {
        let (sender, mut receiver) = event_queue(100);
        let taken = (0..100).filter(|_| is_taken(&sender, 1 << 20)).count();
        assert_eq!(taken, 32);
        assert!(is_taken(&sender, 100), "what is small is bounded by its number");
        // What was taken out has its room as long as it is worked on.
        let first = receiver.try_recv().unwrap();
        assert!(!is_taken(&sender, 1 << 20));
        drop(first);
        assert!(is_taken(&sender, 1 << 20) && !is_taken(&sender, 1 << 20));
        while receiver.try_recv().is_some() {}
        assert!(is_taken(&sender, 100 << 20), "one that is larger than all of the room goes alone");
        assert!(!is_taken(&sender, 1 << 20));
    }

    #[test]
    fn who_waits_for_room_learns_that_no_event_is_taken_any_more() {
        let (sender, receiver) = event_queue(100);
        while is_taken(&sender, 16 << 20) {}
        drop(receiver);
        let event = BrokerEvent::Told(vec![1; 1 << 20]);
        let mut context = Context::from_waker(Waker::noop());
        let sent = pin!(sender.send(event)).poll(&mut context);
        assert_eq!(sent, Poll::Ready(Err(EventsClosed)));
    }
}
