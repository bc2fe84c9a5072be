//! Random valid configurations, for the properties that must hold for all of them.

mod routes;

use std::net::{IpAddr, SocketAddr};

use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;

use super::keys;
use super::{
    Config, Limits, Listener, Redis, Rule, Secret, ServerUrl, SocketOptions, Timeouts, Token, Turn,
};

/// Every token and every password, so that a test can put them back where they were not printed.
pub(super) const SECRET: &str = "s3cret";

/// Any configuration that [`Config::validate`] accepts.
pub(super) fn config() -> impl Strategy<Value = Config> {
    let head = (count("loops"), any::<bool>(), any::<bool>(), listeners());
    let logins = (tokens(), redis());
    (head, limits(), timeouts(), turn(), socket(), routes::routes(), logins).prop_map(
        |(
            (loops, pin_loops, share_port, listeners),
            limits,
            timeouts,
            turn,
            socket,
            routes,
            logins,
        )| {
            let (tokens, redis) = logins;
            let mut config = Config {
                loops,
                pin_loops,
                share_port,
                listeners: listeners
                    .into_iter()
                    .map(|(address, is_line)| {
                        let joined = routes.iter().find(|route| routes::takes_lines(route));
                        match joined.filter(|_| is_line) {
                            Some(route) => Listener::line(address, route.paths().last().unwrap()),
                            None => Listener::http(address),
                        }
                    })
                    .collect(),
                limits,
                timeouts,
                turn,
                socket,
                routes,
                tokens,
                redis,
            };
            let handshake_ms = config.timeouts.handshake_ms.max(11);
            config.timeouts.handshake_ms = handshake_ms;
            config.redis.lookup_ms = config.redis.lookup_ms.min(handshake_ms - 1);
            let limits = &mut config.limits;
            if let (Some(half_open), Some(connections)) =
                (&mut limits.half_open_max, limits.connections_max)
            {
                *half_open = connections.min(*half_open);
            }
            let least = config.pool_bytes_least();
            config.limits.pool_bytes_max = config.limits.pool_bytes_max.max(least);
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

/// Addresses, and whether line clients are meant.
fn listeners() -> impl Strategy<Value = Vec<(SocketAddr, bool)>> {
    let addresses = btree_map((any::<IpAddr>(), any::<u16>()), any::<bool>(), 1..4);
    addresses.prop_map(|listeners| {
        let listener = |(address, is_line)| (SocketAddr::from(address), is_line);
        listeners.into_iter().map(listener).collect()
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

fn tokens() -> impl Strategy<Value = Vec<Token>> {
    btree_set("[!-~é张]{1,16}", 0..3).prop_map(|names| {
        let token = |name| Token { name, token: Secret::new(SECRET) };
        names.into_iter().map(token).collect()
    })
}

fn redis() -> impl Strategy<Value = Redis> {
    let url = prop_oneof![
        "redis://[a-z]{1,8}(:[1-9][0-9]{3})?(/[0-9])?",
        Just(format!("redis://user:{SECRET}@[::1]/")),
        "unix:///[a-z/.]{1,12}",
    ];
    let numbers = (number("redis.lookup_ms"), count("redis.lookups_max"));
    (url, "[ -~]{0,16}", numbers, any::<bool>()).prop_map(
        |(url, token_prefix, (lookup_ms, lookups_max), one_time)| Redis {
            url: ServerUrl::new(url),
            token_prefix,
            lookup_ms,
            lookups_max,
            one_time,
        },
    )
}
