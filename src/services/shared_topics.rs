//! What an instance of a service says to its likes on other gateways, by the engine that these share.
//!
//! A topic is a channel of a namespace that no configuration has, so no client can name it. One that keeps its
//! order is kept for a short time, as a stream is what has one order with every engine, and what was said during a
//! short cut is found there afterwards.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{EngineDelivery, RouteId, ServiceSender, SharedEngineLink};
use crate::channels::remote::{EngineAction, EngineQuestion, Port, PortEvent, RemoteEngine};
use crate::channels::{
    Engine as _, EngineEvent, JoinRequest, Namespace, Publication, PublishRequest,
};
use crate::timer::Millis;

/// The end of a shared engine in an instance of a service. What is said with a context `C` is answered with it.
pub(super) struct SharedTopics<C> {
    link: SharedEngineLink,
    /// As what it is attached; `None` before the start.
    port: Option<Port>,
    remote: RemoteEngine<Context<C>>,
    namespace: Namespace,
    events: VecDeque<TopicEvent<C>>,
    /// What the engine has said and was not taken yet, behind `events`. A delivery waits with its credit, so that
    /// the engine is held up by those who are behind.
    deliveries: VecDeque<Delivery>,
    /// Empty between two calls.
    unread: Vec<EngineEvent<Context<C>>>,
}

/// What the engine has said at once, as far as it is not taken.
struct Delivery {
    events: std::vec::IntoIter<PortEvent>,
    /// Dropped with the last of them.
    _credit: Option<Box<dyn Any + Send>>,
}

enum Context<C> {
    Hear(Arc<str>, u64),
    Say(C),
}

/// What comes of what was asked, and of what others say.
#[derive(Debug)]
pub(super) enum TopicEvent<C> {
    /// The topic is heard from now on, or cannot be: the answer to [`SharedTopics::hear`] with this number.
    Heard(Arc<str>, u64, bool),
    /// Something was said in a topic that is heard, by this gateway too.
    Said(Arc<str>, Arc<[u8]>),
    /// Something was said, or may not have been.
    Sent(C, bool),
    /// Something may be missing of what was said in a topic.
    Lost(Arc<str>),
    /// The gateway with this number is gone.
    Gone(u64),
}

impl<C> SharedTopics<C> {
    /// Topics that have one order each, or of which each gateway hears what each other says in its order.
    pub(super) fn new(link: &SharedEngineLink, keeps_order: bool) -> Self {
        let namespace =
            if keeps_order { topics_namespace() } else { Namespace::new(TOPICS_NAMESPACE) };
        Self {
            link: Arc::clone(link),
            port: None,
            remote: RemoteEngine::new(Port::default(), WAITING_MAX, link.room()),
            namespace,
            events: VecDeque::new(),
            deliveries: VecDeque::new(),
            unread: Vec::new(),
        }
    }

    /// Answers can be taken here from now on.
    pub(super) fn on_start(&mut self, sender: &ServiceSender) {
        let port = self.link.attach(sender.clone());
        self.remote.set_port(port);
        self.port = Some(port);
    }

    /// The number of this gateway, which no other has.
    pub(super) fn node(&self) -> u64 {
        self.link.node()
    }

    /// Hears a topic: [`TopicEvent::Heard`] with this number.
    pub(super) fn hear(&mut self, topic: &Arc<str>, number: u64) {
        let namespace = &self.namespace;
        // It is heard once its position is known, as what comes before that may be dropped.
        let request =
            JoinRequest { channel: topic, namespace, is_positioned: true, position: None };
        let context = Context::Hear(Arc::clone(topic), number);
        self.remote.join(request, context, Millis(0), &mut self.unread);
        self.send();
    }

    /// Hears a topic no more.
    pub(super) fn leave(&mut self, topic: &Arc<str>) {
        self.remote.leave(topic);
        self.send();
    }

    /// Says something to all that hear a topic, this instance included: [`TopicEvent::Sent`].
    pub(super) fn say(&mut self, topic: &Arc<str>, data: Vec<u8>, context: C) {
        let publication = Publication::new(data);
        let request = PublishRequest {
            channel: topic,
            namespace: &self.namespace,
            publication: &publication,
            idempotency_key: None,
            skips_history: false,
        };
        self.remote.publish(request, Context::Say(context), Millis(0), &mut self.unread);
        self.send();
    }

    /// Has [`TopicEvent::Gone`] come when this gateway is gone. To be asked again after that.
    pub(super) fn watch(&self, node: u64) {
        if let Some(port) = self.port {
            let action = EngineAction::Watch(node);
            self.link.ask(EngineQuestion { port, number: 0, action, charged: None });
        }
    }

    /// Takes what the engine says.
    pub(super) fn on_delivery(&mut self, delivery: EngineDelivery) {
        let EngineDelivery { events, credit } = delivery;
        self.deliveries.push_back(Delivery { events: events.into_iter(), _credit: credit });
    }

    /// What comes next; to be called until there is nothing, after each of the others, at once or in later turns.
    pub(super) fn next_event(&mut self) -> Option<TopicEvent<C>> {
        while self.events.is_empty() {
            match self.deliveries.front_mut()?.events.next() {
                Some(PortEvent::Gone(node)) => return Some(TopicEvent::Gone(node)),
                Some(event) => {
                    self.remote.on_event(event, &mut self.unread);
                    self.gather();
                }
                None => drop(self.deliveries.pop_front()),
            }
        }
        self.events.pop_front()
    }

    /// Whether something may come next.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.deliveries.is_empty()
    }

    fn send(&mut self) {
        for question in self.remote.take_questions() {
            self.link.ask(question);
        }
        self.link.refused(self.remote.take_refused());
        self.gather();
    }

    fn gather(&mut self) {
        for event in self.unread.drain(..) {
            let event = match event {
                EngineEvent::Stream(item) => TopicEvent::Said(item.channel, item.publication.data),
                EngineEvent::Joined(Context::Hear(topic, number), result) => {
                    TopicEvent::Heard(topic, number, result.is_ok())
                }
                EngineEvent::Published(Context::Say(context), result) => {
                    TopicEvent::Sent(context, result.is_ok())
                }
                EngineEvent::Lost(topic) => TopicEvent::Lost(topic),
                // Of other questions than are asked here.
                EngineEvent::Joined(Context::Say(_), _)
                | EngineEvent::Published(Context::Hear(..), _)
                | EngineEvent::Page(..)
                | EngineEvent::Removed(..)
                | EngineEvent::Present(..)
                | EngineEvent::Member(..) => continue,
            };
            self.events.push_back(event);
        }
    }
}

impl<C> Drop for SharedTopics<C> {
    fn drop(&mut self) {
        if let Some(port) = self.port {
            self.link.detach(port);
        }
    }
}

impl<C> fmt::Debug for SharedTopics<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SharedTopics").field("port", &self.port).finish_non_exhaustive()
    }
}

/// The topic of a name on a route, the same on all gateways that have the route. It holds every name of a room.
pub(super) fn topic(route: &RouteId, name: &str) -> Arc<str> {
    // The route may be long: two routes of one configuration do not have one hash by chance.
    let route = route.to_string();
    let route = route.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let name = URL_SAFE_NO_PAD.encode(name);
    format!("{TOPICS_NAMESPACE}:{route:016x}.{name}").into()
}

/// The namespace of topics. No configuration can have it: `@` is in none of theirs.
pub const TOPICS_NAMESPACE: &str = "@rooms";
/// Questions under way at most.
const WAITING_MAX: usize = 65_536;

/// What the engine keeps for topics that have one order: what a gateway misses in a short cut is there.
#[must_use]
pub fn topics_namespace() -> Namespace {
    Namespace {
        history_size: 100,
        history_ttl_ms: 60_000,
        history_meta_ttl_ms: 3_600_000,
        ..Namespace::new(TOPICS_NAMESPACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::ChannelName;
    use crate::services::room::NAME_BYTES_MAX;

    #[test]
    fn every_room_has_a_topic_of_its_own() {
        let routes = ["/chat", "/chat2"].map(|path| RouteId::new("room", path));
        let names = ["", "a", "A", ":", &"ä".repeat(NAME_BYTES_MAX / 2)];
        let mut topics: Vec<_> =
            routes.iter().flat_map(|route| names.map(|name| topic(route, name))).collect();
        for topic in &topics {
            let name = ChannelName::parse(topic).unwrap();
            assert_eq!((name.namespace(), name.is_private()), (TOPICS_NAMESPACE, false));
        }
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), 10);
    }
}
