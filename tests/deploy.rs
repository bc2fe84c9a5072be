//! The files in `deploy/` agree with the program: configurations are valid, metrics exist, and times fit the
//! drain. What needs other programs is in `scripts/check-deploy`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;
use tidegate::config::{Config, Timeouts};
use tidegate::metrics::{CertificateCounters, ControlCounters, LoopMetrics, counter_families};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The documents of a file.
fn documents(name: &str) -> Vec<Value> {
    let text = read(name);
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|own| Value::deserialize(own).unwrap()).collect()
}

/// The manifests of a kind.
fn of_kind(manifests: &[Value], kind: &str) -> Vec<Value> {
    manifests.iter().filter(|own| own["kind"] == kind).cloned().collect()
}

/// The text of the configuration inside manifests.
fn toml_of_kubernetes(name: &str) -> String {
    let [map] = &of_kind(&documents(name), "ConfigMap")[..] else { panic!("{name}") };
    map["data"]["tidegate.toml"].as_str().unwrap().to_owned()
}

/// The configuration inside manifests; what comes from the environment is made up.
fn of_kubernetes(name: &str) -> Config {
    let toml = toml_of_kubernetes(name).replace("${TIDEGATE_ENGINE_PASSWORD}", "0123456789abcdef");
    Config::from_toml(&toml, name).unwrap()
}

const MANIFESTS: [&str; 2] = ["kubernetes/tidegate.yaml", "kubernetes/shared.yaml"];

#[test]
fn the_configurations_are_valid() {
    for name in ["tidegate.toml", "docker/tidegate.toml"] {
        let name = path(name).display().to_string();
        Config::from_toml(&fs::read_to_string(&name).unwrap(), &name).unwrap();
    }
    for name in MANIFESTS {
        of_kubernetes(name);
    }
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
    for name in MANIFESTS {
        let manifests = read(name);
        let before_ms = number(&manifests, "sleep: {seconds:") * 1000;
        let in_all_ms = number(&manifests, "terminationGracePeriodSeconds:") * 1000;
        assert!(in_all_ms >= before_ms + of_kubernetes(name).timeouts.drain_ms + 5000, "{name}");
    }
    let service = read("systemd/tidegate.service");
    assert!(number(&service, "TimeoutStopSec=") * 1000 >= Timeouts::default().drain_ms + 5000);
}

/// Hosts and ports of URLs.
fn hosts(urls: &[String]) -> Vec<(String, u64)> {
    let host = |url: &String| {
        let (host, port) = url.split_once("://").unwrap().1.split_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    };
    urls.iter().map(host).collect()
}

/// The engine that the gateways are told of is there, at that port, and what they need of the environment.
#[test]
fn the_gateways_of_the_manifests_find_their_engine() {
    let name = "kubernetes/shared.yaml";
    let (manifests, config) = (documents(name), of_kubernetes(name));
    let named = |kind: &str, wanted: &str| {
        let all = of_kind(&manifests, kind);
        all.into_iter().find(|own| own["metadata"]["name"] == wanted).unwrap()
    };
    let [(host, port)] = &hosts(&config.engine.urls)[..] else { panic!("one server") };
    assert_eq!(named("Service", host)["spec"]["ports"][0]["port"], *port);
    let redis = named("StatefulSet", host)["spec"]["template"].clone();
    assert_eq!(redis["spec"]["containers"][0]["ports"][0]["containerPort"], *port);
    let gateways = named("Deployment", "tidegate");
    assert_eq!(gateways["spec"]["replicas"], 3);
    let own = &gateways["spec"]["template"]["spec"]["containers"][0];
    for variable in own["env"].as_array().unwrap() {
        let variable = variable["name"].as_str().unwrap();
        assert!(toml_of_kubernetes(name).contains(&format!("${{{variable}}}")), "{variable}");
    }
    // Labels select what they are meant to select.
    for kind in ["Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment", "StatefulSet"] {
        for own in of_kind(&manifests, kind) {
            let spec = &own["spec"];
            let selector = [&spec["selector"], &spec["podSelector"]];
            let selector = selector.into_iter().find(|own| !own.is_null()).unwrap();
            let labels = selector.get("matchLabels").unwrap_or(selector);
            let of_gateways = &gateways["spec"]["template"]["metadata"]["labels"];
            let of_redis = &redis["metadata"]["labels"];
            assert!(labels == of_gateways || labels == of_redis, "{kind}: {labels}");
        }
    }
}

/// The names in one file are the services of the other.
#[test]
fn the_gateways_of_compose_find_their_engine_and_the_balancer_them() {
    let [compose] = &documents("compose/compose.yaml")[..] else { panic!("one document") };
    let services: Vec<&String> = compose["services"].as_object().unwrap().keys().collect();
    let toml = read("compose/tidegate.toml");
    let config =
        Config::from_toml(&toml.replace("${TIDEGATE_API_KEY}", "0123456789abcdef"), "").unwrap();
    let engines = hosts(&config.engine.urls);
    assert_eq!(engines.len(), 3);
    for (host, port) in engines {
        assert!(services.contains(&&host), "{host}");
        assert_eq!(port, 4222, "the port of NATS");
    }
    let balancer = read("compose/haproxy.cfg");
    for (port, key) in [(8080, "[[listener]]"), (8000, "[api]")] {
        let addresses = toml.split_once(key).unwrap().1;
        assert!(addresses.trim_start().starts_with(&format!("address = \"0.0.0.0:{port}\"")));
        for number in 1..=3 {
            let server = format!("gateway-{number}");
            assert!(services.contains(&&server));
            assert!(balancer.contains(&format!("server {server} {server}:{port}\n")), "{server}");
        }
    }
    let subnet = compose["networks"]["edge"]["ipam"]["config"][0]["subnet"].as_str().unwrap();
    assert!(toml.contains(&format!("trusted_proxies = [\"{subnet}\"]")));
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
    let dashboard: Value = serde_json::from_str(&read("grafana/tidegate.json")).unwrap();
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
