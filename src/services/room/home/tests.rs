//! Homes of the same rooms on two gateways, with an engine between them that takes everything. Whatever a home is
//! told, a callback does no more than a step may.

use std::collections::HashSet;
use std::sync::Mutex;

use super::super::allowance::MEMBER_WORK;
use super::super::entry::{Entry, MemberKey};
use super::*;
use crate::channels::StreamItem;
use crate::channels::remote::{EngineAction, EngineQuestion, EngineRoom, Port, PortEvent};
use crate::effects::PendingEffects;
use crate::key::ConnKey;
use crate::services::shared_topics::topic;
use crate::services::{EngineLink, RouteId, SharedEngineLink};
use crate::timer::Millis;

#[derive(Debug)]
struct FakeEngine {
    node: u64,
    questions: Mutex<Vec<EngineQuestion>>,
}

impl EngineLink for FakeEngine {
    fn attach(&self, _: ServiceSender) -> Port {
        Port(0)
    }

    fn detach(&self, _: Port) {}

    fn ask(&self, question: EngineQuestion) {
        self.questions.lock().unwrap().push(question);
    }

    fn refused(&self, count: u64) {
        assert_eq!(count, 0);
    }

    fn room(&self) -> EngineRoom {
        EngineRoom::default()
    }

    fn node(&self) -> u64 {
        self.node
    }
}

struct Gateway {
    home: Home,
    engine: Arc<FakeEngine>,
    hears: HashSet<Arc<str>>,
    /// What it has said.
    said: Vec<Entry>,
    now: Millis,
    wants_tick: bool,
    /// The most that a callback was charged with.
    most: u64,
    /// The fewest members that the first room had after a callback.
    fewest: usize,
}

impl Gateway {
    fn new(node: u64) -> Self {
        let engine = Arc::new(FakeEngine { node, questions: Mutex::new(Vec::new()) });
        let shared: SharedEngineLink = Arc::<FakeEngine>::clone(&engine);
        let across = Across::new(&shared, &route(), true);
        let settings = RoomSettings { logins: Logins::One, ..RoomSettings::default() };
        let mut home = Home::new(Arc::new(settings), Some(Box::new(across)));
        home.on_start(&ServiceSender::new(Arc::new(|_| {})));
        let (hears, said) = (HashSet::new(), Vec::new());
        let (now, wants_tick, most, fewest) = (Millis(0), false, 0, usize::MAX);
        Self { home, engine, hears, said, now, wants_tick, most, fewest }
    }

    fn call(&mut self, callback: impl FnOnce(&mut Home, &mut Effects<'_>)) {
        let mut pending = PendingEffects { now: self.now, ..PendingEffects::default() };
        callback(&mut self.home, &mut Effects::detached(0, &mut pending));
        self.wants_tick |= !pending.ticks.is_empty();
        self.most = self.most.max(pending.work);
        self.fewest = self.fewest.min(self.count(0));
        let allowed = usize::try_from(2 * STEP / MEMBER_WORK).unwrap();
        assert!(pending.effects.len() <= allowed, "{} effects", pending.effects.len());
    }

    fn act(&mut self, room: usize, index: u32, action: RoomAction) {
        let room = Arc::new(RoomRef::new(&name(room), 1));
        self.call(|home, effects| {
            home.on_action(ToHome { room, peer: peer(index), action }, effects);
        });
    }

    fn enter(&mut self, room: usize, index: u32) {
        let name = Some(format!("{}.{index}", self.engine.node).into());
        let (format, subscribed_by) = (ClientFormat::Events, SubscribedBy::Home);
        self.act(room, index, RoomAction::Enter { name, format, subscribed_by });
    }

    fn take(&mut self, events: Vec<PortEvent>) {
        let delivery = EngineDelivery { events, credit: None };
        self.call(|home, effects| home.on_delivery(delivery, effects));
    }

    fn turn(&mut self) {
        self.now = self.now.plus(1);
        if std::mem::take(&mut self.wants_tick) || self.now.0.is_multiple_of(250) {
            self.call(Home::on_tick);
        }
    }

    fn is_quiet(&self) -> bool {
        let asks = !self.engine.questions.lock().unwrap().is_empty();
        !asks && !self.wants_tick && self.home.is_at_rest()
    }

    fn count(&self, room: usize) -> usize {
        self.home.rooms.get(&*name(room)).map_or(0, |own| own.roster.count())
    }

    /// Whether no callback was charged with more than a step, the part of a list that it began last, and what it has
    /// published.
    fn check(&self) {
        assert!(self.most <= 3 * STEP, "{} of {}", self.most, 3 * STEP);
    }
}

fn route() -> RouteId {
    RouteId::new("room", "/chat")
}

fn name(room: usize) -> String {
    format!("room{room:04}")
}

fn peer(index: u32) -> Peer {
    Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
}

/// The engine takes what the gateways have said, gives it to all of them, and they have a turn.
fn exchange(gateways: &mut [Gateway; 2]) {
    let mut deliveries = [Vec::new(), Vec::new()];
    for at in 0..gateways.len() {
        let questions = std::mem::take(&mut *gateways[at].engine.questions.lock().unwrap());
        for EngineQuestion { number, action, .. } in questions {
            match action {
                EngineAction::Join { channel, .. } => {
                    gateways[at].hears.insert(channel);
                    deliveries[at].push(PortEvent::Joined(number, Ok(None)));
                }
                EngineAction::Leave(channel) => drop(gateways[at].hears.remove(&channel)),
                EngineAction::Publish { channel, publication, .. } => {
                    gateways[at].said.push(Entry::parse(&publication.data).unwrap());
                    for (own, delivery) in gateways.iter().zip(&mut deliveries) {
                        let (channel, publication) = (Arc::clone(&channel), publication.clone());
                        if own.hears.contains(&channel) {
                            let item = StreamItem { channel, publication, position: None };
                            delivery.push(PortEvent::Stream(item));
                        }
                    }
                    deliveries[at].push(PortEvent::Published(number, Ok(None)));
                }
                EngineAction::Watch(_) => {}
                other @ (EngineAction::Page { .. }
                | EngineAction::Remove { .. }
                | EngineAction::Presence { .. }
                | EngineAction::Member { .. }) => panic!("{other:?}"),
            }
        }
    }
    for (own, events) in gateways.iter_mut().zip(deliveries) {
        if !events.is_empty() {
            own.take(events);
        }
        own.turn();
    }
}

/// As long as there is something to do.
fn settle(gateways: &mut [Gateway; 2]) {
    for _ in 0..100_000 {
        if gateways.iter().all(Gateway::is_quiet) {
            return;
        }
        exchange(gateways);
    }
    panic!("no end");
}

#[test]
fn no_step_is_long_however_many_members_a_gateway_has() {
    const MANY: u32 = 3_000;
    let mut gateways = [1, 2].map(Gateway::new);
    let all = MANY as usize + 1;
    gateways[1].enter(0, 0);
    settle(&mut gateways);
    // What they say before the room is heard, and while they are told to the other, follows their entries.
    (0..MANY).for_each(|index| gateways[0].enter(0, index));
    for turn in 0..200 {
        gateways[0].act(0, MANY - 1, RoomAction::Say(format!("{turn}").into()));
        exchange(&mut gateways);
    }
    settle(&mut gateways);
    assert_eq!([0, 1].map(|at| gateways[at].count(0)), [all; 2]);
    let mut told = HashSet::new();
    let mut texts = Vec::new();
    for entry in &gateways[0].said {
        match entry {
            Entry::Joined { member, .. } => drop(told.insert(member.key)),
            Entry::Here { members, .. } => told.extend(members.iter().map(|own| own.key)),
            Entry::Say { key, text, .. } => {
                assert!(told.contains(key));
                texts.push(text.parse::<u32>().unwrap());
            }
            Entry::Left { .. } | Entry::Notice { .. } => panic!("{entry:?}"),
        }
    }
    assert!(texts.into_iter().eq(0..200));
    assert_eq!(told.len(), MANY as usize);
    assert!(told.contains(&MemberKey::of(peer(0))));

    // It is only held for gone, so it is asked and says that it is not.
    gateways[1].fewest = usize::MAX;
    gateways[1].take(vec![PortEvent::Gone(1)]);
    let left = gateways[1].count(0);
    assert!((2..all).contains(&left), "{left} after one step");
    settle(&mut gateways);
    assert_eq!((gateways[1].fewest, gateways[1].count(0)), (1, all));

    // What was not heard is asked for, as all of it may have changed.
    let lost = vec![PortEvent::Lost(topic(&route(), &name(0)))];
    gateways[0].take(lost);
    (0..1_000).for_each(|index| gateways[0].act(0, index, RoomAction::Leave));
    settle(&mut gateways);
    assert_eq!([0, 1].map(|at| gateways[at].count(0)), [all - 1_000; 2]);
    gateways.iter().for_each(Gateway::check);
}

#[test]
fn no_step_is_long_however_many_rooms_have_members_of_a_gateway() {
    const ROOMS: usize = 1_000;
    let mut gateways = [1, 2].map(Gateway::new);
    for room in 0..ROOMS {
        for own in &mut gateways {
            own.enter(room, u32::try_from(room).unwrap());
        }
    }
    settle(&mut gateways);
    let counts = |own: &Gateway| (0..ROOMS).map(|room| own.count(room)).collect::<Vec<_>>();
    gateways.iter().for_each(|own| assert!(counts(own).iter().all(|count| *count == 2)));
    gateways[1].take(vec![PortEvent::Gone(1)]);
    let removed = counts(&gateways[1]).iter().filter(|count| **count == 1).count();
    assert!((1..ROOMS).contains(&removed), "{removed} in one step");
    // Some are gone before the walk comes to them, and one that comes meanwhile is not in its way.
    (900..ROOMS)
        .for_each(|room| gateways[1].act(room, u32::try_from(room).unwrap(), RoomAction::Leave));
    gateways[1].enter(ROOMS, 0);
    settle(&mut gateways);
    let expected: Vec<_> = (0..ROOMS).map(|room| if room < 900 { 2 } else { 0 }).collect();
    assert_eq!(counts(&gateways[1]), expected);
    gateways.iter().for_each(Gateway::check);
}

/// The engine says no more than a home can take: what waits keeps its credit.
#[test]
fn what_waits_keeps_its_credit() {
    let mut gateways = [1, 2].map(Gateway::new);
    gateways.iter_mut().for_each(|own| own.enter(0, 0));
    settle(&mut gateways);
    (1..2_000).for_each(|index| gateways[0].enter(0, index));
    settle(&mut gateways);
    let credit = Arc::new(());
    gateways[1].take(vec![PortEvent::Gone(1)]);
    for _ in 0..2 {
        let credit = Some(Box::new(Arc::clone(&credit)) as _);
        let events = vec![PortEvent::Lost("other".into())];
        let delivery = EngineDelivery { events, credit };
        gateways[1].call(|home, effects| home.on_delivery(delivery, effects));
    }
    assert_eq!(Arc::strong_count(&credit), 3);
    settle(&mut gateways);
    assert_eq!(Arc::strong_count(&credit), 1);
}
