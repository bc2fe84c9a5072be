//! Messages between loops, in batches under one lock.

mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput};
use tidegate::mail::Mailbox;

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    for messages in [1, 16, 256] {
        group.throughput(Throughput::Elements(messages));
        group.bench_function(BenchmarkId::new("send and take", messages), |bencher| {
            let wakes = Arc::new(AtomicUsize::new(0));
            let mailbox = mailbox(&wakes);
            let (mut outbox, mut inbox) = (VecDeque::new(), VecDeque::new());
            bencher.iter(|| {
                outbox.extend((0..messages).map(|number| [number; 8]));
                mailbox.send(&mut outbox);
                mailbox.take(&mut inbox);
                assert_eq!(inbox.drain(..).count() as u64, messages);
            });
            assert!(wakes.load(Ordering::Relaxed) > 0);
        });
    }
    group.finish();
    criterion.bench_function("mailbox/take from an empty one", |bencher| {
        let mailbox = mailbox(&Arc::default());
        let mut inbox = VecDeque::new();
        bencher.iter(|| mailbox.take(&mut inbox));
    });
}

/// About as large as a publication to another loop.
type ServiceMessage = [u64; 8];

fn mailbox(wakes: &Arc<AtomicUsize>) -> Mailbox<ServiceMessage> {
    let wakes = Arc::clone(wakes);
    let wake = Arc::new(move || {
        wakes.fetch_add(1, Ordering::Relaxed);
    });
    Mailbox::new(4096, wake)
}
