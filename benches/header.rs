//! Frame headers: parsing those of clients and encoding those of the server.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use support::{BINARY, SIZES, client_frame, noise};
use tidegate::ws::{Opcode, ServerHeader, parse_header};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for bytes in SIZES {
        let frame = client_frame(BINARY, &noise(bytes));
        group.bench_function(BenchmarkId::new("parse", bytes), |bencher| {
            bencher.iter(|| parse_header(black_box(&frame)));
        });
        group.bench_function(BenchmarkId::new("write", bytes), |bencher| {
            bencher.iter(|| ServerHeader::new(black_box(Opcode::Binary), black_box(bytes)));
        });
    }
    group.finish();
}
