//! `loadtest echo`: the closed loop, and wrong echoes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};
use tungstenite::{Bytes, Message};

use crate::server_program::{Kind, spawn_command};
use crate::support::{self, echo, loadtest, outcome, start};
use crate::{assert_not_listening, reserved_address, run, run_failing, run_successfully};

const QUICK: [&str; 4] = ["--seconds", "0.5", "--warm-up-seconds", "0.1"];
/// For runs that a wrong echo ends.
const UNTIL_CAUGHT: [&str; 4] = ["--seconds", "60", "--warm-up-seconds", "0.1"];

/// Echoes what `alter` makes of each message. Messages are numbered from 0.
fn altered_echo(stream: TcpStream, alter: impl Fn(usize, Message) -> Vec<Message>) {
    let mut websocket = tungstenite::accept(stream).unwrap();
    let mut number = 0;
    while let Ok(message) = websocket.read() {
        if !matches!(message, Message::Text(_) | Message::Binary(_)) {
            continue;
        }
        for message in alter(number, message) {
            websocket.send(message).unwrap();
        }
        number += 1;
    }
}

#[test]
fn echoes_are_counted_and_verified() {
    let address = start(|_, stream| echo(stream));
    let pid = std::process::id().to_string();
    let options = [&["--connections", "5", "--in-flight", "3", "--pid", &pid], &QUICK[..]].concat();
    let report = run_successfully("echo", address, &options);
    assert_eq!(report["command"], "echo");
    assert!(report["messages"].as_u64().unwrap() > 0);
    assert!(report["messages_per_second"].as_f64().unwrap() > 0.0);
    let latency = &report["latency"];
    assert_eq!(latency["count"], report["messages"]);
    let quantiles = ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"]
        .map(|quantile| latency[quantile].as_f64().unwrap());
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{quantiles:?}");
    let cpu = &report["cpu"];
    assert!(cpu["server_cpu_us_per_unit"].as_f64().unwrap() > 0.0);
    assert!(cpu["client_cpu_us_per_unit"].as_f64().unwrap() > 0.0);
    assert!(cpu["client_busy_share"].as_f64().unwrap() <= 1.0);
}

#[test]
fn all_payload_kinds_and_sizes_are_echoed() {
    let address = start(|_, stream| echo(stream));
    for options in [
        &["--bytes", "0"][..],
        &["--bytes", "1", "--text"],
        &["--bytes", "17", "--chinese"],
        &["--bytes", "1000", "--chinese", "--in-flight", "8"],
        &["--bytes", "65536", "--in-flight", "4"],
        &["--bytes", "1000000"],
    ] {
        let options = [&["--connections", "3"], options, &QUICK].concat();
        assert!(run_successfully("echo", address, &options)["messages"].as_u64().unwrap() > 0);
    }
}

#[test]
fn fragments_and_single_bytes_are_echoes_as_well() {
    let address = start(|_, stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        while let Ok(message) = websocket.read() {
            if let Message::Binary(payload) = &message {
                let mut stream = websocket.get_ref();
                let (first, rest) = payload.split_at(7);
                let header =
                    |first: u8, payload: &[u8]| [first, u8::try_from(payload.len()).unwrap()];
                let frames = [&header(0x02, first), first, &header(0x80, rest), rest].concat();
                for byte in frames {
                    stream.write_all(&[byte]).unwrap();
                }
            }
        }
    });
    let options = ["--connections", "2", "--bytes", "60", "--in-flight", "2"];
    run_successfully("echo", address, &[&options[..], &QUICK].concat());
}

#[test]
fn a_corrupted_byte_is_caught() {
    let address = start(|number, stream| {
        altered_echo(stream, |message_number, message| {
            let mut payload = message.into_data().to_vec();
            if (number, message_number) == (2, 4) {
                payload[100] ^= 0x20;
            }
            vec![Message::Binary(payload.into())]
        });
    });
    // The other connections go on, so the run lasts as long as it would without a failure.
    let options = ["--connections", "5", "--seconds", "3", "--warm-up-seconds", "0.1"];
    let reason = "connection 2: message 4 differs from what was sent at byte 100";
    let report = run_failing("echo", address, &options, reason);
    assert_eq!(report["failures"]["count"], 1);
}

#[test]
fn the_echo_of_another_connection_is_caught() {
    let address = start(|_, stream| {
        altered_echo(stream, |number, message| {
            let mut payload = message.into_data().to_vec();
            if number == 3 {
                // The lowest digit of the sender's number.
                payload[8] = if payload[8] == b'0' { b'1' } else { b'0' };
            }
            vec![Message::Binary(payload.into())]
        });
    });
    let options = [&["--connections", "2"], &UNTIL_CAUGHT[..]].concat();
    run_failing("echo", address, &options, "message 3 differs from what was sent at byte 8");
}

#[test]
fn duplicate_missing_and_altered_echoes_are_caught() {
    let twice =
        start(|_, stream| altered_echo(stream, |_, message| vec![message.clone(), message]));
    let text = start(|_, stream| {
        altered_echo(stream, |_, message| vec![Message::text("x".repeat(message.len()))]);
    });
    let empty = start(|_, stream| altered_echo(stream, |_, _| vec![Message::Binary(Bytes::new())]));
    let options = [&["--connections", "1"], &UNTIL_CAUGHT[..]].concat();
    run_failing("echo", text, &options, "message 0 is binary where text was sent");
    run_failing("echo", empty, &options, "message 0 ends after 0 of the 128 bytes");
    // The copy of message 0 is compared with message 1, or with nothing if that is not sent yet.
    let doubled = run("echo", twice, &options);
    let reason = doubled.report["failures"]["first_reason"].as_str().unwrap();
    assert!(
        reason.contains("differs from what was sent") || reason.contains("was not asked for"),
        "{reason}"
    );
    let none = start(|_, stream| altered_echo(stream, |_, _| Vec::new()));
    let options = [&["--connections", "1", "--timeout", "0.3"], &QUICK[..]].concat();
    run_failing("echo", none, &options, "no echo within 0.3 s");
}

#[test]
fn the_report_of_a_crash_has_the_last_lines_of_the_server() {
    let address = reserved_address();
    let spawn = spawn_command(Kind::Crashing, address);
    let run = run("echo", address, &["--connections", "2", "--spawn", &spawn]);
    assert_eq!(run.exit_code, 1);
    for part in ["the server ended while it was under load: signal: 6", "its last lines:", "I die"]
    {
        assert!(run.stderr.contains(part), "{part:?} is missing:\n{}", run.stderr);
    }
}

#[test]
fn an_interrupt_ends_the_spawned_server() {
    let address = reserved_address();
    let spawn = spawn_command(Kind::Echo, address);
    let mut command = loadtest("echo", address);
    command.args(["--connections", "2", "--warm-up-seconds", "0", "--seconds", "60"]);
    command.args(["--spawn", &spawn]);
    let mut child = support::begin(command);
    let mut line = [0; 10];
    child.stderr.as_mut().unwrap().read_exact(&mut line).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let run = outcome(&child.wait_with_output().unwrap());
    assert_eq!(run.exit_code, 1);
    assert!(run.stderr.contains("loadtest: interrupted"), "{}", run.stderr);
    assert_not_listening(address);
}

#[test]
fn server_and_load_generator_can_be_pinned() {
    let address = reserved_address();
    let spawn = spawn_command(Kind::Echo, address);
    let core = first_core();
    let pins = ["--connections", "2", "--pin", &core, "--spawn", &spawn, "--pin-server", &core];
    run_successfully("echo", address, &[&pins[..], &QUICK].concat());
    let run = run("echo", address, &["--pin", "1000000"]);
    assert_eq!(run.exit_code, 2, "{}", run.stderr);
}

#[test]
fn invalid_options_are_usage_errors() {
    let address = reserved_address();
    for options in [
        &["--connections", "0"][..],
        &["--in-flight", "0"],
        &["--bytes", "1000000000"],
        &["--text", "--chinese"],
        &["--text", "--binary"],
        &["--pin-server", "0"],
        &["--connections", "3000000"],
    ] {
        assert_eq!(run("echo", address, options).exit_code, 2, "{options:?}");
    }
}

/// The first core that the tests may run on.
fn first_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split([',', '-']).next().unwrap().to_owned()
}

#[test]
fn a_url_is_an_address_and_a_chart_shows_the_latency() {
    let address = start(|_, stream| echo(stream));
    let folder = tempfile::TempDir::new().unwrap();
    let chart = folder.path().join("latency.svg");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["echo", "--json", "--address", &format!("ws://{address}/a/path")]);
    command.args(["--connections", "2", "--chart", chart.to_str().unwrap()]).args(QUICK);
    let run = outcome(&command.output().unwrap());
    assert_eq!(run.exit_code, 0, "{}", run.stderr);
    assert_eq!(run.report["path"], "/a/path");
    let chart = std::fs::read_to_string(chart).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains("p99.9"), "{chart}");
}

#[test]
fn where_nothing_listens_the_error_says_what_to_do() {
    let address = reserved_address();
    for name in ["echo", "idle"] {
        let mut command = loadtest(name, address);
        command.args(["--connections", "3"]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("the server at {address} takes no connections")), "{said}");
        assert!(said.contains("--spawn") && !said.contains("saturated"), "{said}");
    }
}
