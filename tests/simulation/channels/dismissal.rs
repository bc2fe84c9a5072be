//! Members that have to go, all at once: in parts of a turn, and none is given what comes behind that.

use std::time::Duration;

use tidegate::events::filter::Meta;
use tidegate::events::publish::{ChannelAction, ChannelItem};
use tidegate::inspect::Query;
use tidegate::ws::CloseCode;

use super::*;
use crate::operator::send;
use crate::wire::{PING, PONG};

/// With what a turn may be over its end: the last member of a share, and what members that were dismissed before
/// lead to.
const TURN_MAX: u64 = 4_000_000 + 3_000_000;
const MEMBERS: usize = 1_000;

/// A world with a channel of members, one of whom speaks Protobuf, and a client that is in none.
fn crowded() -> (World, Vec<Member>, Member, Member) {
    let mut setup = setup(1, 9);
    setup.server.connections_max = MEMBERS + 10;
    let mut world = world(&setup, settings([open_namespace("")]));
    let subscribe = json!({ "subscribe": { "channel": "crowd" } });
    let mut join = |format| {
        let mut member = Member::connected_in(&mut world, 0, format);
        assert!(member.ask(&mut world, subscribe.clone())["subscribe"].is_object());
        member
    };
    let members = (0..MEMBERS).map(|_| join(Format::Json)).collect();
    let speaker = join(Format::Protobuf);
    let bystander = Member::connected(&mut world, 0);
    (world, members, speaker, bystander)
}

/// Runs turns until all is done, in which the bystander's pings are answered soon. How many turns there were.
fn run(world: &mut World, bystander: &mut Member) -> usize {
    let (mut turns, mut pings) = (0, 0);
    while world.step().unwrap() {
        let used = world.server.work_used(0).unwrap();
        assert!(used <= TURN_MAX, "a turn of {used} units");
        turns += 1;
        bystander.client.read_all();
        if turns % 3 == 0 && pings < 2 {
            let frames = &bystander.client.received.frames;
            assert_eq!(frames.iter().filter(|own| own.opcode == PONG).count(), pings);
            bystander.client.send_frame(PING, b"");
            pings += 1;
        }
    }
    assert_eq!(pings, 2);
    turns
}

#[test]
fn bytes_for_members_who_cannot_take_them_close_these_in_parts() {
    let (mut world, mut members, mut speaker, mut bystander) = crowded();
    for data in [json!({ "b64data": "AAH/Cg==" }), json!(2)] {
        speaker.send(json!({ "publish": { "channel": "crowd", "data": data } }));
    }
    run(&mut world, &mut bystander);
    for member in &mut members {
        assert_eq!(member.messages(&mut world), Vec::<Value>::new());
        assert_eq!(member.close().map(|own| own.0), Some(3506));
    }
    let pushes = speaker.messages(&mut world);
    assert_eq!(pushes.iter().filter(|own| own["push"].is_object()).count(), 2, "{pushes:?}");
}

#[test]
fn members_of_a_channel_that_is_closed_leave_it_in_parts() {
    let (mut world, mut members, mut speaker, mut bystander) = crowded();
    let action = ChannelAction::Close(CloseCode::NORMAL, "bye".to_owned());
    let (id, prev_id, meta) = (None, None, Meta::default());
    let item = Arc::new(ChannelItem { channel: "crowd".into(), action, id, prev_id, meta });
    let count = send(&world, 0, |reply| Query::Channel { item, publishes: true, reply });
    world.step().unwrap();
    speaker.send(json!({ "publish": { "channel": "crowd", "data": 2 } }));
    run(&mut world, &mut bystander);
    assert!(count.wait(Duration::ZERO).unwrap() > 0);
    for member in members.iter_mut().chain([&mut speaker]) {
        let messages = member.messages(&mut world);
        let pushes: Vec<&Value> = messages.iter().filter_map(|own| own.get("push")).collect();
        assert_eq!(pushes.len(), 1, "{messages:?}");
        assert_eq!(pushes[0]["unsubscribe"]["code"], 2000, "{messages:?}");
        assert_eq!(member.close(), None);
    }
}

/// A member that is reached by other ways first is dismissed then, and one that comes again hears what follows.
#[test]
fn who_leaves_or_comes_while_others_are_dismissed_is_where_it_says() {
    let (mut world, mut members, mut speaker, _) = crowded();
    for data in [json!({ "b64data": "AAH/Cg==" }), json!(2)] {
        speaker.send(json!({ "publish": { "channel": "crowd", "data": data } }));
    }
    world.step().unwrap();
    world.step().unwrap();
    // Far from both ends, so the walk has not come to it.
    let mut leaver = members.remove(MEMBERS / 2);
    leaver.send(json!({ "unsubscribe": { "channel": "crowd" } }));
    let mut comer = Member::connected_in(&mut world, 0, Format::Protobuf);
    comer.send(json!({ "subscribe": { "channel": "crowd" } }));
    world.settle();
    speaker.send(json!({ "publish": { "channel": "crowd", "data": 3 } }));
    world.settle();
    for member in members.iter_mut().chain([&mut leaver]) {
        assert_eq!(
            member.messages(&mut world).iter().filter(|own| own.get("push").is_some()).count(),
            0
        );
        assert_eq!(member.close().map(|own| own.0), Some(3506));
    }
    let pushes = comer.messages(&mut world);
    let last = pushes.last().unwrap();
    assert_eq!(last["push"]["pub"]["data"], 3, "{pushes:?}");
}
