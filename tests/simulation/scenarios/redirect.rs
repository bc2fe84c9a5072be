//! A listener that redirects to `https`, and answers challenges of ACME.

use tidegate::certificates::HttpChallenges;
use tidegate::http::{HostRule, HttpsRedirect};

use super::server;
use crate::client::Client;
use crate::wire::upgrade_request;
use crate::world::World;

fn world(challenges: &HttpChallenges) -> World {
    World::new(&server(|server| {
        server.connections.hosts = vec![HostRule::List(vec!["sim.example".to_owned()])];
        server.connections.redirects = vec![Some(HttpsRedirect::to_port(443))];
        server.connections.challenges = challenges.clone();
    }))
}

fn ask(world: &mut World, request: &[u8]) -> Client {
    let mut client = world.connect(0);
    client.send(request);
    world.settle();
    client.read_all();
    client
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: sim.example\r\n\r\n").into_bytes()
}

#[test]
fn nothing_is_served_but_redirects_and_challenges() {
    let challenges = HttpChallenges::default();
    let mut world = world(&challenges);
    let location = |client: &Client| client.received.header("Location").map(str::to_owned);
    for request in [get("/?a=b"), upgrade_request("/echo?a=b")] {
        let client = ask(&mut world, &request);
        assert_eq!(client.received.status, Some(308));
        let path = if request.starts_with(b"GET /echo") { "/echo" } else { "/" };
        assert_eq!(location(&client), Some(format!("https://sim.example{path}?a=b")));
        assert!(client.ended_well());
    }
    let challenge = get("/.well-known/acme-challenge/a");
    assert_eq!(ask(&mut world, &challenge).received.status, Some(308), "there is no account");
    challenges.set_thumbprint(Some("b".to_owned()));
    assert_eq!(ask(&mut world, &challenge).received.status, Some(200));
    let other = String::from_utf8(challenge).unwrap().replace("sim.example", "other.example");
    assert_eq!(ask(&mut world, other.as_bytes()).received.status, Some(421));
    let counts = ["redirects", "acme_challenges", "refused_host", "upgrades"];
    assert_eq!(counts.map(|name| world.counter(name)), [3, 1, 1, 0]);
}
