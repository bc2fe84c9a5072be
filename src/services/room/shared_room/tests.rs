//! Several gateways with one room, on a model of the stream that they read: one order for all, in which each is
//! somewhere. What is said may be refused, may be taken though it seems to be refused, and a gateway may lose a
//! part. When all have read what the others have said last, all know the same members, and each name has one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::key::ConnKey;

/// One gateway: its state, its connections, and how far it has read.
struct Gateway {
    room: SharedRoom,
    members: BTreeMap<u32, Option<Arc<str>>>,
    /// As the home counts them, by the changes.
    elsewhere: usize,
    names_elsewhere: BTreeMap<Arc<str>, usize>,
    read: usize,
    next: u32,
    is_due: bool,
    is_away: bool,
}

struct Model {
    gateways: Vec<Gateway>,
    stream: Vec<Entry>,
    now: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, u8, bool),
    Leave(usize, u8),
    Read(usize, u8),
    Away(usize, bool),
    /// A gateway loses what it has not read.
    Lose(usize),
    /// A gateway holds another for gone.
    Forget(usize, usize),
    Tick(usize),
}

fn peer(index: u32) -> Peer {
    Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
}

impl Model {
    fn new(count: usize) -> Self {
        let gateway = |node| Gateway {
            room: SharedRoom::new(node),
            members: BTreeMap::new(),
            elsewhere: 0,
            names_elsewhere: BTreeMap::new(),
            read: 0,
            next: 0,
            is_due: false,
            is_away: false,
        };
        let gateways = (0..count as u64).map(gateway).collect();
        Self { gateways, stream: Vec::new(), now: 1 }
    }

    /// Says something; what is refused makes the gateway tell all later.
    fn say(&mut self, at: usize, entries: Vec<Entry>, of: Option<Peer>) {
        let own = &mut self.gateways[at];
        if own.is_away {
            own.is_due = true;
            let mut changes = Vec::new();
            own.room.abort_wait(of, &mut changes);
            return self.take(at, changes);
        }
        self.stream.extend(entries);
    }

    fn take(&mut self, at: usize, changes: Vec<RoomChange>) {
        for change in changes {
            let own = &mut self.gateways[at];
            match change {
                RoomChange::Entered { name, .. } => {
                    own.elsewhere += 1;
                    if let Some(name) = name {
                        *own.names_elsewhere.entry(name).or_default() += 1;
                    }
                }
                RoomChange::Named { name, .. } => {
                    *own.names_elsewhere.entry(name).or_default() += 1;
                }
                // One that was not counted would make these less than nothing.
                RoomChange::Left { name, .. } => {
                    own.elsewhere -= 1;
                    if let Some(name) = name {
                        *own.names_elsewhere.entry(name).or_default() -= 1;
                    }
                }
                RoomChange::Replaced(peer) => {
                    assert!(own.members.remove(&peer.key.index).is_some(), "{peer} is none");
                    let left = own.room.left(peer);
                    self.say(at, vec![left], None);
                }
                RoomChange::Asked => {
                    let here = own.room.here(false, false);
                    self.say(at, here, None);
                }
                RoomChange::Doubted => own.is_due = true,
                RoomChange::Watch(_)
                | RoomChange::Granted(_)
                | RoomChange::Said { .. }
                | RoomChange::Noticed { .. } => {}
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.now += 1;
        match *step {
            Step::Enter(at, name, is_named) => self.enter(at, name, is_named),
            Step::Leave(at, which) => {
                let own = &mut self.gateways[at];
                let count = own.members.len().max(1);
                let Some(index) = own.members.keys().nth(usize::from(which) % count).copied()
                else {
                    return;
                };
                own.members.remove(&index);
                let entry = own.room.leave(peer(index)).unwrap();
                self.say(at, vec![entry], None);
            }
            Step::Read(at, count) => (0..count).for_each(|_| self.take_next(at)),
            Step::Away(at, is_away) => self.gateways[at].is_away = is_away,
            Step::Lose(at) => {
                let own = &mut self.gateways[at];
                own.read = self.stream.len();
                own.is_due = true;
                let mut changes = Vec::new();
                own.room.abort_wait(None, &mut changes);
                self.take(at, changes);
            }
            Step::Forget(at, node) => {
                let mut changes = Vec::new();
                let own = &mut self.gateways[at];
                own.is_due |= own.room.on_gone(node as u64, &mut changes);
                self.take(at, changes);
            }
            Step::Tick(at) => self.tick(at),
        }
    }

    fn enter(&mut self, at: usize, name: u8, is_named: bool) {
        let name: Option<Arc<str>> = is_named.then(|| format!("n{}", name % 4).into());
        let own = &mut self.gateways[at];
        let index = own.next;
        own.next += 1;
        // The home replaces its own holder.
        own.members.retain(|_, other| other.is_none() || *other != name);
        own.members.insert(index, name.clone());
        let mut changes = Vec::new();
        let login = (true, false, self.now);
        let (entry, _) = own.room.enter(peer(index), name.as_ref(), login, &mut changes);
        self.take(at, changes);
        self.say(at, vec![entry], Some(peer(index)));
    }

    fn take_next(&mut self, at: usize) {
        let own = &mut self.gateways[at];
        let Some(entry) = self.stream.get(own.read).filter(|_| !own.is_away) else { return };
        own.read += 1;
        let mut changes = Vec::new();
        own.room.on_entry(entry.clone(), true, &mut changes);
        self.take(at, changes);
    }

    fn tick(&mut self, at: usize) {
        let own = &mut self.gateways[at];
        if own.is_due && !own.is_away {
            own.is_due = false;
            let here = own.room.here(true, false);
            self.say(at, here, None);
        }
    }

    /// All come back, and read until nothing more is said.
    fn settle(&mut self) {
        self.gateways.iter_mut().for_each(|own| own.is_away = false);
        for _ in 0..100 {
            for at in 0..self.gateways.len() {
                self.tick(at);
                while self.gateways[at].read < self.stream.len() {
                    self.take_next(at);
                }
            }
        }
    }

    fn check(&self) {
        let all: usize = self.gateways.iter().map(|own| own.members.len()).sum();
        let mut names = BTreeSet::new();
        for own in &self.gateways {
            for name in own.members.values().flatten() {
                assert!(names.insert(name), "{name} has two holders");
            }
        }
        for own in &self.gateways {
            assert_eq!(own.elsewhere + own.members.len(), all);
            let elsewhere = own.names_elsewhere.iter().filter(|(_, count)| **count > 0);
            let known: BTreeSet<_> =
                elsewhere.map(|(name, _)| name).chain(own.members.values().flatten()).collect();
            assert_eq!(known, names);
        }
    }
}

fn step(count: usize) -> impl Strategy<Value = Step> {
    let at = 0..count;
    prop_oneof![
        6 => (at.clone(), any::<u8>(), prop::bool::weighted(0.8))
            .prop_map(|(at, name, is_named)| Step::Enter(at, name, is_named)),
        3 => (at.clone(), any::<u8>()).prop_map(|(at, which)| Step::Leave(at, which)),
        8 => (at.clone(), 1_u8..6).prop_map(|(at, count)| Step::Read(at, count)),
        2 => (at.clone(), any::<bool>()).prop_map(|(at, is_away)| Step::Away(at, is_away)),
        1 => at.clone().prop_map(Step::Lose),
        1 => (at.clone(), at.clone())
            .prop_filter("it does not forget itself", |(at, node)| at != node)
            .prop_map(|(at, node)| Step::Forget(at, node)),
        3 => at.prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn in_the_end_all_gateways_know_the_same_members(steps in prop::collection::vec(step(3), 0..60)) {
        let mut model = Model::new(3);
        for step in &steps {
            model.step(step);
        }
        model.settle();
        model.check();
    }
}

/// In the order in which logins were told, the last holds the name, whatever the clocks say.
#[test]
fn the_later_login_holds_the_name_at_once() {
    let mut model = Model::new(2);
    model.now = 1000;
    model.step(&Step::Enter(0, 1, true));
    model.settle();
    model.now = 5;
    model.step(&Step::Enter(1, 1, true));
    model.settle();
    assert!(model.gateways[0].members.is_empty());
    assert_eq!(model.gateways[1].members.len(), 1);
    model.check();
}

#[test]
fn messages_of_a_replaced_login_are_dropped_and_those_before_it_are_not() {
    let mut rooms = [0, 1].map(SharedRoom::new);
    let bob: Arc<str> = "bob".into();
    let (first, _) = rooms[0].enter(peer(7), Some(&bob), (true, true, 1), &mut Vec::new());
    let say = |node, index| Entry::Say {
        node,
        key: MemberKey::of(peer(index)),
        name: "bob".into(),
        text: "hi".into(),
    };
    let (second, _) = rooms[1].enter(peer(9), Some(&bob), (true, true, 1), &mut Vec::new());
    let entries = [first, say(0, 7), second, say(0, 7), say(1, 9)];
    let said = rooms.map(|mut room| {
        let mut changes = Vec::new();
        entries.iter().for_each(|entry| room.on_entry(entry.clone(), true, &mut changes));
        changes.iter().filter(|own| matches!(own, RoomChange::Said { .. })).count()
    });
    assert_eq!(said, [2, 2]);
}

#[test]
fn a_list_of_many_comes_in_parts() {
    let mut rooms = [0, 1].map(SharedRoom::new);
    for index in 0..450 {
        let name: Arc<str> = index.to_string().into();
        rooms[0].enter(peer(index), Some(&name), (true, false, 1), &mut Vec::new());
    }
    assert_eq!(rooms[0].unsettled().len(), 450);
    rooms[0].abort_wait(None, &mut Vec::new());
    let parts = rooms[0].here(true, false);
    assert_eq!(parts.len(), 3);
    let mut changes = Vec::new();
    for part in &parts {
        let read = Entry::parse(&part.to_bytes()).unwrap();
        assert_eq!(read, *part);
        rooms[1].on_entry(read, true, &mut changes);
    }
    let entered = changes.iter().filter(|own| matches!(own, RoomChange::Entered { .. })).count();
    assert_eq!((entered, changes.last()), (450, Some(&RoomChange::Asked)));
    let mut changes = Vec::new();
    rooms[1].on_gone(0, &mut changes);
    assert_eq!(changes.len(), 450);
}

proptest! {
    #[test]
    fn whatever_is_read_is_borne(bytes: Vec<u8>, text in "\\PC{0,60}") {
        let mut room = SharedRoom::new(1);
        for bytes in [&bytes[..], text.as_bytes()] {
            if let Some(entry) = Entry::parse(bytes) {
                room.on_entry(entry, true, &mut Vec::new());
            }
        }
    }
}
