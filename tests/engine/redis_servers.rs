//! Redis with TLS, Sentinel, and Cluster.

use tidegate::channels::remote::{Audience, BrokerCommand, BrokerEvent, Retention, Span};
use tidegate::control::engine::redis::{RedisEngineSettings, RedisKind, run_redis};
use tidegate::control::{RedisLogin, RedisUrl, Trust};

use crate::broker::{Broker, kept};
use crate::certificates::CertificateFolder;
use crate::proxy::Proxy;
use crate::redis_outages::works;
use crate::redis_server::{RedisSentinel, RedisServer};
use crate::wait::until;

fn start(settings: RedisEngineSettings) -> Broker {
    Broker::start(move |commands, events| run_redis(settings, commands, events))
}

#[test]
fn a_server_with_tls_proves_who_it_is() {
    let folder = CertificateFolder::new();
    let files = [folder.file("server.pem"), folder.file("server.key"), folder.file("ca.pem")];
    let Some(redis) = RedisServer::start_with_tls(files.each_ref().map(|file| &**file)) else {
        return;
    };
    let proxy = Proxy::start(&redis.address());
    let url = proxy.url().replace("redis:", "rediss:");
    let trusting = |authority: String| {
        let url = RedisUrl::parse(&url).unwrap();
        let trust = Trust::from_pem(authority.as_bytes()).unwrap();
        start(RedisEngineSettings::new(url.with_trust(trust), 1))
    };
    // Tried and tried again in vain.
    let other = trusting(folder.client_authority.pem());
    until("some attempts", || (proxy.connections() > 2).then_some(()));
    assert!(other.is_silent());
    drop(other);
    let broker = trusting(folder.authority.pem());
    broker.up();
    works(&broker, "room");
}

#[test]
fn sentinels_name_the_master_and_after_a_failover_another() {
    let Some(master) = RedisServer::start() else { return };
    let (port, _) = master.ports();
    let port = port.to_string();
    let replicaof = ["--replicaof", "127.0.0.1", &port];
    let Some(_replica) = RedisServer::start_with_options(&replicaof) else { return };
    let sentinel = RedisSentinel::start(&master, 1);
    let absent = RedisUrl::parse("redis://127.0.0.1:1/").unwrap();
    let url = RedisUrl::parse(&sentinel.url()).unwrap();
    let login = RedisLogin::new(None, None, 0);
    let kind = RedisKind::Sentinel { master: "main".into(), login: Some(login) };
    let settings = RedisEngineSettings { kind, ..RedisEngineSettings::new(url.clone(), 1) };
    let broker = start(RedisEngineSettings { urls: vec![absent, url], ..settings });
    broker.up();
    let before = works(&broker, "room");
    sentinel.fail_over();
    broker.down();
    broker.up();
    let after = broker.read("room", kept(5), Span::All);
    assert_ne!(after.position.epoch, before.epoch);
    assert_eq!(works(&broker, "room").epoch, after.position.epoch);
}

#[test]
fn a_master_that_dies_is_followed_by_its_replica() {
    let Some(mut master) = RedisServer::start() else { return };
    let (port, _) = master.ports();
    let port = port.to_string();
    let replicaof = ["--replicaof", "127.0.0.1", &port];
    let Some(replica) = RedisServer::start_with_options(&replicaof) else { return };
    let sentinel = RedisSentinel::start(&master, 1);
    // A user whom the servers know and the Sentinel does not.
    for server in [&master, &replica] {
        let rights = ["SETUSER", "gateway", "on", ">secret", "allkeys", "allchannels", "+@all"];
        redis::cmd("ACL").arg(&rights).exec(&mut server.connection()).unwrap();
    }
    let url = RedisUrl::parse(&sentinel.url()).unwrap();
    let url = url.with_user(Some("gateway"), Some("secret"));
    let kind = RedisKind::Sentinel { master: "main".into(), login: None };
    let broker = start(RedisEngineSettings { kind, ..RedisEngineSettings::new(url, 1) });
    broker.up();
    let before = works(&broker, "room");
    let copies: usize = redis::cmd("WAIT").arg(1).arg(0).query(&mut master.connection()).unwrap();
    assert_eq!(copies, 1);
    master.stop();
    broker.down();
    broker.up();
    let after = broker.read("room", kept(5), Span::All);
    assert_eq!((after.position.offset, after.entries.len()), (before.offset, 1));
    assert_ne!(after.position.epoch, before.epoch);
    works(&broker, "room");
}

/// Three masters that share the slots.
fn cluster() -> Option<[RedisServer; 3]> {
    let nodes =
        [RedisServer::start_node()?, RedisServer::start_node()?, RedisServer::start_node()?];
    let cluster = |node: &RedisServer, arguments: &[&str]| {
        redis::cmd("CLUSTER").arg(arguments).exec(&mut node.connection()).unwrap();
    };
    let ranges = [["1", "0", "5460"], ["2", "5461", "10922"], ["3", "10923", "16383"]];
    for (node, [epoch, first, last]) in nodes.iter().zip(ranges) {
        cluster(node, &["SET-CONFIG-EPOCH", epoch]);
        cluster(node, &["ADDSLOTSRANGE", first, last]);
    }
    for other in &nodes[1..] {
        let (port, bus_port) = other.ports();
        let [port, bus_port] = [port, bus_port].map(|port| port.to_string());
        cluster(&nodes[0], &["MEET", "127.0.0.1", &port, &bus_port]);
    }
    for node in &nodes {
        until("a node knows the others", || {
            let mut info = redis::cmd("CLUSTER");
            let info: String = info.arg("INFO").query(&mut node.connection()).unwrap();
            let is_whole = ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_size:3"];
            is_whole.iter().all(|line| info.contains(line)).then_some(())
        });
    }
    Some(nodes)
}

#[test]
fn a_slot_that_moves_is_followed() {
    let Some(nodes) = cluster() else { return };
    let url = RedisUrl::parse(&nodes[0].url()).unwrap();
    let kind = RedisKind::Cluster;
    let broker = start(RedisEngineSettings { kind, ..RedisEngineSettings::new(url, 1) });
    broker.up();
    broker.subscribe(&["room"]);
    let (from, name) = nodes
        .iter()
        .enumerate()
        .find_map(|(index, node)| {
            let mut channels = redis::cmd("PUBSUB");
            let channels: Vec<String> =
                channels.arg("SHARDCHANNELS").query(&mut node.connection()).unwrap();
            let room = channels.into_iter().find(|name| name.ends_with("}.c.room"))?;
            Some((index, room))
        })
        .unwrap();
    let to = (from + 1) % nodes.len();
    let ask = |node: &RedisServer, arguments: &[&str]| -> redis::Value {
        redis::cmd("CLUSTER").arg(arguments).query(&mut node.connection()).unwrap()
    };
    let slot: u32 = redis::from_redis_value(ask(&nodes[0], &["KEYSLOT", &name])).unwrap();
    let id: String = redis::from_redis_value(ask(&nodes[to], &["MYID"])).unwrap();
    // It has no keys. The new node knows first, so that no other gives it to the old one again.
    for node in [to, from, 3 - to - from] {
        ask(&nodes[node], &["SETSLOT", &slot.to_string(), "NODE", &id]);
    }
    broker.down();
    broker.up();
    works(&broker, "room");
    let count: usize = redis::cmd("DBSIZE").query(&mut nodes[to].connection()).unwrap();
    assert_eq!(count, 2);
}

#[test]
fn a_cluster_shares_the_channels_among_its_masters() {
    let Some(mut nodes) = cluster() else { return };
    let gateway = |node: &RedisServer, number| {
        let url = RedisUrl::parse(&node.url()).unwrap();
        let kind = RedisKind::Cluster;
        start(RedisEngineSettings { kind, ..RedisEngineSettings::new(url, number) })
    };
    let (one, other) = (gateway(&nodes[0], 1), gateway(&nodes[1], 200));
    one.up();
    other.up();
    let names: Vec<String> = (0..300).map(|number| format!("room:{{{number}}}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    other.subscribe(&names);
    for size in [5, 500] {
        let mut last = 0;
        for name in &names {
            let key = size.to_string();
            last = one.publish_later(name, Some(kept(size)), name.as_bytes(), Some(&key));
        }
        assert!(one.published(last).is_ok());
        let mut missing = names.clone();
        while !missing.is_empty() {
            let (channel, place, payload) = other.live();
            assert_eq!((payload, place.is_some()), (channel.clone().into_bytes(), true));
            missing.retain(|name| **name != channel);
        }
    }
    let asked: Vec<(&str, Retention)> = names.iter().map(|name| (*name, kept(5))).collect();
    let found = other.positions(&asked);
    assert!(found.iter().all(|position| position.offset == 2));
    assert_eq!(one.positions(&asked), found);
    for (name, position) in names.iter().zip(&found).take(20) {
        let batch = one.read(name, kept(500), Span::After(1));
        let wanted = (*position, vec![(2, name.as_bytes().to_vec())], true);
        assert_eq!((batch.position, batch.entries, batch.is_whole), wanted);
        one.remove(name);
        assert!(!one.read(name, kept(500), Span::After(1)).is_whole);
    }
    one.send(BrokerCommand::Tell(Audience::Node(200), b"to 200".to_vec()));
    assert_eq!(other.event(), BrokerEvent::Told(b"to 200".to_vec()));
    other.send(BrokerCommand::Tell(Audience::All, b"to all".to_vec()));
    assert_eq!(one.event(), BrokerEvent::Told(b"to all".to_vec()));
    // Every master has some of them.
    for node in &nodes {
        let count: usize = redis::cmd("DBSIZE").query(&mut node.connection()).unwrap();
        assert!(count > 100, "{count}");
    }
    // Without one of them it is not whole.
    nodes[2].stop();
    one.down();
    other.down();
    nodes[2].start_again();
    one.up();
    works(&one, "room");
}
