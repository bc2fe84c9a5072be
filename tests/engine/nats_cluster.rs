//! Three NATS that keep everything three times, of which some end.

use std::time::Duration;

use tidegate::channels::Position;
use tidegate::channels::remote::{BrokerError, Retention, Span};
use tidegate::control::engine::nats::{NatsEngineSettings, NatsUrl};

use crate::broker::Broker;
use crate::nats_commands::{broker, read, settings};
use crate::nats_server::NatsServer;
use crate::wait::until;

const LONG: Retention = Retention { size: 5_000, ttl_ms: 3_600_000, meta_ttl_ms: 7_200_000 };

/// Settings that begin with this server, and have the others after it.
fn replicated(servers: &[NatsServer; 3], first: usize, node: u64) -> NatsEngineSettings {
    let mut settings = settings(&servers[first].url(), node);
    let others = (1..3).map(|step| servers[(first + step) % 3].url());
    settings.servers.extend(others.map(|url| NatsUrl::parse(&url).unwrap()));
    settings.namespaces.insert("long".to_owned(), LONG);
    settings.partitions = 1;
    settings.replicas = 3;
    settings.request_timeout = Duration::from_secs(5);
    settings
}

/// The place of the server that leads the stream, as any server says that answers.
fn leader(servers: &[NatsServer; 3], asked: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    until("the stream has a leader", || {
        let answer = runtime.block_on(async {
            let client = async_nats::connect(servers[asked].url()).await.ok()?;
            let question = "$JS.API.STREAM.INFO.tg_long_0";
            client.request(question, Vec::new().into()).await.ok()
        })?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
        let leader = answer["cluster"]["leader"].as_str()?;
        servers.iter().position(|server| server.name() == leader)
    })
}

/// What a publication has come to; `None` if the adapter was down before it had an answer. Then it is up again.
fn outcome(broker: &Broker, number: u64) -> Option<Result<Option<Position>, BrokerError>> {
    let outcome = broker.outcome(number);
    if outcome.is_none() {
        broker.up();
    }
    outcome
}

/// Publishes until something is not acknowledged, and returns what was.
fn publish(broker: &Broker, payloads: std::ops::Range<u32>) -> Vec<(Position, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    for payload in payloads {
        let payload = payload.to_be_bytes();
        let number = broker.publish_later("long:a", Some(LONG), &payload, None);
        let Some(Ok(Some(position))) = outcome(broker, number) else { break };
        acknowledged.push((position, payload.to_vec()));
    }
    acknowledged
}

/// Everything that was acknowledged is read, in its place.
fn assert_kept(broker: &Broker, acknowledged: &[(Position, Vec<u8>)]) {
    let all = read(broker, "long:a", LONG, Span::All);
    for (position, payload) in acknowledged {
        assert_eq!(position.epoch, all.position.epoch);
        let place = all.entries.binary_search_by_key(&position.offset, |(offset, _)| *offset);
        assert_eq!(&all.entries[place.unwrap()].1, payload);
    }
}

#[test]
fn what_was_acknowledged_outlives_the_leader() {
    let Some(mut servers) = NatsServer::start_cluster() else { return };
    let first = broker(replicated(&servers, 0, 1));
    let leading = leader(&servers, 0);
    // One adapter is at the leader, and one is not.
    let [at_leader, elsewhere] =
        [0, 1].map(|step| broker(replicated(&servers, (leading + step) % 3, 2)));
    drop(first);
    elsewhere.subscribe(&["long:a"]);
    let mut acknowledged = publish(&at_leader, 0..100);
    assert_eq!(acknowledged.len(), 100);
    // What one has published the other reads at once, whichever replica answers.
    assert_kept(&elsewhere, &acknowledged);
    let numbers: Vec<u64> = (100..200_u32)
        .map(|payload| elsewhere.publish_later("long:a", Some(LONG), &payload.to_be_bytes(), None))
        .collect();
    servers[leading].kill();
    at_leader.down();
    // What is refused is not kept, and what is acknowledged is. After the adapter was down there are no answers.
    for (number, payload) in numbers.into_iter().zip(100..200_u32) {
        match outcome(&elsewhere, number) {
            Some(Ok(position)) => {
                acknowledged.push((position.unwrap(), payload.to_be_bytes().to_vec()));
            }
            Some(Err(_)) => {}
            None => break,
        }
    }
    at_leader.up();
    until("the stream takes publications again", || {
        let more = publish(&at_leader, 200..201);
        acknowledged.extend(more.iter().cloned());
        (!more.is_empty()).then_some(())
    });
    assert_kept(&at_leader, &acknowledged);
    servers[leading].start_again();
    assert_kept(&at_leader, &acknowledged);
}

#[test]
fn a_minority_does_not_serve() {
    let Some(mut servers) = NatsServer::start_cluster() else { return };
    let mut alone = replicated(&servers, 0, 1);
    alone.servers.truncate(1);
    let broker = broker(alone);
    let acknowledged = publish(&broker, 0..10);
    assert_eq!(acknowledged.len(), 10);
    servers[1].kill();
    servers[2].kill();
    // Though its own server answers, and nothing is asked.
    broker.down();
    servers[1].start_again();
    broker.up();
    assert_kept(&broker, &acknowledged);
    let more = publish(&broker, 10..20);
    assert_kept(&broker, &more);
}

#[test]
fn what_is_published_at_one_server_is_heard_at_the_others() {
    let Some(servers) = NatsServer::start_cluster() else { return };
    let brokers: [Broker; 3] =
        std::array::from_fn(|place| broker(replicated(&servers, place, place as u64)));
    for round in 0..20 {
        let channel = format!("long:{round}");
        for listener in &brokers {
            listener.subscribe(&[&channel]);
        }
        // Once it is said to be subscribed, nothing that is kept is missed, wherever it is published.
        let before = brokers[1].read(&channel, LONG, Span::Nothing).position;
        for publisher in &brokers {
            publisher.publish_later(&channel, Some(LONG), b"x", None);
        }
        for listener in &brokers {
            let mut previous = before.offset;
            for _ in 0..3 {
                let (heard, place, _) = listener.live();
                assert_eq!((&*heard, place.unwrap().previous), (&*channel, previous));
                previous = place.unwrap().position.offset;
            }
            assert_eq!(listener.positions(&[(&channel, LONG)])[0].offset, previous);
        }
    }
}
