//! Frames that ask for more than a turn has time for: they are done in parts, in order, and others have their turns.

use super::*;

/// Units of work that a token takes.
pub(super) const TOKEN_WORK: u64 = 100_000;
/// Subscriptions with a token, and what a turn may take: with the share of one client, and a token at its end.
const ASKED: u32 = 120;
const TURN_MAX: u64 = 4_000_000 + 500_000 + TOKEN_WORK;
/// After which one that has waited is looked at again.
const HELD_MS: u64 = 5_000;

/// As [`PlainTokens`], at the price of a signature.
pub(super) struct CostlyTokens;

impl IdentityCheck for CostlyTokens {
    fn check(&self, _: &Presented<'_>, _: &mut Inquiry<'_>) -> Checked {
        Checked::Absent
    }

    fn verify_token(&self, peer: Peer, token: &str, now: WallTime) -> Option<Verified> {
        let verified = PlainTokens.verify_token(peer, token, now)?;
        Some(Verified { work: TOKEN_WORK, ..verified })
    }
}

fn costly_settings() -> ChannelsSettings {
    let costly: Arc<dyn IdentityCheck> = Arc::new(CostlyTokens);
    ChannelsSettings {
        subscription_tokens: Some(costly),
        ..settings_with_tokens([open_namespace("")])
    }
}

fn costly_world(loops: usize) -> World {
    world(&setup(loops, 1), costly_settings())
}

/// Commands of one frame, behind `first`: each subscribes with a token.
fn frame(client: &str, first: Vec<Value>) -> String {
    let count = first.len();
    let costly = (0..ASKED).map(|number| {
        let channel = format!("c{number}");
        let token = json!({ "sub": "ann", "client": client, "channel": channel }).to_string();
        json!({ "id": 10 + number, "subscribe": { "channel": channel, "token": token } })
    });
    let all: Vec<String> = first.into_iter().chain(costly).map(|own| own.to_string()).collect();
    assert_eq!(all.len(), count + ASKED as usize);
    all.join("\n")
}

/// Has all of a frame answered, in order if one home answers, while another client is answered at once.
fn assert_is_done_in_turns(
    world: &mut World,
    (greedy, modest): (&mut Member, &mut Member),
    in_order: bool,
) {
    let (mut answered, mut turns, mut waited) = (Vec::new(), 0, 0);
    let mut asked = None;
    while answered.len() < ASKED as usize {
        if asked.is_none() {
            asked = Some(modest.send(json!({ "publish": { "channel": "alone", "data": 1 } })));
            waited = 0;
        }
        world.step().unwrap();
        let used = world.server.work_used(0).unwrap();
        assert!(used <= TURN_MAX, "a turn of {used} units");
        (turns, waited) = (turns + 1, waited + 1);
        assert!(turns < 1000 && waited <= 4, "{turns} turns, {waited} for a short answer");
        for own in [&mut *greedy, &mut *modest] {
            own.client.read_all();
            assert_eq!(own.close(), None);
        }
        for reply in greedy.unseen().iter().filter(|own| own["subscribe"].is_object()) {
            answered.push(reply["id"].as_u64().unwrap());
        }
        if modest.unseen().iter().any(|own| Some(&own["id"]) == asked.map(Value::from).as_ref()) {
            asked = None;
        }
    }
    if !in_order {
        answered.sort_unstable();
    }
    assert!(answered.into_iter().eq((0..ASKED).map(|own| u64::from(10 + own))));
    assert!(turns > 5, "{turns} turns");
    world.settle();
    // It is read again, and nothing is held for it.
    let reply = greedy.ask(world, json!({ "publish": { "channel": "c1", "data": 1 } }));
    assert!(reply["publish"].is_object(), "{reply}");
}

#[test]
fn a_frame_with_many_tokens_is_done_in_turns() {
    let mut world = costly_world(1);
    let mut modest = Member::connected(&mut world, 0);
    let mut greedy = Member::open(&mut world, 0);
    let reply = greedy.ask(&mut world, json!({ "connect": { "token": "{\"sub\":\"ann\"}" } }));
    let client = reply["connect"]["client"].as_str().unwrap();
    greedy.client.send_frame(TEXT, frame(client, Vec::new()).as_bytes());
    greedy.id = 1000;
    assert_is_done_in_turns(&mut world, (&mut greedy, &mut modest), true);
}

#[test]
fn what_a_client_asks_for_while_it_connects_is_done_in_turns() {
    for loops in 1..=2 {
        let mut world = costly_world(loops);
        let mut modest = Member::connected(&mut world, 0);
        let mut greedy = Member::open(&mut world, 0);
        // With a channel, so that it is connected in a later step only.
        let token = json!({ "sub": "ann", "channels": ["own"] }).to_string();
        let connect = json!({ "id": 1, "connect": { "token": token } });
        greedy.client.send_frame(TEXT, frame("", vec![connect]).as_bytes());
        greedy.id = 1000;
        assert_is_done_in_turns(&mut world, (&mut greedy, &mut modest), loops == 1);
        let charged = world.counter("pool_bytes_now");
        let late = Member::connected(&mut world, 0);
        late.client.connection.reset();
        world.settle();
        assert_eq!(world.counter("pool_bytes_now"), charged);
    }
}

/// It is not read while it waits, so its pong cannot be.
#[test]
fn who_waits_for_its_turn_is_not_closed_for_want_of_a_pong() {
    let mut settings = costly_settings();
    settings.times = ChannelsTimes::default();
    let mut world = world(&setup(1, 1), settings);
    let mut own = Member::open(&mut world, 0);
    let reply = own.ask(&mut world, json!({ "connect": { "token": "{\"sub\":\"ann\"}" } }));
    let client = reply["connect"]["client"].as_str().unwrap();
    own.id = 1000;
    let before = own.client.payloads().len();
    for _ in 0..60 {
        if own.client.payloads().len() == before {
            world.pass(500);
            own.client.read_all();
        }
    }
    assert_eq!(own.client.payloads().get(before), Some(&b"{}".as_slice()));
    own.client.send_frame(TEXT, frame(client, Vec::new()).as_bytes());
    own.client.send_frame(TEXT, b"{}");
    for _ in 0..2 {
        world.step().unwrap();
    }
    // The time for a pong is over while most of the commands wait.
    world.skip(10_000);
    world.settle();
    own.client.read_all();
    assert_eq!(own.close(), None);
    assert!(own.client.payloads().len() > before + ASKED as usize);
    world.pass(HELD_MS);
    let reply = own.ask(&mut world, json!({ "publish": { "channel": "c1", "data": 1 } }));
    assert!(reply["publish"].is_object(), "{reply}");
}

#[test]
fn who_goes_while_its_commands_wait_leaves_nothing() {
    let mut world = costly_world(1);
    let empty = world.counter("pool_bytes_now");
    let mut own = Member::open(&mut world, 0);
    let reply = own.ask(&mut world, json!({ "connect": { "token": "{\"sub\":\"ann\"}" } }));
    let client = reply["connect"]["client"].as_str().unwrap();
    own.client.send_frame(TEXT, frame(client, Vec::new()).as_bytes());
    for _ in 0..3 {
        world.step().unwrap();
    }
    assert!(world.counter("pool_bytes_now") > empty);
    own.client.connection.reset();
    world.settle();
    assert_eq!(world.counter("pool_bytes_now"), empty);
    assert_eq!(world.counter("channel_members_now"), 0);
}

#[test]
fn who_names_more_channels_than_it_can_have_been_in_recovers_none() {
    let mut narrow = settings_with_tokens([kept_namespace("", 5)]);
    narrow.limits.connection_channels_max = 3;
    let mut world = world(&setup(1, 2), narrow);
    for format in FORMATS {
        for (count, recovers) in [(3, true), (4, false), (2000, false)] {
            let mut own = Member::open_in(&mut world, 0, format);
            let subs = (0..count).map(|own| (format!("c{own}"), json!({ "recover": true })));
            let subs: serde_json::Map<String, Value> = subs.collect();
            let token = json!({ "sub": "ann", "channels": ["c1"] }).to_string();
            own.send(json!({ "connect": { "token": token, "subs": subs } }));
            let replies = own.messages(&mut world);
            assert_eq!(own.close(), None, "{count} in {format:?}");
            let recovered = &replies[0]["connect"]["subs"]["c1"]["recovered"];
            assert_eq!(*recovered == true, recovers, "{count} in {format:?}: {replies:?}");
        }
    }
}

#[test]
fn a_first_command_is_told_of_what_fits_into_one_step() {
    const CHANNELS: usize = 30;
    let mut setup = setup(1, 3);
    setup.server.connections.backlog_hard_bytes = 8 << 20;
    let mut world = world(&setup, settings_with_tokens([kept_namespace("", 60)]));
    world.network.set_send_buffer_bytes(4 << 20);
    let mut publisher = Member::connected(&mut world, 0);
    for channel in 0..CHANNELS {
        let data = json!({ "text": "x".repeat(1000) });
        let publish = json!({ "publish": { "channel": format!("c{channel}"), "data": data } });
        for _ in 0..60 {
            publisher.send(publish.clone());
        }
        publisher.messages(&mut world);
    }
    let names: Vec<String> = (0..CHANNELS).map(|own| format!("c{own}")).collect();
    let subs = names.iter().map(|own| (own.clone(), json!({ "recover": true })));
    let subs: serde_json::Map<String, Value> = subs.collect();
    let token = json!({ "sub": "ann", "channels": names }).to_string();
    let mut own = Member::open(&mut world, 0);
    own.send(json!({ "connect": { "token": token, "subs": subs } }));
    let mut replies = Vec::new();
    while replies.is_empty() {
        world.step().unwrap();
        let used = world.server.work_used(0).unwrap();
        assert!(used <= 4_000_000 + 1_500_000, "a turn of {used} units");
        own.client.read_all();
        assert_eq!(own.close(), None);
        replies = own.unseen();
    }
    let length = own.client.payloads()[0].len();
    assert!((800_000..1 << 20).contains(&length), "{length} bytes");
    let subs = replies[0]["connect"]["subs"].as_object().unwrap();
    assert_eq!(subs.len(), CHANNELS);
    let whole = subs.values().filter(|own| own["recovered"] == true).count();
    assert!((10..20).contains(&whole), "{whole} are told of what was missed");
    for own in subs.values() {
        let missed = own["publications"].as_array().map_or(0, Vec::len);
        assert_eq!((&own["was_recovering"], missed % 60), (&json!(true), 0));
        assert_eq!((own["recovered"] == true, missed), (missed > 0, missed));
        // Who has not recovered goes on from where the stream is.
        assert_eq!(own["offset"].as_u64().unwrap_or(0), if missed > 0 { 0 } else { 60 });
    }
}
