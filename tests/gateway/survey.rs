//! What operators list and do at all gateways that share an engine, by the admin listener of one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::admin_client::{CONFIG, TOKEN, get, post, request};
use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::redis_server::RedisServer;
use crate::wait::until;

/// A gateway with rooms and this engine.
fn gateway(engine: &str) -> Gateway {
    let gateway = Gateway::with_config(&format!(
        "loops = 2\n{CONFIG}\n[engine]\n{engine}\n\
         [[route]]\npath = \"/room\"\nservice = \"room\"\nlogins = \"one\"\n"
    ));
    gateway.logged("the engine is reached");
    gateway
}

/// Two that know each other.
fn two_gateways(engine: &str) -> [Gateway; 2] {
    let gateways = [gateway(engine), gateway(engine)];
    for own in &gateways {
        know_both(own.admin_address());
    }
    gateways
}

fn know_both(admin: SocketAddr) {
    until("two gateways know each other", || {
        let all = get(admin, "/api/v1/rooms?nodes=all").json();
        (all["is_whole"] == true && all["nodes"].as_array()?.len() == 2).then_some(())
    });
}

fn join(gateway: &Gateway, room: &str, user: &str) -> ChatClient {
    ChatClient::join(gateway.address(), &format!("/room?room={room}&user={user}"))
}

/// What a gateway calls itself: its host, and its process.
fn is_name_of(name: &Value, gateway: &Gateway) -> bool {
    name.as_str().unwrap().ends_with(&format!(":{}", gateway.pid().as_raw_nonzero()))
}

/// Lists are of all gateways, and what is sent to a user, or closes a user's connections, finds them at each.
fn lists_and_orders_are_about_all(engine: &str) {
    let gateways = two_gateways(engine);
    let [first, second] = [&gateways[0], &gateways[1]];
    let admin = first.admin_address();
    let mut clients = [join(first, "x", "ann"), join(second, "x", "bob"), join(second, "y", "cid")];

    let all = get(admin, "/api/v1/connections?nodes=all").json();
    assert_eq!((&all["is_whole"], &all["engine"]), (&json!(true), &json!("up")), "{all}");
    let rows = all["connections"].as_array().unwrap();
    let by_user = |user: &str| rows.iter().find(|row| row["user"] == user).unwrap();
    assert_eq!((rows.len(), &by_user("bob")["room"]), (3, &json!("x")));
    assert_eq!(by_user("bob")["node"], by_user("cid")["node"]);
    assert_ne!(by_user("ann")["node"], by_user("bob")["node"]);
    let nodes = all["nodes"].as_array().unwrap();
    let of_bob = nodes.iter().find(|node| node["node"] == by_user("bob")["node"]).unwrap();
    assert!(is_name_of(&of_bob["name"], second), "{all}");
    // The list of one gateway is its own, as ever.
    let own = get(admin, "/api/v1/connections").json();
    assert_eq!((own["connections"].as_array().unwrap().len(), own.get("nodes")), (1, None));

    let rooms = get(admin, "/api/v1/rooms?nodes=all").json();
    let members = |room: &str| {
        let rooms = rooms["rooms"].as_array().unwrap();
        rooms.iter().find(|own| own["room"] == room).map(|own| own["members"].clone())
    };
    assert_eq!((members("x"), members("y")), (Some(json!(2)), Some(json!(1))), "{rooms}");

    let order = json!({ "conditions": { "user": "cid" }, "text": "to cid alone" }).to_string();
    let sent = post(admin, "/api/v1/send?nodes=all", &order).json();
    assert_eq!((&sent["sent"], &sent["is_whole"]), (&json!(1), &json!(true)), "{sent}");
    until("the text arrives", || (clients[2].receive_text() == "to cid alone").then_some(()));

    let close = "/api/v1/connections/close";
    let order = json!({ "conditions": { "user": "bob" }, "code": 4003, "reason": "abuse" });
    assert_eq!(post(admin, close, &order.to_string()).json(), json!({ "closed": 0 }));
    let closed = post(admin, &format!("{close}?nodes=all"), &order.to_string()).json();
    assert_eq!((&closed["closed"], &closed["is_whole"]), (&json!(1), &json!(true)), "{closed}");
    until("the connection ends", || {
        let tungstenite::Message::Close(frame) = clients[1].message() else { return None };
        assert_eq!(u16::from(frame.unwrap().code), 4003);
        Some(())
    });
    second.assert_counter("closed_by_operator", 1);
}

/// Pages go on at each gateway where they ended there.
fn pages_go_on_at_each(engine: &str) {
    let gateways = two_gateways(engine);
    let admin = gateways[0].admin_address();
    let _clients: Vec<ChatClient> =
        (0..9).map(|number| join(&gateways[number % 2], "x", &format!("n{number}"))).collect();
    let (mut users, mut count) = (BTreeSet::new(), 0);
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/connections?nodes=all&room=x&limit=2{cursor}");
        let page = get(admin, &path).json();
        assert_eq!(page["is_whole"], true, "{page}");
        let rows = page["connections"].as_array().unwrap();
        assert!(rows.len() <= 4, "two of each");
        count += rows.len();
        users.extend(rows.iter().map(|row| row["user"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((users.len(), count), (9, 9));
}

/// A gateway that stands still while all are asked is named, and the others have their part.
fn one_that_stands_still_is_missing(engine: &str) {
    let gateways = two_gateways(engine);
    let [first, second] = [&gateways[0], &gateways[1]];
    let admin = first.admin_address();
    let _ann = join(first, "x", "ann");
    let _bob = join(second, "x", "bob");
    // On a machine that is slow enough it is forgotten before it is asked.
    let all = until("it is asked while it stands still", || {
        second.signal(Signal::STOP);
        let all = get(admin, "/api/v1/connections?nodes=all").json();
        if all["missing"].as_array().unwrap().is_empty() {
            second.signal(Signal::CONT);
            know_both(admin);
            return None;
        }
        Some(all)
    });
    second.signal(Signal::CONT);
    let [missing] = &all["missing"].as_array().unwrap()[..] else { panic!("{all}") };
    assert!(is_name_of(&missing["name"], second), "{all}");
    assert_eq!(missing["error"], "it has not answered in time");
    assert_eq!((&all["is_whole"], &all["engine"]), (&json!(false), &json!("up")), "{all}");
    let rows = all["connections"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["user"]), (1, &json!("ann")), "{all}");
    // What it was asked meanwhile it does not answer any more, and it is back.
    know_both(admin);
}

/// Without the engine the gateway that is asked has its part, and says that nothing is known of others.
fn without_the_engine_one_gateway_is_listed(engine: &str, away: impl FnOnce()) {
    let own = gateway(engine);
    let admin = own.admin_address();
    let _ann = join(&own, "x", "ann");
    away();
    own.logged("the engine is away");
    let all = get(admin, "/api/v1/connections?nodes=all").json();
    assert_eq!((&all["is_whole"], &all["engine"]), (&json!(false), &json!("away")), "{all}");
    assert_eq!(all["connections"][0]["user"], "ann");
    let order = json!({ "conditions": { "user": "ann" } }).to_string();
    let closed = post(admin, "/api/v1/connections/close?nodes=all", &order).json();
    assert_eq!((&closed["closed"], &closed["is_whole"]), (&json!(1), &json!(false)), "{closed}");
}

#[test]
fn what_cannot_be_about_all_is_refused() {
    let own = Gateway::with_config(CONFIG);
    let admin = own.admin_address();
    for (path, status) in [
        ("connections?nodes=all", 409),
        ("rooms?nodes=all", 409),
        ("rooms?nodes=some", 400),
        ("rooms?node=all", 400),
        ("connections?nodes=1", 400),
        ("connections?nodes=all&connection=0.1.1", 400),
        ("connections?nodes=all&cursor=0.1", 400),
        ("connections?cursor=00ff:0.1", 400),
    ] {
        let reply = get(admin, &format!("/api/v1/{path}"));
        assert_eq!(reply.status, status, "{path}: {reply:?}");
    }
    let by_id = json!({ "conditions": { "connection": "0.1.1" }, "text": "" }).to_string();
    for (path, status) in
        [("send?nodes=all", 400), ("send?nodes=x", 400), ("connections/close?nodes=all", 422)]
    {
        let reply = post(admin, &format!("/api/v1/{path}"), &by_id);
        assert_eq!(reply.status, status, "{path}: {reply:?}");
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let reply = request(admin, "GET", "/api/v1/trace?user=a&nodes=all", &[&bearer], "");
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;

    fn engine(redis: &RedisServer) -> String {
        format!("kind = \"redis\"\nurls = [\"redis://{}\"]", redis.address())
    }

    #[test]
    fn lists_and_orders_are_about_all() {
        let Some(redis) = RedisServer::start() else { return };
        super::lists_and_orders_are_about_all(&engine(&redis));
    }

    #[test]
    fn pages_go_on_at_each() {
        let Some(redis) = RedisServer::start() else { return };
        super::pages_go_on_at_each(&engine(&redis));
    }

    #[test]
    fn one_that_stands_still_is_missing() {
        let Some(redis) = RedisServer::start() else { return };
        super::one_that_stands_still_is_missing(&engine(&redis));
    }

    #[test]
    fn without_the_engine_one_gateway_is_listed() {
        let Some(mut redis) = RedisServer::start() else { return };
        let engine = engine(&redis);
        super::without_the_engine_one_gateway_is_listed(&engine, || redis.stop());
    }
}

#[cfg(feature = "nats")]
mod nats {
    use crate::nats_server::NatsServer;

    fn engine(nats: &NatsServer) -> String {
        format!("kind = \"nats\"\nurls = [\"{}\"]", nats.url())
    }

    #[test]
    fn lists_and_orders_are_about_all() {
        let Some(nats) = NatsServer::start() else { return };
        super::lists_and_orders_are_about_all(&engine(&nats));
    }

    #[test]
    fn one_that_stands_still_is_missing() {
        let Some(nats) = NatsServer::start() else { return };
        super::one_that_stands_still_is_missing(&engine(&nats));
    }
}
