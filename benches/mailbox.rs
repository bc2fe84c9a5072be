//! Messages between loops, in batches under one lock.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput};
use tidegate::mail::{Class, Lanes, MailItem, MailLimits, Mailbox};

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
            let (mut outbox, mut inbox) = (Lanes::default(), Lanes::default());
            bencher.iter(|| {
                (0..messages).for_each(|number| outbox.push(Message([number; 8])));
                mailbox.send(&mut outbox);
                mailbox.take(Class::Terminal, &mut inbox);
                let taken = std::iter::from_fn(|| inbox.pop(Class::Terminal)).count();
                assert_eq!(taken as u64, messages);
            });
            assert!(wakes.load(Ordering::Relaxed) > 0);
        });
    }
    group.finish();
    criterion.bench_function("mailbox/take from an empty one", |bencher| {
        let mailbox = mailbox(&Arc::default());
        let mut inbox = Lanes::default();
        bencher.iter(|| mailbox.take(Class::Terminal, &mut inbox));
    });
}

/// About as large as a publication to another loop.
struct Message([u64; 8]);

impl MailItem for Message {
    fn class(&self) -> Class {
        Class::Terminal
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.0)
    }
}

fn mailbox(wakes: &Arc<AtomicUsize>) -> Mailbox<Message> {
    let wakes = Arc::clone(wakes);
    let wake = Arc::new(move || {
        wakes.fetch_add(1, Ordering::Relaxed);
    });
    Mailbox::new(MailLimits { items_max: 4096, bytes_max: 1 << 20 }, wake)
}
