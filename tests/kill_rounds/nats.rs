//! NATS with JetStream, with two gateways at one server, and three at three servers that keep everything three
//! times.

use std::time::Instant;

use crate::faults::{cut, gateway_killed, gateway_stopped, stopped_long};
use crate::model::Promise;
use crate::nats_server::NatsServer;
use crate::network::{Host, in_own_network};
use crate::proxy::Proxy;
use crate::rig::Rig;
use crate::wait::{now, until};

fn table(urls: &[String], replicas: usize) -> String {
    format!("kind = \"nats\"\nurls = {urls:?}\nrequest_ms = 2000\nreplicas = {replicas}")
}

fn two(nats: &NatsServer) -> Vec<String> {
    vec![table(&[nats.url()], 1); 2]
}

#[test]
fn nats_gateway_killed() {
    let Some(nats) = NatsServer::start() else { return };
    let mut rig = Rig::start("nats_gateway_killed", Promise::Everything, two(&nats));
    rig.rounds(gateway_killed);
}

#[test]
fn nats_gateway_stopped() {
    let Some(nats) = NatsServer::start() else { return };
    let mut rig = Rig::start("nats_gateway_stopped", Promise::Everything, two(&nats));
    rig.rounds(gateway_stopped);
}

#[test]
fn nats_killed() {
    let Some(mut nats) = NatsServer::start() else { return };
    let mut rig = Rig::start("nats_killed", Promise::Everything, two(&nats));
    rig.rounds(|rig| {
        nats.kill();
        rig.move_some();
        nats.start_again();
        now()
    });
}

#[test]
fn nats_stopped() {
    let Some(nats) = NatsServer::start() else { return };
    let mut rig = Rig::start("nats_stopped", Promise::Everything, two(&nats));
    rig.rounds(|rig| {
        let before = rig.outages();
        nats.pause();
        rig.move_some();
        // Either they notice, or they do not.
        if rig.random.is_heads() {
            rig.all_away_since(&before);
        }
        nats.resume();
        now()
    });
}

/// One round, as it takes half a minute.
#[test]
#[ignore = "stands still for 30 s"]
fn nats_stopped_for_30_s() {
    let Some(nats) = NatsServer::start() else { return };
    let mut rig = Rig::start("nats_stopped_for_30_s", Promise::Everything, two(&nats));
    rig.one_round(|rig| stopped_long(rig, || nats.pause(), || nats.resume()));
}

/// Each gateway has a link of its own, and nothing that goes on a link that is cut gets anywhere.
#[test]
fn nats_link_cut() {
    in_own_network("nats::nats_link_cut", || {
        let host = Host::new(0, 2);
        let Some(nats) = host.run(NatsServer::start_everywhere) else { return };
        let url = |link| format!("nats://{}:{}", host.address(link), nats.port());
        let tables = [0, 1].map(|link| table(&[url(link)], 1)).into();
        let links = [0, 1].map(|link| host.link(link));
        let mut rig = Rig::start("nats_link_cut", Promise::Everything, tables);
        rig.rounds(|rig| cut(rig, &links));
    });
}

#[test]
fn nats_cut() {
    let Some(nats) = NatsServer::start() else { return };
    let proxies = [(); 2].map(|()| Proxy::start(nats.url().replace("nats://", "")));
    let url = |own: &Proxy| format!("nats://127.0.0.1:{}", own.port());
    let tables = proxies.iter().map(|own| table(&[url(own)], 1)).collect();
    let mut rig = Rig::start("nats_cut", Promise::Everything, tables);
    rig.rounds(|rig| cut(rig, &proxies));
}

#[test]
fn nats_leader_killed() {
    let Some(mut servers) = NatsServer::start_cluster() else { return };
    let tables = (0..3).map(|first| {
        let urls: Vec<String> = (0..3).map(|step| servers[(first + step) % 3].url()).collect();
        table(&urls, 3)
    });
    let tables = tables.collect();
    let mut rig = Rig::start("nats_leader_killed", Promise::Everything, tables);
    rig.rounds(|rig| leader_killed(rig, &mut servers));
}

fn leader_killed(rig: &mut Rig, servers: &mut [NatsServer; 3]) -> Instant {
    let leading = leader(servers);
    servers[leading].kill();
    let since = now();
    rig.move_some();
    if rig.random.is_heads() {
        // The two that are left serve.
        rig.reach_all();
    }
    servers[leading].start_again();
    since
}

/// One of three servers is parted from the others, with a gateway that knows no other. It serves nothing, and what
/// is acknowledged elsewhere reaches the members of that gateway afterwards.
#[test]
fn nats_minority() {
    in_own_network("nats::nats_minority", || {
        let hosts = [0, 1, 2].map(|number| Host::new(number, 1));
        let addresses = hosts.each_ref().map(|own| own.address(0));
        let servers =
            NatsServer::start_cluster_at(addresses, |number, launch| hosts[number].run(launch));
        let Some(servers) = servers else { return };
        let tables = servers.iter().map(|own| table(&[own.url()], 3)).collect();
        let mut rig = Rig::start("nats_minority", Promise::Everything, tables);
        rig.few_rounds(|rig| parted(rig, &servers, &hosts));
    });
}

fn parted(rig: &mut Rig, servers: &[NatsServer; 3], hosts: &[Host; 3]) -> Instant {
    // The leader, or another.
    let alone = (leader(servers) + usize::from(rig.random.is_heads())) % 3;
    let others = [1, 2].map(|step| &hosts[(alone + step) % 3]);
    for other in others {
        hosts[alone].part(other);
    }
    rig.set_away(alone, true);
    rig.move_some();
    // The two that are left serve.
    rig.publish_one();
    assert!(!rig.is_acknowledged_by(alone), "a minority serves");
    for other in others {
        hosts[alone].rejoin(other);
    }
    rig.set_away(alone, false);
    now()
}

/// The place of the server that leads the stream, once its followers have all of it: a majority may be without
/// one of them, and another one may be killed next.
fn leader(servers: &[NatsServer; 3]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    until("the stream has a leader and two followers", || {
        let answer = runtime.block_on(async {
            let client = async_nats::connect(servers[0].url()).await.ok()?;
            client.request("$JS.API.STREAM.INFO.tidegate_kept_0", Vec::new().into()).await.ok()
        })?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
        let cluster = &answer["cluster"];
        let followers = cluster["replicas"].as_array()?;
        let are_there =
            followers.iter().all(|own| own["current"] == true && own["offline"] != true);
        let leader = cluster["leader"].as_str().filter(|_| are_there && followers.len() == 2)?;
        servers.iter().position(|server| server.name() == leader)
    })
}
