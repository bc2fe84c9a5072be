//! `loadtest churn`: connections that echo one message and close.

use std::io::Read as _;

use tungstenite::Message;

use crate::support::{echo, start};
use crate::{run_failing, run_successfully};

const QUICK: [&str; 6] = ["--concurrency", "4", "--seconds", "0.5", "--warm-up-seconds", "0.1"];

#[test]
fn complete_connections_are_counted() {
    let address = start(|_, stream| echo(stream));
    let report = run_successfully("churn", address, &QUICK);
    let connections = report["connections"].as_u64().unwrap();
    assert!(connections > 0);
    for latency in ["connect_to_upgrade", "connect_to_echo"] {
        // A connection that is under way at the beginning or at the end is in one of the counts
        // only.
        let count = report[latency]["count"].as_u64().unwrap();
        assert!(count.abs_diff(connections) <= 8, "{latency}: {count} of {connections}");
    }
    assert!(report["connections_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_server_without_a_closing_handshake_is_caught() {
    let address = start(|_, stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        let message = websocket.read().unwrap();
        websocket.send(message).unwrap();
        // The client's Close, a masked frame with a code. If it stayed unread, the close would be a
        // reset.
        websocket.get_ref().read_exact(&mut [0; 8]).unwrap();
    });
    run_failing("churn", address, &QUICK, "without a Close frame");
}

#[test]
fn a_wrong_echo_is_caught_and_ends_the_run() {
    let address = start(|_, stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        let _ = websocket.read();
        let _ = websocket.send(Message::binary("hello"));
    });
    let report = run_failing("churn", address, &QUICK, "message 0 differs from what was sent");
    assert!(report["failures"]["count"].as_u64().unwrap() <= 12);
}
