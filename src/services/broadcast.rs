//! The service of `/broadcast`: every message goes unchanged to all connections, the sender
//! included.

use std::any::Any;
use std::sync::Arc;

use super::{CloseReason, Description, Effects, Message, Order, Peer, Service};
use crate::ws::EncodedFrame;

/// Sends every message to all connections of the route.
#[derive(Clone, Debug)]
pub struct Broadcast {
    everyone: Arc<str>,
    order: Order,
    /// Connections on this loop.
    members: usize,
}

impl Broadcast {
    /// A service whose messages reach the connections in this order.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self { everyone: "everyone".into(), order, members: 0 }
    }
}

impl Service for Broadcast {
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        log::debug!(connection:% = peer; "broadcast: joined");
        self.members += 1;
        effects.subscribe(peer, &self.everyone);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        log::trace!(connection:% = peer; "broadcast: sent {} bytes", message.payload().len());
        let frame = EncodedFrame::new(message.kind(), message.payload());
        effects.publish(&self.everyone, frame, self.order);
    }

    fn describe(&self, _: Peer) -> Option<Description<'_>> {
        Some(Description { user: None, room: Some("") })
    }

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        if let Ok(next) = next.downcast::<Self>() {
            self.order = next.order;
        }
    }

    fn rooms_end(&self) -> usize {
        usize::from(self.members > 0)
    }

    fn room(&self, position: usize) -> Option<(&str, usize)> {
        (position < self.rooms_end()).then_some(("", self.members))
    }

    fn publish(&mut self, room: &str, text: &str, effects: &mut Effects<'_>) -> bool {
        let is_known = room.is_empty();
        if is_known {
            effects.publish(&self.everyone, EncodedFrame::text(text), self.order);
        }
        is_known
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, _: &mut Effects<'_>) {
        log::debug!(connection:% = peer; "broadcast: left: {reason}");
        self.members -= 1;
    }
}
