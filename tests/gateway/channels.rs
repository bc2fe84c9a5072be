//! Channels with the libraries of clients that exist for their protocol.

use std::process::Command;

use crate::admin_client::request;
use crate::clients::{below_root, run};
use crate::gateway::Gateway;
#[cfg(feature = "redis")]
use crate::redis_server::RedisServer;
use crate::skip::skip_without;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const KEY: &str = "fedcba9876543210";

fn gateway() -> Gateway {
    gateway_with("")
}

fn gateway_with(engine: &str) -> Gateway {
    let open = "allow_subscribe_for_client = true\n\
                allow_publish_for_client = true\n\
                allow_history_for_client = true\n\
                allow_presence_for_client = true\n";
    Gateway::with_config(&format!(
        r#"
        loops = 2
        [api]
        address = "127.0.0.1:0"
        keys = ["{KEY}"]
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        [[identity]]
        name = "users"
        kind = "jwt"
        leeway_ms = 0
        [[identity.keys]]
        algorithm = "HS256"
        secret = "{SECRET}"
        [channels]
        tokens = "users"
        subscription_tokens = "users"
        ping_ms = 5000
        pong_ms = 4900
        {engine}
        [[channels.namespace]]
        {open}
        [[channels.namespace]]
        name = "kept"
        history_size = 100
        history_ttl_s = 3600
        force_recovery = true
        {open}
        [[channels.namespace]]
        name = "short"
        history_size = 2
        history_ttl_s = 3600
        force_recovery = true
        {open}
        [[channels.namespace]]
        name = "told"
        presence = true
        join_leave = true
        {open}
        [[channels.namespace]]
        name = "closed"
        "#
    ))
}

fn centrifuge_js_passes_its_battery(package: &str, format: &str) {
    centrifuge_js_passes_its_battery_on(&gateway, package, format);
}

fn centrifuge_js_passes_its_battery_on(gateway: &dyn Fn() -> Gateway, package: &str, format: &str) {
    let clients = below_root("target/clients/centrifuge");
    if !clients.join("node_modules").join(package).exists() {
        return skip_without("centrifuge, which scripts/install-clients installs");
    }
    let gateway = gateway();
    let mut command = Command::new("node");
    command.arg(below_root("tests/clients/centrifuge/battery.mjs"));
    command.arg(format!("ws://{}/connection/websocket", gateway.address()));
    command.arg(clients).args([package, SECRET, format]);
    command.arg(format!("http://{}/api", gateway.api_address())).arg(KEY);
    run(command);
}

/// Clients do not know which engine there is.
#[cfg(feature = "redis")]
#[test]
fn a_new_centrifuge_js_passes_its_battery_on_redis() {
    let Some(redis) = RedisServer::start() else { return };
    let engine = format!("[engine]\nkind = \"redis\"\nurls = [\"redis://{}\"]", redis.address());
    let gateway = || {
        let own = gateway_with(&engine);
        own.logged("the engine is reached");
        own
    };
    centrifuge_js_passes_its_battery_on(&gateway, "centrifuge", "json");
}

#[test]
fn a_new_centrifuge_js_passes_its_battery() {
    centrifuge_js_passes_its_battery("centrifuge", "json");
}

#[test]
fn a_new_centrifuge_js_passes_its_battery_in_protobuf() {
    centrifuge_js_passes_its_battery("centrifuge", "protobuf");
}

#[test]
fn an_old_centrifuge_js_passes_its_battery() {
    centrifuge_js_passes_its_battery("centrifuge-5.5", "json");
}

#[test]
fn an_old_centrifuge_js_passes_its_battery_in_protobuf() {
    centrifuge_js_passes_its_battery("centrifuge-5.5", "protobuf");
}

#[test]
fn centrifuge_python_passes_its_battery() {
    centrifuge_python_passes_its_battery_in("json");
}

#[test]
fn centrifuge_python_passes_its_battery_in_protobuf() {
    centrifuge_python_passes_its_battery_in("protobuf");
}

fn centrifuge_python_passes_its_battery_in(format: &str) {
    let python = below_root("target/clients/centrifuge/python/bin/python");
    if !python.exists() {
        return skip_without("centrifuge-python, which scripts/install-clients installs");
    }
    let gateway = gateway();
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/centrifuge/battery.py"));
    command.arg(format!("ws://{}/connection/websocket", gateway.address())).args([SECRET, format]);
    run(command);
}

#[test]
fn what_backends_may_ask_is_as_it_is_described() {
    let program = below_root("target/clients/python/bin/schemathesis");
    if !program.exists() {
        return skip_without("schemathesis (Python), which scripts/install-clients installs");
    }
    let gateway = gateway();
    let folder = tempfile::tempdir().unwrap();
    let history = "/api/history";
    // Not that every body which the description allows is carried out: channels have to be there. And fields that
    // are not described are passed over, as those of other versions.
    let unchecked = "positive_data_acceptance,negative_data_rejection";
    // The protocol has error 100, which is status 500, for a history in reverse from offset 0.
    let unchecked_there = format!("{unchecked},not_a_server_error");
    for (which, unchecked) in [("--exclude-path", unchecked), ("--include-path", &unchecked_there)]
    {
        let mut command = Command::new(&program);
        command
            .current_dir(folder.path())
            .args(["run", &format!("http://{}/api/openapi.json", gateway.api_address())])
            .args(["--header", &format!("X-API-Key: {KEY}")])
            .args(["--max-examples", "10", "--seed", "1", "--request-timeout", "20"])
            .args([which, history, "--exclude-checks", unchecked]);
        run(command);
    }
}

#[test]
fn keys_and_errors_of_the_api_are_as_libraries_expect_them() {
    let gateway = gateway();
    let post = |path: &str, headers: &[&str], body: &str| {
        request(gateway.api_address(), "POST", path, headers, body)
    };
    for (path, headers) in [
        ("/api/info".to_owned(), vec![format!("Authorization: apikey {KEY}")]),
        (format!("/api/info?api_key={KEY}"), Vec::new()),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        assert_eq!(post(&path, &headers, "{}").status, 200);
    }
    let refused = post("/api/info", &["X-API-Key: another"], "{}");
    assert_eq!((refused.status, refused.body.len()), (401, 0));
    let key = format!("X-API-Key: {KEY}");
    let transport = [&*key, "X-Centrifugo-Error-Mode: transport"];
    let body = "{\"channel\":\"nowhere:x\",\"data\":1}";
    assert_eq!(post("/api/publish", &[&key], body).status, 200);
    let failed = post("/api/publish", &transport, body);
    let wanted = serde_json::json!({ "code": 102, "message": "unknown channel" });
    assert_eq!((failed.status, failed.json()), (404, wanted));
    let commands: Vec<_> = (0..40)
        .map(|number| serde_json::json!({ "publish": { "channel": "kept:batch", "data": number } }))
        .collect();
    let batch = serde_json::json!({ "commands": commands, "parallel": true });
    let replies = post("/api/batch", &[&key], &batch.to_string()).json();
    let mut offsets: Vec<_> = replies["replies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["publish"]["offset"].as_u64().unwrap())
        .collect();
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(1..=40));
}

#[test]
fn the_reply_to_a_batch_is_bounded_and_what_changes_something_is_done_all_the_same() {
    let gateway = gateway();
    let key = format!("X-API-Key: {KEY}");
    let post = |path: &str, body: &serde_json::Value| {
        let reply = request(gateway.api_address(), "POST", path, &[&key], &body.to_string());
        assert_eq!(reply.status, 200);
        reply
    };
    let long = "x".repeat(90_000);
    let publish = serde_json::json!({ "publish": { "channel": "kept:long", "data": long } });
    post("/api/batch", &serde_json::json!({ "commands": vec![&publish; 11] }));
    // A megabyte each.
    let question = serde_json::json!({ "channel": "kept:long", "limit": -1 });
    let history = serde_json::json!({ "history": question });
    let small = serde_json::json!({ "publish": { "channel": "kept:other", "data": 1 } });
    let mut commands = vec![&history; 20];
    commands.extend([&small, &history]);
    let replies = post("/api/batch", &serde_json::json!({ "commands": commands })).json();
    let replies = replies["replies"].as_array().unwrap();
    let count =
        |own: &serde_json::Value| own["history"]["publications"].as_array().map_or(0, Vec::len);
    let whole = replies.iter().take_while(|own| count(own) == 11).count();
    assert!((16..=18).contains(&whole), "{whole} whole answers in 16 MiB");
    let full = serde_json::json!({ "error": { "code": 106, "message": "limit exceeded" } });
    assert!(replies[whole..20].iter().all(|own| *own == full));
    assert_eq!((&replies[20]["publish"]["offset"], &replies[21]), (&1.into(), &full));
    let call = serde_json::json!({ "method": "history", "params": question }).to_string();
    let lines = request(gateway.api_address(), "POST", "/api", &[&key], &call.repeat(20)).body;
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines.len() == 20 && lines[15].len() > 900_000);
    assert_eq!(serde_json::from_str::<serde_json::Value>(lines[19]).unwrap(), full);
    // The next request has a reply of its own.
    assert!(post("/api/history", &question).body.len() > 900_000);
    let refused_lines = lines.iter().filter(|line| line.starts_with("{\"error\"")).count();
    gateway.assert_counter("api_calls", 11 + 22 + 20 + 1);
    gateway.assert_counter("api_refused", (20 - whole + 1 + refused_lines) as u64);
}

#[test]
fn calls_with_their_methods_in_the_body_are_answered_line_by_line() {
    let gateway = gateway();
    let post = |headers: &[&str], body: &str| {
        request(gateway.api_address(), "POST", "/api", headers, body)
    };
    assert_eq!((post(&[], "{}").status, post(&[], "{}").body.len()), (401, 0));
    let key = format!("X-API-Key: {KEY}");
    let calls = concat!(
        "{\"method\":\"publish\",\"params\":{\"channel\":\"a\",\"data\":{}}}\n",
        "{\"method\":\"publish\",\"params\":{\"channel\":\"nowhere:a\",\"data\":{}}}\n",
        "{\"method\":\"nothing\"}\n{\"method\":\"presence\",\"params\":{}}\n",
    );
    let reply = post(&[&key], calls);
    let lines: Vec<serde_json::Value> =
        reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((reply.status, lines.len()), (200, 4));
    assert_eq!(lines[0], serde_json::json!({ "result": {} }));
    let codes: Vec<_> = lines[1..].iter().map(|own| own["error"]["code"].as_u64()).collect();
    assert_eq!(codes, [Some(102), Some(104), Some(107)]);
    for body in ["", "x", "[]"] {
        assert_eq!(post(&[&key], body).status, 400, "{body}");
    }
}

#[test]
fn cent_passes_its_battery() {
    let python = below_root("target/clients/centrifuge/python/bin/python");
    if !python.exists() {
        return skip_without("cent, which scripts/install-clients installs");
    }
    let gateway = gateway();
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/centrifuge/cent_battery.py"));
    command.arg(format!("http://{}/api", gateway.api_address())).arg(KEY);
    run(command);
}
