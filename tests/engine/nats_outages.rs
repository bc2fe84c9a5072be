//! A NATS that ends, hangs, is too old, or has streams of others.

use std::time::Duration;

use tidegate::channels::remote::{BrokerCommand, BrokerEvent, Span};
use tidegate::control::engine::nats::{NatsEngineSettings, NatsError, check_nats, run_nats};

use crate::broker::Broker;
use crate::nats_commands::{KEPT, broker, read, settings};
use crate::nats_server::{JETSTREAM, NatsServer};

/// What is wrong with settings.
pub(crate) fn check(settings: &NatsEngineSettings) -> Result<(), NatsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(check_nats(settings))
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed() {
    let Some(mut server) = NatsServer::start() else { return };
    let broker = broker(settings(&server.url(), 1));
    broker.subscribe(&["kept:a"]);
    let positions: Vec<_> =
        (0..10_u8).map(|number| broker.publish("kept:a", KEPT, &[number])).collect();
    server.kill();
    broker.down();
    let lost = broker.publish_later("kept:a", Some(KEPT), b"lost", None);
    server.start_again();
    broker.up();
    let all = broker.read("kept:a", KEPT, Span::All);
    let expected: Vec<_> = positions.iter().map(|position| position.offset).zip(0..10).collect();
    let found: Vec<_> = all.entries.iter().map(|(offset, payload)| (*offset, payload[0])).collect();
    assert_eq!((found, all.position), (expected, positions[9]), "publication {lost} was dropped");
    // Nothing is subscribed after it was down.
    broker.publish("kept:a", KEPT, b"unheard");
    broker.subscribe(&["kept:a"]);
    broker.publish_later("kept:a", Some(KEPT), b"heard", None);
    assert_eq!(broker.live().2, b"heard");
}

#[test]
fn a_server_that_hangs_is_down_until_it_goes_on() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url(), 1);
    settings.request_timeout = Duration::from_secs(2);
    let broker = broker(settings);
    broker.subscribe(&["kept:a", "open"]);
    let before = broker.publish("kept:a", KEPT, b"1");
    server.pause();
    // Even if nothing is asked.
    broker.down();
    server.resume();
    broker.up();
    assert_eq!(read(&broker, "kept:a", KEPT, Span::Nothing).position, before);
}

#[test]
fn a_server_that_is_about_to_stop_is_left() {
    let Some(mut server) = NatsServer::start() else { return };
    let broker = broker(settings(&server.url(), 1));
    server.lame_duck();
    broker.down();
    server.kill();
    server.start_again();
    broker.up();
}

#[test]
fn the_adapter_ends_when_there_are_no_commands_any_more() {
    let Some(mut server) = NatsServer::start() else { return };
    drop(broker(settings(&server.url(), 1)));
    server.kill();
    // It waits between two attempts.
    let settings = settings(&server.url(), 1);
    drop(Broker::start(move |commands, events| run_nats(settings, commands, events)));
}

#[test]
fn an_old_server_is_refused_for_what_is_kept_and_serves_all_else() {
    let Some(server) = NatsServer::start_old(JETSTREAM) else { return };
    let mut settings = settings(&server.url(), 1);
    let error = check(&settings).unwrap_err();
    assert!(matches!(&error, NatsError::TooOld { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("2.9.10") && text.contains("2.11") && !text.contains('\n'), "{text}");
    settings.namespaces.clear();
    assert_eq!(check(&settings), Ok(()));
    let broker = broker(settings);
    broker.subscribe(&["open"]);
    broker.publish_later("open", None, b"1", None);
    assert_eq!(broker.live(), ("open".to_owned(), None, b"1".to_vec()));
    broker.send(BrokerCommand::Note("open".into(), b"note".to_vec()));
    let note = BrokerEvent::Note("open".into(), b"note".to_vec());
    assert_eq!(broker.wait_for(|event| (event == note).then_some(event)), note);
}

#[test]
fn a_server_without_jetstream_is_refused_for_what_is_kept() {
    let Some(server) = NatsServer::start_with("") else { return };
    let mut settings = settings(&server.url(), 1);
    let error = check(&settings).unwrap_err();
    assert!(matches!(&error, NatsError::WithoutJetStream { .. }), "{error}");
    settings.namespaces.clear();
    assert_eq!(check(&settings), Ok(()));
}

#[test]
fn a_stream_with_other_options_is_refused_with_what_differs() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url(), 1);
    assert_eq!(check(&settings), Ok(()));
    settings.namespaces.get_mut("kept").unwrap().size = 20;
    let error = check(&settings).unwrap_err();
    let text = error.to_string();
    for part in ["tg_kept_0", "max_msgs_per_subject is 11, not 21", "nats stream edit"] {
        assert!(text.contains(part) && !text.contains('\n'), "{text}");
    }
    settings.namespaces.get_mut("kept").unwrap().size = 10;
    settings.partitions = 4;
    let text = check(&settings).unwrap_err().to_string();
    assert!(text.contains("tidegate.partitions is \"3\", not \"4\""), "{text}");
}

#[test]
fn a_stream_that_is_removed_is_made_anew_with_another_epoch() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url(), 1);
    settings.request_timeout = Duration::from_secs(5);
    let broker = broker(settings);
    let before = broker.publish("kept:a", KEPT, b"1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        for partition in 0..3 {
            let question = format!("$JS.API.STREAM.DELETE.tg_kept_{partition}");
            client.request(question, Vec::new().into()).await.unwrap();
        }
    });
    broker.down();
    broker.up();
    let after = read(&broker, "kept:a", KEPT, Span::After(before.offset));
    assert_ne!(after.position.epoch, before.epoch);
    assert!(after.entries.is_empty());
}
