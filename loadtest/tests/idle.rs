//! Runs `loadtest idle` against servers that behave and against servers that do not.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail loudly as well")]

mod support;

use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tungstenite::{Message, WebSocket};

use support::port::reserved_address;
use support::{Outcome, echo, outcome, run, start};

/// Of the runs that must fail.
const CONNECTIONS: usize = 50;
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
const PORT_VARIABLE: &str = "LOADTEST_TEST_SERVER_PORT";

#[test]
fn a_good_server_gets_a_full_report() {
    let address = start(|_, stream| echo(stream));
    let pid = std::process::id().to_string();
    let run = run(address, &["--connections", "50", "--pid", &pid]);
    assert_eq!(run.exit_code, 0, "{}", run.stderr);

    let report = &run.report;
    assert_eq!(report["command"], "idle");
    assert_eq!(report["failures"]["count"], 0);
    assert_eq!(report["anonymous_source"], "Anonymous of /proc/PID/smaps_rollup");
    let baseline_bytes = report["baseline"]["server"]["anonymous_bytes"].as_u64().unwrap();
    assert!(baseline_bytes > 0);
    let cycles = report["cycle_reports"].as_array().unwrap();
    assert_eq!(cycles.len(), 2);
    for cycle in cycles {
        for count in
            ["connections_opened", "connections_held", "pongs_verified", "connections_closed"]
        {
            assert_eq!(cycle[count], 50, "{count}");
        }
        assert!(cycle["connects_per_second"].as_f64().unwrap() > 0.0);
        assert!(cycle["opening_server_cpu_seconds"].as_f64().is_some());
        let share = &cycle["per_connection"];
        assert!(share["server_anonymous_bytes"].as_f64().is_some(), "{share}");
        assert!(share["kernel_slab_both_ends_bytes"].as_f64().is_some(), "{share}");
        assert!(cycle["held"]["server"]["threads"].as_u64().unwrap() > 50);
        assert!(cycle["held"]["kernel"]["sockets_used"].as_u64().unwrap() >= 100);
        assert!(cycle["left"]["server"]["anonymous_bytes"].as_u64().is_some());
        assert!(cycle["left_growth_bytes"].as_i64().is_some());
    }
    assert!(report["between_cycles_growth_bytes"].as_i64().is_some());
}

#[test]
fn without_a_process_the_report_notes_that_server_figures_are_missing() {
    let address = start(|_, stream| echo(stream));
    let run = run(address, &["--connections", "5", "--cycles", "1", "--rate", "100"]);
    assert_eq!(run.exit_code, 0, "{}", run.stderr);
    let cycle = &run.report["cycle_reports"][0];
    assert!(cycle["held"]["server"].is_null());
    assert!(cycle["per_connection"]["kernel_slab_both_ends_bytes"].as_f64().is_some());
    // The fifth of 100 per second begins 40 ms after the first.
    assert!(cycle["opening_seconds"].as_f64().unwrap() >= 0.04);
    assert!(run.report["notes"].to_string().contains("--pid"));
}

#[test]
fn the_text_report_has_the_same_figures() {
    let address = start(|_, stream| echo(stream));
    let pid = std::process::id().to_string();
    let command = support::idle(address, &["--connections", "5", "--pid", &pid]);
    let arguments = command.get_args().filter(|argument| *argument != "--json");
    let output = Command::new(command.get_program()).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["5 idle connections", "baseline", "cycle 2, all left", "no failures"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

#[test]
fn a_wrong_accept_key_is_a_failure() {
    let address = start(|_, stream| {
        support::answer(
            stream,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: qgWIKoKflyd9H8L/jCNa8XP4CYQ=\r\n\r\n",
        );
    });
    assert_failure(address, &["--warm-up", "0"], 50, ": wrong accept key");
    assert_failure(address, &[], 1, "warming up, connection 0: wrong accept key");
}

#[test]
fn a_refusal_is_a_failure() {
    let address = start(|_, stream| {
        support::answer(stream, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    });
    assert_failure(address, &[], 1, "the server answered \"503 Service Unavailable\"");
}

#[test]
fn a_connection_dropped_during_the_hold_is_a_failure() {
    let reason = "holding, connection 9: the server ended the connection without a Close frame";
    let report = assert_failure_in_the_hold(drop, reason);
    let cycle = &report["cycle_reports"][0];
    assert_eq!(cycle["connections_opened"], 50);
    assert_eq!(cycle["connections_held"], 49);
    assert_eq!(cycle["pongs_verified"], 49);
    assert_eq!(cycle["connections_closed"], 49);
    assert!(report["cycle_reports"][1].is_null(), "a cycle with failures is the last");
}

#[test]
fn a_connection_closed_by_the_server_is_a_failure() {
    let reason = "holding, connection 9: the server closed the connection";
    assert_failure_in_the_hold(|mut websocket| websocket.close(None).unwrap(), reason);
}

#[test]
fn a_wrong_pong_is_a_failure() {
    let address = start(|number, stream| {
        if number == 9 {
            let websocket = tungstenite::accept(stream).unwrap();
            let mut stream = websocket.get_ref();
            // The ping is a masked frame of 14 bytes.
            std::io::Read::read_exact(&mut stream, &mut [0; 14]).unwrap();
            std::io::Write::write_all(&mut stream, b"\x8a\x08another!").unwrap();
            support::wait_for_end(stream.try_clone().unwrap());
        } else {
            echo(stream);
        }
    });
    assert_failure(address, &[], 1, "checking, connection 9: a pong does not carry the payload");
}

#[test]
fn silence_is_a_failure_at_each_stage() {
    let address = start(|_, stream| support::wait_for_end(stream));
    let options = ["--timeout", "0.3"];
    assert_failure(address, &options, 1, "no complete answer to the upgrade request within 0.3 s");

    let address = start(|number, stream| {
        if number == 9 {
            let websocket = tungstenite::accept(stream).unwrap();
            support::wait_for_end(websocket.get_ref().try_clone().unwrap());
        } else {
            echo(stream);
        }
    });
    // Longer than the pongs of all others take on a busy machine.
    let options = ["--timeout", "5"];
    assert_failure(address, &options, 1, "checking, connection 9: no pong within 5 s");
}

#[test]
fn a_closed_port_is_a_failure() {
    let address = reserved_address();
    let run = run(address, &["--connections", "3"]);
    assert_eq!(run.exit_code, 1);
    let expected = format!("the server at {address} takes no connections (Connection refused");
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
}

#[test]
fn server_pings_are_answered_during_the_hold() {
    let pongs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pongs);
    let address = start(move |_, stream| {
        let mut websocket = tungstenite::accept(stream).unwrap();
        websocket.send(Message::Ping("are you there".into())).unwrap();
        while let Ok(message) = websocket.read() {
            if message == Message::Pong("are you there".into()) {
                counter.fetch_add(1, Ordering::Relaxed);
            } else if message.is_text() {
                websocket.send(message).unwrap();
            }
        }
    });
    let run = run(address, &["--connections", "20", "--cycles", "1"]);
    assert_eq!(run.exit_code, 0, "{}", run.stderr);
    assert_eq!(run.report["cycle_reports"][0]["server_pings_answered"], 20);
    assert_eq!(pongs.load(Ordering::Relaxed), 22, "the warm-up's two included");
}

#[test]
fn too_many_connections_are_a_usage_error_with_both_numbers() {
    let run = run(reserved_address(), &["--connections", "3000000"]);
    assert_eq!(run.exit_code, 2);
    assert!(run.stderr.contains("--connections 3000000 does not fit"), "{}", run.stderr);
    assert!(run.stderr.contains("which allows"), "{}", run.stderr);
}

#[test]
fn invalid_options_are_usage_errors() {
    let address = reserved_address();
    for options in [
        &["--connections", "0"][..],
        &["--connections", "1", "--path", "echo"],
        &["--connections", "1", "--hold", "-1"],
        &["--connections", "1", "--pid", "4294967295"],
        &["--connections", "1", "--pid", "1", "--spawn", "true"],
    ] {
        assert_eq!(run(address, options).exit_code, 2, "{options:?}");
    }
}

#[test]
fn a_spawned_server_is_measured_and_ended() {
    let address = reserved_address();
    let run = run(address, &["--connections", "5", "--spawn", &spawn_command(address)]);
    assert_eq!(run.exit_code, 0, "{}", run.stderr);
    assert!(run.report["server_pid"].as_u64().is_some());
    assert!(run.report["baseline"]["server"]["anonymous_bytes"].as_u64().is_some());
    assert_not_listening(address);
}

#[test]
fn a_spawned_server_is_ended_when_the_run_fails_or_is_interrupted() {
    let address = reserved_address();
    let spawn = spawn_command(address);
    let failed = run(address, &["--connections", "5", "--seed", "x", "--spawn", &spawn]);
    assert_eq!(failed.exit_code, 2);

    let options = ["--connections", "5", "--hold", "60", "--spawn", &spawn];
    let mut child = support::begin(support::idle(address, &options));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("cycle 1: opened 5")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let interrupted = outcome(&child.wait_with_output().unwrap());
    assert_eq!(interrupted.exit_code, 1);
    assert!(lines.any(|line| line.unwrap() == "loadtest: interrupted"));
    assert_not_listening(address);
}

#[test]
fn a_server_that_does_not_start_is_a_failure() {
    let run = run(reserved_address(), &["--connections", "1", "--spawn", "false"]);
    assert_eq!(run.exit_code, 1);
    assert!(run.stderr.contains("ended before it could accept: exit status: 1"), "{}", run.stderr);
}

#[test]
#[ignore = "no test: the server that the spawning tests start"]
fn serve_until_terminated() {
    let Ok(port) = env::var(PORT_VARIABLE) else {
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    support::serve(&listener, |_, stream| echo(stream));
}

/// The command that starts this test program as a server.
fn spawn_command(address: SocketAddr) -> String {
    let program = env::current_exe().unwrap();
    format!(
        "env {PORT_VARIABLE}={} '{}' --ignored --exact serve_until_terminated",
        address.port(),
        program.display()
    )
}

#[track_caller]
fn assert_not_listening(address: SocketAddr) {
    assert!(TcpStream::connect(address).is_err(), "a server still listens on {address}");
}

/// A run whose server leaves connection 9 in this way when the hold has begun, which fails for this reason.
#[track_caller]
fn assert_failure_in_the_hold(
    leave: impl Fn(WebSocket<TcpStream>) + Send + Sync + 'static,
    reason: &str,
) -> serde_json::Value {
    let is_held = Arc::new(AtomicBool::new(false));
    let of_server = Arc::clone(&is_held);
    let address = start(move |number, stream| {
        // The handshake fails for a client that only probes whether the server accepts.
        let Ok(mut websocket) = tungstenite::accept(stream) else { return };
        if number != 9 {
            return support::echo_messages(websocket);
        }
        // However long the machine takes for the others.
        while !of_server.load(Ordering::Relaxed) {
            support::stay_idle(&mut websocket, PROBE_INTERVAL);
        }
        leave(websocket);
    });
    let connections = CONNECTIONS.to_string();
    let options = ["--connections", &connections, "--hold", "6"];
    let mut child = support::begin(support::idle(address, &options));
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(stderr.any(|line| line.contains("cycle 1: opened 50")), "it opens all");
    is_held.store(true, Ordering::Relaxed);
    let rest: Vec<String> = stderr.collect();
    let run = outcome(&child.wait_with_output().unwrap());
    assert_fails(&run, 1, reason, &rest.join("\n"));
    run.report
}

/// Runs 50 connections, and expects `count` failures, of which the first has this reason.
#[track_caller]
fn assert_failure(
    address: SocketAddr,
    options: &[&str],
    count: usize,
    reason: &str,
) -> serde_json::Value {
    let connections = CONNECTIONS.to_string();
    let run = run(address, &[&["--connections", &connections], options].concat());
    assert_fails(&run, count, reason, &run.stderr);
    run.report
}

#[track_caller]
fn assert_fails(run: &Outcome, count: usize, reason: &str, stderr: &str) {
    assert_eq!(run.exit_code, 1, "{stderr}");
    let failures = &run.report["failures"];
    assert!(failures["first_reason"].as_str().unwrap().contains(reason), "{failures}");
    assert_eq!(failures["count"], count, "{failures}");
}
