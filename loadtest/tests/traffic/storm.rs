//! `loadtest storm`: all clients reconnect at once.

use crate::support::{self, echo, start};
use crate::{run_failing, run_successfully};

#[test]
fn all_are_served_again() {
    let address = start(|_, stream| echo(stream));
    let report = run_successfully("storm", address, &["--connections", "60"]);
    assert_eq!(report["connections_served"], 60);
    assert_eq!(report["connect_to_upgrade"]["count"], 60);
    assert!(report["until_last_served_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn clients_refused_in_the_storm_are_counted() {
    let address = start(|number, stream| {
        if number < 65 {
            echo(stream);
        } else {
            support::answer(stream, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let report = run_failing("storm", address, &["--connections", "60"], "\"503 Busy\"");
    assert_eq!(report["connections_served"], 5);
    assert_eq!(report["failures"]["count"], 55);
}
