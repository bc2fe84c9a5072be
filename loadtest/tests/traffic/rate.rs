//! `loadtest rate`: the open loop, in which a stall must show.

use std::time::Duration;

use crate::support::{self, echo, start};
use crate::{run, run_successfully};

#[test]
fn messages_leave_at_the_rate() {
    let address = start(|_, stream| echo(stream));
    let options = ["--rate", "1000", "--connections", "7", "--seconds", "3"];
    let report =
        run_successfully("rate", address, &[&options[..], &["--warm-up-seconds", "0.2"]].concat());
    let sent = report["messages_sent"].as_u64().unwrap();
    // The messages that fall due in the last turn are left out, and turns are long on a busy
    // machine.
    assert!((500..4000).contains(&sent), "{sent}");
    assert_eq!(report["messages_echoed"], sent);
    assert_eq!(report["latency"]["count"], sent);
    assert_eq!(report["send_delay"]["count"], sent);
}

#[test]
fn a_stall_counts_in_all_latencies_of_messages_that_were_due() {
    // One stall on the only connection, in the middle of the measurement.
    let address = start(|_, stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        let mut number = 0;
        while let Ok(message) = websocket.read() {
            if message.is_binary() {
                number += 1;
                if number == 300 {
                    support::pass(STALL);
                }
                websocket.send(message).unwrap();
            }
        }
    });
    let options = ["--rate", "500", "--connections", "1", "--seconds", "1"];
    let report =
        run_successfully("rate", address, &[&options[..], &["--warm-up-seconds", "0.1"]].concat());
    let quantile = |name: &str| report["latency"][name].as_f64().unwrap();
    let stall_micros = STALL.as_secs_f64() * 1e6;
    // Of 500 messages, 100 were due during the stall. A closed loop would have measured one of
    // them.
    assert!(quantile("p99_us") > 0.9 * stall_micros, "{report:#}");
    assert!(quantile("p99_9_us") > 0.98 * stall_micros, "{report:#}");
    assert!(quantile("p90_us") > 0.4 * stall_micros, "{report:#}");
}

#[test]
fn the_rate_is_required() {
    let address = start(|_, stream| echo(stream));
    assert_eq!(run("rate", address, &[]).exit_code, 2);
    assert_eq!(run("rate", address, &["--rate", "0"]).exit_code, 2);
}

const STALL: Duration = Duration::from_millis(200);
