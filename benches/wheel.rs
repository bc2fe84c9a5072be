//! The timer wheel with many connections in it.

mod support;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use tidegate::timer::{Tick, TimerLink, TimerLinks, Wheel};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    for count in COUNTS {
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::new("file", count), |bencher| {
            bencher.iter_batched_ref(
                || empty(count),
                |(wheel, links)| file_all(wheel, links, count),
                BatchSize::LargeInput,
            );
        });
        group.bench_function(BenchmarkId::new("file again", count), |bencher| {
            let (mut wheel, mut links) = full(count);
            bencher.iter(|| file_all(&mut wheel, &mut links, count));
        });
        group.bench_function(BenchmarkId::new("expire", count), |bencher| {
            bencher.iter_batched_ref(
                || full(count),
                |(wheel, links)| {
                    for tick in 1..=HORIZON {
                        wheel.advance(links, Tick(tick));
                        while wheel.next_overdue(links).is_some() {}
                    }
                    assert_eq!(wheel.next_due(), None);
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    criterion.bench_function("wheel/a far deadline found", |bencher| {
        let (mut wheel, mut links) = full(1);
        wheel.file(&mut links, 0, Tick(HORIZON));
        bencher.iter(|| black_box(&wheel).next_due());
    });
}

struct Links(Vec<TimerLink>);

impl TimerLinks for Links {
    fn timer_link(&mut self, index: u32) -> &mut TimerLink {
        &mut self.0[index as usize]
    }
}

fn empty(count: u32) -> (Wheel, Links) {
    (Wheel::new(Tick(0)), Links(vec![TimerLink::UNFILED; count as usize]))
}

fn full(count: u32) -> (Wheel, Links) {
    let (mut wheel, mut links) = empty(count);
    file_all(&mut wheel, &mut links, count);
    (wheel, links)
}

/// Files all entries over the whole wheel, so that neighbours in memory are far apart in time.
fn file_all(wheel: &mut Wheel, links: &mut Links, count: u32) {
    for index in 0..count {
        wheel.file(links, index, Tick(1 + index.wrapping_mul(0x9E37_79B1) % HORIZON));
    }
}

const COUNTS: [u32; 2] = [1_000, 100_000];
/// Within one lap of the wheel.
const HORIZON: u32 = 1_000;
