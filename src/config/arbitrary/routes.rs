//! Random valid routes: rooms with all their keys, and a page beside a WebSocket route.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::count;
use crate::config::{
    NameKind, Origins, RoomOptions, Route, RouteDeflate, ServiceKind, SlowPolicy, TokenSource,
};
use crate::services::Order;
use crate::services::room::{Logins, Newlines};

/// Whether line clients may join.
pub(super) fn takes_lines(route: &Route) -> bool {
    route.service.is_websocket() && route.room.name != NameKind::Token
}

pub(super) fn routes() -> impl Strategy<Value = Vec<Route>> {
    let paths = btree_set(PATH, 1..5);
    let routes = paths.prop_flat_map(|paths| paths.into_iter().map(route).collect::<Vec<_>>());
    (routes, vec(0_usize..3, 4), any::<bool>()).prop_map(
        |(mut routes, alias_counts, shares_a_path)| {
            for (index, route) in routes.iter_mut().enumerate() {
                route.aliases = aliases(index, alias_counts[index], &route.path);
            }
            let shared = routes.iter().find(|route| route.service == ServiceKind::Echo);
            if let Some(path) = shared.map(|route| route.path.clone()).filter(|_| shares_a_path) {
                routes.push(Route::new(path, ServiceKind::Hall));
            }
            routes
        },
    )
}

/// Paths that no other route has: the first segment is longer than that of any, and the others,
/// with their parameters, stay in their places.
fn aliases(route: usize, count: usize, path: &str) -> Vec<String> {
    let rest = path[1..].find('/').map_or("", |slash| &path[1 + slash..]);
    // A parameter cannot give way to a word.
    let count = if path.starts_with("/:") { 0 } else { count };
    (0..count).map(|alias| format!("/alias-{route}-{alias}{rest}")).collect()
}

fn route(path: String) -> impl Strategy<Value = Route> {
    let page = select(vec![ServiceKind::Hall, ServiceKind::Page]);
    let page_path = path.clone();
    prop_oneof![
        1 => page.prop_map(move |service| Route::new(page_path.clone(), service)),
        3 => socket_route(path),
    ]
}

fn socket_route(path: String) -> impl Strategy<Value = Route> {
    let services = vec![ServiceKind::Broadcast, ServiceKind::Echo, ServiceKind::Room];
    let policies = vec![SlowPolicy::Disconnect, SlowPolicy::DropNewest, SlowPolicy::KeepLatest];
    (
        select(services),
        origins(),
        option::of(btree_set("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", 0..3)),
        option::of(count("route.message_bytes_max")),
        option::of(count("route.backlog_messages_max")),
        select(policies),
        select(vec![Order::Sender, Order::Topic]),
        room(),
        (any::<bool>(), deflate()),
    )
        .prop_map(move |values| {
            let service = values.0;
            let is_room = service == ServiceKind::Room;
            let room = if is_room { values.7 } else { RoomOptions::default() };
            let path = match values.8.0 && is_room {
                true => format!("{path}/:room"),
                false => path.clone(),
            };
            let path = match room.name {
                NameKind::Address | NameKind::First | NameKind::Query => path,
                NameKind::Path => format!("{path}/:name"),
                NameKind::Token => format!("{path}/:name/:token"),
            };
            Route {
                origins: values.1,
                subprotocols: values.2.map(|names| names.into_iter().collect()),
                message_bytes_max: values.3,
                backlog_messages_max: values.4,
                slow_policy: values.5,
                deflate: values.8.1,
                order: if service == ServiceKind::Echo { Order::Topic } else { values.6 },
                room,
                ..Route::new(path, service)
            }
        })
}

fn deflate() -> impl Strategy<Value = RouteDeflate> {
    (
        any::<(bool, bool)>(),
        count("route.deflate_level"),
        count("route.deflate_bytes_min"),
        count("route.deflate_window_bits_max"),
    )
        .prop_map(|((deflate, takeover), level, bytes_min, bits)| {
            let context_takeover = deflate && takeover;
            let default_bits = RouteDeflate::default().window_bits_max;
            let window_bits_max = if context_takeover { bits } else { default_bits };
            RouteDeflate { deflate, level, bytes_min, context_takeover, window_bits_max }
        })
}

fn room() -> impl Strategy<Value = RoomOptions> {
    let names =
        vec![NameKind::Address, NameKind::First, NameKind::Path, NameKind::Query, NameKind::Token];
    let line = prop_oneof![
        select(vec!["bare", "console", "from", "named"]).prop_map(str::to_owned),
        "[a-z :]{0,8}(\\{name\\})?[a-z :]{0,8}\\{message\\}[a-z :]{0,8}",
    ];
    (
        select(names),
        "[!-~é张]{1,16}",
        line,
        any::<(bool, bool)>(),
        select(vec![Newlines::Keep, Newlines::Space]),
        select(vec![Logins::Many, Logins::One]),
        select(vec![TokenSource::Config, TokenSource::Redis]),
    )
        .prop_map(
            |(name, room, line, (hears_itself, join_lines), newlines, logins, tokens)| {
                let tokens = if name == NameKind::Token { tokens } else { TokenSource::default() };
                RoomOptions { name, room, line, hears_itself, newlines, logins, join_lines, tokens }
            },
        )
}

fn origins() -> impl Strategy<Value = Origins> {
    let origin = prop_oneof![
        Just("null".to_owned()),
        "https?://[a-z0-9-]{1,8}(\\.[a-z]{2,5})?(:[1-9][0-9]{3})?",
    ];
    prop_oneof![
        Just(Origins::Any),
        Just(Origins::SameHost),
        vec(origin, 0..4).prop_map(Origins::List),
    ]
}

/// No segment begins with a colon, which would make a parameter of it.
const PATH: &str = "(/(([a-z0-9._~!$&'()*+,;=@-]|%[0-9a-fA-F]{2}):?){0,3}){1,4}";
