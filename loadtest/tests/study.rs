//! Runs `loadtest study` with the servers that are a part of loadtest, and reads what it writes.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail loudly as well")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn the_servers_of_loadtest_are_measured_and_the_report_is_written() {
    let directory = TempDir::new().unwrap();
    let rows = "floor,tungstenite-threads,fastwebsockets,tokio-tungstenite";
    let output = study(directory.path(), &["--connections", "50", "--rows", rows]);
    assert!(output.status.success(), "{}", stderr(&output));

    let figures = figures(directory.path());
    let part = &figures["servers"];
    assert_eq!(part["treatment"]["connections"], 50);
    assert!(part["machine"]["kernel"].as_str().unwrap().starts_with("Linux"));
    let names: Vec<_> =
        part["rows"].as_array().unwrap().iter().map(|row| row["row"].as_str().unwrap()).collect();
    // In the order of the report, not in that of the option.
    assert_eq!(names, ["tungstenite-threads", "tokio-tungstenite", "fastwebsockets", "floor"]);
    for row in part["rows"].as_array().unwrap() {
        let outcome = &row["outcome"];
        assert_eq!(outcome["kind"], "measured", "{row}");
        assert_eq!(outcome["failures"]["count"], 0, "{row}");
        assert_ne!(outcome["version"], "", "{row}");
        let cycles = outcome["cycles"].as_array().unwrap();
        assert_eq!(cycles.len(), 2);
        for cycle in cycles {
            for count in ["connections_opened", "connections_held", "connections_closed"] {
                assert_eq!(cycle[count], 50, "{count} of {row}");
            }
            assert_eq!(cycle["echoes_verified"], 50, "{row}");
            assert!(cycle["per_connection"]["server_anonymous_bytes"].is_number(), "{row}");
            let threads = cycle["held"]["server"]["threads"].as_u64().unwrap();
            assert_eq!(threads > 50, row["row"] == "tungstenite-threads", "{row}");
            let tasks = cycle["inner_view"]["tasks"].as_u64();
            let has_tasks = row["design"].as_str().unwrap().contains("task");
            assert_eq!(tasks.is_some_and(|tasks| tasks >= 50), has_tasks, "{row}");
        }
    }
    let report = fs::read_to_string(directory.path().join("memory-study.md")).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), report);
    assert!(report.contains("| bare epoll | Rust, keeps nothing: the floor |"), "{report}");
    assert!(report.contains("debug build"), "figures of a debug build must say so: {report}");
    let chart = fs::read_to_string(directory.path().join("img/memory-study.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains("\ntungstenite\n"), "{chart}");
}

#[test]
fn idle_connections_that_agreed_on_compression_have_a_row() {
    let program = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("tidegate");
    if !program.exists() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let rows = "tidegate,tidegate-compressed";
    let output = study(directory.path(), &["--connections", "50", "--rows", rows]);
    assert!(output.status.success(), "{}", stderr(&output));
    for row in figures(directory.path())["servers"]["rows"].as_array().unwrap() {
        let outcome = &row["outcome"];
        assert_eq!(outcome["kind"], "measured", "{row}");
        // The clients offered compression, and fail unless the server agrees.
        assert_eq!(outcome["failures"]["count"], 0, "{row}");
        assert_eq!(outcome["cycles"][1]["echoes_verified"], 50, "{row}");
    }
}

#[test]
fn servers_that_speak_tls_are_measured_with_it_in_a_part_of_their_own() {
    let directory = TempDir::new().unwrap();
    let rows = ["--connections", "50", "--rows", "fastwebsockets,tokio-tungstenite,floor"];
    for version in ["1.2", "1.3"] {
        let options = [&rows[..], &["--tls", "--tls-version", version]].concat();
        let output = study(directory.path(), &options);
        assert!(output.status.success(), "{}", stderr(&output));
        let figures = figures(directory.path());
        assert!(figures["servers"].is_null());
        let part = &figures["tls_servers"];
        assert_eq!(part["treatment"]["tls"], version);
        let rows = part["rows"].as_array().unwrap();
        // In the order of the report; the floor speaks no TLS.
        let names: Vec<_> = rows.iter().map(|row| row["row"].as_str().unwrap()).collect();
        assert_eq!(names, ["tokio-tungstenite", "fastwebsockets"]);
        for row in rows {
            let outcome = &row["outcome"];
            assert_eq!(outcome["kind"], "measured", "{row}");
            assert_eq!(outcome["failures"]["count"], 0, "{row}");
            assert!(outcome["version"].as_str().unwrap().contains("rustls"), "{row}");
            assert_eq!(outcome["cycles"][1]["echoes_verified"], 50, "{row}");
        }
        let report = fs::read_to_string(directory.path().join("memory-study.md")).unwrap();
        let heading = format!("## 50 idle connections with TLS {version}");
        assert!(report.contains(&heading), "{report}");
    }
}

#[test]
fn missing_servers_are_skipped_and_parts_of_other_runs_are_kept() {
    let directory = TempDir::new().unwrap();
    let nowhere = directory.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let options =
        ["--rows", "tidegate,tidegate-compressed,bun", "--tidegate", nowhere, "--peers", nowhere];
    let output = study(directory.path(), &options);
    assert!(output.status.success(), "{}", stderr(&output));
    let skipped = figures(directory.path());
    for row in skipped["servers"]["rows"].as_array().unwrap() {
        assert_eq!(row["outcome"]["kind"], "skipped");
        assert!(row["outcome"]["reason"].as_str().unwrap().contains("is missing"), "{row}");
    }

    // A part that cannot be measured changes nothing.
    let output = study(directory.path(), &["--sweep", "10,20", "--tidegate", nowhere]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nowhere is missing"), "{}", stderr(&output));
    assert_eq!(figures(directory.path()), skipped);

    let output = study(directory.path(), &["--render", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), skipped);
}

#[test]
fn a_server_that_ends_is_reported_with_its_last_log_lines() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("tidegate");
    let script =
        "#!/bin/sh\ncase $1 in --version) echo tidegate 0;; *) echo no luck; exit 3;; esac";
    fs::write(&program, script).unwrap();
    let chmod = Command::new("chmod").arg("+x").arg(&program).status().unwrap();
    assert!(chmod.success());
    let program = program.to_str().unwrap();
    let output = study(directory.path(), &["--rows", "tidegate", "--tidegate", program]);
    assert_eq!(output.status.code(), Some(1));
    let outcome = figures(directory.path())["servers"]["rows"][0]["outcome"].clone();
    assert_eq!(outcome["kind"], "failed");
    assert!(outcome["reason"].as_str().unwrap().contains("exit status: 3"), "{outcome}");
    assert_eq!(outcome["last_log_lines"][0], "no luck");
}

#[test]
fn an_interrupted_study_leaves_no_server_and_no_report() {
    let directory = TempDir::new().unwrap();
    let mut command = command(directory.path(), &["--rows", "floor", "--hold", "60"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let server = loop {
        if let Some(server) = child_of(child.id()) {
            break server;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had a server");
    };
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let lines: Vec<_> = BufReader::new(child.stderr.take().unwrap()).lines().collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(lines.last().unwrap().as_ref().unwrap(), "loadtest: interrupted");
    assert!(!Path::new(&format!("/proc/{server}")).exists(), "the server still runs");
    assert!(!directory.path().join("memory-study.md").exists());
}

#[test]
fn tidegate_is_measured_with_more_connections_and_in_several_processes() {
    let program = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("tidegate");
    if !program.exists() {
        // Only a build of the whole workspace includes tidegate.
        return;
    }
    let directory = TempDir::new().unwrap();
    let study = command(directory.path(), &["--sweep", "20,10", "--scale", "60"]);
    // With this limit on open files, 60 connections take two servers and two client processes.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 300 && exec \"$@\"", "sh"]);
    limited.arg(study.get_program()).args(study.get_args());
    let output = limited.output().unwrap();
    // Costs at so few connections may differ by more than chance, which is a failure.
    assert_ne!(output.status.code(), Some(2), "{}", stderr(&output));

    let figures = figures(directory.path());
    assert!(figures["servers"].is_null());
    let points = figures["sweep"]["points"].as_array().unwrap();
    let counts: Vec<_> = points.iter().map(|point| point["connections"].as_u64()).collect();
    assert_eq!(counts, [Some(10), Some(20)]);
    let scale = &figures["scale"];
    for count in ["connections_opened", "echoes_verified", "connections_closed"] {
        assert_eq!(scale[count], 60, "{count}");
    }
    assert_eq!(scale["client_processes"], 2);
    let servers = scale["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    let held: u64 = servers.iter().map(|server| server["connections"].as_u64().unwrap()).sum();
    assert_eq!(held, 60);
    let report = fs::read_to_string(directory.path().join("memory-study.md")).unwrap();
    assert!(report.contains("## 60 connections in several processes"), "{report}");
    assert!(directory.path().join("img/memory-sweep.svg").exists());
}

/// The first child of a process.
fn child_of(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// `loadtest study` with short times.
fn command(out: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["study", "--hold", "0.2", "--quiet", "0.2", "--forget", "0"]);
    command.arg("--out").arg(out).args(options);
    command
}

fn study(out: &Path, options: &[&str]) -> Output {
    command(out, options).output().unwrap()
}

fn figures(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("memory-study.json")).unwrap()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
