//! The service of `/broadcast`: every message goes unchanged to all connections, the sender
//! included.

use std::any::Any;
use std::sync::Arc;

use super::shared_topics::{SharedTopics, TopicEvent, topic};
use super::{
    CloseReason, Description, Effects, EngineDelivery, LoopSite, Message, Order, Peer, RouteId,
    Service, ServiceMessage, ServiceSender, SharedEngineLink,
};
use crate::key::home_loop;
use crate::ws::{CloseCode, EncodedFrame, MessageKind};

/// Sends every message to all connections of the route.
#[derive(Debug)]
pub struct Broadcast {
    everyone: Arc<str>,
    order: Order,
    /// Connections on this loop.
    members: usize,
    /// Where several gateways are one; else nothing.
    shared: Option<Box<Shared>>,
}

/// What is needed where the connections are on several gateways. One loop of each speaks with the others.
#[derive(Debug)]
struct Shared {
    /// The loop that speaks with the other gateways.
    home: u16,
    route: RouteId,
    topic: Arc<str>,
    /// On the home loop.
    topics: Option<SharedTopics<Option<Peer>>>,
    is_heard: bool,
}

/// A message on its way to the other gateways.
#[derive(Debug)]
struct ToOthers {
    /// `None` for the gateway itself.
    sender: Option<Peer>,
    kind: MessageKind,
    payload: Box<[u8]>,
}

impl Broadcast {
    /// A service whose messages reach the connections in this order.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self { everyone: "everyone".into(), order, members: 0, shared: None }
    }

    /// The instance of a route on the loop at `site`, whose connections are on all gateways that share an
    /// engine.
    #[must_use]
    pub fn shared(order: Order, route: &RouteId, link: &SharedEngineLink, site: LoopSite) -> Self {
        let mut own = Self::new(order);
        let home = home_loop(&own.everyone, site.count);
        let topics = (home == site.index).then(|| SharedTopics::new(link, order == Order::Topic));
        let topic = topic(route, "");
        own.shared =
            Some(Box::new(Shared { home, route: route.clone(), topic, topics, is_heard: false }));
        own
    }

    /// Sends a message to all: with one order for all gateways when it comes back from the engine, else here at
    /// once.
    fn send(
        &self,
        sender: Option<Peer>,
        (kind, payload): (MessageKind, &[u8]),
        effects: &mut Effects<'_>,
    ) {
        if let Some(shared) = &self.shared {
            let message = ToOthers { sender, kind, payload: payload.into() };
            effects.tell(shared.home, ServiceMessage::holding(message, payload.len()));
        }
        if self.shared.is_none() || self.order == Order::Sender {
            effects.publish(&self.everyone, EncodedFrame::new(kind, payload), self.order);
        }
    }

    /// Does what comes of what was said to other gateways, and by them.
    fn take_events(&mut self, effects: &mut Effects<'_>) {
        let Some(Shared { topics: Some(topics), is_heard, route, .. }) = self.shared.as_deref_mut()
        else {
            return;
        };
        let node = topics.node();
        while let Some(event) = topics.next_event() {
            match event {
                TopicEvent::Heard(_, _, is_so) => {
                    *is_heard = is_so;
                    if is_so {
                        log::info!("route {route}: the other gateways are heard");
                    }
                }
                TopicEvent::Said(_, data) => {
                    let Some((sender, kind, payload)) = read_message(&data) else { continue };
                    // With no order among gateways, its own have it already.
                    if sender != node || self.order == Order::Topic {
                        let frame = EncodedFrame::new(kind, payload);
                        // Of this loop alone, so that its order is that of all.
                        effects.publish(&self.everyone, frame, Order::Sender);
                    }
                }
                // Its own have it, as far as it goes.
                TopicEvent::Sent(sender, false) if self.order == Order::Topic => {
                    refuse(sender, effects);
                }
                // What others said is lost to those who are here; it cannot be had again.
                TopicEvent::Sent(..) | TopicEvent::Lost(_) | TopicEvent::Gone(_) => {}
            }
        }
    }
}

/// Tells the sender of a message that others may not have got it.
fn refuse(sender: Option<Peer>, effects: &mut Effects<'_>) {
    if let Some(sender) = sender {
        effects.close(sender, CloseCode::TRY_AGAIN_LATER, "the engine is away");
    }
}

/// A message as other gateways read it: which gateway, what kind, and the payload.
fn write_message(node: u64, message: &ToOthers) -> Vec<u8> {
    let kind = match message.kind {
        MessageKind::Text => TEXT,
        MessageKind::Binary => BINARY,
    };
    [&[kind], &node.to_be_bytes()[..], &message.payload].concat()
}

/// The message that was written so; `None` if it is of another version, or none.
fn read_message(bytes: &[u8]) -> Option<(u64, MessageKind, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (node, payload) = rest.split_first_chunk()?;
    let kind = match *kind {
        TEXT if str::from_utf8(payload).is_ok() => MessageKind::Text,
        BINARY => MessageKind::Binary,
        _ => return None,
    };
    Some((u64::from_be_bytes(*node), kind, payload))
}

/// A message of another gateway written again by the gateway that has read it; `None` if it is none.
#[cfg(feature = "sim")]
#[must_use]
pub fn rewrite_broadcast_message(bytes: &[u8]) -> Option<Vec<u8>> {
    let (node, kind, payload) = read_message(bytes)?;
    Some(write_message(node, &ToOthers { sender: None, kind, payload: payload.into() }))
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// How often it is tried to hear the others.
const TICK_MS: u64 = 250;

impl Service for Broadcast {
    fn on_start(&mut self, service_sender: ServiceSender) {
        let Some(shared) = self.shared.as_deref_mut() else { return };
        if let Some(topics) = &mut shared.topics {
            topics.on_start(&service_sender);
            topics.hear(&shared.topic, 0);
        }
    }

    fn tick_ms(&self) -> Option<u64> {
        let has_topics = self.shared.as_ref().is_some_and(|own| own.topics.is_some());
        has_topics.then_some(TICK_MS)
    }

    fn is_at_rest(&self) -> bool {
        self.shared.as_ref().is_none_or(|own| own.is_heard || own.topics.is_none())
    }

    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        if let Some(Shared { topics: Some(topics), topic, is_heard: false, .. }) =
            self.shared.as_deref_mut()
        {
            topics.hear(topic, 0);
        }
        self.take_events(effects);
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        let Some(Shared { topics: Some(topics), topic, is_heard, .. }) = self.shared.as_deref_mut()
        else {
            return;
        };
        match message.downcast::<ToOthers>() {
            // It would not come back, so its own members would not have it.
            Ok(message) if !*is_heard && self.order == Order::Topic => {
                refuse(message.sender, effects);
            }
            Ok(message) => {
                let bytes = write_message(topics.node(), &message);
                topics.say(topic, bytes, message.sender);
            }
            Err(message) => {
                if let Ok(delivery) = message.downcast::<EngineDelivery>() {
                    topics.on_delivery(*delivery);
                }
            }
        }
        self.take_events(effects);
    }

    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        log::debug!(connection:% = peer; "broadcast: joined");
        self.members += 1;
        effects.subscribe(peer, &self.everyone);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        log::trace!(connection:% = peer; "broadcast: sent {} bytes", message.payload().len());
        self.send(Some(peer), (message.kind(), message.payload()), effects);
    }

    fn describe(&self, _: Peer) -> Option<Description<'_>> {
        Some(Description { user: None, room: Some("") })
    }

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        // Among gateways the order is that of the topic, which is heard already.
        if let Ok(next) = next.downcast::<Self>()
            && self.shared.is_none()
        {
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
            self.send(None, (MessageKind::Text, text.as_bytes()), effects);
        }
        is_known
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, _: &mut Effects<'_>) {
        log::debug!(connection:% = peer; "broadcast: left: {reason}");
        self.members -= 1;
    }
}
