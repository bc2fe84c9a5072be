//! What operators see of rooms and their members, and what they say in them.

use std::time::Duration;

use std::sync::Mutex;

use tidegate::inspect::{
    ConnectionFilter, Query, RoomSlice, TraceEvent, TraceEventKind, TraceId, TraceSink,
};
use tidegate::services::Order;
use tidegate::services::room::Newlines;

use super::*;
use crate::operator::{all, ask, close, list, send, send_text as send_to_all};

fn of_user(user: &str) -> ConnectionFilter {
    ConnectionFilter { user: Some(user.to_owned()), ..all() }
}

fn rooms(world: &mut World, loop_index: usize) -> RoomSlice {
    ask(world, loop_index, |reply| Query::Rooms { reply })
}

fn publish(world: &mut World, loop_index: usize, route: &str, room: &str, text: &str) -> bool {
    let (route, room, text) = (route.into(), room.into(), text.into());
    ask(world, loop_index, |reply| Query::Publish { route, room, text, reply })
}

#[test]
fn members_are_listed_and_found_by_name_and_room() {
    let mut world = world(1, RoomSettings::default());
    let _members = ["ann&room=a", "bob&room=a", "bob&room=b"]
        .map(|user| enter(&mut world, 0, &format!("/chat?user={user}"), ClientFormat::Events));
    let rows = list(&mut world, 0, &all());
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.user.as_deref().unwrap(), row.room.as_deref().unwrap()))
        .collect();
    assert_eq!(seen, [("ann", "a"), ("bob", "a"), ("bob", "b")]);
    let in_room = |room: &str| ConnectionFilter { room: Some(room.to_owned()), ..all() };
    for (filter, count) in [
        (of_user("bob"), 2),
        (of_user("b"), 0),
        (in_room("a"), 2),
        (ConnectionFilter { room: Some("a".to_owned()), ..of_user("bob") }, 1),
    ] {
        assert_eq!(list(&mut world, 0, &filter).len(), count, "{filter:?}");
    }
}

#[test]
fn all_connections_of_a_user_are_closed_or_sent_to_and_no_others() {
    let mut world = world(2, RoomSettings::default());
    let mut bobs: Vec<Client> = (0..4)
        .map(|serial| enter(&mut world, serial % 2, "/chat?user=bob", ClientFormat::Lines))
        .collect();
    let mut ann = enter(&mut world, 1, "/chat?user=ann", ClientFormat::Lines);
    for loop_index in 0..2 {
        assert_eq!(send_to_all(&mut world, loop_index, &of_user("bob"), "you only"), 2);
        assert_eq!(close(&mut world, loop_index, &of_user("bob")), 2);
    }
    for bob in &mut bobs {
        assert_eq!(texts(&mut world, bob), ["you only"]);
        let expected = Some((4321, "by an operator".to_owned()));
        assert_eq!(close_of(&mut world, bob), expected);
    }
    assert_eq!(close_of(&mut world, &mut ann), None);
    assert!(texts(&mut world, &mut ann).is_empty());
}

/// A name that is not proved is not shown, and names no connection for an order.
#[test]
fn a_name_whose_token_is_not_checked_yet_is_not_the_users() {
    let (mut world, lookup) = tokens::looked();
    let mut client = tokens::waiting(&mut world, 0);
    let row = list(&mut world, 0, &all()).remove(0);
    assert_eq!((row.user, row.room.as_deref()), (None, None));
    assert!(list(&mut world, 0, &of_user("bob")).is_empty());
    assert_eq!(rooms(&mut world, 0).total, 0, "it is in no room yet");
    lookup.answer(tidegate::services::TokenVerdict::Right);
    world.exchange(&mut client);
    assert_eq!(list(&mut world, 0, &of_user("bob")).len(), 1);
    assert_eq!(rooms(&mut world, 0).total, 1);
}

#[test]
fn rooms_are_listed_by_name_with_their_members_on_the_loop() {
    let mut world = world(2, RoomSettings::default());
    assert_eq!(rooms(&mut world, 0), RoomSlice::default());
    let mut members: Vec<Client> = [(0, "b"), (0, "a"), (1, "b"), (0, "b"), (0, "c")]
        .into_iter()
        .enumerate()
        .map(|(serial, (loop_index, room))| {
            let target = format!("/chat?user=u{serial}&room={room}");
            enter(&mut world, loop_index, &target, ClientFormat::Lines)
        })
        .collect();
    let by_name = |slice: &RoomSlice| -> Vec<(String, usize)> {
        assert!(slice.rooms.iter().all(|own| &*own.route == "websocket /chat"));
        slice.rooms.iter().map(|own| (own.room.clone(), own.members)).collect()
    };
    let first = rooms(&mut world, 0);
    let expected = [("a", 1), ("b", 2), ("c", 1)].map(|(room, count)| (room.to_owned(), count));
    assert_eq!((by_name(&first), first.total), (expected.to_vec(), 3));
    assert_eq!(by_name(&rooms(&mut world, 1)), [("b".to_owned(), 1)]);
    let last = members.pop().unwrap();
    last.send_close(1000);
    world.settle();
    assert_eq!(by_name(&rooms(&mut world, 0)), expected[..2]);
}

/// As many rooms as connections: the list takes several turns, none of which is long, and the answer has
/// those with the most members.
#[test]
fn a_list_of_many_rooms_is_made_between_other_work() {
    const ROOMS: usize = 3_000;
    let mut setup = Setup::default();
    setup.server.connections_max = 2 * ROOMS;
    setup.server.connections.half_open_max = 2 * ROOMS;
    let mut world = world_of(&setup, RoomSettings::default());
    let clients: Vec<Client> = (0..ROOMS + 50).map(|_| world.connect(0)).collect();
    for (serial, client) in clients.iter().enumerate() {
        let room = serial % ROOMS;
        client.send(&upgrade_request(&format!("/chat?user=u&room={room:05}")));
    }
    world.settle();
    let replies: Vec<_> =
        (0..20).map(|_| send(&world, 0, |reply| Query::Rooms { reply })).collect();
    let mut turns = 0;
    while world.server.step().unwrap() {
        turns += 1;
        let used = world.server.work_used(0).unwrap();
        assert!(used <= 600_000, "{used} in turn {turns}");
    }
    assert!(turns > 16, "{turns}");
    let answers: Vec<_> = replies.into_iter().map(|reply| reply.wait(Duration::ZERO)).collect();
    assert!(answers[16..].iter().all(Result::is_err), "more than 16 do not wait");
    for answer in answers.into_iter().take(16) {
        let RoomSlice { rooms, total } = answer.unwrap();
        assert_eq!((rooms.len(), total), (1_000, ROOMS));
        let pairs = rooms.iter().filter(|own| own.members == 2).map(|own| own.room.as_str());
        let expected: Vec<String> = (0..50).map(|room| format!("{room:05}")).collect();
        assert_eq!(pairs.collect::<Vec<_>>(), expected);
        assert!(rooms.is_sorted_by(|one, other| one.room < other.room));
    }
}

#[test]
fn what_an_operator_says_reaches_every_member_of_the_room_once() {
    for order in [Order::Topic, Order::Sender] {
        let settings = RoomSettings {
            order,
            hears_itself: false,
            newlines: Newlines::Space,
            ..RoomSettings::default()
        };
        let mut world = world(3, settings);
        let mut members: Vec<(Client, ClientFormat)> = (0..6)
            .map(|serial| {
                let format = [ClientFormat::Lines, ClientFormat::Events][serial % 2];
                let target = format!("/chat?user=u{serial}&room=a");
                (enter(&mut world, serial % 3, &target, format), format)
            })
            .collect();
        let mut other = enter(&mut world, 0, "/chat?user=o&room=b", ClientFormat::Lines);
        assert!(publish(&mut world, 0, "/chat", " a ", "restart\nat noon"), "as clients name it");
        assert!(publish(&mut world, 2, "websocket /chat", "a", "now"));
        assert!(publish(&mut world, 1, "/chat", "empty", "no member, and no error"));
        for (route, room, text) in [
            ("/nowhere", "a", "x"),
            ("/chat", "", "x"),
            ("/chat", "a\u{200B}", "x"),
            ("/chat", "a", " "),
        ] {
            assert!(!publish(&mut world, 0, route, room, text), "{route} {room} {text:?}");
        }
        for (member, format) in &mut members {
            let received = texts(&mut world, member);
            let expected = match format {
                ClientFormat::Lines => ["restart at noon", "now"].map(str::to_owned),
                ClientFormat::Events => ["restart at noon", "now"]
                    .map(|text| format!(r#"{{"type":"notice","text":"{text}"}}"#)),
            };
            let said: Vec<_> = received
                .iter()
                .filter(|text| *format == ClientFormat::Lines || text.contains("notice"))
                .collect();
            assert_eq!(said, expected.iter().collect::<Vec<_>>(), "{order:?} {format:?}");
        }
        assert!(texts(&mut world, &mut other).is_empty());
    }
}

/// A member that names itself by its first text is followed by name from then on.
#[test]
fn a_trace_of_a_user_finds_one_who_takes_the_name_later() {
    let mut world = world(1, first_text());
    let told: Arc<Mutex<Vec<TraceEvent>>> = Arc::default();
    let into = Arc::clone(&told);
    let sink = TraceSink::new(move |event| into.lock().unwrap().push(event));
    let (id, filter) = (TraceId(1), Arc::new(of_user("bob")));
    ask(&mut world, 0, |reply| Query::Trace { id, filter, payload_bytes_max: 99, sink, reply });
    let mut bob = enter(&mut world, 0, "/chat", ClientFormat::Lines);
    let mut ann = enter(&mut world, 0, "/chat", ClientFormat::Lines);
    for text in ["bob", "hello"] {
        bob.send_frame(TEXT, text.as_bytes());
        world.exchange(&mut bob);
    }
    ann.send_frame(TEXT, b"ann");
    world.exchange(&mut ann);
    ann.send_frame(TEXT, b"hi");
    world.exchange(&mut ann);
    world.exchange(&mut bob);
    let kinds: Vec<String> = told
        .lock()
        .unwrap()
        .iter()
        .map(|event| match &event.kind {
            TraceEventKind::Open(summary) => format!("open {:?}", summary.user),
            TraceEventKind::Received { payload, .. } => {
                format!("received {}", String::from_utf8_lossy(payload))
            }
            TraceEventKind::Sent { payload, .. } => {
                format!("sent {}", String::from_utf8_lossy(payload))
            }
            TraceEventKind::Closed(reason) => format!("closed {reason}"),
        })
        .collect();
    let expected = ["open Some(\"bob\")", "received hello", "sent bob: hello", "sent ann: hi"];
    assert_eq!(kinds, expected);
}
