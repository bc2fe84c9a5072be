//! What is held for connections as long as they are there is charged to the pool, and given back.

use std::process::Command;

use tidegate::centrifugo::{ConnectResult, ProxyReply};
use tidegate::services::channels::{ChannelProxies, NamespaceProxies};
use tidegate::services::{
    ChannelProxy, Handler, LoopSite, ProxyAnswer, ProxyRequest, Route, Service, ServiceMessage,
    SharedChannelProxy,
};

use super::*;
use crate::wire::upgrade_request;

/// A backend that lets each client in as this.
struct Admits(ConnectResult);

impl ChannelProxy for Admits {
    fn ask(&self, request: ProxyRequest) {
        let reply = Some(ProxyReply::Connect(Some(Box::new(self.0.clone()))));
        let answer = ProxyAnswer { peer: request.peer, serial: request.serial, reply };
        let held_bytes = answer.held_bytes();
        request.answer_to.post(ServiceMessage::holding(answer, held_bytes));
    }

    fn cancel(&self, _: Peer) {}
}

/// A backend says so much of each client, and is told of the cookies.
fn admitting(info_bytes: usize, meta_bytes: usize) -> ChannelsSettings {
    let text = |bytes| Some(format!("\"{}\"", "x".repeat(bytes)).into_bytes().into());
    let result = ConnectResult {
        user: "ann".into(),
        info: text(info_bytes),
        meta: text(meta_bytes),
        ..ConnectResult::default()
    };
    let proxy: SharedChannelProxy = Arc::new(Admits(result));
    let namespaces = [(String::new(), NamespaceProxies::default())].into();
    let proxies = ChannelProxies {
        connect: Some(proxy),
        namespaces,
        headers: vec!["cookie".to_owned()],
        ..ChannelProxies::default()
    };
    ChannelsSettings { proxies, ..settings([open_namespace("")]) }
}

/// One that a backend is asked about, with a cookie.
fn admitted(world: &mut World, cookie_bytes: usize) -> Member {
    let mut client = world.connect(0);
    let mut request = upgrade_request(PATH);
    request.truncate(request.len() - 2);
    request.extend(format!("Cookie: {}\r\n\r\n", "c".repeat(cookie_bytes)).into_bytes());
    client.send(&request);
    world.exchange(&mut client);
    assert_eq!(client.received.status, Some(101));
    let mut own = Member { client, format: Format::Json, seen: 0, id: 0 };
    let reply = own.ask(world, json!({ "connect": {} }));
    assert!(reply["connect"].is_object(), "{reply}");
    own
}

fn pool(world: &World) -> usize {
    usize::try_from(world.counter("pool_bytes_now")).unwrap()
}

fn of_user(world: &World, number: usize, info_bytes: usize) -> Value {
    let end = world.wall_ms() / 1000 + 3600;
    let info = json!({ "text": "x".repeat(info_bytes) });
    json!({ "sub": format!("user {number}"), "exp": end, "info": info })
}

#[test]
fn what_tokens_say_of_connections_is_charged_as_long_as_it_is_kept() {
    for format in FORMATS {
        let namespace = Namespace { presence: true, ..open_namespace("") };
        let mut world = world(&setup(2, 3), settings_with_tokens([namespace]));
        let mut anonymous = Member::connected_in(&mut world, 0, format);
        anonymous.ask(&mut world, json!({ "subscribe": { "channel": "a" } }));
        let mut brief = Member::open_in(&mut world, 0, format);
        let claims = of_user(&world, 99, 20);
        brief.ask(&mut world, json!({ "connect": { "token": claims.to_string() } }));
        assert_eq!(pool(&world), 0, "most are not charged for");
        let mut members: Vec<Member> =
            (0..10).map(|number| Member::open_in(&mut world, number % 2, format)).collect();
        for (number, member) in members.iter_mut().enumerate() {
            let token = of_user(&world, number, 4000).to_string();
            let reply = member.ask(&mut world, json!({ "connect": { "token": token } }));
            assert!(reply["connect"].is_object(), "{reply}");
        }
        let all = pool(&world);
        assert!((40_000..42_000).contains(&all), "{all}");
        // So is what a token says for one channel, until it is left.
        let mut claims = of_user(&world, 0, 3000);
        claims["channel"] = json!("a");
        let subscribe = json!({ "channel": "a", "token": claims.to_string() });
        let reply = members[0].ask(&mut world, json!({ "subscribe": subscribe }));
        assert!(reply["subscribe"].is_object(), "{reply}");
        assert!((3000..3200).contains(&(pool(&world) - all)), "{}", pool(&world) - all);
        members[0].ask(&mut world, json!({ "unsubscribe": { "channel": "a" } }));
        assert_eq!(pool(&world), all);
        // One that is renewed says less.
        for (number, member) in members.iter_mut().enumerate().take(5) {
            let token = of_user(&world, number, 20).to_string();
            let reply = member.ask(&mut world, json!({ "refresh": { "token": token } }));
            assert!(reply["refresh"].is_object(), "{reply}");
        }
        assert_eq!(pool(&world), all / 2);
        for member in members {
            member.client.connection.reset();
        }
        world.settle();
        assert_eq!(pool(&world), 0);
    }
}

#[test]
fn what_backends_say_and_are_told_of_connections_is_charged() {
    let mut world = world(&setup(1, 3), admitting(3000, 2000));
    let members: Vec<Member> = (0..10).map(|_| admitted(&mut world, 1000)).collect();
    assert!((60_000..62_000).contains(&pool(&world)), "{}", pool(&world));
    for member in members {
        member.client.connection.reset();
    }
    world.settle();
    assert_eq!(pool(&world), 0);
}

#[test]
fn who_finds_no_room_for_what_is_held_of_it_is_closed_and_others_go_on() {
    let mut setup = setup(1, 3);
    setup.server.pool_bytes_max = 128 << 10;
    let mut world = world(&setup, settings_with_tokens([open_namespace("")]));
    let (mut inside, mut outside) = (Vec::new(), 0);
    for number in 0..60 {
        let mut own = Member::open(&mut world, 0);
        let token = of_user(&world, number, 4000).to_string();
        own.send(json!({ "connect": { "token": token } }));
        own.messages(&mut world);
        match own.close() {
            None => inside.push(own),
            Some((code, _)) => {
                assert_eq!(code, 1013);
                outside += 1;
            }
        }
        assert!(pool(&world) <= 128 << 10);
    }
    assert!((15..40).contains(&inside.len()) && inside.len() + outside == 60, "{}", inside.len());
    for member in &mut inside {
        let reply = member.ask(&mut world, json!({ "subscribe": { "channel": "a" } }));
        assert!(reply["subscribe"].is_object(), "{reply}");
    }
}

/// In a process of its own: other tests allocate as well.
#[test]
fn all_that_is_held_for_connections_is_charged() {
    let program = std::env::current_exe().unwrap();
    let test = "channels::held::all_that_is_held_for_connections_is_charged_alone";
    let arguments = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
#[ignore = "the test above runs it without any other"]
fn all_that_is_held_for_connections_is_charged_alone() {
    let settings = Arc::new(admitting(4000, 4000));
    let options = RouteOptions { deflate: None, ..RouteOptions::default() };
    let mut world = World::serving(&setup(1, 3), |_| {
        let make = move |site: LoopSite| {
            Box::new(Channels::new(Arc::clone(&settings), site)) as Box<dyn Service>
        };
        vec![Route::new(PATH, Handler::Socket(Arc::new(make), options))]
    });
    let mut members = Vec::new();
    for count in 1..=300_usize {
        members.push(admitted(&mut world, 2000));
        let held = usize::try_from(world.held_bytes()).unwrap();
        let charged = pool(&world);
        assert!(charged >= count * 10_000, "{charged}");
        assert!(held <= charged + UNCHARGED_BYTES_MAX, "{held} are held, and {charged} charged");
    }
    for member in members {
        member.client.connection.reset();
    }
    world.settle();
    assert_eq!(pool(&world), 0);
    assert!(world.held_bytes() <= UNCHARGED_BYTES_MAX.cast_signed());
}

/// What a loop has whatever its clients do, and a little for each: as of all attacks.
const UNCHARGED_BYTES_MAX: usize = 640 << 10;
