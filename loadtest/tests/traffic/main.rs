//! Runs the traffic commands against servers that behave and against servers that do not.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail loudly as well")]

#[path = "../support/mod.rs"]
mod support;

mod broadcast_server;
mod churn;
mod echo;
mod fanout;
mod rate;
mod server_program;
mod slow;
mod storm;
mod tls;
mod ulimit;

use std::net::{SocketAddr, TcpStream};

use support::port::reserved_address;
use support::{Outcome, loadtest, outcome};

/// Runs a command to its end.
fn run(name: &str, address: SocketAddr, options: &[&str]) -> Outcome {
    outcome(&loadtest(name, address).args(options).output().unwrap())
}

/// Runs a command that must succeed; returns its report.
#[track_caller]
fn run_successfully(name: &str, address: SocketAddr, options: &[&str]) -> serde_json::Value {
    let run = run(name, address, options);
    assert_eq!(run.exit_code, 0, "{}\n{:#}", run.stderr, run.report);
    assert_eq!(run.report["failures"]["count"], 0, "{:#}", run.report);
    run.report
}

/// Runs a command that must fail for this reason; returns its report.
#[track_caller]
fn run_failing(
    name: &str,
    address: SocketAddr,
    options: &[&str],
    reason: &str,
) -> serde_json::Value {
    let run = run(name, address, options);
    assert_eq!(run.exit_code, 1, "{}", run.stderr);
    let failures = &run.report["failures"];
    let found = failures["first_reason"].as_str();
    assert!(found.is_some_and(|found| found.contains(reason)), "{failures}\n{}", run.stderr);
    run.report
}

#[track_caller]
fn assert_not_listening(address: SocketAddr) {
    assert!(TcpStream::connect(address).is_err(), "a server still listens on {address}");
}
