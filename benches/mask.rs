//! Unmasking, through which every byte of a client passes.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use support::{KEY, SIZES, noise};
use tidegate::ws::apply_mask;

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for bytes in SIZES {
        // Behind a header of six bytes, as in a receive buffer, so that the payload is not aligned.
        let mut buffer = noise(6 + bytes);
        let payload = &mut buffer[6..];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("tidegate", bytes), |bencher| {
            bencher.iter(|| apply_mask(black_box(payload), black_box(KEY), 1));
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", bytes), |bencher| {
            bencher.iter(|| fastwebsockets::unmask(black_box(payload), black_box(KEY)));
        });
    }
    group.finish();
}
