//! What backends publish by the interface of GRIP, to members of channels.

use std::time::Duration;

use tidegate::events::ClientEvent;
use tidegate::events::publish::{ChannelAction, ChannelItem, parse_items};
use tidegate::inspect::Query;
use tidegate::mail::ReplyReceiver;
use tidegate::ws::CloseCode;

use super::*;
use crate::operator::send;

/// Has all loops publish an item, as the listener for backends does; how many members there are.
fn publish(world: &mut World, item: &ChannelItem) -> usize {
    let item = Arc::new(item.clone());
    let answers: Vec<ReplyReceiver<usize>> = (0..3)
        .map(|loop_index| {
            let (item, publishes) = (Arc::clone(&item), loop_index == 2);
            send(world, loop_index, |reply| Query::Channel { item, publishes, reply })
        })
        .collect();
    world.settle();
    answers.into_iter().map(|own| own.wait(Duration::ZERO).unwrap()).sum()
}

fn item(channel: &str, content: &str) -> ChannelItem {
    let body = json!({ "items": [{ "channel": channel, "ws-message": { "content": content } }] });
    parse_items(body.to_string().as_bytes()).unwrap().items.remove(0)
}

fn world_with_members(seed: u64) -> (World, Vec<Member>) {
    let own = settings([open_namespace(""), kept_namespace("kept", 100)]);
    let mut world = world(&setup(3, seed), own);
    let mut members: Vec<Member> =
        (0..3).map(|number| Member::connected(&mut world, number)).collect();
    for channel in ["plain", "kept:x"] {
        for member in &mut members {
            member.ask(&mut world, json!({ "subscribe": { "channel": channel } }));
        }
    }
    (world, members)
}

#[test]
fn members_of_a_channel_get_what_a_backend_publishes_to_its_name() {
    let (mut world, mut members) = world_with_members(1);
    for (content, data) in [
        (r#"{"text":"hello"}"#, json!({ "text": "hello" })),
        ("[1,\n2]", json!([1, 2])),
        ("no \"JSON\"", json!("no \"JSON\"")),
        ("", json!("")),
    ] {
        assert_eq!(publish(&mut world, &item("plain", content)), 3);
        for member in &mut members {
            let pushes = member.messages(&mut world);
            assert_eq!(
                pushes,
                [json!({ "push": { "channel": "plain", "pub": { "data": data } } })]
            );
        }
    }
    assert_eq!(publish(&mut world, &item("empty", "1")), 0);
    assert_eq!(publish(&mut world, &item("unknown:x", "1")), 0, "no namespace has it");
    for (event, content) in [(ClientEvent::Ping, vec![1]), (ClientEvent::Binary, Vec::new())] {
        let action = ChannelAction::Send(event, content);
        assert_eq!(publish(&mut world, &ChannelItem { action, ..item("plain", "") }), 0);
    }
    for member in &mut members {
        assert_eq!(member.messages(&mut world), Vec::<Value>::new());
    }
}

#[test]
fn bytes_are_for_members_who_can_take_them() {
    let (mut world, mut members) = world_with_members(3);
    let mut own = Member::connected_in(&mut world, 1, Format::Protobuf);
    own.ask(&mut world, json!({ "subscribe": { "channel": "plain" } }));
    let binary = |content: &[u8]| {
        let action = ChannelAction::Send(ClientEvent::Binary, content.to_vec());
        ChannelItem { action, ..item("plain", "") }
    };
    // What is JSON is so in whatever frame it would have come.
    assert_eq!(publish(&mut world, &binary(b"[1]")), 4);
    for member in members.iter_mut().chain([&mut own]) {
        assert_eq!(member.messages(&mut world)[0]["push"]["pub"]["data"], json!([1]));
    }
    // Some may have gone before their loop is asked.
    assert!(publish(&mut world, &binary(&[0, 1, 0xFF, 10])) > 0);
    let messages = own.messages(&mut world);
    assert_eq!(messages[0]["push"]["pub"]["data"], json!({ "b64data": "AAH/Cg==" }));
    for member in &mut members {
        world.exchange(&mut member.client);
        assert_eq!(member.close().map(|own| own.0), Some(3506));
    }
}

/// Members get the items in the order of publishing, with offsets, among those of clients.
#[test]
fn items_are_ordered_and_kept() {
    for seed in 0..20 {
        let (mut world, mut members) = world_with_members(seed);
        for number in 0..10 {
            let own = json!({ "publish": { "channel": "kept:x", "data": "client" } });
            members[number % 3].send(own);
            publish(&mut world, &item("kept:x", &number.to_string()));
        }
        let mut seen = Vec::new();
        for member in &mut members {
            let messages = member.messages(&mut world);
            let pushes = messages.iter().filter(|own| own["push"].is_object());
            let pushes: Vec<(u64, Value)> = pushes
                .map(|own| &own["push"]["pub"])
                .map(|own| (own["offset"].as_u64().unwrap(), own["data"].clone()))
                .collect();
            assert!(pushes.iter().map(|own| own.0).eq(1..=20), "{pushes:?}");
            let own = pushes.iter().filter_map(|own| own.1.as_u64());
            assert!(own.eq(0..10), "{pushes:?}");
            seen.push(pushes);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn an_item_that_closes_ends_the_subscription_and_not_the_connection() {
    let (mut world, mut members) = world_with_members(2);
    let mut own = Member::connected_in(&mut world, 1, Format::Protobuf);
    own.ask(&mut world, json!({ "subscribe": { "channel": "plain" } }));
    members.push(own);
    let action = ChannelAction::Close(CloseCode::NORMAL, "bye".to_owned());
    // Some may have gone before their loop is asked.
    assert!(publish(&mut world, &ChannelItem { action, ..item("plain", "") }) > 0);
    for member in &mut members {
        let pushes = member.messages(&mut world);
        assert_eq!(pushes[0]["push"]["unsubscribe"]["code"], 2000, "{pushes:?}");
        assert_eq!(member.close(), None);
    }
    assert_eq!(publish(&mut world, &item("plain", "1")), 0);
}
