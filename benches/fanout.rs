//! A publication to many subscribers on a whole event loop.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod support;

use std::rc::Rc;

use criterion::{BenchmarkId, Criterion, Throughput};
use support::whole_loop::WholeLoop;
use support::{BINARY, client_frame, noise};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    for (subscribers, burst) in [(100, 1), (1_000, 1), (10_000, 1), (1_000, 16)] {
        let mut whole_loop = WholeLoop::new();
        let wires = whole_loop.open(subscribers, "/broadcast").unwrap();
        whole_loop.turn_until_written(0).unwrap();
        let frames: Rc<[u8]> = client_frame(BINARY, &noise(128)).repeat(burst).into();
        let name = format!("{subscribers} subscribers, {burst} at once");
        group.throughput(Throughput::Elements((subscribers * burst) as u64));
        group.bench_function(BenchmarkId::new("deliver", name), |bencher| {
            bencher.iter(|| {
                whole_loop.deliver(&wires[0], &frames).unwrap();
                whole_loop.turn_until_written(subscribers * burst * DELIVERY_BYTES).unwrap();
            });
        });
    }
    group.finish();
}

/// A server frame of 128 bytes, which has a header of four.
const DELIVERY_BYTES: usize = 4 + 128;
