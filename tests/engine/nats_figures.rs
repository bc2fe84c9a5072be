//! What channels and publications cost, with one NATS: `cargo test --release --test engine nats_figures --
//! --ignored --nocapture --test-threads 1`. It prints, and checks nothing.

use std::fs;
use std::sync::Arc;

use tidegate::channels::remote::{BrokerCommand, BrokerEvent, POSITIONS_MAX};

use crate::broker::Broker;
use crate::nats_commands::{KEPT, broker, settings};
use crate::nats_server::NatsServer;
use crate::skip::say;
use crate::wait::now;

const CHANNELS: usize = 100_000;
const PUBLICATIONS: usize = 100_000;

/// Bytes of memory of a process.
fn memory(process: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Time of the processor that a process has had, in microseconds.
fn cpu(process: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split(' ').collect();
    // In hundredths of a second: user and system.
    fields[12..14].iter().map(|field| field.parse::<usize>().unwrap()).sum::<usize>() * 10_000
}

fn subscribed(broker: &Broker, channels: &[Arc<str>]) {
    for part in channels.chunks(1000) {
        broker.send(BrokerCommand::Subscribe(part.to_vec()));
    }
    for _ in channels {
        broker.wait_for(|event| matches!(event, BrokerEvent::Subscribed(_)).then_some(()));
    }
}

#[test]
#[ignore = "prints figures; it checks nothing"]
fn costs_of_channels_and_publications() {
    let Some(mut server) = NatsServer::start() else { return };
    let id = server.id();
    let broker = broker(settings(&server.url(), 1));
    let channels: Vec<Arc<str>> =
        (0..CHANNELS).map(|number| format!("kept:{number}").into()).collect();
    let before = [memory("self"), memory(&id)];
    let began = now();
    subscribed(&broker, &channels);
    let took = began.elapsed();
    let after = [memory("self"), memory(&id)];
    let [own, there] = [0, 1].map(|place| after[place].saturating_sub(before[place]) / CHANNELS);
    say(&format!("{CHANNELS} channels: {took:?}, {own} B each here, {there} B each there"));

    let began = now();
    for part in channels.chunks(POSITIONS_MAX) {
        let question: Vec<_> = part.iter().map(|channel| (&**channel, KEPT)).collect();
        broker.positions(&question);
    }
    let first = began.elapsed();
    let began = now();
    for part in channels.chunks(POSITIONS_MAX) {
        let question: Vec<_> = part.iter().map(|channel| (&**channel, KEPT)).collect();
        broker.positions(&question);
    }
    say(&format!("all positions: {first:?} at first, then {:?}", began.elapsed()));

    for (name, retention) in [("kept", Some(KEPT)), ("not kept", None)] {
        let before = [cpu("self"), cpu(&id)];
        let began = now();
        let mut answered = 0;
        for number in 0..PUBLICATIONS {
            let channel = &channels[number % CHANNELS];
            let channel =
                if retention.is_some() { channel.to_string() } else { format!("x{number}") };
            broker.publish_later(&channel, retention, &[0; 128], None);
            // A few hundred on their way.
            while number - answered > 500 {
                broker.wait_for(|event| matches!(event, BrokerEvent::Published(..)).then_some(()));
                answered += 1;
            }
        }
        while answered < PUBLICATIONS {
            broker.wait_for(|event| matches!(event, BrokerEvent::Published(..)).then_some(()));
            answered += 1;
        }
        let took = began.elapsed();
        let after = [cpu("self"), cpu(&id)];
        let [own, there] = [0, 1].map(|place| after[place] - before[place]);
        say(&format!(
            "{PUBLICATIONS} publications {name}: {took:?}, {own} µs here, {there} µs there"
        ));
    }

    server.kill();
    broker.down();
    server.start_again();
    broker.up();
    let began = now();
    subscribed(&broker, &channels);
    say(&format!("subscribed again: {:?}", began.elapsed()));
}
