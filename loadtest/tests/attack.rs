//! Runs `loadtest attack` against tidegate, with few attackers for a short time.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail loudly as well")]

mod support;

use std::path::Path;
use std::process::Command;

use rustls::version::TLS13;
use serde_json::Value;
use support::port::reserved_address;
use support::tls::Certificate;
use support::{Outcome, echo, loadtest, outcome, start};
use tungstenite::Message;

const QUICK: [&str; 10] = [
    "--before-seconds",
    "0.3",
    "--seconds",
    "1",
    "--after-seconds",
    "0.3",
    "--bystanders",
    "2",
    "--timeout",
    "60",
];

/// Runs an attack against tidegate; `None` unless the whole workspace was built, which includes it.
fn attack(name: &str, options: &[&str]) -> Option<Outcome> {
    let program = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("tidegate");
    if !program.is_file() {
        return None;
    }
    let spawn = ["--spawn", program.to_str().unwrap()];
    let mut command = loadtest("attack", reserved_address());
    command.arg(name).args(QUICK).args(spawn).args(options);
    Some(outcome(&command.output().unwrap()))
}

/// Runs an attack that harms no bystander; returns its report.
#[track_caller]
fn harmless(name: &str, options: &[&str]) -> Option<Value> {
    let run = attack(name, options)?;
    assert_eq!(run.exit_code, 0, "{}\n{:#}", run.stderr, run.report);
    for stage in ["before", "during", "after"] {
        assert_eq!(run.report[stage]["messages_lost"], 0, "{:#}", run.report);
        assert!(run.report[stage]["cpu"]["server_cpu_seconds"].as_f64().is_some());
    }
    assert!(run.report["before"]["latency"]["count"].as_u64().unwrap() > 0);
    assert!(run.report["before"]["handshakes_ok"].as_u64().unwrap() > 0);
    assert!(run.report["rss_peak_bytes"].as_u64().unwrap() > 0);
    Some(run.report)
}

#[track_caller]
fn count(report: &Value, name: &str) -> u64 {
    report["attackers"][name].as_u64().unwrap()
}

#[test]
fn messages_of_empty_blocks_are_taken_and_echoed_empty() {
    let Some(report) = harmless("inflate", &["--connections", "2"]) else { return };
    assert!(count(&report, "sent_bytes") >= 2 * 512 * 1024, "{report:#}");
    assert_eq!(count(&report, "received_bytes"), 0);
    assert_eq!(report["attackers"]["connections_ended"], Value::Object(Default::default()));
}

#[test]
fn replies_are_compressed_for_attackers() {
    let Some(report) = harmless("compress", &["--connections", "2"]) else { return };
    let (messages, bytes) = (count(&report, "received_messages"), count(&report, "received_bytes"));
    // A debug build may need longer than the attack for the first of them.
    assert!(bytes <= messages * 32 * 1024, "{report:#}");
    assert!(count(&report, "sent_bytes") > 0, "{report:#}");
}

#[test]
fn every_member_of_the_room_receives_the_burst() {
    let Some(report) = harmless("fanout", &["--connections", "6", "--messages", "50"]) else {
        return;
    };
    assert_eq!(count(&report, "sent_bytes"), 50 * 7);
    assert_eq!(count(&report, "received_messages"), 50 * 6, "{report:#}");
}

#[test]
fn every_subscriber_receives_the_burst() {
    let Some(report) = harmless("broadcast", &["--connections", "6", "--messages", "50"]) else {
        return;
    };
    assert_eq!(count(&report, "received_messages"), 50 * 6, "{report:#}");
}

#[test]
fn unfinished_messages_are_half_sent() {
    let Some(report) = harmless("unfinished", &["--connections", "4"]) else { return };
    assert!(count(&report, "sent_bytes") > 4 * 512 * 1024, "{report:#}");
    assert_eq!(count(&report, "received_messages"), 0);
}

#[test]
fn bystanders_that_are_shut_out_are_counted() {
    // A full pool refuses the split messages of bystanders and newcomers too, or the holders of it are
    // closed: which of them is the server's choice.
    let pool = ["--pool-bytes-max", "4194304"];
    let Some(run) = attack("unfinished", &[&["--connections", "8"], &pool[..]].concat()) else {
        return;
    };
    let attackers_closed = run.report["attackers"]["connections_ended"].as_object().unwrap();
    let bystanders_lost = run.report["during"]["messages_lost"].as_u64().unwrap();
    let shut_out = run.report["bystanders_shut_out"]["count"].as_u64().unwrap();
    assert_eq!(bystanders_lost > 0, shut_out > 0, "{:#}", run.report);
    assert!(!attackers_closed.is_empty() || shut_out > 0, "{:#}", run.report);
    let refused = ["before", "during", "after"]
        .iter()
        .any(|stage| run.report[stage]["handshakes_failed"] != Value::Object(Default::default()));
    assert_eq!(run.exit_code, i32::from(shut_out > 0 || refused), "{:#}", run.report);
}

#[test]
fn trickling_readers_leave_their_replies_unread() {
    let Some(report) = harmless("trickle", &["--connections", "4"]) else { return };
    assert!(count(&report, "sent_bytes") > 3 * 1_000_000, "{report:#}");
    assert_eq!(count(&report, "received_messages"), 0, "{report:#}");
}

#[test]
fn the_publisher_receives_what_slow_readers_do_not_read() {
    let options = ["--connections", "2", "--messages", "2000"];
    let Some(report) = harmless("slow-readers", &options) else { return };
    assert_eq!(count(&report, "connections_opened"), 3);
    assert_eq!(count(&report, "received_messages"), 2000, "{report:#}");
}

#[test]
fn bursts_are_delivered_on_two_loops() {
    let Some(run) = attack("bursts", &["--connections", "2"]) else { return };
    assert!(count(&run.report, "received_messages") > 0, "{:#}", run.report);
}

#[test]
fn half_open_connections_never_open() {
    let Some(report) = harmless("half-open", &["--connections", "20"]) else { return };
    assert_eq!(count(&report, "connections_opened"), 0, "{report:#}");
    assert!(count(&report, "sent_bytes") > 0, "{report:#}");
}

#[test]
fn who_connects_too_often_is_refused_and_no_bystander_is() {
    for name in ["flood", "reconnect-loop", "failing"] {
        let connections = if name == "failing" { "300" } else { "30" };
        let Some(report) = harmless(name, &["--connections", connections]) else { return };
        assert_eq!(report["during"]["handshakes_failed"], Value::Object(Default::default()));
        // A debug build may not take as many connections in that time as the burst allows.
        let ended = report["attackers"]["connections_ended"].as_object().unwrap();
        let is_expected = |reason: &String| {
            ["429", "400", "ended", "reset", "closed"].iter().any(|own| reason.contains(own))
        };
        assert!(ended.keys().all(is_expected), "{report:#}");
    }
    let Some(report) = harmless("flood-many", &["--connections", "30"]) else { return };
    assert!(count(&report, "connections_opened") > 0, "{report:#}");
}

#[test]
fn who_has_no_credential_is_refused_and_no_bystander_waits() {
    for (name, reason) in [("forged-tokens", "401"), ("hung-callback", "503")] {
        let Some(report) = harmless(name, &["--connections", "30"]) else { return };
        assert_eq!(report["during"]["handshakes_failed"], Value::Object(Default::default()));
        let ended = report["attackers"]["connections_ended"].as_object().unwrap();
        assert!(ended.keys().all(|own| own.contains(reason)), "{report:#}");
        assert_eq!(count(&report, "connections_opened"), 0);
        assert!(count(&report, "connections_held_max") > 0, "{report:#}");
    }
}

#[test]
fn a_server_that_runs_already_can_be_attacked() {
    let address = start(|_, stream| echo(stream));
    let pid = std::process::id().to_string();
    let mut command = loadtest("attack", address);
    command.args(["unfinished", "--connections", "2", "--pid", &pid]).args(QUICK);
    let run = outcome(&command.output().unwrap());
    assert_eq!(run.exit_code, 0, "{}\n{:#}", run.stderr, run.report);
    assert!(run.report["after"]["latency"]["count"].as_u64().unwrap() > 0);
    assert_eq!(run.report["during"]["connections_closed"], Value::Object(Default::default()));
}

/// Attacks a server in this process over TLS, which harms no bystander; returns the report.
#[track_caller]
fn attack_over_tls(name: &str, connections: &str, seconds: &str) -> Value {
    let certificate = Certificate::new();
    let address = certificate.serve(&[&TLS13], |stream| {
        // The attackers do not go on with the handshake, and leave when the attack is over.
        let Ok(mut websocket) = tungstenite::accept(stream) else { return };
        while let Ok(message) = websocket.read() {
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                websocket.send(message).unwrap();
            }
        }
    });
    let pid = std::process::id().to_string();
    let mut command = loadtest("attack", address);
    command.args([name, "--connections", connections, "--pid", &pid]).args(QUICK);
    // The last one wins.
    command.args(["--seconds", seconds]).args(certificate.trust());
    let run = outcome(&command.output().unwrap());
    assert_eq!(run.exit_code, 0, "{}\n{:#}", run.stderr, run.report);
    assert!(run.report["before"]["latency"]["count"].as_u64().unwrap() > 0);
    assert!(run.report["rss_peak_per_connection_bytes"].is_number());
    assert_eq!(count(&run.report, "connections_held_max"), connections.parse::<u64>().unwrap());
    run.report
}

#[test]
fn a_flood_of_handshakes_completes() {
    let report = attack_over_tls("handshakes", "50", "60");
    assert_eq!(count(&report, "connections_opened"), 50);
    for latency in ["connect_to_tls", "connect_to_upgrade"] {
        assert_eq!(report["attackers"][latency]["count"], 50, "{report:#}");
    }
}

#[test]
fn handshakes_that_stop_are_never_complete() {
    for name in ["half-hello", "whole-hello"] {
        let report = attack_over_tls(name, "20", "1");
        assert_eq!(count(&report, "connections_opened"), 0);
        assert_eq!(report["attackers"]["connections_ended"], Value::Object(Default::default()));
    }
}

#[test]
fn the_attacks_and_their_configurations_are_shown() {
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("attack").args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, list) = run(&["list"]);
    assert_eq!(code, Some(0));
    assert!(list.lines().any(|line| line.trim_start().starts_with("slow-readers ")), "{list}");
    let (code, config) = run(&["slow-readers", "--print-config", "--address", "127.0.0.1:9"]);
    assert_eq!(code, Some(0));
    assert!(config.contains("\naddress = \"127.0.0.1:9\"\n"), "{config}");
    assert!(config.contains("\nbacklog_messages_max = 10000\n"), "{config}");
    let (code, config) = run(&["half-hello", "--print-config", "--address", "wss://127.0.0.1:9"]);
    assert_eq!(code, Some(0));
    assert!(config.contains("\ntls = true\n\n[[certificate]]\n"), "{config}");
    assert_eq!(run(&["half-hello"]).0, Some(2));
    assert_eq!(run(&["nothing"]).0, Some(2));
}
