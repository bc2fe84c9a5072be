//! Limits by address: what a connection costs whose client is counted, with few clients and with a full
//! table, and under a flood of a million addresses.

mod support;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion};
use tidegate::admission::{AddressLimits, AddressRef, AddressSettings, Rate, SharedAddresses};
use tidegate::timer::Millis;

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("addresses");
    let settings = settings();
    for clients in [10, 1_000, 60_000] {
        let (table, _held) = holding(clients, &settings);
        group.bench_function(BenchmarkId::new("connect and leave, one of", clients), |bencher| {
            let mut number = 0;
            bencher.iter(|| {
                number = (number + 7) % clients;
                visit(&table, client(number), &settings, u64::from(number));
            });
        });
    }
    let (table, _held) = holding(60_000, &settings);
    group.bench_function("connect and leave, a new one of a million", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number = (number + 1) % 1_000_000;
            // 50 in each millisecond.
            visit(&table, client(10_000_000 + number), &settings, u64::from(number) / 50);
        });
    });
    group.bench_function("an exempt one", |bencher| {
        let address = Ipv4Addr::LOCALHOST.into();
        bencher.iter(|| black_box(table.connect(black_box(address), &settings, Millis(0))));
    });
    group.finish();
}

fn visit(table: &SharedAddresses, client: IpAddr, settings: &AddressSettings, now: u64) {
    let judgement = table.connect(client, settings, Millis(now));
    if let Some(entry) = black_box(judgement).entry {
        table.release(entry, Millis(now));
    }
}

/// A table in which this many clients have a connection open.
fn holding(clients: u32, settings: &AddressSettings) -> (SharedAddresses, Vec<AddressRef>) {
    let table = SharedAddresses::default();
    let connect = |number| table.connect(client(number), settings, Millis(0)).entry;
    let held = (0..clients).filter_map(connect).collect();
    (table, held)
}

fn settings() -> AddressSettings {
    let host = AddressLimits {
        connections: Rate::new(1_000_000, 1_000_000),
        failures: Rate::new(20, 80),
        connections_max: 0,
    };
    AddressSettings { host, ..AddressSettings::default() }
}

/// Of 32.0.0.0/3, where no address is private.
fn client(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x2000_0000 + number).into()
}
