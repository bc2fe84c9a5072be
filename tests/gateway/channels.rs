//! Channels with the libraries of clients that exist for their protocol.

use std::process::Command;

use crate::clients::{below_root, run};
use crate::gateway::Gateway;
use crate::skip::skip_without;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const KEY: &str = "fedcba9876543210";

fn gateway() -> Gateway {
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
        ping_ms = 1000
        pong_ms = 500
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

fn centrifuge_js_passes_its_battery(package: &str) {
    let clients = below_root("target/clients/centrifuge");
    if !clients.join("node_modules").join(package).exists() {
        return skip_without("centrifuge, which scripts/install-clients installs");
    }
    let gateway = gateway();
    let mut command = Command::new("node");
    command.arg(below_root("tests/clients/centrifuge/battery.mjs"));
    command.arg(format!("ws://{}/connection/websocket", gateway.address()));
    command.arg(clients).arg(package).arg(SECRET);
    command.arg(format!("http://{}/api", gateway.api_address())).arg(KEY);
    run(command);
}

#[test]
fn a_new_centrifuge_js_passes_its_battery() {
    centrifuge_js_passes_its_battery("centrifuge");
}

#[test]
fn an_old_centrifuge_js_passes_its_battery() {
    centrifuge_js_passes_its_battery("centrifuge-5.5");
}

#[test]
fn centrifuge_python_passes_its_battery() {
    let python = below_root("target/clients/centrifuge/python/bin/python");
    if !python.exists() {
        return skip_without("centrifuge-python, which scripts/install-clients installs");
    }
    let gateway = gateway();
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/centrifuge/battery.py"));
    command.arg(format!("ws://{}/connection/websocket", gateway.address())).arg(SECRET);
    run(command);
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
