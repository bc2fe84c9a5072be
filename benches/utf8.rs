//! UTF-8 validation of whole text and of text that is cut inside a character.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use support::{SIZES, ascii, chinese};
use tidegate::ws::{NotUtf8, Utf8Tail};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    for (name, text) in [("ascii", ascii as fn(usize) -> Vec<u8>), ("chinese", chinese)] {
        let mut group = criterion.benchmark_group(format!("utf8/{name}"));
        for bytes in SIZES {
            let text = text(bytes);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new("tidegate", bytes), |bencher| {
                bencher.iter(|| check(&[black_box(&text)]));
            });
            let (first, second) = text.split_at(bytes / 2);
            group.bench_function(BenchmarkId::new("tidegate, in two parts", bytes), |bencher| {
                bencher.iter(|| check(&[black_box(first), black_box(second)]));
            });
            group.bench_function(BenchmarkId::new("std", bytes), |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(&text)).is_ok());
            });
        }
        group.finish();
    }
}

fn check(parts: &[&[u8]]) -> Result<(), NotUtf8> {
    let mut tail = Utf8Tail::default();
    parts.iter().try_for_each(|piece| tail.feed(piece))?;
    tail.finish()
}
