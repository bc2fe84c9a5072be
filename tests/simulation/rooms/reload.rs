//! Rooms whose settings are reloaded: members stay, and the settings hold for what comes next.

use tidegate::services::room::Newlines;
use tidegate::services::{Order, RouteOptions};

use super::*;

/// Reloads the rooms; each loop takes the settings over in its next turn.
fn reload(world: &mut World, settings: RoomSettings) {
    let options = RouteOptions {
        subprotocols: vec![Subprotocol::new(CHAT_SUBPROTOCOL).unwrap()],
        ..RouteOptions::default()
    };
    let route = route(Arc::new(settings), &options, &world.journal);
    world.reload(|server| server.line_route = Some("/chat"), &[route]);
}

#[test]
fn members_stay_and_what_they_say_next_goes_by_the_new_settings() {
    for loops in 1..=3 {
        let mut world = world(loops, RoomSettings::default());
        let mut bob = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Lines);
        let mut eve = enter(&mut world, loops - 1, "/chat?user=eve", ClientFormat::Lines);
        send_text(&bob, ClientFormat::Lines, "a\nb");
        assert_eq!(texts(&mut world, &mut eve), ["bob: a\nb"]);
        let next = RoomSettings {
            newlines: Newlines::Space,
            hears_itself: false,
            ..RoomSettings::default()
        };
        reload(&mut world, next);
        world.settle();
        send_text(&bob, ClientFormat::Lines, "c\nd");
        assert_eq!(texts(&mut world, &mut eve), ["bob: a\nb", "bob: c d"]);
        assert_eq!(texts(&mut world, &mut bob), ["bob: a\nb"]);
    }
}

/// The loop of a member and the home of its room may have different settings at that moment.
#[test]
fn who_joins_while_the_order_changes_misses_nothing_and_hears_nothing_twice() {
    for (before, after) in [(Order::Topic, Order::Sender), (Order::Sender, Order::Topic)] {
        for loops in 1..=4 {
            for ahead in 0..loops {
                let settings = |order| RoomSettings { order, ..RoomSettings::default() };
                let mut world = world(loops, settings(before));
                let speaker = enter(&mut world, 0, "/chat?user=bob", ClientFormat::Events);
                let mut joining: Vec<Client> = (0..loops)
                    .map(|index| {
                        let target = format!("/chat?user=user{index}");
                        asking(&world, index, &target, ClientFormat::Events)
                    })
                    .collect();
                world.server.step_loop(ahead).unwrap();
                reload(&mut world, settings(after));
                for turn in 0..loops {
                    world.server.step_loop((ahead + turn) % loops).unwrap();
                }
                world.settle();
                send_text(&speaker, ClientFormat::Events, "hello");
                for client in &mut joining {
                    let events = events(&mut world, client);
                    let heard = events.iter().filter(|event| event["type"] == "message").count();
                    assert_eq!(heard, 1, "{events:?}");
                }
            }
        }
    }
}

#[test]
fn the_first_login_after_names_became_single_replaces_all_that_share_it() {
    for leaves_first in [true, false] {
        let mut world = world(2, RoomSettings::default());
        let mut observer = enter(&mut world, 0, "/chat?user=eve", ClientFormat::Events);
        let mut bobs: Vec<Client> = (0..3)
            .map(|index| enter(&mut world, index % 2, "/chat?user=bob", ClientFormat::Lines))
            .collect();
        if leaves_first {
            // The one that took the name last.
            let last = bobs.pop().unwrap();
            last.send_close(1000);
            world.settle();
        }
        reload(&mut world, one_login());
        world.settle();
        let mut new = enter(&mut world, 1, "/chat?user=bob", ClientFormat::Lines);
        for bob in &mut bobs {
            assert_eq!(close_of(&mut world, bob), replaced());
        }
        send_text(&new, ClientFormat::Lines, "alone");
        assert_eq!(texts(&mut world, &mut new), ["bob: alone"]);
        let events = events(&mut world, &mut observer);
        let mut counts = events.iter().filter_map(|event| event["count"].as_u64()).rev();
        assert_eq!(counts.next(), Some(2), "{events:?}");
    }
}

#[test]
fn new_tokens_are_asked_of_those_who_come_next() {
    use std::collections::HashMap;
    use tidegate::services::identity::Tokens;
    let identities = |token: &str| {
        let tokens = HashMap::from([("bob".to_owned(), token.to_owned())]);
        tokens::by_path(Tokens::Configured(Arc::new(tokens)))
    };
    let settings = || RoomSettings { logins: Logins::Many, ..tokens::proven() };
    let mut setup = Setup::default();
    setup.server.loops = 2;
    let mut world = world_asking(&setup, settings(), identities("old"));
    let mut bob = enter(&mut world, 1, "/chat/bob/old", ClientFormat::Lines);
    let reject = |world: &mut World, target: &str| {
        let mut client = asking(world, 0, target, ClientFormat::Lines);
        world.exchange(&mut client);
        assert_eq!(client.received.status, Some(403));
    };
    reject(&mut world, "/chat/bob/new");
    let route = {
        let options = RouteOptions { identities: identities("new"), ..RouteOptions::default() };
        route(Arc::new(settings()), &options, &world.journal)
    };
    world.reload(|server| server.line_route = None, &[route]);
    world.settle();
    reject(&mut world, "/chat/bob/old");
    let _second = enter(&mut world, 0, "/chat/bob/new", ClientFormat::Lines);
    send_text(&bob, ClientFormat::Lines, "in before");
    assert_eq!(texts(&mut world, &mut bob), ["bob: in before"]);
}
