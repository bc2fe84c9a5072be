//! Backends that are asked about connections: a scripted one answers when and what the test wants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tidegate::centrifugo::{
    ConnectResult, ErrorCode, ProxyDisconnect, ProxyError, ProxyKind, ProxyReply, PublishResult,
    RefreshResult, SubscriptionOptions,
};
use tidegate::inspect::{ChannelAnswer, ChannelQuestion, Query};
use tidegate::mail::ReplyReceiver;
use tidegate::services::channels::{ChannelProxies, NamespaceProxies};
use tidegate::services::{
    ChannelProxy, Peer, ProxyAnswer, ProxyRequest, ServiceMessage, SharedChannelProxy,
};
use tidegate::sim::Random;
use tidegate::timer::WallTime;

use super::*;
use crate::operator::send;

/// What was asked and is not answered.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    asked: VecDeque<ProxyRequest>,
    cancelled: usize,
}

impl ChannelProxy for Scripted {
    fn ask(&self, request: ProxyRequest) {
        self.state().asked.push_back(request);
    }

    fn cancel(&self, peer: Peer) {
        let mut state = self.state();
        let before = state.asked.len();
        state.asked.retain(|own| own.peer != peer);
        state.cancelled += before - state.asked.len();
    }
}

impl Scripted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn open(&self) -> usize {
        self.state().asked.len()
    }

    /// The oldest question, which must be of this kind, and its body.
    fn take(&self, kind: ProxyKind) -> (ProxyRequest, Value) {
        let asked = self.state().asked.pop_front().expect("nothing is asked");
        assert_eq!(asked.kind, kind);
        let body = serde_json::from_slice(&asked.body).unwrap();
        (asked, body)
    }

    /// Answers the oldest question, which must be of this kind; its body.
    fn answer(&self, world: &mut World, kind: ProxyKind, reply: Option<ProxyReply>) -> Value {
        let (asked, body) = self.take(kind);
        post(&asked, reply);
        world.settle();
        body
    }
}

fn post(asked: &ProxyRequest, reply: Option<ProxyReply>) {
    let answer = ProxyAnswer { peer: asked.peer, serial: asked.serial, reply };
    let held_bytes = answer.held_bytes();
    asked.answer_to.post(ServiceMessage::holding(answer, held_bytes));
}

/// Everything is asked of this backend, in the namespace `asked`; nothing in the one without a name.
fn proxied(backend: &Scripted) -> ChannelsSettings {
    let proxy = || Some(Arc::new(backend.clone()) as SharedChannelProxy);
    let of_namespace =
        NamespaceProxies { subscribe: proxy(), publish: proxy(), sub_refresh: proxy() };
    let proxies = ChannelProxies {
        connect: proxy(),
        refresh: proxy(),
        namespaces: [("asked".to_owned(), of_namespace)].into(),
        calls: vec![("news:*".to_owned(), proxy().unwrap())],
        headers: vec!["cookie".to_owned(), "x-forwarded-for".to_owned()],
        emulated_headers: vec!["authorization".to_owned()],
    };
    let asked = Namespace { presence: true, ..Namespace::new("asked") };
    ChannelsSettings { proxies, ..settings([open_namespace(""), asked]) }
}

fn user(name: &str) -> Option<ProxyReply> {
    let result = ConnectResult { user: name.into(), ..ConnectResult::default() };
    Some(ProxyReply::Connect(Some(Box::new(result))))
}

fn bytes(text: &str) -> Option<Arc<[u8]>> {
    Some(text.as_bytes().into())
}

/// A client that the backend has let in as `ann`.
fn connected(world: &mut World, backend: &Scripted, loop_index: usize) -> Member {
    let mut own = Member::open(world, loop_index);
    let id = own.send(json!({ "connect": {} }));
    assert!(own.messages(world).is_empty());
    backend.answer(world, ProxyKind::Connect, user("ann"));
    let replies = own.messages(world);
    assert!(replies[0]["id"] == id && replies[0]["connect"].is_object(), "{replies:?}");
    own
}

#[test]
fn a_client_is_who_its_backend_says() {
    for loops in 1..=3 {
        let backend = Scripted::default();
        let mut world = world(&setup(loops, 1), proxied(&backend));
        let mut own = Member::open(&mut world, 0);
        let frame = "{\"id\":1,\"connect\":{\"name\":\"js\",\"version\":\"5\",\"data\":{\"a\":1},\
                     \"headers\":{\"Authorization\":\"x\",\"Cookie\":\"y\"},\
                     \"subs\":{\"old\":{\"recover\":true}}}}\n\
                     {\"id\":2,\"subscribe\":{\"channel\":\"b\"}}\n";
        own.client.send_frame(TEXT, frame.as_bytes());
        own.client.send_frame(TEXT, b"{\"id\":3,\"presence\":{\"channel\":\"asked:given\"}}");
        assert!(own.messages(&mut world).is_empty(), "nothing is answered before");
        let (asked, body) = backend.take(ProxyKind::Connect);
        let client = body["client"].as_str().unwrap().to_owned();
        assert_eq!(
            body,
            json!({ "client": client, "transport": "websocket", "protocol": "json",
                "encoding": "json", "name": "js", "version": "5", "data": { "a": 1 },
                "channels": ["old"] })
        );
        let headers = asked.headers.clone().unwrap();
        assert_eq!(headers.emulated().collect::<Vec<_>>(), [("authorization", "x")]);
        let given = ("asked:given".to_owned(), SubscriptionOptions::default());
        let result = ConnectResult {
            user: "ann".into(),
            info: bytes("{\"name\":\"Ann\"}"),
            data: bytes("[7]"),
            meta: bytes("{\"k\":1}"),
            subscriptions: vec![given],
            expires_at: None,
        };
        post(&asked, Some(ProxyReply::Connect(Some(Box::new(result)))));
        world.settle();
        let replies = own.messages(&mut world);
        let of = |id: u32| replies.iter().find(|own| own["id"] == id).unwrap();
        assert_eq!(replies[0]["id"], 1, "{replies:?}");
        assert_eq!(of(1)["connect"]["data"], json!([7]));
        assert_eq!(of(1)["connect"].get("ttl"), None);
        assert!(of(1)["connect"]["subs"]["asked:given"].is_object(), "{replies:?}");
        assert!(of(2)["subscribe"].is_object());
        // Who may see that is not decided by a backend, so it is forbidden here.
        assert_eq!(of(3)["error"]["code"], 103);
        own.send(json!({ "rpc": { "method": "news:get" } }));
        own.messages(&mut world);
        let body = backend.answer(&mut world, ProxyKind::Rpc, None);
        assert_eq!((&body["user"], &body["meta"]), (&json!("ann"), &json!({ "k": 1 })));
        assert_eq!(body["client"], client.as_str());
    }
}

#[test]
fn a_client_that_is_not_let_in_is_told_why() {
    let error = ProxyError { code: 1000, message: "no \"entry\"".into(), is_temporary: false };
    let backend = Scripted::default();
    let own_settings = ChannelsSettings { allow_anonymous: false, ..proxied(&backend) };
    let mut world = world(&setup(2, 2), own_settings);
    let internal = json!({ "code": 100, "message": "internal server error", "temporary": true });
    let refused = json!({ "code": 1000, "message": "no \"entry\"" });
    for (reply, wanted) in [(Some(ProxyReply::Error(error)), refused), (None, internal)] {
        let mut own = Member::open(&mut world, 0);
        own.send(json!({ "connect": {} }));
        own.messages(&mut world);
        backend.answer(&mut world, ProxyKind::Connect, reply);
        assert_eq!(own.messages(&mut world)[0]["error"], wanted);
        own.assert_closed_by(&mut world, "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}", 3501);
    }
    let disconnect = ProxyDisconnect { code: 4500, reason: "banned".into() };
    for (reply, code) in
        [(ProxyReply::Disconnect(disconnect), 4500), (ProxyReply::Connect(None), 3501)]
    {
        let mut own = Member::open(&mut world, 1);
        own.send(json!({ "connect": {} }));
        own.messages(&mut world);
        backend.answer(&mut world, ProxyKind::Connect, Some(reply));
        world.exchange(&mut own.client);
        assert_eq!(own.close().unwrap().0, code);
    }
}

/// What another backend wants of its user in the meantime lets it in no sooner.
#[test]
fn a_client_is_let_in_by_none_but_the_backend_that_is_asked() {
    let backend = Scripted::default();
    let mut world = world(&setup(2, 7), proxied(&backend));
    let mut own = Member::open(&mut world, 0);
    let id = own.send(json!({ "connect": {} }));
    assert!(own.messages(&mut world).is_empty());
    let question = ChannelQuestion::Subscribe {
        user: "".into(),
        channel: "a".into(),
        client: None,
        recover: None,
        options: Box::default(),
    };
    let answer: ReplyReceiver<ChannelAnswer> =
        send(&world, 0, |reply| Query::Channels { question, reply });
    assert_eq!(own.messages(&mut world), Vec::<Value>::new());
    assert_eq!(answer.wait(Duration::ZERO).unwrap(), ChannelAnswer::Done);
    backend.answer(&mut world, ProxyKind::Connect, user("ann"));
    let replies = own.messages(&mut world);
    assert_eq!(replies.len(), 1, "{replies:?}");
    assert!(replies[0]["id"] == id && replies[0]["connect"].get("subs").is_none(), "{replies:?}");
}

#[test]
fn a_subscription_is_decided_before_what_follows_it() {
    let backend = Scripted::default();
    let mut world = world(&setup(2, 3), proxied(&backend));
    let mut own = connected(&mut world, &backend, 0);
    let subscribe = own.send(json!({ "subscribe": { "channel": "asked:a", "data": 5 } }));
    let publish = own.send(json!({ "publish": { "channel": "asked:a", "data": "x" } }));
    let unsubscribe = own.send(json!({ "unsubscribe": { "channel": "asked:a" } }));
    let other = own.send(json!({ "publish": { "channel": "free", "data": 1 } }));
    let beside = own.send(json!({ "subscribe": { "channel": "asked:b" } }));
    let replies = own.messages(&mut world);
    assert_eq!(replies, [json!({ "id": other, "publish": {} })], "only that of no backend");
    assert_eq!(backend.open(), 2, "channels do not wait for each other");
    let options = SubscriptionOptions {
        data: bytes("{\"d\":1}"),
        info: bytes("\"chan\""),
        ..SubscriptionOptions::default()
    };
    let body =
        backend.answer(&mut world, ProxyKind::Subscribe, Some(ProxyReply::Subscribe(options)));
    assert_eq!(
        (&body["channel"], &body["data"], &body["user"]),
        (&json!("asked:a"), &json!(5), &json!("ann"))
    );
    let replies = own.messages(&mut world);
    assert_eq!(replies, [json!({ "id": subscribe, "subscribe": { "data": { "d": 1 } } })]);
    let error = ProxyError { code: 403, message: "no".into(), is_temporary: true };
    backend.answer(&mut world, ProxyKind::Subscribe, Some(ProxyReply::Error(error)));
    let wanted = json!({ "code": 403, "message": "no", "temporary": true });
    assert_eq!(own.messages(&mut world), [json!({ "id": beside, "error": wanted })]);
    let result = PublishResult {
        data: bytes("\"changed\""),
        tags: vec![("t".into(), "v".into())],
        ..PublishResult::default()
    };
    let body = backend.answer(&mut world, ProxyKind::Publish, Some(ProxyReply::Publish(result)));
    assert_eq!((&body["channel"], &body["data"]), (&json!("asked:a"), &json!("x")));
    let replies = own.messages(&mut world);
    let pushed = replies.iter().find_map(|own| own["push"]["pub"].as_object()).unwrap();
    assert_eq!((&pushed["data"], &pushed["tags"]), (&json!("changed"), &json!({ "t": "v" })));
    assert_eq!(
        (&pushed["info"]["user"], &pushed["info"]["chan_info"]),
        (&json!("ann"), &json!("chan"))
    );
    let position = |id: u32| replies.iter().position(|own| own["id"] == id).unwrap();
    assert!(position(publish) < position(unsubscribe));
}

#[test]
fn calls_are_made_one_after_the_other() {
    let backend = Scripted::default();
    let mut world = world(&setup(1, 4), proxied(&backend));
    let mut own = connected(&mut world, &backend, 0);
    let ids: Vec<u32> = (0..3)
        .map(|number| own.send(json!({ "rpc": { "method": "news:get", "data": number } })))
        .collect();
    let unknown = own.send(json!({ "rpc": { "method": "other" } }));
    own.messages(&mut world);
    let mut replies = Vec::new();
    for number in 0..ids.len() {
        assert_eq!(backend.open(), 1);
        let data = bytes(&format!("{{\"n\":{number}}}"));
        let body = backend.answer(&mut world, ProxyKind::Rpc, Some(ProxyReply::Rpc(data)));
        assert_eq!((&body["method"], &body["data"]), (&json!("news:get"), &json!(number)));
        replies.extend(own.messages(&mut world));
    }
    // One that nothing answers has waited behind the others.
    let error = json!({ "id": unknown, "error": { "code": 104, "message": "method not found" } });
    let data = |(number, id)| json!({ "id": id, "rpc": { "data": { "n": number } } });
    let wanted = ids.iter().enumerate().map(data).chain([error]);
    assert_eq!(replies, wanted.collect::<Vec<_>>());
    assert_eq!(backend.open(), 0);
    let without = settings([open_namespace("")]);
    let mut other = super::world(&setup(1, 4), without);
    let mut own = Member::connected(&mut other, 0);
    let reply = own.ask(&mut other, json!({ "rpc": { "method": "news:get" } }));
    assert_eq!(reply["error"]["code"], 108);
}

#[test]
fn what_waits_for_a_client_is_bounded_and_freed_when_it_goes() {
    let backend = Scripted::default();
    let mut limited = proxied(&backend);
    limited.limits.connection_waiting_max = 3;
    let mut world = world(&setup(2, 5), limited);
    let idle = connected(&mut world, &backend, 0);
    let before = world.counter("pool_bytes_now");
    let mut own = connected(&mut world, &backend, 1);
    for channel in ["asked:a", "asked:b"] {
        own.send(json!({ "subscribe": { "channel": channel } }));
    }
    own.send(json!({ "publish": { "channel": "asked:a", "data": "x".repeat(1000) } }));
    let more = own.send(json!({ "publish": { "channel": "asked:b", "data": 1 } }));
    let replies = own.messages(&mut world);
    let error = json!({ "code": 111, "message": "too many requests", "temporary": true });
    assert_eq!(replies, [json!({ "id": more, "error": error })]);
    assert!(world.counter("pool_bytes_now") > before + 1000);
    let late = backend.take(ProxyKind::Subscribe).0;
    own.client.connection.reset();
    world.settle();
    let state = backend.state();
    assert_eq!((state.asked.len(), state.cancelled), (0, 1));
    drop(state);
    // An answer that was on its way finds nothing to do.
    post(&late, Some(ProxyReply::Subscribe(SubscriptionOptions::default())));
    world.settle();
    assert_eq!(world.counter("channel_members_now"), 0);
    assert_eq!(world.counter("pool_bytes_now"), before);
    drop(idle);
}

#[test]
fn a_backend_is_asked_whether_a_connection_may_stay() {
    let backend = Scripted::default();
    let mut world = world(&setup(1, 6), proxied(&backend));
    let in_s = |world: &World, seconds: u64| Some(WallTime(world.wall_ms() + seconds * 1000));
    let mut own = Member::open(&mut world, 0);
    own.send(json!({ "connect": {} }));
    own.messages(&mut world);
    let expires_at = in_s(&world, 10);
    let result = ConnectResult { expires_at, ..ConnectResult::default() };
    let reply = ProxyReply::Connect(Some(Box::new(result)));
    backend.answer(&mut world, ProxyKind::Connect, Some(reply));
    assert_eq!(own.messages(&mut world)[0]["connect"].get("ttl"), None);
    world.pass(9_000);
    assert_eq!(backend.open(), 0);
    world.pass(2_000);
    // A failure lets it stay for a minute, in which it is not asked again.
    backend.answer(&mut world, ProxyKind::Refresh, None);
    world.answer_pings(&mut own.client, 58_000);
    assert_eq!(backend.open(), 0);
    world.pass(3_000);
    assert_eq!(backend.open(), 1);
    world.answer_pings(&mut own.client, 60_000);
    assert_eq!(backend.open(), 1, "it is asked once at a time");
    let result = RefreshResult { expires_at: in_s(&world, 5), ..RefreshResult::default() };
    backend.answer(&mut world, ProxyKind::Refresh, Some(ProxyReply::Refresh(Some(result))));
    world.pass(6_000);
    let result = RefreshResult { expired: true, ..RefreshResult::default() };
    backend.answer(&mut world, ProxyKind::Refresh, Some(ProxyReply::Refresh(Some(result))));
    world.exchange(&mut own.client);
    assert_eq!(own.close().unwrap().0, 3005);
}

#[test]
fn a_backend_is_asked_whether_a_subscription_lasts() {
    let backend = Scripted::default();
    let mut world = world(&setup(1, 7), proxied(&backend));
    let mut own = connected(&mut world, &backend, 0);
    own.send(json!({ "subscribe": { "channel": "asked:a" } }));
    own.messages(&mut world);
    let expires_at = Some(WallTime(world.wall_ms() + 5_000));
    let options = SubscriptionOptions { expires_at, ..SubscriptionOptions::default() };
    backend.answer(&mut world, ProxyKind::Subscribe, Some(ProxyReply::Subscribe(options)));
    let reply = own.messages(&mut world).remove(0);
    assert_eq!(reply["subscribe"].get("ttl"), None, "it is not the client that renews");
    world.pass(6_000);
    let expires_at = Some(WallTime(world.wall_ms() + 5_000));
    let result = RefreshResult { expires_at, ..RefreshResult::default() };
    let body =
        backend.answer(&mut world, ProxyKind::SubRefresh, Some(ProxyReply::Refresh(Some(result))));
    assert_eq!(body["channel"], "asked:a");
    world.pass(6_000);
    backend.answer(&mut world, ProxyKind::SubRefresh, Some(ProxyReply::Refresh(None)));
    let pushes = own.messages(&mut world);
    let reason = json!({ "code": 2501, "reason": "subscription expired" });
    assert_eq!(pushes, [json!({ "push": { "channel": "asked:a", "unsubscribe": reason } })]);
    assert_eq!(world.counter("channel_members_now"), 0);
}

#[test]
fn another_backend_may_make_calls_as_well() {
    let backend = Scripted::default();
    let mut world = world(&setup(2, 8), proxied(&backend));
    let ask = |world: &mut World, method: &str| -> ReplyReceiver<ChannelAnswer> {
        let question = ChannelQuestion::Rpc { method: method.into(), params: bytes("[1]") };
        let answer = send(world, 1, |reply| Query::Channels { question, reply });
        world.settle();
        answer
    };
    let answer = ask(&mut world, "news:get");
    let body = backend.answer(&mut world, ProxyKind::Rpc, Some(ProxyReply::Rpc(bytes("7"))));
    assert_eq!((&body["client"], &body["data"]), (&json!(""), &json!([1])));
    let wanted = ChannelAnswer::Json(b"{\"data\":7}".to_vec());
    assert_eq!(answer.wait(Duration::ZERO).unwrap(), wanted);
    let error = ProxyError { code: 1000, message: "no".into(), is_temporary: false };
    let answer = ask(&mut world, "news:get");
    backend.answer(&mut world, ProxyKind::Rpc, Some(ProxyReply::Error(error.clone())));
    assert_eq!(answer.wait(Duration::ZERO).unwrap(), ChannelAnswer::Refused(error));
    let answer = ask(&mut world, "news:get");
    backend.answer(&mut world, ProxyKind::Rpc, None);
    let failed = ChannelAnswer::Failed(ErrorCode::Internal);
    assert_eq!(answer.wait(Duration::ZERO).unwrap(), failed);
    let answer = ask(&mut world, "other");
    let unknown = ChannelAnswer::Failed(ErrorCode::MethodNotFound);
    assert_eq!(answer.wait(Duration::ZERO).unwrap(), unknown);
}

/// Whatever is answered when and in which order, each command of a client that stays gets one reply, and in the
/// end nothing is held.
#[test]
fn every_command_is_answered_once() {
    for seed in 0..40 {
        let backend = Scripted::default();
        let mut world = world(&setup(3, seed), proxied(&backend));
        let random = &mut Random::new(seed);
        let empty = world.counter("pool_bytes_now");
        let mut members: Vec<(Member, Vec<(u32, usize)>)> = (0..4)
            .map(|number| (connected(&mut world, &backend, number % 3), Vec::new()))
            .collect();
        for _ in 0..120 {
            let number = random.below(members.len());
            match random.below(10) {
                0 if members.len() > 2 => {
                    let (gone, _) = members.swap_remove(number);
                    gone.client.connection.reset();
                    world.settle();
                }
                0..=5 => {
                    let lane = random.below(4);
                    let (own, sent) = &mut members[number];
                    let channel = format!("asked:{lane}");
                    let command = match random.below(3) {
                        _ if lane == 3 => json!({ "rpc": { "method": "news:x" } }),
                        0 => json!({ "subscribe": { "channel": channel } }),
                        1 => json!({ "publish": { "channel": channel, "data": 1 } }),
                        _ => json!({ "unsubscribe": { "channel": channel } }),
                    };
                    sent.push((own.send(command), lane));
                    world.exchange(&mut own.client);
                }
                _ => {
                    let count = backend.open();
                    if count == 0 {
                        continue;
                    }
                    let position = random.below(count);
                    let asked = backend.state().asked.remove(position).unwrap();
                    answer_by_chance(&asked, random);
                    world.settle();
                }
            }
        }
        while backend.open() > 0 {
            let asked = backend.state().asked.pop_front().unwrap();
            answer_by_chance(&asked, random);
            world.settle();
        }
        for (own, sent) in &mut members {
            world.exchange(&mut own.client);
            own.seen = 0;
            let replies = own.unseen();
            let mut answered: BTreeMap<u32, usize> = BTreeMap::new();
            for (index, id) in replies.iter().filter_map(|own| own["id"].as_u64()).enumerate() {
                let id = u32::try_from(id).unwrap();
                assert!(answered.insert(id, index).is_none(), "seed {seed}: twice {id}");
            }
            for (id, lane) in sent {
                assert!(answered.contains_key(id), "seed {seed}: no reply to {id} in {lane}");
            }
        }
        for (own, _) in members {
            own.client.connection.reset();
        }
        world.settle();
        assert_eq!(world.counter("channel_members_now"), 0, "seed {seed}");
        assert_eq!(world.counter("pool_bytes_now"), empty, "seed {seed}");
    }
}

fn answer_by_chance(asked: &ProxyRequest, random: &mut Random) {
    let reply = match (random.below(4), asked.kind) {
        (0, _) => None,
        (1, _) => Some(ProxyReply::Error(ProxyError {
            code: 1000,
            message: "no".into(),
            is_temporary: false,
        })),
        (_, ProxyKind::Subscribe) => Some(ProxyReply::Subscribe(SubscriptionOptions::default())),
        (_, ProxyKind::Publish) => Some(ProxyReply::Publish(PublishResult::default())),
        (_, ProxyKind::Rpc) => Some(ProxyReply::Rpc(bytes("1"))),
        (_, ProxyKind::Connect | ProxyKind::Refresh | ProxyKind::SubRefresh) => None,
    };
    post(asked, reply);
}

/// Bytes that are not JSON reach those who can take them; others are told that they cannot.
#[test]
fn a_backend_may_answer_with_bytes() {
    let binary: &[u8] = &[0, 1, 0xFF, 10];
    for format in FORMATS {
        let backend = Scripted::default();
        let mut world = world(&setup(2, 9), proxied(&backend));
        let connect = |world: &mut World, data: Option<&[u8]>| {
            let mut own = Member::open_in(world, 1, format);
            own.send(json!({ "connect": {} }));
            own.messages(world);
            let result = ConnectResult {
                user: "ann".into(),
                data: data.map(Into::into),
                ..ConnectResult::default()
            };
            let reply = ProxyReply::Connect(Some(Box::new(result)));
            backend.answer(world, ProxyKind::Connect, Some(reply));
            let messages = own.messages(world);
            (own, messages)
        };
        let (own, messages) = connect(&mut world, Some(binary));
        match format {
            Format::Json => assert_eq!(own.close().map(|own| own.0), Some(3506)),
            Format::Protobuf => {
                assert_eq!(messages[0]["connect"]["data"], json!({ "b64data": "AAH/Cg==" }));
            }
        }
        let (mut own, _) = connect(&mut world, Some(b"{}"));
        let mut call = |world: &mut World, data: &[u8]| {
            own.send(json!({ "rpc": { "method": "news:get" } }));
            world.settle();
            backend.answer(world, ProxyKind::Rpc, Some(ProxyReply::Rpc(Some(data.into()))));
            let messages = own.messages(world);
            (messages, own.close().map(|own| own.0))
        };
        let (messages, close) = call(&mut world, b"[\"x\"]");
        assert_eq!((&messages[0]["rpc"]["data"], close), (&json!(["x"]), None));
        let (messages, close) = call(&mut world, binary);
        match format {
            Format::Json => assert_eq!((messages, close), (Vec::new(), Some(3506))),
            Format::Protobuf => {
                assert_eq!(messages[0]["rpc"]["data"], json!({ "b64data": "AAH/Cg==" }));
            }
        }
    }
}

/// Commands that wait for one answer are done in parts of a turn, in order.
#[test]
fn commands_behind_an_answer_are_done_in_turns() {
    const PAIRS: u32 = 60;
    let backend = Scripted::default();
    let costly: Arc<dyn IdentityCheck> = Arc::new(turns::CostlyTokens);
    let settings = ChannelsSettings { subscription_tokens: Some(costly), ..proxied(&backend) };
    let mut world = world(&setup(1, 10), settings);
    let empty = world.counter("pool_bytes_now");
    let mut own = connected(&mut world, &backend, 0);
    let held = world.counter("pool_bytes_now");
    let first = own.send(json!({ "subscribe": { "channel": "asked:a" } }));
    let token = json!({ "sub": "ann", "channel": "asked:a" }).to_string();
    for _ in 0..PAIRS {
        own.send(json!({ "unsubscribe": { "channel": "asked:a" } }));
        own.send(json!({ "subscribe": { "channel": "asked:a", "token": token } }));
    }
    assert!(own.messages(&mut world).is_empty());
    let (asked, _) = backend.take(ProxyKind::Subscribe);
    post(&asked, Some(ProxyReply::Subscribe(SubscriptionOptions::default())));
    let (mut replies, mut turns) = (Vec::new(), 0);
    while replies.len() < 2 * PAIRS as usize + 1 {
        world.step().unwrap();
        let used = world.server.work_used(0).unwrap();
        assert!(used <= 4_000_000 + turns::TOKEN_WORK, "a turn of {used} units");
        own.client.read_all();
        replies.extend(own.unseen());
        turns += 1;
        assert!(turns < 1000, "{} are answered", replies.len());
    }
    assert!(turns > 5, "{turns} turns");
    for (number, reply) in (0..).zip(&replies) {
        assert_eq!(reply["id"], first + number, "{reply}");
        let what = if number % 2 == 0 { "subscribe" } else { "unsubscribe" };
        assert!(reply[what].is_object(), "{reply}");
    }
    world.settle();
    assert_eq!(world.counter("pool_bytes_now"), held);
    own.client.connection.reset();
    world.settle();
    assert_eq!(world.counter("pool_bytes_now"), empty);
}
