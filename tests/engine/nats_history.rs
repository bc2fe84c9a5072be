//! What is read, against a model.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate::channels::RECOVERED_MAX;
use tidegate::channels::remote::{Retention, Span};

use crate::broker::Broker;
use crate::nats_commands::{broker, settings};
use crate::nats_server::NatsServer;
use crate::wait::until;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        count: u64,
    },
    Remove,
    /// Reads what is behind the publication with this number, counted from the last one.
    Read {
        back: usize,
    },
}

fn steps(count: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..=count).prop_map(|count| Step::Publish { count }),
        1 => Just(Step::Remove),
        4 => (0..usize::try_from(3 * count).unwrap()).prop_map(|back| Step::Read { back }),
    ];
    prop::collection::vec(step, 1..20)
}

/// What a channel has had.
#[derive(Default)]
struct Model {
    /// Offsets with payloads, from the first publication on.
    all: Vec<(u64, Vec<u8>)>,
    /// The place in `all` of the first that was not removed.
    removed: usize,
}

impl Model {
    fn kept(&self, size: usize) -> &[(u64, Vec<u8>)] {
        &self.all[self.removed.max(self.all.len().saturating_sub(size))..]
    }
}

#[test]
fn a_short_history_is_read_as_it_was_published() {
    compare(5, steps(4), 40);
}

#[test]
fn a_long_history_is_read_as_it_was_published() {
    compare(800, steps(400), 6);
}

fn compare(size: usize, steps: impl Strategy<Value = Vec<Step>>, cases: u32) {
    let Some(server) = NatsServer::start() else { return };
    let kept = Retention { size, ttl_ms: 3_600_000, meta_ttl_ms: 7_200_000 };
    let mut settings = settings(&server.url(), 1);
    settings.namespaces.insert("model".to_owned(), kept);
    let broker = broker(settings);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let case = Cell::new(0);
    let result = TestRunner::new(config).run(&steps, |steps| {
        case.set(case.get() + 1);
        let channel = format!("model:{}", case.get());
        let mut model = Model::default();
        for step in steps {
            run(&broker, &channel, kept, &mut model, &step)?;
        }
        Ok(())
    });
    result.unwrap();
}

fn run(
    broker: &Broker,
    channel: &str,
    kept: Retention,
    model: &mut Model,
    step: &Step,
) -> Result<(), TestCaseError> {
    match step {
        Step::Publish { count } => {
            let payload = |number: u64| format!("{}-{number}", model.all.len()).into_bytes();
            let payloads: Vec<_> = (0..*count).map(payload).collect();
            let publish =
                |payload: &Vec<u8>| broker.publish_later(channel, Some(kept), payload, None);
            let numbers: Vec<_> = payloads.iter().map(publish).collect();
            for (number, payload) in numbers.into_iter().zip(payloads) {
                let position = broker.published(number).unwrap().unwrap();
                model.all.push((position.offset, payload));
            }
        }
        Step::Remove => {
            broker.remove(channel);
            model.removed = model.all.len();
        }
        Step::Read { back } => {
            let Some(place) = model.all.len().checked_sub(back + 1) else { return Ok(()) };
            let end = model.all.last().map_or(0, |(offset, _)| *offset);
            let after = model.all[place].0;
            let missed = broker.read(channel, kept, Span::After(after));
            let expected = &model.all[place + 1..];
            // All are there if none was removed, too old, or one of too many.
            let is_whole = (place + 1 >= model.removed || expected.is_empty())
                && expected.len() <= kept.size.min(RECOVERED_MAX);
            prop_assert_eq!(missed.is_whole, is_whole);
            prop_assert_eq!(missed.entries, if is_whole { expected.to_vec() } else { Vec::new() });
            prop_assert_eq!(missed.position.offset, end);
            let all = broker.read(channel, kept, Span::All);
            prop_assert_eq!(&all.entries, model.kept(kept.size));
            prop_assert!(all.is_whole && all.position.offset == end);
            let latest = broker.read(channel, kept, Span::Latest);
            let last = model.kept(kept.size).last().cloned();
            prop_assert_eq!(latest.entries, Vec::from_iter(last));
            // Between two offsets there is no other, and none behind the last.
            let between = broker.read(channel, kept, Span::After(end + 1));
            prop_assert!(!between.is_whole && between.entries.is_empty());
        }
    }
    Ok(())
}

#[test]
fn what_is_too_old_is_not_read_and_is_missing() {
    let Some(server) = NatsServer::start() else { return };
    let short = Retention { size: 10, ttl_ms: 1, meta_ttl_ms: 7_200_000 };
    let long = Retention { size: 10, ttl_ms: 3_600_000, meta_ttl_ms: 7_200_000 };
    let mut settings = settings(&server.url(), 1);
    settings.namespaces.insert("old".to_owned(), long);
    let broker = broker(settings);
    let [first, second, third] =
        [b"1", b"2", b"3"].map(|payload| broker.publish("old:a", long, payload));
    // With the time of the namespace they are there; with another they are too old, which they stay.
    assert_eq!(broker.read("old:a", long, Span::All).entries.len(), 3);
    until("they are too old", || {
        broker.read("old:a", short, Span::All).entries.is_empty().then_some(())
    });
    let missed = broker.read("old:a", short, Span::After(second.offset));
    assert!(!missed.is_whole && missed.entries.is_empty() && missed.position == third);
    assert!(broker.read("old:a", short, Span::Latest).entries.is_empty());
    // Nothing is missing behind the last one, however old it is.
    assert!(broker.read("old:a", short, Span::After(third.offset)).is_whole);
    let whole = broker.read("old:a", long, Span::After(first.offset));
    assert!(whole.is_whole && whole.entries.len() == 2);
}
