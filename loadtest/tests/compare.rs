//! `loadtest compare`, with as few and as short rounds as possible.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail loudly as well")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn servers_take_turns_and_those_that_fail_are_named() {
    let Some(directory) = directory_if_tidegate_is_built() else {
        return;
    };
    let options = ["--scenario", "echo-1,churn,two-loops", "--server", "floor"];
    let output = compare(directory.path(), &[&options[..], &["--server", "dead=false"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));

    let figures = figures(directory.path());
    let comparisons = figures["comparisons"].as_array().unwrap();
    let scenarios: Vec<_> =
        comparisons.iter().map(|comparison| comparison["scenario"].as_str()).collect();
    let two_loops = Some("two-loops");
    assert_eq!(scenarios, [Some("echo-1"), Some("churn"), two_loops, two_loops, two_loops]);
    for comparison in comparisons {
        for case in comparison["cases"].as_array().unwrap() {
            let samples = case["samples"].as_array().unwrap();
            if case["name"] == "dead" {
                assert!(samples.is_empty());
                let reason = case["failures"][0].as_str().unwrap();
                assert!(reason.contains("exit status: 1"), "{reason}");
                continue;
            }
            assert_eq!(case["failures"].as_array().unwrap().len(), 0, "{case}");
            let rounds: Vec<_> = samples.iter().map(|sample| sample["round"].as_u64()).collect();
            assert_eq!(rounds, [Some(1), Some(2)]);
            assert!(samples[0]["server_cpu_us_per_unit"].as_f64().unwrap() > 0.0);
        }
    }
    let split = comparisons[2]["cases"][0]["samples"][0]["connections_per_epoll"].clone();
    let split: Vec<_> = split.as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert_eq!(split.iter().sum::<u64>(), 100, "{split:?}");

    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("### `churn`: connect, upgrade, echo, close"), "{report}");
    assert!(report.contains("- dead: **failed** 2 times"), "{report}");

    // The same report, from the raw figures alone.
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let file = directory.path().join("compare.json");
    let again = command.args(["compare", "--render"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), report);
}

#[test]
fn only_servers_with_a_broadcast_take_part_in_a_fanout() {
    let Some(directory) = directory_if_tidegate_is_built() else {
        return;
    };
    let options = ["--scenario", "burst-16", "--server", "floor", "--server", "fastwebsockets"];
    let output = compare(directory.path(), &options);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let figures = figures(directory.path());
    let cases = figures["comparisons"][0]["cases"].as_array().unwrap();
    let names: Vec<_> = cases.iter().map(|case| case["name"].as_str()).collect();
    assert_eq!(names, [Some("tidegate"), Some("floor")]);
}

#[test]
fn servers_without_compression_are_left_out_of_its_scenarios() {
    let Some(directory) = directory_if_tidegate_is_built() else {
        return;
    };
    // The floor does not agree to compression, so it would fail.
    let output = compare(directory.path(), &["--scenario", "deflate-twins", "--server", "floor"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let figures = figures(directory.path());
    let comparisons = figures["comparisons"].as_array().unwrap();
    let titles: Vec<_> =
        comparisons.iter().map(|comparison| comparison["title"].as_str()).collect();
    assert_eq!(titles, [Some("tidegate")]);
    let cases = comparisons[0]["cases"].as_array().unwrap();
    let names: Vec<_> = cases.iter().map(|case| case["name"].as_str()).collect();
    assert_eq!(names, [Some("compressed"), Some("plain")]);

    let output = compare(directory.path(), &["--scenario", "deflate-echo", "--server", "floor"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn handshakes_over_tls_are_compared_full_and_resumed() {
    let Some(directory) = directory_if_tidegate_is_built() else {
        return;
    };
    let servers = ["--server", "tokio-tungstenite", "--server", "fastwebsockets"];
    let unfit = ["--server", "floor", "--server", "mine=./server {port}"];
    let options = ["--tls", "--scenario", "churn,churn-resumed,echo-1"];
    let options = [&options[..], &servers, &unfit].concat();
    // Each client's first handshake has no session to resume, and a busy machine may see no other in a second.
    let (output, figures) = ["1", "4", "16"]
        .iter()
        .map(|seconds| {
            let output = compare_for(seconds, directory.path(), &options);
            (output, figures(directory.path()))
        })
        .find(|(_, figures)| !figures["comparisons"].to_string().contains("the time was too short"))
        .unwrap();
    assert_eq!(figures["settings"]["tls"], true);
    let skipped: Vec<_> =
        figures["skipped"].as_array().unwrap().iter().map(|one| one["name"].as_str()).collect();
    assert_eq!(skipped, [Some("floor"), Some("mine")]);
    let comparisons = figures["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 3, "{}", stderr(&output));
    for comparison in comparisons {
        for name in ["tokio-tungstenite", "fastwebsockets"] {
            let cases = comparison["cases"].as_array().unwrap();
            let case = cases.iter().find(|case| case["name"] == name).unwrap();
            // A server that did not resume the sessions would have failed.
            assert_eq!(case["failures"].as_array().unwrap().len(), 0, "{case}");
            assert_eq!(case["samples"].as_array().unwrap().len(), 2, "{case}");
        }
    }
    let report = String::from_utf8(output.stdout).unwrap();
    let heading = "### `churn-resumed`: connect, resumed TLS handshake, upgrade, echo, close";
    assert!(report.contains(heading), "{report}");

    let output = compare(directory.path(), &["--scenario", "churn-resumed", "--server", "floor"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn invalid_options_are_usage_errors() {
    for options in [
        &["--server", "unknown"][..],
        &["--scenario", "unknown"],
        &["--tidegate", "/nowhere/tidegate"],
        &["--pin", "100000"],
        &["--render", "/nowhere/compare.json"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let output = command.arg("compare").args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {}", stderr(&output));
    }
}

/// `None` unless the whole workspace was built, which includes tidegate.
fn directory_if_tidegate_is_built() -> Option<TempDir> {
    let program = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("tidegate");
    program.exists().then(|| TempDir::new().unwrap())
}

/// On core 0, which every machine has.
fn compare(directory: &Path, options: &[&str]) -> Output {
    compare_for("0.1", directory, options)
}

/// As [`compare`], where each measurement takes this many seconds.
fn compare_for(seconds: &str, directory: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--rounds", "2", "--seconds", seconds, "--warm-up", "0.05"]);
    command.args(["--pin", "0", "--pin-server", "0", "--json"]);
    command.arg(directory.join("compare.json")).args(options).output().unwrap()
}

fn figures(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("compare.json")).unwrap()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
