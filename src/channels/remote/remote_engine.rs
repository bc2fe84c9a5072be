//! The end of a shared engine in a loop: questions go out, and answers find what they are for.

use std::sync::Arc;

use slab::Slab;

use super::broker::{BrokerCommand, Retention};
use super::on_its_way::{Charged, EngineRoom};
use super::question::{EngineAction, EngineQuestion, JoinRead, Port, PortEvent};
use crate::channels::{
    Change, ClientInfo, Engine, EngineError, EngineEvent, JoinRequest, Namespace, PageRequest,
    PublishRequest, Published,
};
use crate::key::slot_number;
use crate::timer::Millis;

/// An engine that several gateways share. What it asks is taken out by [`RemoteEngine::take_questions`], and
/// what comes of that is given to [`RemoteEngine::on_event`].
#[derive(Debug)]
pub struct RemoteEngine<C> {
    port: Port,
    waiting: Slab<Waiting<C>>,
    /// Questions under way at most.
    waiting_max: usize,
    /// Tells a question from earlier ones in its place.
    generation: u32,
    questions: Vec<EngineQuestion>,
    /// For publications, of all that ask.
    room: EngineRoom,
    /// Questions that were not asked since this was taken.
    refused: u64,
}

#[derive(Debug)]
struct Waiting<C> {
    generation: u32,
    context: C,
}

impl<C> RemoteEngine<C> {
    /// One that asks nothing yet, and has up to `waiting_max` questions under way, with publications as long as there
    /// is room.
    #[must_use]
    pub fn new(port: Port, waiting_max: usize, room: EngineRoom) -> Self {
        let (waiting, questions) = (Slab::new(), Vec::new());
        Self { port, waiting, waiting_max, generation: 0, questions, room, refused: 0 }
    }

    /// Tells how it is called by those who answer.
    pub fn set_port(&mut self, port: Port) {
        self.port = port;
    }

    /// What is to be asked, in order.
    pub fn take_questions(&mut self) -> std::vec::Drain<'_, EngineQuestion> {
        self.questions.drain(..)
    }

    /// How many questions were refused since this was called last, as too many were under way, or too much.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Gives out who waits for what has come.
    pub fn on_event(&mut self, news: PortEvent, events: &mut Vec<EngineEvent<C>>) {
        let event = match news {
            PortEvent::Published(number, result) => self.take(number).map(|context| {
                EngineEvent::Published(context, result.map(|position| Published { position }))
            }),
            PortEvent::Joined(number, result) => {
                self.take(number).map(|context| EngineEvent::Joined(context, result))
            }
            PortEvent::Page(number, result) => {
                self.take(number).map(|context| EngineEvent::Page(context, result))
            }
            PortEvent::Removed(number, result) => {
                self.take(number).map(|context| EngineEvent::Removed(context, result))
            }
            PortEvent::Present(number, result) => {
                self.take(number).map(|context| EngineEvent::Present(context, result))
            }
            PortEvent::Stream(item) => Some(EngineEvent::Stream(item)),
            PortEvent::Lost(channel) => Some(EngineEvent::Lost(channel)),
            PortEvent::Member(channel, change, info) => {
                Some(EngineEvent::Member(channel, change, info))
            }
            // For those who watch nodes.
            PortEvent::Gone(_) => None,
        };
        events.extend(event);
    }

    /// Says to all nodes that a member has come or gone.
    pub fn tell_of_member(&mut self, channel: &Arc<str>, change: Change, info: ClientInfo) {
        self.say(EngineAction::Member { channel: Arc::clone(channel), change, info });
    }

    /// Asks who is in a channel, on all nodes.
    pub fn ask_for_members(
        &mut self,
        channel: &Arc<str>,
        context: C,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let action = EngineAction::Presence { channel: Arc::clone(channel) };
        if let Err(context) = self.ask(context, action, None) {
            events.push(EngineEvent::Present(context, Err(EngineError::Unavailable)));
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Asks, or gives the context back if there are too many questions under way.
    fn ask(&mut self, context: C, action: EngineAction, charged: Option<Charged>) -> Result<(), C> {
        if self.waiting.len() >= self.waiting_max {
            self.refused += 1;
            return Err(context);
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = slot_number(self.waiting.insert(Waiting { generation, context }));
        let number = u64::from(generation) << 32 | u64::from(index);
        self.questions.push(EngineQuestion { port: self.port, number, action, charged });
        Ok(())
    }

    fn say(&mut self, action: EngineAction) {
        let port = self.port;
        self.questions.push(EngineQuestion { port, number: 0, action, charged: None });
    }

    fn take(&mut self, number: u64) -> Option<C> {
        let [generation, index] = [number >> 32, number & u64::from(u32::MAX)];
        let index = usize::try_from(index).ok()?;
        self.waiting.get(index).filter(|own| u64::from(own.generation) == generation)?;
        let context = self.waiting.remove(index).context;
        if self.waiting.is_empty() && self.waiting.capacity() > WAITING_KEPT {
            self.waiting = Slab::new();
        }
        Some(context)
    }
}

impl<C> Engine<C> for RemoteEngine<C> {
    fn publish(
        &mut self,
        request: PublishRequest<'_>,
        context: C,
        _: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let Some(charged) = self.room.take(way_bytes(&request)) else {
            self.refused += 1;
            let refused = Err(EngineError::Unavailable);
            return events.push(EngineEvent::Published(context, refused));
        };
        let retention = Retention::of(request.namespace).filter(|_| !request.skips_history);
        let action = EngineAction::Publish {
            channel: Arc::clone(request.channel),
            retention,
            publication: request.publication.clone(),
            idempotency_key: request.idempotency_key.map(Box::from),
        };
        if let Err(context) = self.ask(context, action, Some(charged)) {
            events.push(EngineEvent::Published(context, Err(EngineError::Unavailable)));
        }
    }

    fn join(
        &mut self,
        request: JoinRequest<'_>,
        context: C,
        _: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let read = JoinRead { recover: request.position, mode: request.namespace.recovery_mode };
        let reads = request.is_positioned.then_some(read);
        let action = EngineAction::Join {
            channel: Arc::clone(request.channel),
            retention: Retention::of(request.namespace),
            reads,
        };
        if let Err(context) = self.ask(context, action, None) {
            events.push(EngineEvent::Joined(context, Err(EngineError::Unavailable)));
        }
    }

    fn leave(&mut self, channel: &Arc<str>) {
        self.say(EngineAction::Leave(Arc::clone(channel)));
    }

    fn page(
        &mut self,
        request: PageRequest<'_>,
        context: C,
        _: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        let PageRequest { channel, namespace, since, epoch, limit } = request;
        let Some(retention) = Retention::of(namespace) else {
            return events.push(EngineEvent::Page(context, Err(EngineError::Unavailable)));
        };
        let channel = Arc::clone(channel);
        let action = EngineAction::Page { channel, retention, since, epoch, limit };
        if let Err(context) = self.ask(context, action, None) {
            events.push(EngineEvent::Page(context, Err(EngineError::Unavailable)));
        }
    }

    fn remove(&mut self, channel: &Arc<str>, context: C, events: &mut Vec<EngineEvent<C>>) {
        let action = EngineAction::Remove { channel: Arc::clone(channel) };
        if let Err(context) = self.ask(context, action, None) {
            events.push(EngineEvent::Removed(context, Err(EngineError::Unavailable)));
        }
    }

    fn tick(&mut self, _: Millis) {}

    fn held_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting<C>>()
    }
}

impl Retention {
    /// What a namespace keeps; `None` if it keeps nothing.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Option<Self> {
        namespace.has_history().then_some(Self {
            size: namespace.history_size,
            ttl_ms: namespace.history_ttl_ms,
            meta_ttl_ms: namespace.history_meta_ttl_ms,
        })
    }
}

/// What a publication takes on its way: at one time or another it is a value, a question and a command.
fn way_bytes(request: &PublishRequest<'_>) -> usize {
    let key = request.idempotency_key.map_or(0, str::len);
    let own = request.channel.len() + request.publication.held_bytes() + key;
    size_of::<EngineQuestion>().max(size_of::<BrokerCommand>()) + own
}

/// Questions for which room is kept when none is under way.
const WAITING_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Publication;

    #[test]
    fn a_question_above_the_limit_is_refused_and_counted() {
        let (mut own, mut events) =
            (RemoteEngine::new(Port(3), 2, EngineRoom::default()), Vec::new());
        let channel: Arc<str> = "a".into();
        for context in 0..4 {
            own.remove(&channel, context, &mut events);
        }
        let refused = |own: &EngineEvent<i32>| {
            let EngineEvent::Removed(context, Err(EngineError::Unavailable)) = own else {
                panic!("{own:?}")
            };
            *context
        };
        assert_eq!(events.iter().map(refused).collect::<Vec<_>>(), [2, 3]);
        let asked: Vec<u64> = own.take_questions().map(|own| own.number).collect();
        assert_eq!((asked.len(), own.take_refused(), own.take_refused()), (2, 2, 0));
        // An answer makes room for one.
        events.clear();
        own.on_event(PortEvent::Removed(asked[0], Ok(())), &mut events);
        own.remove(&channel, 4, &mut events);
        own.remove(&channel, 5, &mut events);
        assert_eq!((events.len(), own.take_questions().len()), (2, 1));
        assert_eq!(own.take_refused(), 1);
    }

    fn publish(own: &mut RemoteEngine<u32>, bytes: usize, context: u32) -> Option<u32> {
        let mut events = Vec::new();
        let request = PublishRequest {
            channel: &"a".into(),
            namespace: &Namespace::new(""),
            publication: &Publication::new(vec![b'1'; bytes]),
            idempotency_key: None,
            skips_history: false,
        };
        own.publish(request, context, Millis(0), &mut events);
        let event = events.pop()?;
        let EngineEvent::Published(context, Err(EngineError::Unavailable)) = event else {
            panic!("{event:?}")
        };
        Some(context)
    }

    /// Thousands of publications may be under way, but not of a megabyte each.
    #[test]
    fn publications_above_the_room_of_all_loops_are_refused_and_counted() {
        let room = EngineRoom::new(4 << 20);
        let [mut one, mut other] =
            [0, 1].map(|port| RemoteEngine::new(Port(port), 1000, room.clone()));
        let refused: Vec<u32> =
            (0..4).filter_map(|number| publish(&mut one, 1 << 20, number)).collect();
        assert_eq!((refused, one.take_refused()), (vec![3], 1));
        assert_eq!(publish(&mut other, 1 << 20, 9), Some(9), "it has the same room");
        assert_eq!(other.take_refused(), 1);
        // What has no room leaves room for what is small, and waits for no answer.
        assert_eq!(publish(&mut other, 1 << 10, 10), None);
        assert_eq!((one.waiting.len(), other.waiting.len()), (3, 1));
        let asked: Vec<EngineQuestion> = one.take_questions().collect();
        assert_eq!(publish(&mut one, 1 << 20, 11), Some(11), "it is still on its way");
        drop((asked, other.take_questions()));
        assert_eq!(room.free_bytes(), 4 << 20);
        assert_eq!(publish(&mut other, 1 << 20, 12), None);
    }
}
