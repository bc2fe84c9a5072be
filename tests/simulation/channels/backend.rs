//! What backends ask of channels, of any loop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::centrifugo::ErrorCode;
use tidegate::channels::{NamedEpoch, Publication, Since};
use tidegate::inspect::{ChannelAnswer, ChannelQuestion, Lasting, Query};
use tidegate::mail::{Reply, ReplyReceiver};
use tidegate::reactor::LoopCommand;

use super::*;
use crate::operator::send;

pub(super) fn answer(
    world: &mut World,
    loop_index: usize,
    question: ChannelQuestion,
) -> ChannelAnswer {
    let answer: ReplyReceiver<ChannelAnswer> =
        send(world, loop_index, |reply| Query::Channels { question, reply });
    world.settle();
    answer.wait(Duration::ZERO).unwrap()
}

pub(super) fn json_of(answer: &ChannelAnswer) -> Value {
    let ChannelAnswer::Json(text) = answer else { panic!("{answer:?}") };
    serde_json::from_slice(text).unwrap()
}

fn publish(channel: &str, number: u64, key: Option<&str>) -> ChannelQuestion {
    ChannelQuestion::Publish {
        channel: channel.into(),
        publication: Publication::new(number.to_string().into_bytes()),
        idempotency_key: key.map(Into::into),
        skips_history: false,
    }
}

fn world_with_members(seed: u64) -> (World, Vec<Member>) {
    let told = Namespace { presence: true, ..open_namespace("told") };
    let own = settings([open_namespace(""), kept_namespace("kept", 5), told]);
    let mut world = world(&setup(3, seed), own);
    let mut members: Vec<Member> =
        (0..3).map(|number| Member::connected(&mut world, number)).collect();
    for channel in ["plain", "kept:x", "told:x"] {
        for member in &mut members {
            member.ask(&mut world, json!({ "subscribe": { "channel": channel } }));
        }
    }
    (world, members)
}

#[test]
fn a_backend_publishes_at_any_loop() {
    let (mut world, mut members) = world_with_members(1);
    for loop_index in 0..3 {
        let plain = answer(&mut world, loop_index, publish("plain", 1, None));
        assert_eq!(json_of(&plain), json!({}));
        let offset = loop_index as u64 + 1;
        let kept = json_of(&answer(&mut world, loop_index, publish("kept:x", 2, None)));
        assert_eq!(kept["offset"], offset);
        for member in &mut members {
            let pushes = member.messages(&mut world);
            let mut found: Vec<_> = pushes.iter().map(|own| own["push"]["pub"].clone()).collect();
            found.sort_by_key(|own| own["data"].as_u64());
            assert_eq!(found, [json!({ "data": 1 }), json!({ "data": 2, "offset": offset })]);
        }
    }
    let first = answer(&mut world, 0, publish("kept:x", 9, Some("key")));
    assert_eq!(answer(&mut world, 1, publish("kept:x", 9, Some("key"))), first);
    assert_eq!(members[0].messages(&mut world).len(), 1, "the second changes nothing");
}

#[test]
fn a_backend_sees_what_is_there() {
    let (mut world, _members) = world_with_members(2);
    answer(&mut world, 0, publish("kept:x", 7, None));
    let history = |limit| ChannelQuestion::History {
        channel: "kept:x".into(),
        since: Since::Oldest(None),
        epoch: NamedEpoch::Any,
        limit,
    };
    let found = json_of(&answer(&mut world, 1, history(10)));
    assert_eq!(found["publications"], json!([{ "data": 7, "offset": 1 }]));
    assert_eq!(
        answer(&mut world, 2, ChannelQuestion::Forget("kept:x".into())),
        ChannelAnswer::Done
    );
    let found = json_of(&answer(&mut world, 1, history(10)));
    assert_eq!((&found["publications"], &found["offset"]), (&json!([]), &json!(1)));
    let presence = json_of(&answer(&mut world, 0, ChannelQuestion::Presence("told:x".into())));
    assert_eq!(presence["presence"].as_object().unwrap().len(), 3);
    let stats = json_of(&answer(&mut world, 0, ChannelQuestion::PresenceStats("told:x".into())));
    assert_eq!(stats, json!({ "num_clients": 3, "num_users": 1 }));
    for (question, error) in [
        (publish("nowhere:x", 1, None), ErrorCode::UnknownChannel),
        (publish("", 1, None), ErrorCode::BadRequest),
        (ChannelQuestion::Presence("plain".into()), ErrorCode::NotAvailable),
        (ChannelQuestion::Forget("plain".into()), ErrorCode::NotAvailable),
    ] {
        assert_eq!(answer(&mut world, 1, question), ChannelAnswer::Failed(error));
    }
    let (mut listed, mut counts) = (Vec::new(), [0; 3]);
    for loop_index in 0..3 {
        let ChannelAnswer::Channels(own) =
            answer(&mut world, loop_index, ChannelQuestion::List(100))
        else {
            panic!("no list")
        };
        listed.extend(own);
        let ChannelAnswer::Counts(clients, channels, members) =
            answer(&mut world, loop_index, ChannelQuestion::Count)
        else {
            panic!("no counts")
        };
        counts = [counts[0] + clients, counts[1] + channels, counts[2] + members];
    }
    listed.sort();
    let wanted = ["kept:x", "plain", "told:x"].map(|name| (Arc::from(name), 3));
    assert_eq!((listed, counts), (wanted.to_vec(), [3, 3, 9]));
}

#[test]
fn a_backend_ends_subscriptions_and_connections() {
    let (mut world, mut members) = world_with_members(3);
    for loop_index in 0..3 {
        let (user, channel) = (Arc::from(""), Some(Arc::from("plain")));
        let question = ChannelQuestion::Unsubscribe { user, channel, client: None };
        assert_eq!(answer(&mut world, loop_index, question), ChannelAnswer::Done);
    }
    for member in &mut members {
        let pushes = member.messages(&mut world);
        let reason = json!({ "code": 2000, "reason": "server unsubscribe" });
        assert_eq!(pushes, [json!({ "push": { "channel": "plain", "unsubscribe": reason } })]);
    }
    answer(&mut world, 0, publish("plain", 1, None));
    assert!(members.iter_mut().all(|own| own.messages(&mut world).is_empty()));
    for loop_index in 0..3 {
        let question = ChannelQuestion::Disconnect {
            user: "".into(),
            client: None,
            except: Arc::new([]),
            close: (4000, "moved".into()),
        };
        assert_eq!(answer(&mut world, loop_index, question), ChannelAnswer::Done);
    }
    for member in &mut members {
        world.exchange(&mut member.client);
        assert_eq!(member.close(), Some((4000, "moved".to_owned())));
    }
    assert_eq!(world.counter("channel_members_now"), 0);
}

/// Connections of one user.
const CONNECTIONS: usize = 1_500;
/// A turn of parts of an operation and of what comes of them.
const TURN_MAX: u64 = 3_000_000;
/// As many a turn may reach.
const REACHED_AT_ONCE_MAX: usize = 400;

/// A world with connections of "ann", each a member of "plain", and one of "bob".
fn world_of_one_user() -> (World, Vec<Member>, Member) {
    let mut setup = setup(1, 6);
    setup.server.connections_max = CONNECTIONS + 10;
    let mut world = world(&setup, settings_with_tokens([open_namespace("")]));
    let members = (0..CONNECTIONS).map(|_| connection_of(&mut world, "ann")).collect();
    let bystander = connection_of(&mut world, "bob");
    (world, members, bystander)
}

fn connection_of(world: &mut World, user: &str) -> Member {
    let mut member = Member::open(world, 0);
    let token = json!({ "sub": user }).to_string();
    let reply = member.ask(world, json!({ "connect": { "token": token } }));
    assert!(reply["connect"].is_object(), "{reply}");
    let reply = member.ask(world, json!({ "subscribe": { "channel": "plain" } }));
    assert!(reply["subscribe"].is_object(), "{reply}");
    member
}

/// Asks, and counts the answers in order to tell when they come.
fn ask(world: &World, question: ChannelQuestion) -> Arc<AtomicUsize> {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let reply = Reply::new(move |answer| {
        assert_eq!(answer, ChannelAnswer::Done);
        count.fetch_add(1, Ordering::Relaxed);
    });
    world.server.command(0, LoopCommand::Query(Query::Channels { question, reply }));
    answered
}

/// Has an operation on "ann" done, with another on one connection in the middle of it. How many of the members were
/// reached when the answer came, by `reached`.
fn operate(
    world: &mut World,
    members: &mut [Member],
    (question, reached): (ChannelQuestion, impl Fn(&mut Member) -> bool),
) -> usize {
    let answered = ask(world, question);
    let (mut turns, mut before) = (0, 0);
    let mut other = None;
    while answered.load(Ordering::Relaxed) == 0 {
        assert!(world.step().unwrap(), "it is answered");
        turns += 1;
        let used = world.server.work_used(0).unwrap();
        assert!(used <= TURN_MAX, "a turn of {used} units");
        let now = members.iter_mut().filter_map(|own| {
            own.client.read_all();
            reached(own).then_some(())
        });
        let now = now.count();
        assert!(now - before <= REACHED_AT_ONCE_MAX, "{} in a turn", now - before);
        before = now;
        if turns == 2 {
            let (user, channel) = (Arc::from("bob"), Some(Arc::from("elsewhere")));
            let question = ChannelQuestion::Unsubscribe { user, channel, client: None };
            other = Some(ask(world, question));
        }
        if turns == 5 {
            let is_answered = other.as_ref().map(|own| own.load(Ordering::Relaxed));
            assert_eq!(is_answered, Some(1), "it does not wait for all of the others");
        }
    }
    assert!(turns > 5, "{turns} turns");
    world.settle();
    for own in members.iter_mut() {
        own.client.read_all();
    }
    before
}

#[test]
fn the_connections_of_a_user_are_closed_in_parts() {
    let (mut world, mut members, mut bystander) = world_of_one_user();
    let held = world.counter("pool_bytes_now");
    let question = ChannelQuestion::Disconnect {
        user: "ann".into(),
        client: None,
        except: Arc::new([]),
        close: (4000, "moved".into()),
    };
    // One that leaves by itself, when it is not yet its turn, and one that comes: its slot is that of the first.
    let reached = |own: &mut Member| own.close().is_some();
    let leaver = members.pop().unwrap();
    leaver.client.shutdown();
    let count = operate(&mut world, &mut members, (question, reached));
    assert!(count + REACHED_AT_ONCE_MAX >= members.len(), "{count}");
    for member in &members {
        assert_eq!(member.close(), Some((4000, "moved".to_owned())));
        member.client.shutdown();
    }
    world.exchange(&mut bystander.client);
    assert_eq!(bystander.close(), None);
    assert_eq!(world.counter("channel_members_now"), 1);
    assert!(world.counter("pool_bytes_now") <= held);
    assert_eq!(world.server.connection_count(), 1);
}

#[test]
fn what_else_is_done_to_a_user_reaches_each_connection_once() {
    let (mut world, mut members, mut bystander) = world_of_one_user();
    let user: Arc<str> = "ann".into();
    let options = Box::default();
    for (question, told) in [
        (
            ChannelQuestion::Subscribe {
                user: Arc::clone(&user),
                channel: "other".into(),
                client: None,
                recover: None,
                options,
            },
            "subscribe",
        ),
        (
            ChannelQuestion::Refresh {
                user: Arc::clone(&user),
                client: None,
                lasts: Lasting::Unlimited,
                info: None,
            },
            "refresh",
        ),
        (
            ChannelQuestion::Unsubscribe { user, channel: Some("plain".into()), client: None },
            "unsubscribe",
        ),
    ] {
        let seen: Vec<usize> = members.iter().map(|own| own.seen).collect();
        let before = members.iter().map(|own| own.client.payloads().len()).collect::<Vec<_>>();
        assert_eq!(seen, before);
        let reached = |own: &mut Member| own.client.payloads().len() > own.seen;
        operate(&mut world, &mut members, (question, reached));
        for member in &mut members {
            let pushes = member.unseen();
            assert_eq!(pushes.len(), 1, "{pushes:?}");
            assert!(pushes[0]["push"][told].is_object(), "{told}: {pushes:?}");
        }
        assert_eq!(bystander.messages(&mut world), Vec::<Value>::new());
    }
}

/// One that is asked for while another is under way is done behind it, also if it is on a single connection and
/// therefore faster.
#[test]
fn what_is_done_to_a_user_is_done_in_the_order_of_asking() {
    let (mut world, _members, _bystander) = world_of_one_user();
    let mut last = Member::open(&mut world, 0);
    let token = json!({ "sub": "ann" }).to_string();
    let reply = last.ask(&mut world, json!({ "connect": { "token": token } }));
    let client: Arc<str> = reply["connect"]["client"].as_str().unwrap().into();
    last.ask(&mut world, json!({ "subscribe": { "channel": "plain" } }));
    let user: Arc<str> = "ann".into();
    let leave =
        ChannelQuestion::Unsubscribe { user: Arc::clone(&user), channel: None, client: None };
    let join = ChannelQuestion::Subscribe {
        user,
        channel: "plain".into(),
        client: Some(client),
        recover: None,
        options: Box::default(),
    };
    let answered = [leave, join].map(|own| ask(&world, own));
    world.settle();
    assert!(answered.iter().all(|own| own.load(Ordering::Relaxed) == 1));
    let pushes = last.messages(&mut world);
    let told = |own: &Value| own["push"]["subscribe"].is_object();
    assert_eq!(pushes.iter().map(told).collect::<Vec<_>>(), [false, true], "{pushes:?}");
}

/// Connections that come and go between the parts change nothing about those that are there all the time.
#[test]
fn who_comes_and_goes_meanwhile_makes_no_difference_to_the_others() {
    let (mut world, mut members, _bystander) = world_of_one_user();
    let (user, channel) = (Arc::from("ann"), Some(Arc::from("plain")));
    let answered = ask(&world, ChannelQuestion::Unsubscribe { user, channel, client: None });
    let mut comers = Vec::new();
    while answered.load(Ordering::Relaxed) == 0 {
        assert!(world.step().unwrap());
        if comers.len() < 3 {
            members.pop().unwrap().client.shutdown();
            members.swap_remove(CONNECTIONS / 2).client.shutdown();
            let comer = world.connect(0);
            comer.ask(PATH);
            comers.push(comer);
        }
    }
    for member in &mut members {
        let pushes = member.messages(&mut world);
        assert_eq!(pushes.len(), 1, "{pushes:?}");
        assert!(pushes[0]["push"]["unsubscribe"].is_object(), "{pushes:?}");
    }
}

#[test]
fn no_more_operations_wait_than_a_loop_has_room_for() {
    let (mut world, _members, _bystander) = world_of_one_user();
    let held = world.counter("pool_bytes_now");
    let question = ChannelQuestion::Unsubscribe {
        user: "ann".into(),
        channel: Some("elsewhere".into()),
        client: None,
    };
    let (done, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = 1_500;
    for _ in 0..asked {
        let (done, refused) = (Arc::clone(&done), Arc::clone(&refused));
        let reply = Reply::new(move |answer| {
            let is_done = answer == ChannelAnswer::Done;
            let is_refused = answer == ChannelAnswer::Failed(ErrorCode::TooManyRequests);
            assert!(is_done || is_refused, "{answer:?}");
            let count = if is_done { done } else { refused };
            count.fetch_add(1, Ordering::Relaxed);
        });
        let query = Query::Channels { question: question.clone(), reply };
        world.server.command(0, LoopCommand::Query(query));
    }
    while refused.load(Ordering::Relaxed) == 0 {
        assert!(world.step().unwrap());
        let used = world.server.work_used(0).unwrap();
        assert!(used <= 4_000_000 + TURN_MAX, "a turn of {used} units");
    }
    assert!(world.counter("pool_bytes_now") > held + 100_000, "what waits is charged");
    world.settle();
    let [done, refused] = [done, refused].map(|own| own.load(Ordering::Relaxed));
    assert!(done >= 1_024 && done + refused == asked, "{done} and {refused}");
    assert_eq!(world.counter("pool_bytes_now"), held);
    let answered = ask(&world, question);
    world.settle();
    assert_eq!(answered.load(Ordering::Relaxed), 1);
}
