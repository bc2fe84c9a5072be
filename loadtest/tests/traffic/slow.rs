//! `loadtest slow`: readers of an echo and of a broadcast that stop reading.

use crate::support::{echo, start};
use crate::{broadcast_server, run_failing, run_successfully};

const QUICK: [&str; 8] =
    ["--slow", "2", "--connections", "3", "--before-seconds", "0.5", "--during-seconds", "1.5"];

#[test]
fn an_echo_with_backpressure_loses_nothing() {
    // The server does not read while it cannot write.
    let address = start(|_, stream| echo(stream));
    let pid = std::process::id().to_string();
    let options = [&QUICK[..], &["--bytes", "60000", "--pid", &pid]].concat();
    let report = run_successfully("slow", address, &options);
    assert_eq!(report["slow_readers_that_caught_up"], 2);
    for stage in ["before", "during"] {
        let stage = &report[stage];
        assert!(stage["latency"]["count"].as_u64().unwrap() > 0);
        assert!(stage["highest_server"]["anonymous_bytes"].as_u64().unwrap() > 0);
    }
}

#[test]
fn an_echo_that_is_lost_during_the_pause_is_caught() {
    let address = start(|number, stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        let mut count = 0;
        while let Ok(message) = websocket.read() {
            count += 1;
            if message.is_binary() && (number, count) != (4, 20) {
                websocket.send(message).unwrap();
            }
        }
    });
    // The slow readers are connections 3 and 4.
    let options = [&QUICK[..], &["--bytes", "60000"]].concat();
    run_failing("slow", address, &options, "connection 4: message 19 differs from what was sent");
}

#[test]
fn a_broadcast_may_cut_slow_readers_off() {
    let broadcast = ["--broadcast", "--publish-path", "/publish", "--bytes", "30000"];
    // So many publications that slow readers are behind by too many, however slowly they come.
    let report = ["5", "20", "80"]
        .iter()
        .map(|seconds| {
            // The slow readers come after the three others.
            let address = broadcast_server::start_cutting_off(3, |_, _| 1);
            let times = ["--timeout", "60", "--during-seconds", seconds];
            run_successfully("slow", address, &[&QUICK[..], &broadcast, &times].concat())
        })
        .find(|report| report["slow_readers_cut_off"]["count"] == 2)
        .unwrap();
    assert_eq!(report["slow_readers_that_caught_up"], 0);
    assert!(report["during"]["latency"]["count"].as_u64().unwrap() > 0);
}
