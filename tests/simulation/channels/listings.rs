//! Long answers, of which one frame asks for a thousand: they come in parts of a turn, and to others meanwhile.

use tidegate::inspect::{ChannelAnswer, ChannelQuestion, Query};
use tidegate::mail::ReplyReceiver;

use super::*;
use crate::operator::send;

/// Commands of one frame.
const ASKED: u32 = 1000;
/// A turn, the share of it for long answers with the last of them, and what a frame is charged with for
/// commands that wait: each is paid for in part when it is asked.
const fn turn_max(asked: u32) -> u64 {
    4_000_000 + 2_100_000 + asked as u64 * 6_000
}
/// Answers of a turn: each is charged with 20 us or more.
const ANSWERED_MAX: u32 = 100;
/// Channels, publications that were missed in each, and what a turn has time for: 33 KB each, of 250.
const RECOVERED: u32 = 120;
const MISSED: usize = 60;
const RECOVERED_AT_ONCE_MAX: u32 = 10;

/// A world with a channel that has members and a history.
fn crowded() -> World {
    let namespace = Namespace { presence: true, ..kept_namespace("", 100) };
    // The answers of a turn are no backlog.
    let mut setup = setup(1, 5);
    setup.server.connections.backlog_hard_bytes = 1 << 20;
    let mut world = world(&setup, settings([namespace]));
    world.network.set_send_buffer_bytes(4 << 20);
    for number in 0..100 {
        let mut member = Member::connected(&mut world, 0);
        member.ask(&mut world, json!({ "subscribe": { "channel": "crowd" } }));
        let data = json!({ "number": number, "text": "x".repeat(500) });
        member.ask(&mut world, json!({ "publish": { "channel": "crowd", "data": data } }));
    }
    world
}

/// Asks for all of these in one frame.
fn ask(member: &mut Member, questions: impl Iterator<Item = Value>) {
    let commands: Vec<String> = questions
        .map(|mut command| {
            member.id += 1;
            command["id"] = member.id.into();
            command.to_string()
        })
        .collect();
    member.client.send_frame(TEXT, commands.join("\n").as_bytes());
}

/// Has a client with no more than one question of its own ask along until as many replies have come to the greedy
/// one, in their order.
fn assert_takes_turns(
    world: &mut World,
    (greedy, modest): (&mut Member, &mut Member),
    (asked, answered_max): (u32, u32),
    check: impl Fn(&Value),
) {
    let (mut answered, mut turns, mut waited, mut waited_most) = (0, 0, 0, 0);
    let mut question = None;
    while answered < asked {
        if question.is_none() {
            question = Some(modest.send(json!({ "presence": { "channel": "alone" } })));
            waited = 0;
        }
        world.step().unwrap();
        let used = world.server.work_used(0).unwrap();
        assert!(used <= turn_max(asked), "a turn of {used} units");
        let before = answered;
        turns += 1;
        assert!(turns < 10_000, "{answered} are answered");
        waited += 1;
        for own in [&mut *greedy, &mut *modest] {
            own.client.read_all();
            assert_eq!(own.close(), None);
        }
        for reply in greedy.unseen() {
            assert_eq!(reply["id"], greedy.id - asked + 1 + answered);
            check(&reply);
            answered += 1;
        }
        assert!(answered - before <= answered_max, "{} in a turn", answered - before);
        for reply in modest.unseen() {
            assert_eq!(Some(reply["id"].clone()), question.take().map(Value::from));
            waited_most = waited_most.max(waited);
        }
    }
    // It was worth it: what was asked for filled many turns.
    assert!(turns > 10, "{turns} turns");
    assert!(waited_most <= 4, "{waited_most} turns for a short answer");
}

#[test]
fn a_frame_that_asks_for_a_thousand_lists_keeps_no_client_waiting() {
    for question in [
        json!({ "presence": { "channel": "crowd" } }),
        json!({ "history": { "channel": "crowd", "limit": 100 } }),
    ] {
        let mut world = crowded();
        let mut greedy = Member::connected(&mut world, 0);
        let mut modest = Member::connected(&mut world, 0);
        ask(&mut greedy, (0..ASKED).map(|_| question.clone()));
        let members = (&mut greedy, &mut modest);
        assert_takes_turns(&mut world, members, (ASKED, ANSWERED_MAX), |reply| {
            let lists = [&reply["presence"]["presence"], &reply["history"]["publications"]];
            let entries = lists.map(|own| {
                own.as_object().map(|own| own.len()).or_else(|| own.as_array().map(Vec::len))
            });
            assert_eq!(entries.into_iter().flatten().next(), Some(100), "{reply}");
        });
    }
}

#[test]
fn a_frame_that_recovers_a_hundred_channels_keeps_no_client_waiting() {
    let mut world = crowded();
    let mut publisher = Member::connected(&mut world, 0);
    for channel in 0..RECOVERED {
        let data = json!({ "text": "x".repeat(500) });
        let publish =
            json!({ "publish": { "channel": format!("missed-{channel}"), "data": data } });
        ask(&mut publisher, (0..MISSED).map(|_| publish.clone()));
        let replies = publisher.messages(&mut world);
        assert!(replies.iter().all(|own| own["publish"].is_object()), "{replies:?}");
    }
    let mut greedy = Member::connected(&mut world, 0);
    let mut modest = Member::connected(&mut world, 0);
    let recover = |channel| {
        let channel = format!("missed-{channel}");
        json!({ "subscribe": { "channel": channel, "recover": true, "offset": 0 } })
    };
    ask(&mut greedy, (0..RECOVERED).map(recover));
    let members = (&mut greedy, &mut modest);
    assert_takes_turns(&mut world, members, (RECOVERED, RECOVERED_AT_ONCE_MAX), |reply| {
        let missed = reply["subscribe"]["publications"].as_array();
        assert_eq!(missed.map(Vec::len), Some(MISSED), "{reply}");
    });
}

/// Turns until nothing is left to do for one that asks for much and leaves.
fn turns_after_leaving(world: &mut World, greedy: &mut Member) -> usize {
    ask(greedy, (0..ASKED).map(|_| json!({ "presence": { "channel": "crowd" } })));
    world.step().unwrap();
    greedy.client.shutdown();
    let mut turns = 0;
    while world.step().unwrap() {
        greedy.client.read_all();
        turns += 1;
    }
    turns
}

#[test]
fn who_leaves_is_not_answered_any_more() {
    for is_member in [true, false] {
        let mut world = crowded();
        let mut greedy = Member::connected(&mut world, 0);
        if is_member {
            greedy.ask(&mut world, json!({ "subscribe": { "channel": "crowd" } }));
        }
        let turns = turns_after_leaving(&mut world, &mut greedy);
        // With all of the answers it would be more than 30.
        assert!(turns < 20, "{turns} turns for one who is gone");
    }
}

/// A world in which one that recovers waits for its turn behind others, and a client of "ann".
fn scarce(loops: usize) -> (World, Member) {
    let namespace = Namespace { presence: true, ..kept_namespace("", 10) };
    let mut settings = settings_with_tokens([namespace]);
    settings.limits.long_answers_work = 1;
    let mut world = world(&setup(loops, 8), settings);
    let mut member = Member::open(&mut world, 0);
    let token = json!({ "sub": "ann" }).to_string();
    member.ask(&mut world, json!({ "connect": { "token": token } }));
    (world, member)
}

fn recover(channel: &str) -> Value {
    json!({ "subscribe": { "channel": channel, "recover": true, "offset": 0 } })
}

/// What a client hears that recovers two channels, of which something is asked for the second before it is its
/// turn. It is a member of none of both in the end.
fn heard_with(question: &ChannelQuestion) -> (Vec<Value>, u32) {
    let (mut world, mut member) = scarce(1);
    for _ in 0..3 {
        // So that it is no one's turn for a while.
        member.send(json!({ "history": { "channel": "first", "limit": 1 } }));
    }
    let waiting = member.send(recover("second"));
    let _answer: ReplyReceiver<ChannelAnswer> =
        send(&world, 0, |reply| Query::Channels { question: question.clone(), reply });
    let messages = member.messages(&mut world);
    let own = messages.into_iter().filter(|own| own["history"].is_null()).collect();
    // It comes in as if nothing had been.
    let again = member.ask(&mut world, recover("second"));
    assert!(again["subscribe"].is_object(), "{again}");
    member.ask(&mut world, json!({ "publish": { "channel": "second", "data": 1 } }));
    let left = member.ask(&mut world, json!({ "unsubscribe": { "channel": "second" } }));
    assert!(left["unsubscribe"].is_object(), "{left}");
    (own, waiting)
}

#[test]
fn who_is_taken_out_before_its_turn_is_told_once() {
    let (user, channel) = (Arc::from("ann"), Some(Arc::from("second")));
    let question = ChannelQuestion::Unsubscribe { user, channel, client: None };
    let (heard, waiting) = heard_with(&question);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((&heard[0]["id"], &heard[0]["error"]["code"]), (&json!(waiting), &json!(103)));
}

#[test]
fn who_waits_in_a_channel_that_is_closed_tries_again() {
    let (heard, waiting) = heard_with(&ChannelQuestion::Close("second".into()));
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((&heard[0]["id"], &heard[0]["error"]["code"]), (&json!(waiting), &json!(100)));
}

#[test]
fn no_more_wait_than_a_loop_has_room_for() {
    let (mut world, mut greedy) = scarce(1);
    let mut late = Member::connected(&mut world, 0);
    // What a member has asked for is forgotten with it.
    greedy.ask(&mut world, json!({ "subscribe": { "channel": "first" } }));
    for _ in 0..18 {
        ask(&mut greedy, (0..1000).map(|_| json!({ "presence": { "channel": "first" } })));
    }
    let mut refused = Vec::new();
    while refused.is_empty() {
        world.step().unwrap();
        greedy.client.read_all();
        let replies = greedy.unseen().into_iter();
        refused.extend(replies.filter(|own| own["error"]["code"] == 111));
    }
    late.send(recover("second"));
    let mut reply = None;
    while reply.is_none() {
        world.step().unwrap();
        late.client.read_all();
        reply = late.unseen().pop();
        greedy.client.read_all();
    }
    assert_eq!(reply.unwrap()["error"]["code"], 111);
    greedy.client.connection.reset();
    world.settle();
    let found = late.ask(&mut world, recover("second"));
    assert!(found["subscribe"].is_object(), "{found}");
}
