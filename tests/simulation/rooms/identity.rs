//! Rooms whose members are named by their identity, and may do what it grants.

use tidegate::services::room::IdentityRights;

use super::*;
use crate::identity::QueryCheck;

/// A server with two loops whose rooms take these identities, in this order.
fn guarded(settings: RoomSettings, names: &[&str], is_optional: bool) -> World {
    let checks: Vec<QueryCheck> = names.iter().map(|name| QueryCheck::new(name)).collect();
    let checks: Vec<&QueryCheck> = checks.iter().collect();
    let mut setup = Setup::default();
    setup.server.loops = 2;
    world_asking(&setup, settings, QueryCheck::list(&checks, is_optional))
}

/// Members have the name of their identity, and may lack the right to see each other.
fn named() -> RoomSettings {
    let rights = IdentityRights { may_hide_members: true, ..IdentityRights::default() };
    let name = NameSource::Identity { segment: None };
    RoomSettings { name, rights, ..one_login() }
}

fn only(name: &str) -> Option<Vec<String>> {
    Some(vec![name.to_owned()])
}

#[test]
fn a_later_login_of_a_user_replaces_the_earlier_one_whatever_proves_it() {
    for (first, second) in [("staff", "guests"), ("guests", "guests")] {
        let mut world = guarded(named(), &["staff", "guests"], false);
        let mut one = enter(&mut world, 0, &format!("/chat?{first}=yes"), ClientFormat::Lines);
        let mut two = enter(&mut world, 1, &format!("/chat?{second}=yes"), ClientFormat::Events);
        assert_eq!(close_of(&mut world, &mut one), replaced());
        let name = events(&mut world, &mut two)[0]["name"].clone();
        assert_eq!(name, "ann");
        send_text(&two, ClientFormat::Events, "hi");
        let event = events(&mut world, &mut two).pop().unwrap();
        assert_eq!((&event["from"], &event["text"]), (&"ann".into(), &"hi".into()));
    }
}

#[test]
fn who_has_no_identity_reads_and_neither_writes_nor_takes_a_name() {
    for format in [ClientFormat::Lines, ClientFormat::Events] {
        let mut world = guarded(named(), &["staff"], true);
        let mut ann = enter(&mut world, 0, "/chat?staff=yes", ClientFormat::Lines);
        let mut guest = enter(&mut world, 1, "/chat", format);
        send_text(&ann, ClientFormat::Lines, "hi");
        let read = texts(&mut world, &mut guest);
        assert!(read.last().unwrap().contains("hi"), "{read:?}");
        send_text(&guest, format, "ann");
        match format {
            ClientFormat::Lines => {
                let reason = "you may not write in this room".to_owned();
                assert_eq!(close_of(&mut world, &mut guest), Some((1008, reason)));
            }
            ClientFormat::Events => {
                let error = events(&mut world, &mut guest).pop().unwrap();
                assert_eq!(error["type"], "error");
                assert_eq!(close_of(&mut world, &mut guest), None);
            }
        }
        assert_eq!(close_of(&mut world, &mut ann), None);
        assert_eq!(texts(&mut world, &mut ann), ["ann: hi"]);
    }
}

#[test]
fn a_route_gives_rights_to_some_identities_only() {
    let rights = IdentityRights {
        read: only("staff"),
        write: only("guests"),
        see_members: Some(Vec::new()),
        may_hide_members: true,
    };
    for order in [tidegate::services::Order::Topic, tidegate::services::Order::Sender] {
        let settings = RoomSettings { rights: rights.clone(), order, ..RoomSettings::default() };
        let mut world = guarded(settings, &["staff", "guests"], false);
        let mut reader = enter(&mut world, 0, "/chat?staff=yes&user=a", ClientFormat::Events);
        let mut writer = enter(&mut world, 1, "/chat?guests=yes&user=b", ClientFormat::Events);
        send_text(&writer, ClientFormat::Events, "hi");
        world.settle();
        send_text(&reader, ClientFormat::Events, "no");
        let message = serde_json::json!({ "type": "message", "from": "b", "text": "hi" });
        let of_reader = events(&mut world, &mut reader);
        let [first, second] = of_reader.as_slice() else { panic!("{of_reader:?}") };
        assert_eq!(*first, message, "and nothing of members");
        assert_eq!(second["type"], "error");
        assert!(events(&mut world, &mut writer).is_empty(), "it may not read");
    }
}

#[test]
fn those_who_see_members_are_told_of_those_who_do_not() {
    let rights = IdentityRights {
        see_members: only("staff"),
        may_hide_members: true,
        ..IdentityRights::default()
    };
    let settings = RoomSettings { rights, ..RoomSettings::default() };
    let mut world = guarded(settings, &["staff", "guests"], false);
    let mut seeing = enter(&mut world, 0, "/chat?staff=yes&user=a", ClientFormat::Events);
    let mut blind = enter(&mut world, 1, "/chat?guests=yes&user=b", ClientFormat::Events);
    let mut lines = enter(&mut world, 1, "/chat?guests=yes&user=c", ClientFormat::Lines);
    send_text(&lines, ClientFormat::Lines, "hi");
    let kinds = |events: Vec<Value>| -> Vec<String> {
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let of_seeing = kinds(events(&mut world, &mut seeing));
    assert_eq!(of_seeing, ["members", "joined", "joined", "message"]);
    assert_eq!(kinds(events(&mut world, &mut blind)), ["message"]);
    assert_eq!(texts(&mut world, &mut lines), ["c: hi"]);
    blind.send_close(1000);
    world.settle();
    assert_eq!(kinds(events(&mut world, &mut seeing)).last().unwrap(), "left");
}

#[test]
fn an_identity_grants_rooms_and_rights_in_them() {
    let rooms = "rooms=%7B%22lobby%22%3A%5B%22read%22%5D%2C%22team-%2A%22%3A%5B%22read%22%2C%22write%22%5D%7D";
    for format in [ClientFormat::Lines, ClientFormat::Events] {
        let mut world = guarded(named(), &["staff"], false);
        let target = |room: &str| format!("/chat?staff=yes&room={room}&{rooms}");
        let mut refused = asking(&world, 0, &target("other"), format);
        world.exchange(&mut refused);
        match format {
            ClientFormat::Lines => assert_eq!(refused.received.status, Some(403)),
            ClientFormat::Events => {
                let close = close_of(&mut world, &mut refused).unwrap();
                assert_eq!(close, (4003, "room refused: you may not enter it".to_owned()));
            }
        }
        for (room, may_write) in [("lobby", false), ("team-a", true)] {
            let mut ann = enter(&mut world, 0, &target(room), format);
            send_text(&ann, format, "hello");
            let read = texts(&mut world, &mut ann);
            let is_said = read.iter().any(|text| text.contains("hello"));
            assert_eq!(is_said, may_write, "{room} {read:?}");
        }
    }
}
