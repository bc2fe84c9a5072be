//! The files in `deploy/` agree with the program: configurations are valid, metrics exist, and times fit the
//! drain. What needs other programs is in `scripts/check-deploy`.

#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::config::{Config, Timeouts};
use tidegate::metrics::{CertificateCounters, ControlCounters, LoopMetrics, counter_families};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The configuration inside the manifests.
fn of_kubernetes() -> Config {
    let manifests = read("kubernetes/tidegate.yaml");
    let (_, rest) = manifests.split_once("tidegate.toml: |\n").unwrap();
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let toml: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
    Config::from_toml(&toml, "tidegate.yaml").unwrap()
}

#[test]
fn the_configurations_are_valid() {
    for name in ["tidegate.toml", "docker/tidegate.toml"] {
        let name = path(name).display().to_string();
        Config::from_toml(&fs::read_to_string(&name).unwrap(), &name).unwrap();
    }
    of_kubernetes();
    // Its key comes from the environment.
    let shared = read("compose/tidegate.toml").replace("${TIDEGATE_API_KEY}", "0123456789abcdef");
    Config::from_toml(&shared, "compose/tidegate.toml").unwrap();
}

/// The number behind `key` at the beginning of a line.
fn number(text: &str, key: &str) -> u64 {
    let lines = text.lines().map(str::trim_start);
    let value = lines.filter_map(|line| line.strip_prefix(key)).next();
    let digits: String = value.unwrap().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn what_stops_the_gateway_waits_longer_than_it_drains() {
    let manifests = read("kubernetes/tidegate.yaml");
    let before_ms = number(&manifests, "sleep: {seconds:") * 1000;
    let in_all_ms = number(&manifests, "terminationGracePeriodSeconds:") * 1000;
    assert!(in_all_ms >= before_ms + of_kubernetes().timeouts.drain_ms + 5000);
    let service = read("systemd/tidegate.service");
    assert!(number(&service, "TimeoutStopSec=") * 1000 >= Timeouts::default().drain_ms + 5000);
}

/// The names of metrics in a text, without what Prometheus adds to those of a histogram.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_name = |own: char| own.is_ascii_lowercase() || own.is_ascii_digit() || own == '_';
    let behind = text.split("tidegate_").skip(1);
    let names = behind.map(|rest| rest.split(|own| !is_name(own)).next().unwrap_or_default());
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
}

/// The names that collectors know what is counted by.
fn collected() -> BTreeSet<String> {
    let loops = [LoopMetrics::default()];
    loops[0].routes.of("echo /echo");
    loops[0].listeners.of("127.0.0.1:8080");
    let (control, certificates) = (ControlCounters::default(), CertificateCounters::default());
    let families = counter_families(&loops.iter(), Some(&control), Some(&certificates), None);
    families.into_iter().map(|family| family.name.into_owned()).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alerts_exists() {
    let others = OTHERS.iter().map(|name| (*name).to_owned());
    let known: BTreeSet<String> = collected().into_iter().chain(others).collect();
    for name in ["prometheus/alerts.yml", "grafana/tidegate.json"] {
        let used = metrics(&read(name));
        assert!(used.len() > 10, "{name}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_has_no_two_panels_with_one_number() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("grafana/tidegate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let numbers: BTreeSet<u64> = panels.iter().map(|own| own["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), panels.len());
}

/// Metrics that the program adds to those of its counters.
const OTHERS: &[&str] = &[
    "certificate_expiry_timestamp_seconds",
    "connections_max",
    "log_lines_dropped_total",
    "pool_max_bytes",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
];
