//! `logins = "one"`: the last login holds a name, in every order of events.

use super::*;

#[test]
fn the_end_of_a_replaced_login_does_not_remove_its_successor() {
    // The published demo removed the entry of a name when a connection with that name ended, even
    // where the entry belonged to its successor by then.
    for loops in 1..=4 {
        let mut world = world(loops, one_login());
        let mut first = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Lines);
        let mut second = enter(&mut world, loops - 1, "/chat?user=bob", ClientFormat::Lines);
        assert_eq!(close_of(&mut world, &mut first), replaced());
        first.connection.shutdown();
        world.settle();
        let mut alice = enter(&mut world, loops / 2, "/chat?user=alice", ClientFormat::Lines);
        send_text(&alice, ClientFormat::Lines, "is bob here?");
        assert_eq!(texts(&mut world, &mut second), ["alice: is bob here?"]);
        send_text(&second, ClientFormat::Lines, "yes");
        assert_eq!(texts(&mut world, &mut alice), ["alice: is bob here?", "bob: yes"]);
        // The successor can be replaced in turn.
        let _third = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Lines);
        assert_eq!(close_of(&mut world, &mut second), replaced());
    }
}

#[test]
fn a_name_is_taken_in_its_own_room_only() {
    let mut world = world(2, one_login());
    let mut red = enter(&mut world, 0, "/chat?user=bob&room=red", ClientFormat::Lines);
    let mut blue = enter(&mut world, 0, "/chat?user=bob&room=blue", ClientFormat::Lines);
    send_text(&red, ClientFormat::Lines, "red?");
    send_text(&blue, ClientFormat::Lines, "blue?");
    assert_eq!(texts(&mut world, &mut red), ["bob: red?"]);
    assert_eq!(texts(&mut world, &mut blue), ["bob: blue?"]);
    assert_eq!(close_of(&mut world, &mut red), None);
}

#[test]
fn many_logins_may_share_a_name() {
    let mut world = world(2, RoomSettings::default());
    let mut first = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Lines);
    let mut second = enter(&mut world, 1, "/chat?user=bob", ClientFormat::Lines);
    send_text(&first, ClientFormat::Lines, "hello, me");
    assert_eq!(texts(&mut world, &mut second), ["bob: hello, me"]);
    second.send_close(1000);
    world.exchange(&mut second);
    send_text(&first, ClientFormat::Lines, "alone");
    assert_eq!(texts(&mut world, &mut first), ["bob: hello, me", "bob: alone"]);
}

#[test]
fn of_racing_logins_the_last_at_the_home_of_the_room_stays() {
    // The loops of the two clients run, then the room's home loop reads their messages: after each
    // of them, or once after both.
    for loops in [2, 3, 4] {
        for (first, second) in [(0, 1), (1, 0)] {
            for is_read_between in [true, false] {
                let mut world = world(loops, one_login());
                let mut clients = [first, second].map(|loop_index| {
                    asking(&world, loop_index, "/chat?user=bob", ClientFormat::Lines)
                });
                for loop_index in [first, second] {
                    turn(&mut world, loop_index);
                    let others = (0..loops).filter(|other| ![first, second].contains(other));
                    if is_read_between && loops > 2 {
                        others.for_each(|other| turn(&mut world, other));
                    }
                }
                let closes = clients.each_mut().map(|client| close_of(&mut world, client));
                let replaced_count = closes.iter().filter(|close| **close == replaced()).count();
                assert_eq!(replaced_count, 1, "{closes:?}");
                let survivor = closes.iter().position(Option::is_none).unwrap();
                let survivor = &mut clients[survivor];
                send_text(survivor, ClientFormat::Lines, "here");
                assert_eq!(texts(&mut world, survivor), ["bob: here"]);
            }
        }
    }
}

/// Runs a few turns of one loop alone.
fn turn(world: &mut World, loop_index: usize) {
    for _ in 0..10 {
        world.server.step_loop(loop_index).unwrap();
    }
}

#[test]
fn messages_of_a_replaced_login_are_not_delivered() {
    for loops in [1, 2, 3] {
        let mut world = world(loops, one_login());
        let mut witness = enter(&mut world, 0, "/chat?user=witness", ClientFormat::Lines);
        let mut old = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Lines);
        let new = enter(&mut world, loops - 1, "/chat?user=bob", ClientFormat::Lines);
        send_text(&old, ClientFormat::Lines, "I am still here");
        send_text(&witness, ClientFormat::Lines, "who is?");
        world.settle();
        send_text(&new, ClientFormat::Lines, "I am");
        assert_eq!(texts(&mut world, &mut witness), ["witness: who is?", "bob: I am"]);
        assert_eq!(texts(&mut world, &mut old), [""; 0]);
        assert_eq!(close_of(&mut world, &mut old), replaced());
    }
}

#[test]
fn a_name_in_the_first_text_replaces_as_one_in_the_request_does() {
    let mut world = world(2, RoomSettings { logins: Logins::One, ..first_text() });
    let mut old = enter(&mut world, 0, "/chat", ClientFormat::Lines);
    send_text(&old, ClientFormat::Lines, "bob");
    world.settle();
    let mut new = enter(&mut world, 1, "/chat", ClientFormat::Events);
    send_text(&old, ClientFormat::Lines, "mine");
    world.settle();
    send_text(&new, ClientFormat::Events, "bob");
    send_text(&new, ClientFormat::Events, "and now mine");
    assert_eq!(close_of(&mut world, &mut old), replaced());
    assert_eq!(texts(&mut world, &mut old), ["bob: mine"]);
    let messages: Vec<_> = events(&mut world, &mut new)
        .into_iter()
        .filter(|event| event["type"] == "message")
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["mine", "and now mine"]);
}

#[test]
fn a_line_client_and_a_page_compete_for_a_name_too() {
    let mut world = world(2, one_login());
    let mut page = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Events);
    let line = world.connect_line(1);
    line.send(b"  \nbob\nhello from nc\n");
    assert_eq!(close_of(&mut world, &mut page), replaced());
    assert_eq!(line.received(), "bob: hello from nc\n");
    let _page = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Events);
    assert_eq!(line.received(), "replaced by a new login\n");
    assert!(line.ended_well());
}

#[test]
fn the_name_of_a_member_that_left_is_free() {
    let mut world = world(2, one_login());
    for round in 0..3 {
        let mut bob = enter(&mut world, round % 2, "/chat?user=bob", ClientFormat::Events);
        let welcome = &events(&mut world, &mut bob)[0];
        assert_eq!(welcome["count"], 1, "{welcome}");
        bob.connection.reset();
        world.settle();
    }
    assert_eq!(world.counter("closed_by_service"), 0);
}

#[test]
fn a_line_client_is_a_member_before_it_sends_anything() {
    // The loop accepts after it has sent the messages of the turn, so this one must not wait for
    // another event.
    for loop_index in 0..2 {
        let mut world = world(2, first_text());
        let mut alice = enter(&mut world, 0, "/chat", ClientFormat::Events);
        events(&mut world, &mut alice);
        let _silent = world.connect_line(loop_index);
        let counts: Vec<u64> =
            events(&mut world, &mut alice).iter().filter_map(|own| own["count"].as_u64()).collect();
        assert_eq!(counts.last(), Some(&2), "on loop {loop_index}");
    }
}

#[test]
fn lines_sent_before_a_line_client_is_accepted_are_delivered() {
    let settings =
        RoomSettings { name: NameSource::Address, logins: Logins::One, ..RoomSettings::default() };
    for loop_index in 0..2 {
        let mut world = world(2, settings.clone());
        let alice = world.connect_line(0);
        let sender = world.network.connect(loop_index, 1).unwrap();
        sender.send(b"that is all\n");
        sender.shutdown();
        world.settle();
        let received = String::from_utf8(alice.connection.receive(usize::MAX)).unwrap();
        assert!(received.ends_with(": that is all\n"), "{received:?} on loop {loop_index}");
    }
}
