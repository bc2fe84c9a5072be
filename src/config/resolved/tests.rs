use proptest::prelude::*;

use super::*;
use crate::config::arbitrary;

fn granted(descriptors: u64, cores: usize) -> MachineLimits {
    MachineLimits { descriptors, cores }
}

#[test]
fn the_origin_of_connections_max_says_how_it_is_derived() {
    let resolved = Config::default().resolve(granted(20_000, 2));
    assert_eq!(resolved.loops, 2);
    assert_eq!(resolved.limits.connections_max, 19_888);
    assert_eq!(resolved.limits.half_open_max, 4972);
    assert_eq!(resolved.limits.refusals_max, 64);
    assert_eq!(resolved.connections_max_origin, "derived: 20000 descriptors - 112 reserved");
    assert_eq!(resolved.adjustments, []);
}

#[test]
fn small_limits_leave_half_to_connections() {
    for (descriptors, loops, connections, refusals) in [
        (64, 1, 32, 4),
        (64, 16, 32, 4),
        (256, 1, 152, 64),
        (256, 16, 128, 16),
        (1024, 1, 920, 64),
        (1024, 16, 800, 64),
        (20_000, 16, 19_776, 64),
    ] {
        let mut config = Config::default();
        config.process.loops = loops;
        let resolved = config.resolve(granted(descriptors, 1));
        let got = (resolved.limits.connections_max, resolved.limits.refusals_max);
        assert_eq!(got, (connections, refusals), "{descriptors} descriptors, {loops} loops");
    }
}

#[test]
fn loops_that_could_not_start_are_not_planned() {
    let resolved = Config::default().resolve(granted(64, 16));
    assert_eq!(resolved.loops, 4);
    let lines: Vec<String> = resolved.adjustments.iter().map(Adjustment::to_string).collect();
    assert_eq!(
        lines,
        [
            "loops = 16 is lowered to 4: the process may open only 64 descriptors",
            "limits.refusals_max = 64 is lowered to 4: the process may open only 64 \
             descriptors",
        ]
    );
}

#[test]
fn even_absurd_grants_give_a_plan() {
    for descriptors in 0..64 {
        let resolved = Config::default().resolve(granted(descriptors, 0));
        assert_eq!(resolved.loops, 1);
        assert!(resolved.limits.connections_max >= 1);
        assert!(resolved.limits.half_open_max >= 1);
        assert!(descriptors < 16 || resolved.limits.refusals_max >= 1);
    }
    let resolved = Config::default().resolve(granted(u64::MAX, usize::MAX));
    assert_eq!(resolved.limits.connections_max, CONNECTIONS_MAX);
    assert_eq!(resolved.loops, 1024);
    assert!(resolved.connections_max_origin.ends_with(", at most 16777216"));
}

#[test]
fn what_was_asked_for_and_fits_is_kept() {
    let mut config = Config::default();
    config.limits.connections_max = Some(100);
    config.limits.half_open_max = Some(7);
    let resolved = config.resolve(granted(1024, 1));
    assert_eq!(resolved.limits.connections_max, 100);
    assert_eq!(resolved.limits.half_open_max, 7);
    assert_eq!(resolved.connections_max_origin, "configured");
    assert_eq!(resolved.adjustments, []);
}

#[test]
fn what_does_not_fit_is_lowered_and_said() {
    let mut config = Config::default();
    config.limits.connections_max = Some(50_000);
    config.limits.half_open_max = Some(30_000);
    let resolved = config.resolve(granted(20_000, 2));
    assert_eq!(resolved.limits.connections_max, 19_888);
    assert_eq!(resolved.limits.half_open_max, 19_888);
    assert_eq!(
        resolved.connections_max_origin,
        "configured as 50000, lowered: 20000 descriptors - 112 reserved"
    );
    let keys: Vec<&str> = resolved.adjustments.iter().map(|each| each.key).collect();
    assert_eq!(keys, ["limits.connections_max", "limits.half_open_max"]);
}

#[test]
fn the_hard_mark_leaves_room_for_the_largest_message() {
    let mut config = Config::default();
    let resolved = config.resolve(granted(1024, 1));
    assert_eq!(resolved.limits.backlog_hard_bytes, 65_536 + 1_048_576 + 14);
    assert_eq!(resolved.adjustments, [], "the default is not worth a warning");

    config.limits.backlog_hard_bytes = 200_000;
    config.routes[0].service.websocket_mut().unwrap().message_bytes_max = Some(2_000_000);
    let resolved = config.resolve(granted(1024, 1));
    assert_eq!(resolved.limits.backlog_hard_bytes, 65_536 + 2_000_000 + 14);
    assert_eq!(resolved.limits.message_bytes_largest, 2_000_000);
    let bytes: Vec<usize> = resolved.routes[..2]
        .iter()
        .map(|route| route.service.websocket().unwrap().message_bytes_max)
        .collect();
    assert_eq!(bytes, [2_000_000, 1_048_576]);
    assert_eq!(
        resolved.adjustments.iter().map(Adjustment::to_string).collect::<Vec<_>>(),
        ["limits.backlog_hard_bytes = 200000 is raised to 2065550: it must hold \
          backlog_high_bytes and the largest message with its header"]
    );

    config.limits.backlog_hard_bytes = 3_000_000;
    let resolved = config.resolve(granted(1024, 1));
    assert_eq!(resolved.limits.backlog_hard_bytes, 3_000_000);
}

#[test]
fn a_route_keeps_its_id_when_only_its_options_or_its_place_change() {
    let ids = |config: &Config| -> Vec<String> {
        let resolved = config.resolve(granted(1024, 1));
        resolved.routes.iter().map(|route| route.id.to_string()).collect()
    };
    let mut config = Config::default();
    let before = ids(&config);
    assert_eq!(
        before,
        [
            "echo /echo",
            "broadcast /broadcast",
            "room /chat",
            "room /ws",
            "room /chatroom/ws/:name/:token",
            "channels /connection/websocket",
            "chat /",
            "page /rooms",
            "hall /chatroom",
        ]
    );
    config.routes.reverse();
    for route in &mut config.routes {
        route.aliases.clear();
        if let Some(websocket) = route.service.websocket_mut() {
            websocket.message_bytes_max = Some(1000);
        }
    }
    assert_eq!(ids(&config), before.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn a_room_that_names_no_identity_takes_the_first_of_kind_tokens() {
    let place = TokenPlace::default;
    let tokens = |name: &str| {
        let kind = IdentityKind::Tokens(place(), Vec::new());
        Identity { name: name.to_owned(), kind }
    };
    let kind = IdentityKind::Redis(place(), RedisOptions::default());
    let redis = Identity { name: "a".to_owned(), kind };
    let mut config = Config::default();
    let of_rooms = |config: &Config| -> Vec<Option<String>> {
        let resolved = config.resolve(granted(1024, 1));
        resolved.routes[2..5].iter().map(|own| own.identities().first().cloned()).collect()
    };
    assert_eq!(of_rooms(&config), [None, None, None]);
    config.identities = vec![redis, tokens("b"), tokens("c")];
    assert_eq!(of_rooms(&config), [None, None, Some("b".to_owned())]);
}

proptest! {
    #[test]
    fn no_two_routes_have_one_id(config in arbitrary::config()) {
        let resolved = config.resolve(granted(1024, 1));
        let ids: std::collections::BTreeSet<_> =
            resolved.routes.iter().map(|route| &route.id).collect();
        prop_assert_eq!(ids.len(), resolved.routes.len());
    }

    #[test]
    fn no_more_is_planned_than_granted(
        mut config in arbitrary::config(),
        loops in 1_usize..=16,
        descriptors in prop_oneof![
            Just(64_u64), Just(256), Just(1024), Just(20_000), 64_u64..2_000_000,
        ],
    ) {
        config.process.loops = loops;
        let resolved = config.resolve(granted(descriptors, 1));
        let limits = &resolved.limits;
        let descriptors = usize::try_from(descriptors).unwrap();
        let addresses = resolved.listeners.len();
        let needed = PROCESS_NEED + resolved.loops * (LOOP_NEED + addresses);
        prop_assert!(needed + limits.refusals_max + limits.connections_max <= descriptors);
        prop_assert!(limits.refusals_max >= 1);
        prop_assert!((1..=limits.connections_max).contains(&limits.half_open_max));
        if config.limits.connections_max.is_none() {
            prop_assert!(limits.connections_max >= descriptors / 2);
        }
    }
}
