//! The table against one that forgets nothing and has no bound.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher};
use std::net::Ipv4Addr;
use std::rc::Rc;

use proptest::prelude::*;

use super::super::bucket::Rate;
use super::super::network::PrefixBits;
use super::*;

/// Counts how often a network is hashed, which is what the table does for each entry that it touches.
#[derive(Clone, Debug, Default)]
struct CountingHasher(Rc<Cell<u64>>);

impl BuildHasher for CountingHasher {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.set(self.0.get() + 1);
        DefaultHasher::new()
    }
}

fn table() -> Table<CountingHasher> {
    Table::new(CountingHasher::default())
}

fn client(number: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(number).into(), PrefixBits::HOST)
}

fn terms(now: u64, entries_max: usize) -> Terms {
    Terms { now: Millis(now), entries_max, is_dry_run: false }
}

fn usual_limits() -> AddressLimits {
    AddressLimits {
        connections: Rate::new(100, 400),
        failures: Rate::new(20, 80),
        connections_max: 0,
    }
}

/// What a naive twin remembers of each client.
#[derive(Default)]
struct Twin {
    connections: Bucket,
    failures: Bucket,
    answers: Bucket,
    open: u32,
}

impl Twin {
    fn connect(&mut self, limits: AddressLimits, now: Millis) -> Result<(), (AddressReason, bool)> {
        let reason = if limits.connections_max > 0 && self.open >= limits.connections_max {
            AddressReason::Open
        } else if self.failures.wait_ns(limits.failures, now) > 0 {
            AddressReason::Failures
        } else if self.connections.take(limits.connections, now).is_err() {
            AddressReason::Rate
        } else {
            self.open += 1;
            return Ok(());
        };
        Err((reason, self.answers.take(limits.answers(), now).is_err()))
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(u32),
    Release(usize),
    Fail(usize),
    Pass(u64),
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u32..6).prop_map(Step::Connect),
        4 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Fail),
        2 => (0_u64..3000).prop_map(Step::Pass),
        1 => Just(Step::Trim),
    ]
}

/// The list of idle entries is whole, and holds those without open connections.
fn check_idle<S: BuildHasher>(table: &Table<S>) -> Result<(), TestCaseError> {
    let listed: Vec<u32> = table.idle().map(|(number, _)| number).collect();
    prop_assert_eq!(listed.len(), table.idle.count);
    for (index, entry) in &table.entries {
        let is_listed = listed.contains(&slot_number(index));
        prop_assert_eq!(is_listed, entry.open == 0);
        prop_assert_eq!(entry.is_idle, is_listed);
        prop_assert_eq!(table.find(entry.network), Some(slot_number(index)));
    }
    prop_assert_eq!(table.by_network.len(), table.entries.len());
    let newest = listed.last().map_or(SlotRef::NONE, |number| SlotRef::to(*number));
    prop_assert_eq!(table.idle.newest, newest);
    Ok(())
}

proptest! {
    /// What is forgotten makes no difference.
    #[test]
    fn verdicts_are_those_of_a_table_that_forgets_nothing(
        steps in prop::collection::vec(step(), 1..300),
        (per_s, burst) in (0_u32..20, 1_u32..6),
        (failures_per_s, connections_max) in (0_u32..5, 0_u32..4),
    ) {
        let limits = AddressLimits {
            connections: Rate::new(per_s, burst),
            failures: Rate::new(failures_per_s, 2),
            connections_max,
        };
        let (mut own, mut twins) = (table(), HashMap::<u32, Twin>::new());
        let (mut open, mut now): (Vec<(u32, u32)>, u64) = (Vec::new(), 0);
        for step in steps {
            let at = Millis(now);
            match step {
                Step::Connect(number) => {
                    let counted = own.connect(client(number), limits, terms(now, 100)).unwrap();
                    let expected = twins.entry(number).or_default().connect(limits, at);
                    let refusal = counted.refusal.map(|own| (own.reason, own.is_silent));
                    prop_assert_eq!(refusal, expected.err());
                    if refusal.is_none() {
                        open.push((counted.number, number));
                    }
                }
                Step::Release(index) if !open.is_empty() => {
                    let (entry, number) = open.swap_remove(index % open.len());
                    prop_assert_eq!(own.release(entry, at), None);
                    twins.entry(number).or_default().open -= 1;
                }
                Step::Fail(index) if !open.is_empty() => {
                    let (entry, number) = open[index % open.len()];
                    own.note_failure(entry, limits, at);
                    twins.entry(number).or_default().failures.spend(limits.failures, at);
                }
                Step::Release(_) | Step::Fail(_) => {}
                Step::Pass(ms) => now += ms,
                Step::Trim => {
                    let due = own.trim(at, usize::MAX).due;
                    prop_assert!(due.is_none_or(|due| due > at));
                    prop_assert_eq!(due.is_some(), own.idle.count > 0);
                    // It may be asked earlier than something can go, and never later.
                    let settled_at = own.idle().map(|(_, entry)| entry.settled_at()).min();
                    prop_assert!(due <= settled_at);
                }
            }
            check_idle(&own)?;
        }
        for (entry, _) in open {
            own.release(entry, Millis(now));
        }
        // A day later nothing is left to remember.
        let is_left = |_| own.trim(Millis(now + 86_400_000), 7).due.is_some();
        prop_assert!(!(0..1000).all(is_left));
        prop_assert_eq!((own.len(), own.bytes()), (0, 0));
    }
}

#[test]
fn an_entry_has_64_bytes() {
    let mut table = table();
    table.connect(client(1), usual_limits(), terms(0, 10)).unwrap();
    let entries = table.entries.capacity() * 64;
    assert_eq!(table.bytes() - table.by_network.allocation_size(), entries);
    /// The same shape as the slab's own entry.
    #[expect(dead_code, reason = "only its size is asked for")]
    enum Slot {
        Vacant(usize),
        Occupied(Entry),
    }
    assert_eq!(size_of::<Slot>(), 64);
}

/// A million addresses: the table stays as small as it may be, touches no more entries for the last than
/// for the first, and forgets no client that is there.
#[test]
fn a_flood_of_addresses_neither_grows_the_table_nor_pushes_anyone_out() {
    let limits = usual_limits();
    let mut own = table();
    let hashed = Rc::clone(&own.hasher.0);
    let staying: Vec<(u32, u32)> = (0..100)
        .map(|number| (number, own.connect(client(number), limits, terms(0, MAX)).unwrap().number))
        .collect();
    // One of them has used up its rate.
    let counted = |own: &mut Table<_>| own.connect(client(7), limits, terms(0, MAX)).unwrap();
    for _ in 1..400 {
        let greedy = counted(&mut own);
        assert_eq!(greedy.refusal, None);
    }
    assert!(counted(&mut own).refusal.is_some());
    let mut most = 0;
    for address in 1000..1_001_000_u32 {
        // 20 come in each millisecond, and each leaves at once.
        let now = u64::from(address - 1000) / 20;
        let before = hashed.get();
        if let Some(counted) = own.connect(client(address), limits, terms(now, MAX)) {
            own.release(counted.number, Millis(now));
        }
        assert!(own.len() <= MAX);
        most = most.max(hashed.get() - before);
    }
    // An insertion, and the removal of those that were looked at; while the table is still growing, every
    // entry is hashed once more, each time that it has doubled.
    assert!(most <= MAX as u64 + 32, "{most} hashes for one connection");
    let before = hashed.get();
    for address in 2_000_000..2_010_000_u32 {
        let now = 60_000 + u64::from(address - 2_000_000) / 20;
        let counted = own.connect(client(address), limits, terms(now, MAX)).unwrap();
        own.release(counted.number, Millis(now));
    }
    assert!(hashed.get() - before < 5 * 10_000, "{} hashes", hashed.get() - before);
    assert!(own.bytes() <= MAX * (64 + 16), "{} bytes", own.bytes());
    for (number, entry) in staying {
        assert_eq!(own.find(client(number)), Some(entry));
        own.release(entry, Millis(70_000));
    }
}

/// No client that is there gives way, and none that has something to answer for.
#[test]
fn a_full_table_has_no_room_for_newcomers() {
    let limits = usual_limits();
    let mut own = table();
    let entries: Vec<u32> = (0..10)
        .map(|number| own.connect(client(number), limits, terms(0, 10)).unwrap().number)
        .collect();
    assert_eq!(own.connect(client(10), limits, terms(0, 10)), None);
    // A failed handshake at 20 a second is remembered for 50 ms.
    own.note_failure(entries[3], limits, Millis(0));
    own.release(entries[3], Millis(0));
    assert_eq!(own.connect(client(10), limits, terms(49, 10)), None);
    assert!(own.connect(client(10), limits, terms(50, 10)).is_some());
    assert_eq!((own.len(), own.find(client(3))), (10, None));
}

/// The oldest entries remember much: those behind them are found all the same.
#[test]
fn entries_with_much_to_remember_do_not_keep_others() {
    let limits = usual_limits();
    let mut own = table();
    for number in 0..50 {
        let entry = own.connect(client(number), limits, terms(0, 100)).unwrap().number;
        for _ in 0..80 {
            own.note_failure(entry, limits, Millis(0));
        }
        own.release(entry, Millis(0));
    }
    for number in 50..100 {
        let entry = own.connect(client(number), limits, terms(0, 100)).unwrap().number;
        own.release(entry, Millis(0));
    }
    assert_eq!(own.len(), 100);
    // 10 ms later the second half is settled, and there is room within a few tries.
    let tries = (100..110).filter(|n| own.connect(client(*n), limits, terms(20, 100)).is_some());
    assert!(tries.count() >= 5);
}

#[test]
fn a_dry_run_lets_everyone_in_and_says_who_would_not_be() {
    let limits = AddressLimits { connections_max: 2, ..AddressLimits::default() };
    let mut own = table();
    let dry = Terms { is_dry_run: true, ..terms(0, 10) };
    let connect = |own: &mut Table<_>| own.connect(client(1), limits, dry).unwrap();
    let refused: Vec<bool> = (0..4).map(|_| connect(&mut own).refusal.is_some()).collect();
    assert_eq!(refused, [false, false, true, true]);
    assert_eq!(own.uses().next().map(|own| own.open), Some(4));
}

const MAX: usize = 4096;
