//! `loadtest ulimit`: a server that runs out of descriptors.

use crate::server_program::{Kind, PERMITS, spawn_command};
use crate::{assert_not_listening, reserved_address, run, run_successfully};

/// The patience for an answer, which only a fault exhausts, and a short hold.
const QUICK: [&str; 6] = ["--clients", "40", "--hold", "0.5", "--timeout", "60"];

#[test]
fn refusals_are_counted_by_kind() {
    let address = reserved_address();
    let spawn = spawn_command(Kind::Refusing, address);
    let options = [&QUICK[..], &["--spawn", &spawn, "--descriptors", "200"]].concat();
    let report = run_successfully("ulimit", address, &options);
    assert_eq!(report["served"], PERMITS);
    assert_eq!(report["refused_503_with_retry_after"], 40 - PERMITS);
    assert_eq!(report["echoed_under_pressure"], PERMITS);
    assert_eq!(report["clients_that_left"], PERMITS / 2);
    assert_eq!(report["new_clients_served"], report["new_clients"]);
    assert!(report["pressure"]["server_cores"].as_f64().is_some());
    assert_not_listening(address);
}

#[test]
fn waiting_clients_are_served_when_others_leave() {
    let address = reserved_address();
    let spawn = spawn_command(Kind::Waiting, address);
    // The patience runs out for those that are left waiting.
    let mut quick = QUICK;
    quick[5] = "10";
    let options = [&quick[..], &["--spawn", &spawn, "--descriptors", "200"]].concat();
    let report = run_successfully("ulimit", address, &options);
    assert_eq!(report["served"], PERMITS);
    assert_eq!(report["left_waiting"], 40 - PERMITS);
    assert!(report["new_clients_served"].as_u64() >= report["new_clients"].as_u64());
}

#[test]
fn the_spawned_server_runs_under_the_limit() {
    let address = reserved_address();
    // The server's accepting thread panics when it cannot open another file.
    let spawn = spawn_command(Kind::Echo, address);
    let run =
        run("ulimit", address, &[&QUICK[..], &["--spawn", &spawn, "--descriptors", "30"]].concat());
    assert_eq!(run.exit_code, 1, "{:#}", run.report);
    assert!(run.stderr.contains("Too many open files"), "{}", run.stderr);
}

#[test]
fn a_server_that_is_not_spawned_is_a_usage_error() {
    let run = run("ulimit", reserved_address(), &QUICK);
    assert_eq!(run.exit_code, 2);
    assert!(run.stderr.contains("--spawn"), "{}", run.stderr);
}
