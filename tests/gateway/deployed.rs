//! The files of deploy/compose as they are, but for addresses: three gateways, three servers of NATS and HAProxy.
#![cfg(feature = "nats")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use crate::admin_client::get;
use crate::chat_client::ChatClient;
use crate::gateway::{Gateway, Launch};
use crate::nats_server::NatsServer;
use crate::port::reserved_address;
use crate::proxies::replaced;
use crate::proxy_server::ProxyServer;
use crate::wait::{eventually, until};

/// Waits until the servers have a leader and serve, by a gateway that asks again soon.
fn wait_for_streams(servers: &[NatsServer; 3]) {
    let toml = replaced(&toml(servers), "replicas = 3", "replicas = 3\nrequest_ms = 2000");
    let own = Gateway::launch(&Launch { toml: Some(&toml), listen: None, ulimit: None });
    let is_reached = || {
        let lines = own.log_lines();
        lines.iter().any(|line| line.contains("the engine is reached")).then_some(())
    };
    // Agreement takes a cluster longer than any one step of a test.
    let found = (0..5).any(|_| eventually(is_reached).is_some());
    assert!(found, "the cluster serves");
}

fn gateway(servers: &[NatsServer; 3]) -> Gateway {
    let toml = toml(servers);
    let gateway = Gateway::launch(&Launch { toml: Some(&toml), listen: None, ulimit: None });
    gateway.logged("the engine is reached");
    gateway
}

fn toml(servers: &[NatsServer; 3]) -> String {
    let mut toml = GATEWAY.to_owned();
    for (number, server) in (1..).zip(servers) {
        toml = replaced(&toml, &format!("nats://nats-{number}:4222"), &server.url());
    }
    for (from, to) in [
        ("${TIDEGATE_API_KEY}", "0123456789abcdef"),
        ("10.213.0.0/24", "127.0.0.0/8"),
        ("0.0.0.0:8080", "127.0.0.1:0"),
        ("0.0.0.0:8000", "127.0.0.1:0"),
        ("127.0.0.1:8090", "127.0.0.1:0"),
    ] {
        toml = replaced(&toml, from, to);
    }
    toml
}

fn balancer(gateways: &[Gateway; 3], address: SocketAddr) -> String {
    let mut text = replaced(BALANCER, "bind :8080", &format!("bind {address}"));
    text = replaced(&text, "bind :8000", &format!("bind {}", reserved_address()));
    text = replaced(&text, "maxconn 100000", "maxconn 100");
    // A gateway that is slow to answer a check, as on a busy machine, is no gateway that has ended.
    text = replaced(&text, "fall 2", "fall 1000");
    for (number, own) in (1..).zip(gateways) {
        let name = format!("gateway-{number}");
        text = replaced(&text, &format!("{name}:8080"), &own.address().to_string());
        text = replaced(&text, &format!("{name}:8000"), &own.api_address().to_string());
    }
    text
}

/// The numbers of the gateways that the connections of a room are at, once all gateways have answered.
fn nodes_of_the_room(gateway: &Gateway) -> Option<BTreeSet<String>> {
    let path = "/api/v1/connections?nodes=all&route=/room&limit=1000";
    let all = get(gateway.admin_address(), path).json();
    let rows = all["connections"].as_array()?;
    let node = |row: &Value| row["node"].as_str().map(str::to_owned);
    (all["is_whole"] == true).then(|| rows.iter().filter_map(node).collect())
}

/// The next message that a member hears.
fn heard(client: &mut ChatClient) -> Value {
    until("a message", || {
        let event = client.receive_event();
        (event["type"] == "message").then_some(event)
    })
}

#[test]
fn the_members_of_a_room_are_spread_over_three_gateways() {
    let Some(servers) = NatsServer::start_cluster() else { return };
    wait_for_streams(&servers);
    let mut gateways = [gateway(&servers), gateway(&servers), gateway(&servers)];
    let Some(proxy) = ProxyServer::haproxy(|address| balancer(&gateways, address)) else { return };
    let join =
        |name: &str| ChatClient::join_with_events(proxy.address(), &format!("/room?user={name}"));
    // A balancer that finds a gateway slow on a busy machine sends it clients later.
    let mut clients = Vec::new();
    until("there are members at each gateway", || {
        clients.push(join(&format!("n{}", clients.len())));
        let nodes = nodes_of_the_room(&gateways[0])?;
        (nodes.len() == gateways.len()).then_some(())
    });
    clients[0].send_event("to all");
    for client in &mut clients {
        let message = heard(client);
        assert_eq!((&message["from"], &message["text"]), (&"n0".into(), &"to all".into()));
    }
    // One drains, and its clients come back to the others.
    gateways[0].signal(Signal::TERM);
    assert!(gateways[0].exit_status().success());
    let mut back = join("back");
    back.send_event("again");
    assert_eq!(heard(&mut back)["text"], "again");
    let nodes = until("two gateways are left", || nodes_of_the_room(&gateways[1]));
    assert!((1..=2).contains(&nodes.len()), "{nodes:?}");
}

const GATEWAY: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/tidegate.toml"));
const BALANCER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/haproxy.cfg"));
