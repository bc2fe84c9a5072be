//! Topics and their members: joining, leaving, and the iteration of a publication.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tidegate::hub::Hub;
use tidegate::key::{ConnKey, SlotRef};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hub");
    for members in CROWDS {
        let (mut hub, mut lists) = full_topic(members);
        group.bench_function(BenchmarkId::new("leave and join", members), |bencher| {
            let mut index = 0;
            bencher.iter(|| {
                // A different member each time, not the one that joined last.
                index = (index + 7) % members;
                let list = &mut lists[index as usize];
                assert!(hub.unsubscribe(TOPIC, list));
                assert!(hub.subscribe(TOPIC, key(index), list));
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("hub");
    for members in CROWDS {
        let (hub, _) = full_topic(members);
        group.throughput(Throughput::Elements(u64::from(members)));
        group.bench_function(BenchmarkId::new("walk", members), |bencher| {
            bencher.iter(|| {
                for member in hub.members(TOPIC) {
                    black_box(member.key);
                }
            });
        });
    }
    group.finish();
    criterion.bench_function("hub/leave all of 10 topics", |bencher| {
        let names: Vec<String> = (0..10).map(|number| format!("topic {number}")).collect();
        let mut hub = Hub::default();
        let mut others = SlotRef::NONE;
        for name in &names {
            hub.subscribe(name, key(0), &mut others);
        }
        let mut list = SlotRef::NONE;
        bencher.iter(|| {
            for name in &names {
                hub.subscribe(name, key(1), &mut list);
            }
            hub.unsubscribe_all(&mut list);
        });
    });
}

/// A topic with `members` members, and their lists.
fn full_topic(members: u32) -> (Hub, Vec<SlotRef>) {
    let mut hub = Hub::default();
    let mut lists = vec![SlotRef::NONE; members as usize];
    for (index, list) in (0..).zip(&mut lists) {
        hub.subscribe(TOPIC, key(index), list);
    }
    (hub, lists)
}

fn key(index: u32) -> ConnKey {
    ConnKey { index, generation: 1 }
}

const CROWDS: [u32; 3] = [10, 1_000, 100_000];
const TOPIC: &str = "lobby";
