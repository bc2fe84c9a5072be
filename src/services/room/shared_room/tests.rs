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
    /// Whether it reads on from where it is. Without that it tells nothing.
    is_heard: bool,
    /// What is to come to its end before it reads on.
    job: Option<Job>,
}

#[derive(Debug)]
enum Job {
    Read(ListPart),
    Tell(Telling),
    Abort(Vec<Peer>),
    Remove(u64),
}

struct Model {
    gateways: Vec<Gateway>,
    stream: Vec<Entry>,
    now: u64,
    /// Members in one part of a list.
    part_max: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, u8, bool),
    /// A member without a name takes one.
    Name(usize, u8, u8),
    Leave(usize, u8),
    /// This number of steps of a gateway, each with this allowance: of what is under way, or else it reads an entry.
    Read(usize, u8, u64),
    Away(usize, bool),
    /// A gateway loses what it has not read, and what is said until it is heard.
    Lose(usize),
    Hear(usize),
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
            is_heard: true,
            job: None,
        };
        let gateways = (0..count as u64).map(gateway).collect();
        Self { gateways, stream: Vec::new(), now: 1, part_max: PART_MAX }
    }

    /// Says something; what is refused makes the gateway tell all later.
    fn say(&mut self, at: usize, entry: Entry, of: Option<Peer>) {
        let own = &mut self.gateways[at];
        if own.is_away {
            own.is_due = true;
            let mut changes = Vec::new();
            if let Some(peer) = of {
                own.room.abort_wait(peer, &mut changes);
            }
            return self.take(at, changes);
        }
        self.stream.push(entry);
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
                    self.say(at, left, None);
                }
                RoomChange::Asked => self.tell(at, false),
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
            Step::Enter(at, name, is_named) => {
                let index = self.gateways[at].next;
                self.gateways[at].next += 1;
                self.enter(at, index, is_named.then_some(name));
            }
            Step::Name(at, which, name) => {
                let members = self.gateways[at].members.iter();
                let unnamed: Vec<u32> =
                    members.filter(|(_, own)| own.is_none()).map(|(index, _)| *index).collect();
                if !unnamed.is_empty() {
                    self.enter(at, unnamed[usize::from(which) % unnamed.len()], Some(name));
                }
            }
            Step::Leave(at, which) => {
                let own = &mut self.gateways[at];
                let count = own.members.len().max(1);
                let Some(index) = own.members.keys().nth(usize::from(which) % count).copied()
                else {
                    return;
                };
                own.members.remove(&index);
                let entry = own.room.leave(peer(index)).unwrap();
                if own.is_heard {
                    self.say(at, entry, None);
                }
            }
            Step::Read(at, count, units) => (0..count).for_each(|_| self.go_on(at, units)),
            Step::Away(at, is_away) => self.gateways[at].is_away = is_away,
            Step::Lose(at) => {
                self.finish(at);
                let own = &mut self.gateways[at];
                own.is_heard = false;
                own.is_due = true;
                own.job = Some(Job::Abort(own.room.peers(&mut all())));
            }
            Step::Hear(at) => {
                self.finish(at);
                let own = &mut self.gateways[at];
                if !own.is_heard && !own.is_away {
                    own.is_heard = true;
                    own.read = self.stream.len();
                    self.tell(at, true);
                }
            }
            Step::Forget(at, node) => {
                self.finish(at);
                self.gateways[at].job = Some(Job::Remove(node as u64));
            }
            Step::Tick(at) => self.tick(at),
        }
    }

    fn enter(&mut self, at: usize, index: u32, name: Option<u8>) {
        let name: Option<Arc<str>> = name.map(|name| format!("n{}", name % 4).into());
        let own = &mut self.gateways[at];
        // The home replaces its own holder.
        own.members.retain(|_, other| other.is_none() || *other != name);
        own.members.insert(index, name.clone());
        let mut changes = Vec::new();
        let login = (true, false, self.now);
        let Entered { entry, left, .. } =
            own.room.enter(peer(index), name.as_ref(), login, &mut changes);
        if !own.is_heard {
            own.room.hold(peer(index));
            return self.take(at, changes);
        }
        self.take(at, changes);
        self.say(at, entry, Some(peer(index)));
        if let Some(left) = left {
            self.say(at, left, None);
        }
    }

    /// Goes on with what is under way, or reads what comes next.
    fn go_on(&mut self, at: usize, units: u64) {
        let (own, mut allowance) = (&mut self.gateways[at], Allowance::new(units));
        let mut changes = Vec::new();
        match own.job.take() {
            Some(Job::Read(mut part)) => {
                if !own.room.take_part(&mut part, true, &mut allowance, &mut changes) {
                    own.job = Some(Job::Read(part));
                }
            }
            Some(Job::Tell(mut telling)) => {
                let entries = own.room.tell(&mut telling, &mut allowance);
                own.job = (!telling.is_done()).then_some(Job::Tell(telling));
                entries.into_iter().for_each(|(of, entry)| self.say(at, entry, of));
                return;
            }
            Some(Job::Abort(mut peers)) => {
                if !own.room.abort_waits(&mut peers, &mut allowance, &mut changes) {
                    own.job = Some(Job::Abort(peers));
                }
            }
            Some(Job::Remove(node)) => {
                if !own.room.on_gone(node, &mut allowance, &mut changes) {
                    own.job = Some(Job::Remove(node));
                }
            }
            None => {
                let entry = self.stream.get(own.read);
                let Some(entry) = entry.filter(|_| own.is_heard && !own.is_away) else { return };
                own.read += 1;
                own.job = own.room.on_entry(entry.clone(), true, &mut changes).map(Job::Read);
            }
        }
        self.take(at, changes);
    }

    /// What is under way comes to its end.
    fn finish(&mut self, at: usize) {
        while self.gateways[at].job.is_some() {
            self.go_on(at, u64::MAX);
        }
    }

    fn tell(&mut self, at: usize, asks: bool) {
        let telling = Telling { part_max: self.part_max, ..Telling::new(asks) };
        self.gateways[at].job = Some(Job::Tell(telling));
    }

    fn tick(&mut self, at: usize) {
        let own = &mut self.gateways[at];
        if own.is_due && own.is_heard && !own.is_away && own.job.is_none() {
            own.is_due = false;
            self.tell(at, true);
        }
    }

    /// All come back, and read until nothing more is said.
    fn settle(&mut self) {
        self.gateways.iter_mut().for_each(|own| own.is_away = false);
        (0..self.gateways.len()).for_each(|at| self.step(&Step::Hear(at)));
        for _ in 0..100 {
            for at in 0..self.gateways.len() {
                self.tick(at);
                while self.gateways[at].job.is_some() || self.gateways[at].read < self.stream.len()
                {
                    self.go_on(at, 2_000);
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
            assert!(own.room.others.values().all(|own| own.unlisted.is_empty()));
        }
    }
}

/// For what is done in one step.
fn all() -> Allowance {
    Allowance::new(u64::MAX)
}

fn step(count: usize) -> impl Strategy<Value = Step> {
    let at = 0..count;
    prop_oneof![
        6 => (at.clone(), any::<u8>(), prop::bool::weighted(0.8))
            .prop_map(|(at, name, is_named)| Step::Enter(at, name, is_named)),
        2 => (at.clone(), any::<u8>(), any::<u8>())
            .prop_map(|(at, which, name)| Step::Name(at, which, name)),
        3 => (at.clone(), any::<u8>()).prop_map(|(at, which)| Step::Leave(at, which)),
        12 => (at.clone(), 1_u8..8, prop_oneof![Just(1), 1_u64..6_000, Just(u64::MAX)])
            .prop_map(|(at, count, units)| Step::Read(at, count, units)),
        2 => (at.clone(), any::<bool>()).prop_map(|(at, is_away)| Step::Away(at, is_away)),
        1 => at.clone().prop_map(Step::Lose),
        2 => at.clone().prop_map(Step::Hear),
        1 => (at.clone(), at.clone())
            .prop_filter("it does not forget itself", |(at, node)| at != node)
            .prop_map(|(at, node)| Step::Forget(at, node)),
        3 => at.prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn in_the_end_all_gateways_know_the_same_members(
        steps in prop::collection::vec(step(3), 0..80),
        part_max in prop_oneof![1_usize..4, Just(PART_MAX)],
    ) {
        let mut model = Model::new(3);
        model.part_max = part_max;
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
    let mut enter = |at: usize, index| {
        let login = (true, true, 1);
        rooms[at].enter(peer(index), Some(&bob), login, &mut Vec::new()).entry
    };
    let (first, second) = (enter(0, 7), enter(1, 9));
    let say = |node, index| Entry::Say {
        node,
        key: MemberKey::of(peer(index)),
        name: "bob".into(),
        text: "hi".into(),
    };
    let entries = [first, say(0, 7), second, say(0, 7), say(1, 9)];
    let said = rooms.map(|mut room| {
        let mut changes = Vec::new();
        entries
            .iter()
            .for_each(|entry| assert!(room.on_entry(entry.clone(), true, &mut changes).is_none()));
        changes.iter().filter(|own| matches!(own, RoomChange::Said { .. })).count()
    });
    assert_eq!(said, [2, 2]);
}

/// All that a gateway says of its members.
fn told(room: &mut SharedRoom, mut telling: Telling) -> Vec<Entry> {
    let mut entries = Vec::new();
    while !telling.is_done() {
        let told = room.tell(&mut telling, &mut all());
        entries.extend(told.into_iter().map(|(_, entry)| entry));
    }
    entries
}

/// What comes of an entry in steps that each may do this much, and how many that takes.
fn read(room: &mut SharedRoom, entry: &Entry, units: u64) -> (Vec<RoomChange>, usize) {
    let (mut changes, mut steps) = (Vec::new(), 0);
    let part = room.on_entry(Entry::parse(&entry.to_bytes()).unwrap(), true, &mut changes);
    if let Some(mut part) = part {
        loop {
            steps += 1;
            if room.take_part(&mut part, true, &mut Allowance::new(units), &mut changes) {
                break;
            }
        }
    }
    (changes, steps)
}

fn enter(room: &mut SharedRoom, index: u32) -> Entry {
    let name: Arc<str> = index.to_string().into();
    room.enter(peer(index), Some(&name), (true, false, 1), &mut Vec::new()).entry
}

/// The names that have come and gone.
fn comings(changes: &[RoomChange]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut come, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        match change {
            RoomChange::Entered { name: Some(name), .. } => assert!(come.insert(&**name)),
            RoomChange::Left { name: Some(name), .. } => assert!(gone.insert(&**name)),
            RoomChange::Entered { name: None, .. }
            | RoomChange::Left { name: None, .. }
            | RoomChange::Named { .. }
            | RoomChange::Replaced(_)
            | RoomChange::Granted(_)
            | RoomChange::Said { .. }
            | RoomChange::Noticed { .. }
            | RoomChange::Asked
            | RoomChange::Doubted
            | RoomChange::Watch(_) => {}
        }
    }
    (come, gone)
}

#[test]
fn a_list_of_many_comes_in_parts() {
    let mut rooms = [0, 1].map(SharedRoom::new);
    (0..450).for_each(|index| drop(enter(&mut rooms[0], index)));
    let parts = told(&mut rooms[0], Telling::new(true));
    assert_eq!(parts.len(), 3);
    let (mut changes, mut steps) = (Vec::new(), 0);
    for part in &parts {
        let (more, count) = read(&mut rooms[1], part, 20 * MEMBER_WORK);
        // Those whom it names are at once held for listed.
        assert!(more.iter().filter(|own| matches!(own, RoomChange::Entered { .. })).count() > 0);
        changes.extend(more);
        steps += count;
    }
    assert_eq!((comings(&changes).0.len(), changes.last()), (450, Some(&RoomChange::Asked)));
    assert!(steps > 20, "{steps} steps");
    // Again, nothing is new.
    for part in told(&mut rooms[0], Telling::new(false)) {
        assert_eq!(read(&mut rooms[1], &part, u64::MAX), (Vec::new(), 1));
    }
    let (mut changes, mut steps) = (Vec::new(), 1);
    while !rooms[1].on_gone(0, &mut Allowance::new(20 * MEMBER_WORK), &mut changes) {
        steps += 1;
        assert!(changes.len() <= steps * 20);
    }
    assert_eq!((comings(&changes).1.len(), changes.last()), (450, Some(&RoomChange::Doubted)));
    assert!(rooms[1].others.is_empty() && rooms[1].holders.is_empty());
}

/// Who comes between two parts is in none, and who leaves may be in none: they say so themselves.
#[test]
fn members_come_and_go_between_the_parts_of_a_list() {
    let mut rooms = [0, 1].map(SharedRoom::new);
    for index in 0..30 {
        let joined = enter(&mut rooms[0], index);
        read(&mut rooms[1], &joined, u64::MAX);
    }
    // Of one that is gone it is not heard that it is.
    rooms[0].leave(peer(29)).unwrap();
    let mut telling = Telling { part_max: 7, ..Telling::new(false) };
    let (mut changes, mut next) = (Vec::new(), 30);
    while !telling.is_done() {
        let [(None, part)] = &rooms[0].tell(&mut telling, &mut all())[..] else { panic!() };
        changes.extend(read(&mut rooms[1], part, 1).0);
        if telling.is_done() {
            break;
        }
        let joined = enter(&mut rooms[0], next);
        let left = rooms[0].leave(peer(next - 30)).unwrap();
        for entry in [joined, left] {
            let (more, _) = read(&mut rooms[1], &entry, 1);
            assert_eq!(more.len(), 1, "told at once");
            changes.extend(more);
        }
        next += 1;
    }
    assert_eq!(next, 34);
    let names = |range: std::ops::Range<u32>| range.map(|own| own.to_string()).collect::<Vec<_>>();
    let (come, gone) = comings(&changes);
    assert!(come.into_iter().eq(names(30..34)));
    assert!(
        gone.into_iter()
            .eq([names(0..1), names(1..2), names(2..3), names(29..30), names(3..4)].concat())
    );
    assert_eq!(rooms[1].others[&0].members.len(), rooms[0].own.len());
    assert!(rooms[1].others[&0].unlisted.is_empty());
}

/// The next list says who is here, however much of the one before was heard.
#[test]
fn a_list_that_ends_early_is_forgotten() {
    for (heard, units) in (0..4).flat_map(|heard| [(heard, 1), (heard, u64::MAX)]) {
        let mut rooms = [0, 1].map(SharedRoom::new);
        for index in 0..30 {
            let joined = enter(&mut rooms[0], index);
            read(&mut rooms[1], &joined, u64::MAX);
        }
        let mut telling = Telling { part_max: 7, ..Telling::new(false) };
        for _ in 0..heard {
            let [(None, part)] = &rooms[0].tell(&mut telling, &mut all())[..] else { panic!() };
            assert_eq!(comings(&read(&mut rooms[1], part, units).0).1.len(), 0);
        }
        (0..15).for_each(|index| drop(rooms[0].leave(peer(index)).unwrap()));
        let mut changes = Vec::new();
        for part in told(&mut rooms[0], Telling { part_max: 4, ..Telling::new(false) }) {
            changes.extend(read(&mut rooms[1], &part, units).0);
        }
        let (come, gone) = comings(&changes);
        assert_eq!((come.len(), gone.len()), (0, 15));
        // The end of a list alone does not say that any is gone.
        let mut parts = told(&mut rooms[0], Telling { part_max: 4, ..Telling::new(false) });
        assert_eq!(read(&mut rooms[1], &parts.pop().unwrap(), units).0, []);
        assert_eq!(rooms[1].others[&0].members.len(), 15);
    }
}

/// The first word of a gateway has the members in a list that others are to compare by time, and those that came
/// since behind it.
#[test]
fn who_is_held_is_told_once_behind_the_list() {
    let mut room = SharedRoom::new(0);
    (0..10).for_each(|index| drop(enter(&mut room, index)));
    let mut peers = room.peers(&mut all());
    while !room.abort_waits(&mut peers, &mut Allowance::new(1), &mut Vec::new()) {}
    for index in 10..20 {
        enter(&mut room, index);
        room.hold(peer(index));
    }
    let mut telling = Telling { part_max: 6, ..Telling::new(true) };
    let mut entries = room.tell(&mut telling, &mut Allowance::new(1));
    // These say so themselves.
    enter(&mut room, 18);
    drop(room.leave(peer(19)));
    while !telling.is_done() {
        entries.extend(room.tell(&mut telling, &mut Allowance::new(1)));
    }
    let (mut listed, mut joined) = (BTreeSet::new(), BTreeSet::new());
    for (of, entry) in entries {
        match entry {
            Entry::Here { members, .. } => {
                assert!(joined.is_empty() && of.is_none());
                members.iter().for_each(|own| assert!(listed.insert(own.key.peer().key.index)));
            }
            Entry::Joined { member, .. } => {
                assert_eq!(of, Some(member.key.peer()));
                assert!(joined.insert(member.key.peer().key.index));
            }
            Entry::Say { .. } | Entry::Notice { .. } | Entry::Left { .. } => panic!("{entry:?}"),
        }
    }
    listed.remove(&18);
    assert!(listed.into_iter().eq(0..10));
    assert!(joined.into_iter().eq(10..18));
}

/// Who is not listed yet counts as it did before the list began.
#[test]
fn a_name_has_its_holder_while_a_list_is_heard() {
    let mut room = SharedRoom::new(1);
    let bob: Arc<str> = "bob".into();
    let member = |index, name: Option<&str>, since| Listed {
        key: MemberKey::of(peer(index)),
        name: name.map(Into::into),
        since,
    };
    let here = |node, members: &[Listed], [is_first, is_last]: [bool; 2]| {
        let members = members.to_vec();
        Entry::Here { node, is_first, is_last, asks: false, members }
    };
    let known = [member(1, Some("bob"), 100), member(2, None, 100)];
    read(&mut room, &here(2, &known, [true, true]), u64::MAX);
    read(&mut room, &here(2, &[], [true, false]), u64::MAX);
    // The earlier of two by their times is passed over.
    let (changes, _) =
        read(&mut room, &here(3, &[member(3, Some("bob"), 50)], [true, true]), u64::MAX);
    assert_eq!(changes, [RoomChange::Watch(3), RoomChange::Doubted]);
    // A name is taken by one that is known, whether the list has named it or not.
    let ann = Entry::Joined { node: 2, member: member(2, Some("ann"), 110) };
    let named = RoomChange::Named { name: "ann".into(), is_told: true };
    assert_eq!(read(&mut room, &ann, 1).0, [named]);
    let (changes, _) =
        read(&mut room, &here(2, &[member(2, Some("ann"), 110)], [false, false]), u64::MAX);
    assert_eq!(changes, []);
    // One that is to be told here comes later than what is heard, and replaces it.
    let entered = room.enter(peer(9), Some(&bob), (true, false, 1), &mut Vec::new());
    room.hold(peer(9));
    assert_eq!((entered.elsewhere, room.own[&peer(9)].since), (1, 101));
    let again = Entry::Joined { node: 3, member: member(3, Some("bob"), 200) };
    assert_eq!(read(&mut room, &again, 1).0, []);
    assert_eq!(room.own[&peer(9)].since, 201);
    assert_eq!(read(&mut room, &here(2, &[], [false, true]), 1).0, []);
    assert_eq!(room.others[&2].members.len(), 1);
}

proptest! {
    #[test]
    fn whatever_is_read_is_borne(bytes: Vec<u8>, text in "\\PC{0,60}") {
        let mut room = SharedRoom::new(1);
        for bytes in [&bytes[..], text.as_bytes()] {
            if let Some(entry) = Entry::parse(bytes) {
                read(&mut room, &entry, 1);
            }
        }
    }
}
