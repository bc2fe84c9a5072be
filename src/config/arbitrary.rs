//! Random valid configurations, for the properties that must hold for all of them.

use std::net::{IpAddr, SocketAddr};

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::keys;
use super::{
    Config, Limits, Listener, Origins, Route, Rule, ServiceKind, SlowPolicy, SocketOptions,
    Timeouts, Turn,
};

/// Any configuration that [`Config::validate`] accepts.
pub(super) fn config() -> impl Strategy<Value = Config> {
    let head = (count("loops"), any::<bool>(), listeners());
    (head, limits(), timeouts(), turn(), socket(), routes()).prop_map(
        |((loops, share_port, listeners), limits, timeouts, turn, socket, routes)| {
            let mut config =
                Config { loops, share_port, listeners, limits, timeouts, turn, socket, routes };
            let limits = &mut config.limits;
            if let (Some(half_open), Some(connections)) =
                (&mut limits.half_open_max, limits.connections_max)
            {
                *half_open = connections.min(*half_open);
            }
            let largest = config.message_bytes_largest();
            config.limits.pool_bytes_max = config.limits.pool_bytes_max.max(largest + 14);
            config
        },
    )
}

/// A number that the rule of this key accepts, its ends more often than chance would have them.
fn number(name: &str) -> impl Strategy<Value = u64> + use<> {
    let Some(Rule::Integer { min, max }) = keys::find(name).map(|key| key.rule) else {
        panic!("{name} is not a number")
    };
    prop_oneof![1 => Just(min), 1 => Just(max), 6 => min..=max]
}

fn count(name: &str) -> impl Strategy<Value = usize> + use<> {
    number(name).prop_map(|number| usize::try_from(number).unwrap())
}

fn small(name: &str) -> impl Strategy<Value = u32> + use<> {
    number(name).prop_map(|number| u32::try_from(number).unwrap())
}

fn listeners() -> impl Strategy<Value = Vec<Listener>> {
    btree_set((any::<IpAddr>(), any::<u16>()), 1..4).prop_map(|addresses| {
        let listener = |(ip, port)| Listener { address: SocketAddr::new(ip, port) };
        addresses.into_iter().map(listener).collect()
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        option::of(count("limits.connections_max")),
        option::of(count("limits.half_open_max")),
        count("limits.head_bytes_max"),
        count("limits.message_bytes_max"),
        count("limits.backlog_high_bytes"),
        count("limits.backlog_hard_bytes"),
        count("limits.pool_bytes_max"),
        count("limits.mailbox_items_max"),
        count("limits.refusals_max"),
    )
        .prop_map(|values| Limits {
            connections_max: values.0,
            half_open_max: values.1,
            head_bytes_max: values.2,
            message_bytes_max: values.3,
            backlog_high_bytes: values.4,
            backlog_hard_bytes: values.5,
            pool_bytes_max: values.6,
            mailbox_items_max: values.7,
            refusals_max: values.8,
        })
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    (
        number("timeouts.handshake_ms"),
        number("timeouts.refuse_ms"),
        number("timeouts.ping_idle_ms"),
        number("timeouts.pong_ms"),
        number("timeouts.write_stall_ms"),
        number("timeouts.close_ms"),
        number("timeouts.drain_ms"),
        number("timeouts.pool_idle_ms"),
        number("timeouts.accept_pause_ms"),
    )
        .prop_map(|values| Timeouts {
            handshake_ms: values.0,
            refuse_ms: values.1,
            ping_idle_ms: values.2,
            pong_ms: values.3,
            write_stall_ms: values.4,
            close_ms: values.5,
            drain_ms: values.6,
            pool_idle_ms: values.7,
            accept_pause_ms: values.8,
        })
}

fn turn() -> impl Strategy<Value = Turn> {
    (
        count("turn.accepts_per_turn"),
        count("turn.reads_per_turn"),
        count("turn.flushes_per_turn"),
        count("turn.reaps_per_turn"),
        count("turn.mail_per_turn"),
        count("turn.receive_buffer_bytes"),
    )
        .prop_map(|values| Turn {
            accepts_per_turn: values.0,
            reads_per_turn: values.1,
            flushes_per_turn: values.2,
            reaps_per_turn: values.3,
            mail_per_turn: values.4,
            receive_buffer_bytes: values.5,
        })
}

fn socket() -> impl Strategy<Value = SocketOptions> {
    (
        small("socket.accept_backlog"),
        any::<bool>(),
        small("socket.notsent_bytes_max"),
        option::of(small("socket.send_buffer_bytes")),
    )
        .prop_map(|(accept_backlog, no_delay, notsent_bytes_max, send_buffer_bytes)| {
            SocketOptions { accept_backlog, no_delay, notsent_bytes_max, send_buffer_bytes }
        })
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    btree_set("/([a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-fA-F]{2}){0,12}", 1..5)
        .prop_flat_map(|paths| paths.into_iter().map(route).collect::<Vec<_>>())
}

fn route(path: String) -> impl Strategy<Value = Route> {
    let policies = vec![SlowPolicy::Disconnect, SlowPolicy::DropNewest, SlowPolicy::KeepLatest];
    let echo = (
        origins(),
        btree_set("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", 0..3),
        option::of(count("route.message_bytes_max")),
        select(policies),
    );
    let page = Route::new(path.clone(), ServiceKind::Page);
    prop_oneof![
        1 => Just(page),
        3 => echo.prop_map(move |(origins, subprotocols, message_bytes_max, slow_policy)| Route {
            origins,
            subprotocols: subprotocols.into_iter().collect(),
            message_bytes_max,
            slow_policy,
            ..Route::new(path.clone(), ServiceKind::Echo)
        }),
    ]
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
