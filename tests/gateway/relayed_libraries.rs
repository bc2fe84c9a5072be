//! Libraries of many users through relays, their servers behind the gateway and their clients in front.

use std::process::Command;

use crate::clients::{below_root, run};
use crate::gateway::Gateway;
use crate::relay_backend::{Backend, node, python, relay_config};

/// Both modes of a relay: what is compressed, pinged or cut in pieces is another's in each.
const MODES: [&str; 2] = ["mode = \"bytes\"", "mode = \"frames\"\nmessage_bytes_max = 20000000"];

/// Runs a program's server behind gateways of both modes, and its client in front of them.
fn assert_served(program: impl Fn() -> Command, script: &str, scheme: &str, path: &str) {
    let script = below_root(&format!("tests/clients/{script}"));
    let clients = below_root("target/clients");
    let mut server = program();
    server.arg(&script).arg("serve");
    let backend = Backend::start(server, &[&clients]);
    for mode in MODES {
        let servers = format!("\"{}\"", backend.place());
        let config = relay_config(&servers, mode).replace("/app/*", "/*");
        let gateway = Gateway::with_config(&config);
        let mut client = program();
        let url = format!("{scheme}://{}{path}", gateway.address());
        client.arg(&script).args(["talk", &url]).arg(&clients);
        run(client);
        assert_ne!(gateway.counter("upgrades"), 0);
    }
}

#[test]
fn socket_io_is_served_through_a_relay() {
    if node("socket.io").is_some() {
        assert_served(|| node("socket.io").unwrap(), "socketio.mjs", "http", "");
    }
}

#[test]
fn graphql_ws_is_served_through_a_relay() {
    if node("graphql-ws").is_some() {
        assert_served(|| node("graphql-ws").unwrap(), "graphql.mjs", "ws", "/graphql");
    }
}

#[test]
fn fastapi_and_channels_behind_uvicorn_are_served_through_a_relay() {
    if python().is_some() {
        assert_served(|| python().unwrap(), "asgi.py", "ws", "");
    }
}
