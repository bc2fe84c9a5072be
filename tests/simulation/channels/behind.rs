//! Members that do not read what is published in channels with `slow_policy = "keep_latest"`.

use tidegate::channels::{RecoveryMode, SlowMemberPolicy};

use super::*;

fn keep_latest(namespace: Namespace) -> Namespace {
    Namespace { slow_policy: SlowMemberPolicy::KeepLatest, ..namespace }
}

/// Little waits for a client before it is too slow.
fn narrow_world(loops: usize, seed: u64) -> World {
    let mut setup = setup(loops, seed);
    setup.backlog_messages_max = Some(10);
    let cached = Namespace { recovery_mode: RecoveryMode::Cache, ..kept_namespace("cached", 100) };
    let told =
        Namespace { join_leave: true, force_push_join_leave: true, ..open_namespace("told") };
    let namespaces = [
        keep_latest(open_namespace("")),
        keep_latest(kept_namespace("kept", 100)),
        keep_latest(cached),
        keep_latest(told),
        open_namespace("strict"),
    ];
    let world = world(&setup, settings_with_tokens(namespaces));
    world.network.set_send_buffer_bytes(1500);
    world
}

fn subscribe(channel: &str) -> Value {
    json!({ "subscribe": { "channel": channel } })
}

/// Publishes numbers from 1 to `count`, in these channels by turns, while no other client reads.
fn publish(world: &mut World, channels: &[&str], count: usize) {
    let mut publisher = Member::connected(world, 0);
    for number in 1..=count {
        let channel = channels[number % channels.len()];
        let data = json!([number, "x".repeat(100)]);
        let command = json!({ "publish": { "channel": channel, "data": data } });
        assert!(publisher.ask(world, command).get("error").is_none());
    }
}

/// The numbers of what was published in a channel, as it came.
fn numbers(messages: &[Value], channel: &str) -> Vec<u64> {
    let own = messages.iter().filter(|own| own["push"]["channel"] == channel);
    own.filter_map(|own| own["push"]["pub"]["data"][0].as_u64()).collect()
}

#[test]
fn a_slow_member_gets_the_latest_of_each_channel_in_the_end() {
    for (format, loops) in [(Format::Json, 1), (Format::Protobuf, 2), (Format::Json, 3)] {
        let mut world = narrow_world(loops, 1);
        let mut slow = Member::connected_in(&mut world, loops - 1, format);
        let channels = ["a", "b", "cached:a"];
        for channel in channels {
            slow.ask(&mut world, subscribe(channel));
        }
        publish(&mut world, &channels, 200);
        assert_eq!(world.counter("closed_slow"), 0);
        assert_eq!(world.counter("channel_members_behind"), 0);
        let messages = slow.messages(&mut world);
        for (channel, last) in channels.into_iter().zip([198, 199, 200]) {
            let found = numbers(&messages, channel);
            assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
            assert_eq!(found.last(), Some(&last), "{found:?}");
            assert!(found.len() < 30, "{found:?}");
        }
        let got: usize = channels.iter().map(|own| numbers(&messages, own).len()).sum();
        assert_eq!(world.counter("channel_publications_superseded"), 200 - got as u64);
        // It goes on as if nothing had been.
        publish(&mut world, &channels, 3);
        let messages = slow.messages(&mut world);
        assert_eq!(channels.map(|own| numbers(&messages, own).len()), [1, 1, 1]);
    }
}

#[test]
fn a_slow_member_by_position_is_told_and_recovers() {
    for (format, loops) in [(Format::Json, 1), (Format::Protobuf, 2), (Format::Json, 3)] {
        let mut world = narrow_world(loops, 2);
        let mut slow = Member::connected_in(&mut world, loops - 1, format);
        let epoch = slow.ask(&mut world, subscribe("kept:a"))["subscribe"]["epoch"].clone();
        slow.ask(&mut world, subscribe("a"));
        publish(&mut world, &["kept:a", "a"], 100);
        assert_eq!(world.counter("channel_members_behind"), 1);
        assert_eq!(world.counter("closed_slow"), 0);
        let messages = slow.messages(&mut world);
        let end = json!({ "code": 2500, "reason": "insufficient state" });
        let end = json!({ "push": { "channel": "kept:a", "unsubscribe": end } });
        let at = messages.iter().position(|own| *own == end).unwrap();
        let before = numbers(&messages[..at], "kept:a");
        let wanted: Vec<u64> = (1..=before.len() as u64).map(|own| 2 * own).collect();
        assert_eq!(before, wanted, "without a hole");
        assert!(!before.is_empty() && numbers(&messages[at..], "kept:a").is_empty());
        assert_eq!(numbers(&messages, "a").last(), Some(&99));
        let recover = json!({
            "channel": "kept:a", "recover": true, "offset": before.len(), "epoch": epoch,
        });
        let reply = slow.ask(&mut world, json!({ "subscribe": recover }));
        assert_eq!(reply["subscribe"]["recovered"], true);
        let missed = reply["subscribe"]["publications"].as_array().unwrap();
        assert_eq!(missed.len(), 50 - before.len());
        publish(&mut world, &["kept:a"], 1);
        let messages = slow.messages(&mut world);
        assert_eq!(messages[0]["push"]["pub"]["offset"], 51);
    }
}

/// It has asked to leave, so that is all the same to it; but what it reads before the answer has no hole.
#[test]
fn a_slow_member_that_leaves_reads_what_it_was_sent_before_without_a_hole() {
    for loops in 1..=3 {
        let mut world = narrow_world(loops, 6);
        let mut slow = Member::connected(&mut world, loops - 1);
        for channel in ["kept:a", "a", "strict:a"] {
            slow.ask(&mut world, subscribe(channel));
        }
        publish(&mut world, &["kept:a", "a"], 12);
        let asked = ["kept:a", "a"]
            .map(|channel| slow.send(json!({ "unsubscribe": { "channel": channel } })));
        world.settle();
        // As many as there is room for, and one.
        let mut count = 0;
        while world.counter("channel_publications_superseded") == 0 {
            publish(&mut world, &["strict:a"], 1);
            count += 1;
            assert!(count < 20);
        }
        assert_eq!(world.counter("closed_slow"), 0);
        assert_eq!(world.counter("channel_members_behind"), 0);
        let messages = slow.messages(&mut world);
        for (channel, first) in [("kept:a", 2), ("a", 1)] {
            let found = numbers(&messages, channel);
            let wanted = (first..).step_by(2).take(found.len());
            assert!(found.iter().copied().eq(wanted), "{channel}: {found:?}");
        }
        assert_eq!(numbers(&messages, "strict:a").len(), count);
        assert!(asked.iter().all(|id| messages.iter().any(|own| own["id"] == *id)));
    }
}

/// The home of a channel learns later than the loop of a member that this one has left.
#[test]
fn what_is_published_before_the_home_knows_of_a_leave_is_behind_no_hole() {
    for loops in 1..=3 {
        let mut world = narrow_world(loops, 7);
        let mut slow = Member::connected(&mut world, loops - 1);
        let publisher = Member::connected(&mut world, 0);
        let channels = ["kept:a", "kept:b", "kept:c", "kept:d"];
        for channel in channels {
            slow.ask(&mut world, subscribe(channel));
        }
        publish(&mut world, &channels, 12);
        for channel in channels {
            slow.send(json!({ "unsubscribe": { "channel": channel } }));
        }
        world.server.step_loop(loops - 1).unwrap();
        let command = |id: usize| {
            let data = json!([id, "x".repeat(100)]);
            let publish = json!({ "channel": channels[id % 4], "data": data });
            json!({ "id": id, "publish": publish }).to_string()
        };
        // Twice as many as there is room for, and less than makes the publisher wait.
        let commands: Vec<String> = (13..33).map(command).collect();
        publisher.client.send_frame(TEXT, commands.join("\n").as_bytes());
        world.settle();
        let messages = slow.messages(&mut world);
        for (channel, first) in channels.into_iter().zip([4, 1, 2, 3]) {
            let found = numbers(&messages, channel);
            let wanted = (first..).step_by(4).take(found.len());
            assert!(found.iter().copied().eq(wanted), "{loops} loops, {channel}: {found:?}");
        }
    }
}

#[test]
fn what_else_is_too_much_ends_the_connection_as_ever() {
    let mut world = narrow_world(2, 3);
    let mut slow = Member::connected(&mut world, 1);
    for channel in ["a", "strict:a"] {
        slow.ask(&mut world, subscribe(channel));
    }
    publish(&mut world, &["a", "strict:a"], 100);
    assert_eq!(world.counter("closed_slow"), 1);
    let messages = slow.messages(&mut world);
    let found = numbers(&messages, "strict:a");
    assert!(found.iter().copied().eq((0..).map(|own| 2 * own + 1).take(found.len())), "{found:?}");

    // What the server has subscribed a client to it recovers when it comes back.
    let mut slow = Member::open(&mut world, 1);
    let claims = json!({ "sub": "ann", "channels": ["kept:a"] });
    slow.ask(&mut world, json!({ "connect": { "token": claims.to_string() } }));
    publish(&mut world, &["kept:a"], 100);
    assert_eq!(world.counter("closed_slow"), 2);
    assert_eq!(world.counter("channel_members_behind"), 0);
}

#[test]
fn replies_and_news_of_members_find_room() {
    let mut world = narrow_world(2, 4);
    let mut slow = Member::connected(&mut world, 1);
    slow.ask(&mut world, subscribe("told:a"));
    slow.messages(&mut world);
    publish(&mut world, &["told:a"], 100);
    let mut others: Vec<Member> =
        (0..3).map(|number| Member::connected(&mut world, number % 2)).collect();
    for other in &mut others {
        other.ask(&mut world, subscribe("told:a"));
    }
    let id = slow.send(json!({ "history": { "channel": "told:a" } }));
    world.settle();
    assert_eq!(world.counter("closed_slow"), 0);
    let messages = slow.messages(&mut world);
    let joins = messages.iter().filter(|own| own["push"]["join"].is_object()).count();
    assert_eq!((joins, numbers(&messages, "told:a").last()), (3, Some(&100)));
    assert!(messages.iter().any(|own| own["id"] == id));
}
