//! What is read, against the history in the process.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate::channels::remote::{Batch, Retention, Span};
use tidegate::channels::{Epoch, History, NamedEpoch, Publication, Recovery, Since};
use tidegate::timer::Millis;

use crate::broker::{Broker, kept};
use crate::redis_commands::broker;
use crate::redis_server::RedisServer;
use crate::wait::until;

#[derive(Clone, Debug)]
enum Step {
    /// This number of publications, which expire at once, or not.
    Publish {
        count: u64,
        size: usize,
        is_short: bool,
    },
    Remove,
    /// Reads, after what is to expire has.
    Read {
        after: u64,
    },
}

/// Sizes of a list, or of a stream.
fn steps(sizes: std::ops::Range<usize>, count: u64) -> impl Strategy<Value = Vec<Step>> {
    let publish = (1..=count, sizes, prop::bool::weighted(0.2));
    let publish =
        publish.prop_map(|(count, size, is_short)| Step::Publish { count, size, is_short });
    let step = prop_oneof![
        6 => publish,
        1 => Just(Step::Remove),
        3 => (0..3 * count).prop_map(|after| Step::Read { after }),
    ];
    prop::collection::vec(step, 1..25)
}

#[test]
fn a_list_is_read_as_a_history_in_the_process() {
    compare(steps(1..12, 4), 60);
}

#[test]
fn a_stream_is_read_as_a_history_in_the_process() {
    compare(steps(101..400, 200), 24);
}

/// The moments of a history are rounded up to this, so its clock runs faster here.
const HISTORY_UNIT_MS: u64 = 100;

fn compare(steps: impl Strategy<Value = Vec<Step>>, cases: u32) {
    let Some(redis) = RedisServer::start() else { return };
    let broker = broker(&redis.url(), 1);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let case = Cell::new(0);
    let result = runner.run(&steps, |steps| {
        case.set(case.get() + 1);
        run(&redis, &broker, &format!("case:{}", case.get()), &steps)
    });
    result.unwrap();
}

fn run(
    redis: &RedisServer,
    broker: &Broker,
    channel: &str,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let (mut history, mut now) = (History::new(Epoch(0)), 0);
    let mut last_size = 1;
    for step in steps {
        match step {
            Step::Publish { count, size, is_short } => {
                let ttl_ms = if *is_short { 1 } else { 3_600_000 };
                let retention = Retention { ttl_ms, ..kept(*size) };
                last_size = *size;
                let mut last = 0;
                for _ in 0..*count {
                    let payload = (history.position().offset + 1).to_string();
                    let payload = Publication::new(payload.into_bytes());
                    last = broker.publish_later(channel, Some(retention), &payload.data, None);
                    history.push(payload, *size, Millis(now + ttl_ms * HISTORY_UNIT_MS));
                }
                let position = broker.published(last).unwrap().unwrap();
                prop_assert_eq!(position.offset, history.position().offset);
            }
            Step::Remove => {
                broker.remove(channel);
                history.clear();
            }
            Step::Read { after } => {
                pass_two_ms(redis);
                now += 2 * HISTORY_UNIT_MS;
                history.expire(Millis(now));
                read(broker, channel, kept(last_size), *after, &history)?;
            }
        }
    }
    Ok(())
}

/// Waits until the clock of Redis is 2 ms further.
fn pass_two_ms(redis: &RedisServer) {
    let mut connection = redis.connection();
    let mut time = || -> u128 {
        let (s, us): (u128, u128) = redis::cmd("TIME").query(&mut connection).unwrap();
        s * 1_000_000 + us
    };
    let start = time();
    until("two milliseconds pass", || (time() > start + 2_000).then_some(()));
}

fn read(
    broker: &Broker,
    channel: &str,
    retention: Retention,
    after: u64,
    history: &History,
) -> Result<(), TestCaseError> {
    let page = |since, limit| {
        let page = history.page(since, limit);
        page.into_iter().map(|(offset, own)| (offset, own.data.to_vec())).collect::<Vec<_>>()
    };
    let top = history.position().offset;
    let check = |span, entries: Vec<(u64, Vec<u8>)>, is_whole| {
        let batch = broker.read(channel, retention, span);
        let position = batch.position;
        prop_assert_eq!(position.offset, top);
        prop_assert_eq!(batch, Batch { position, entries, is_whole }, "{:?}", span);
        Ok(())
    };
    check(Span::Nothing, vec![], true)?;
    check(Span::Latest, page(Since::Latest(None), 1), true)?;
    check(Span::All, page(Since::Oldest(None), retention.size), true)?;
    // From the end of the stream as well, where something is kept.
    for after in [after, top.saturating_sub(after), top, top + 1] {
        match history.recover(after, NamedEpoch::Any) {
            Recovery::Recovered(page) => {
                let page = page.into_iter().map(|(offset, own)| (offset, own.data.to_vec()));
                check(Span::After(after), page.collect(), true)?;
            }
            Recovery::Lost => check(Span::After(after), vec![], false)?,
        }
    }
    Ok(())
}
