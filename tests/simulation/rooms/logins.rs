//! One login for each name: the last one holds it, whatever happens to the others when.

use super::*;

#[test]
fn the_goodbye_of_a_replaced_login_does_not_make_its_successor_deaf() {
    // The published demo removed the entry of a name when a connection of that name ended, though
    // it was the entry of the next connection by then.
    for loops in 1..=4 {
        let mut world = world(loops, one_login());
        let mut first = enter(&mut world, 0, "/chat?user=bob", Form::Lines);
        let mut second = enter(&mut world, loops - 1, "/chat?user=bob", Form::Lines);
        assert_eq!(close_of(&mut world, &mut first), replaced());
        first.connection.shutdown();
        world.settle();
        let mut alice = enter(&mut world, loops / 2, "/chat?user=alice", Form::Lines);
        say(&alice, Form::Lines, "do you hear me?");
        assert_eq!(texts(&mut world, &mut second), ["alice: do you hear me?"]);
        say(&second, Form::Lines, "I do");
        assert_eq!(texts(&mut world, &mut alice), ["alice: do you hear me?", "bob: I do"]);
        // And it can be replaced itself.
        let _third = enter(&mut world, 0, "/chat?user=bob", Form::Lines);
        assert_eq!(close_of(&mut world, &mut second), replaced());
    }
}

#[test]
fn a_name_is_taken_in_its_own_room_only() {
    let mut world = world(2, one_login());
    let mut red = enter(&mut world, 0, "/chat?user=bob&room=red", Form::Lines);
    let mut blue = enter(&mut world, 0, "/chat?user=bob&room=blue", Form::Lines);
    say(&red, Form::Lines, "red?");
    say(&blue, Form::Lines, "blue?");
    assert_eq!(texts(&mut world, &mut red), ["bob: red?"]);
    assert_eq!(texts(&mut world, &mut blue), ["bob: blue?"]);
    assert_eq!(close_of(&mut world, &mut red), None);
}

#[test]
fn many_logins_may_share_a_name() {
    let mut world = world(2, RoomSettings::default());
    let mut first = enter(&mut world, 0, "/chat?user=bob", Form::Lines);
    let mut second = enter(&mut world, 1, "/chat?user=bob", Form::Lines);
    say(&first, Form::Lines, "hello, me");
    assert_eq!(texts(&mut world, &mut second), ["bob: hello, me"]);
    second.say_close(1000);
    world.exchange(&mut second);
    say(&first, Form::Lines, "alone");
    assert_eq!(texts(&mut world, &mut first), ["bob: hello, me", "bob: alone"]);
}

#[test]
fn of_racing_logins_the_last_at_the_home_of_the_room_stays() {
    // The loops of the two take their turn, then the home of the room reads what they wrote: after
    // each turn, or once after both.
    for loops in [2, 3, 4] {
        for (first, second) in [(0, 1), (1, 0)] {
            for is_read_between in [true, false] {
                let mut world = world(loops, one_login());
                let mut clients = [first, second]
                    .map(|loop_index| asking(&world, loop_index, "/chat?user=bob", Form::Lines));
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
                say(survivor, Form::Lines, "here");
                assert_eq!(texts(&mut world, survivor), ["bob: here"]);
            }
        }
    }
}

/// A few turns of one loop alone.
fn turn(world: &mut World, loop_index: usize) {
    for _ in 0..10 {
        world.server.step_loop(loop_index).unwrap();
    }
}

#[test]
fn what_a_replaced_login_still_says_is_not_heard() {
    for loops in [1, 2, 3] {
        let mut world = world(loops, one_login());
        let mut witness = enter(&mut world, 0, "/chat?user=witness", Form::Lines);
        let mut old = enter(&mut world, 0, "/chat?user=bob", Form::Lines);
        let new = enter(&mut world, loops - 1, "/chat?user=bob", Form::Lines);
        say(&old, Form::Lines, "I am still here");
        say(&witness, Form::Lines, "who is?");
        world.settle();
        say(&new, Form::Lines, "I am");
        assert_eq!(texts(&mut world, &mut witness), ["witness: who is?", "bob: I am"]);
        assert_eq!(texts(&mut world, &mut old), [""; 0]);
        assert_eq!(close_of(&mut world, &mut old), replaced());
    }
}

#[test]
fn a_name_said_first_replaces_as_one_in_the_request_does() {
    let mut world = world(2, RoomSettings { logins: Logins::One, ..first_text() });
    let mut old = enter(&mut world, 0, "/chat", Form::Lines);
    say(&old, Form::Lines, "bob");
    world.settle();
    let mut new = enter(&mut world, 1, "/chat", Form::Events);
    say(&old, Form::Lines, "mine");
    world.settle();
    say(&new, Form::Events, "bob");
    say(&new, Form::Events, "and now mine");
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
    let mut page = enter(&mut world, 0, "/chat?user=bob", Form::Events);
    let line = world.connect_line(1);
    line.send(b"  \nbob\nhello from nc\n");
    assert_eq!(close_of(&mut world, &mut page), replaced());
    assert_eq!(line.heard(), "bob: hello from nc\n");
    let _page = enter(&mut world, 0, "/chat?user=bob", Form::Events);
    assert_eq!(line.heard(), "replaced by a new login\n");
    assert!(line.ended_well());
}

#[test]
fn the_names_of_those_who_left_are_free() {
    let mut world = world(2, one_login());
    for round in 0..3 {
        let mut bob = enter(&mut world, round % 2, "/chat?user=bob", Form::Events);
        let welcome = &events(&mut world, &mut bob)[0];
        assert_eq!(welcome["count"], 1, "{welcome}");
        bob.connection.reset();
        world.settle();
    }
    assert_eq!(world.counter("closed_by_service"), 0);
}

#[test]
fn a_line_client_that_says_nothing_is_in_the_room_at_once() {
    // Its loop has written its mail of the turn when it takes the connection in.
    for loop_index in 0..2 {
        let mut world = world(2, first_text());
        let mut alice = enter(&mut world, 0, "/chat", Form::Events);
        events(&mut world, &mut alice);
        let _silent = world.connect_line(loop_index);
        let counts: Vec<u64> =
            events(&mut world, &mut alice).iter().filter_map(|own| own["count"].as_u64()).collect();
        assert_eq!(counts.last(), Some(&2), "on loop {loop_index}");
    }
}

#[test]
fn a_line_client_that_said_all_while_it_waited_is_heard() {
    let settings =
        RoomSettings { name: NameSource::Address, logins: Logins::One, ..RoomSettings::default() };
    for loop_index in 0..2 {
        let mut world = world(2, settings.clone());
        let alice = world.connect_line(0);
        let teller = world.network.connect(loop_index, 1).unwrap();
        teller.send(b"that is all\n");
        teller.shutdown();
        world.settle();
        let heard = String::from_utf8(alice.connection.receive(usize::MAX)).unwrap();
        assert!(heard.ends_with(": that is all\n"), "{heard:?} on loop {loop_index}");
    }
}
