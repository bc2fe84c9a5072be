//! The rules a configuration must keep, whether it came from a file, from flags or from code.

mod listener;
mod logins;
mod path;
mod route;

use std::collections::HashSet;
use std::hash::Hash;

use toml::Value;

use super::error::{ConfigError, Refusal};
use super::keys;
use super::{Config, Limits, Rule, SocketOptions, Timeouts, Turn};
use crate::services::room::is_name;
use crate::ws::CLIENT_CONTROL_FRAME_BYTES_MAX;

/// The longest header of a WebSocket frame, mask included (RFC 6455 section 5.2), in bytes.
pub(super) const FRAME_HEADER_BYTES_MAX: usize = 14;

/// As many as the one byte in which a connection keeps its route can tell apart.
const SOCKET_ROUTES_MAX: usize = 256;

impl Config {
    /// Checks every rule; `source` is the file or `command line` that a message should name.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn validate(&self, source: &str) -> Result<(), ConfigError> {
        self.check_rules().map_err(|refusal| refusal.of(source))
    }

    fn check_rules(&self) -> Result<(), Refusal> {
        for (name, value) in self.numbers() {
            check_number(name, name, value)?;
        }
        for (index, route) in self.routes.iter().enumerate() {
            route::check_numbers(index, route)?;
        }
        self.check_limits_agree()?;
        self.check_routes()?;
        listener::check_all(self)?;
        logins::check_tokens(&self.tokens)?;
        logins::check_redis(self)
    }

    /// Every number outside the routes, under its name. The patterns name every field, so that a
    /// new one cannot be forgotten.
    fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [("loops", wide(self.loops))]
            .into_iter()
            .chain(limits_numbers(&self.limits))
            .chain(timeouts_numbers(&self.timeouts))
            .chain(turn_numbers(&self.turn))
            .chain(socket_numbers(&self.socket))
            .chain(logins::redis_numbers(&self.redis))
    }

    /// The most bytes that any route accepts in one message.
    pub(super) fn message_bytes_largest(&self) -> usize {
        let routes = self.routes.iter().filter_map(|route| route.message_bytes_max);
        routes.fold(self.limits.message_bytes_max, usize::max)
    }

    /// The pool that one message of the largest kind needs by itself. Its first part gets a buffer
    /// whose size is a power of two; that grows as far as a connection reads.
    pub(super) fn pool_bytes_least(&self) -> usize {
        let read = self.message_bytes_largest() + CLIENT_CONTROL_FRAME_BYTES_MAX;
        let first = read.min(self.turn.receive_buffer_bytes).next_power_of_two();
        read.max(first)
    }

    fn check_limits_agree(&self) -> Result<(), Refusal> {
        let limits = &self.limits;
        if let (Some(half_open), Some(connections)) = (limits.half_open_max, limits.connections_max)
            && half_open > connections
        {
            let rule = format!("must be at most limits.connections_max ({connections})");
            return Err(Refusal::number("limits.half_open_max", wide(half_open), rule));
        }
        let largest = self.message_bytes_largest();
        let least = self.pool_bytes_least();
        if limits.pool_bytes_max < least {
            let rule = format!(
                "must be at least {least}, to hold one message of the largest \
                 message_bytes_max ({largest})"
            );
            return Err(Refusal::number(
                "limits.pool_bytes_max",
                wide(limits.pool_bytes_max),
                rule,
            ));
        }
        Ok(())
    }

    fn check_routes(&self) -> Result<(), Refusal> {
        if self.routes.is_empty() {
            let none = Value::Array(Vec::new());
            return Err(Refusal::new("route", &none, "must hold at least one route"));
        }
        for (index, route) in self.routes.iter().enumerate() {
            path::check_all(index, route)?;
            route::check(index, route)?;
        }
        path::check_unique(&self.routes)?;
        let mut sockets = self.routes.iter().enumerate().filter(|own| own.1.service.is_websocket());
        match sockets.nth(SOCKET_ROUTES_MAX) {
            Some((index, route)) => {
                let key = format!("route[{index}].service");
                let rule = format!("must not be one more of {SOCKET_ROUTES_MAX} WebSocket routes");
                Err(Refusal::new(key, &Value::from(route.service.word()), rule))
            }
            None => Ok(()),
        }
    }
}

fn check_number(name: &str, key: &str, value: u64) -> Result<(), Refusal> {
    match keys::find(name).map(|key| key.rule) {
        Some(rule @ Rule::Integer { min, max }) if !(min..=max).contains(&value) => {
            Err(Refusal::number(key, value, rule.to_string()))
        }
        _ => Ok(()),
    }
}

fn check_text(name: &str, key: &str, text: &str) -> Result<(), Refusal> {
    match keys::find(name).map(|key| key.rule) {
        Some(rule @ Rule::Name) if !is_name(text) => {
            Err(Refusal::new(key, &Value::from(text), rule.to_string()))
        }
        Some(rule @ Rule::Text { bytes_min, bytes_max })
            if !(bytes_min..=bytes_max).contains(&text.len())
                || text.chars().any(char::is_control) =>
        {
            Err(Refusal::new(key, &Value::from(text), rule.to_string()))
        }
        _ => Ok(()),
    }
}

/// The first item that equals an earlier one, with its index.
fn first_repeated<T: Eq + Hash + Copy>(
    mut items: impl Iterator<Item = (usize, T)>,
) -> Option<(usize, T)> {
    let mut seen = HashSet::new();
    items.find(|(_, item)| !seen.insert(*item))
}

fn limits_numbers(limits: &Limits) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    let Limits {
        connections_max,
        half_open_max,
        head_bytes_max,
        message_bytes_max,
        backlog_high_bytes,
        backlog_hard_bytes,
        pool_bytes_max,
        mailbox_items_max,
        refusals_max,
    } = *limits;
    let optional = [
        ("limits.connections_max", connections_max.map(wide)),
        ("limits.half_open_max", half_open_max.map(wide)),
    ];
    let present = [
        ("limits.head_bytes_max", wide(head_bytes_max)),
        ("limits.message_bytes_max", wide(message_bytes_max)),
        ("limits.backlog_high_bytes", wide(backlog_high_bytes)),
        ("limits.backlog_hard_bytes", wide(backlog_hard_bytes)),
        ("limits.pool_bytes_max", wide(pool_bytes_max)),
        ("limits.mailbox_items_max", wide(mailbox_items_max)),
        ("limits.refusals_max", wide(refusals_max)),
    ];
    optional.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(present)
}

fn timeouts_numbers(timeouts: &Timeouts) -> [(&'static str, u64); 9] {
    let Timeouts {
        handshake_ms,
        refuse_ms,
        ping_idle_ms,
        pong_ms,
        write_stall_ms,
        close_ms,
        drain_ms,
        pool_idle_ms,
        accept_pause_ms,
    } = *timeouts;
    [
        ("timeouts.handshake_ms", handshake_ms),
        ("timeouts.refuse_ms", refuse_ms),
        ("timeouts.ping_idle_ms", ping_idle_ms),
        ("timeouts.pong_ms", pong_ms),
        ("timeouts.write_stall_ms", write_stall_ms),
        ("timeouts.close_ms", close_ms),
        ("timeouts.drain_ms", drain_ms),
        ("timeouts.pool_idle_ms", pool_idle_ms),
        ("timeouts.accept_pause_ms", accept_pause_ms),
    ]
}

fn turn_numbers(turn: &Turn) -> [(&'static str, u64); 6] {
    let Turn {
        accepts_per_turn,
        reads_per_turn,
        flushes_per_turn,
        reaps_per_turn,
        mail_per_turn,
        receive_buffer_bytes,
    } = *turn;
    [
        ("turn.accepts_per_turn", wide(accepts_per_turn)),
        ("turn.reads_per_turn", wide(reads_per_turn)),
        ("turn.flushes_per_turn", wide(flushes_per_turn)),
        ("turn.reaps_per_turn", wide(reaps_per_turn)),
        ("turn.mail_per_turn", wide(mail_per_turn)),
        ("turn.receive_buffer_bytes", wide(receive_buffer_bytes)),
    ]
}

fn socket_numbers(socket: &SocketOptions) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    let SocketOptions { accept_backlog, no_delay: _, notsent_bytes_max, send_buffer_bytes } =
        *socket;
    [
        ("socket.accept_backlog", Some(accept_backlog)),
        ("socket.notsent_bytes_max", Some(notsent_bytes_max)),
        ("socket.send_buffer_bytes", send_buffer_bytes),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, u64::from(value?))))
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KEYS, Listener, Route, ServiceKind};

    #[test]
    fn every_number_of_the_table_is_checked() {
        let mut config = Config::default();
        config.limits.connections_max = Some(1);
        config.limits.half_open_max = Some(1);
        config.socket.send_buffer_bytes = Some(4096);
        let mut checked: Vec<&str> = config.numbers().map(|(name, _)| name).collect();
        checked.extend([
            "route.backlog_messages_max",
            "route.deflate_bytes_min",
            "route.deflate_level",
            "route.deflate_window_bits_max",
            "route.message_bytes_max",
        ]);
        checked.sort_unstable();
        let mut listed: Vec<&str> = KEYS
            .iter()
            .filter(|key| matches!(key.rule, Rule::Integer { .. }))
            .map(|key| key.name)
            .collect();
        listed.sort_unstable();
        assert_eq!(checked, listed);
    }

    #[test]
    fn numbers_beyond_what_toml_can_express_are_refused_too() {
        let config = Config { loops: usize::MAX, ..Config::default() };
        assert_eq!(
            config.validate("command line").unwrap_err().to_string(),
            format!("command line: loops = {}: must be between 0 and 1024", usize::MAX)
        );
    }

    #[test]
    fn two_listeners_may_both_ask_for_any_port() {
        let listener = Listener::http("127.0.0.1:0".parse().unwrap());
        let config = Config { listeners: vec![listener.clone(), listener], ..Config::default() };
        config.validate("test").unwrap();
    }

    #[test]
    fn a_route_that_no_connection_could_name_is_refused() {
        let route = |number: usize| Route::new(format!("/{number}"), ServiceKind::Echo);
        let mut config = Config { routes: (0..256).map(route).collect(), ..Config::default() };
        config.routes.push(Route::new("/", ServiceKind::Page));
        config.validate("test").unwrap();
        config.routes.push(route(256));
        assert_eq!(
            config.validate("test").unwrap_err().to_string(),
            "test: route[257].service = \"echo\": must not be one more of 256 WebSocket routes"
        );
    }

    #[test]
    fn the_largest_message_may_be_that_of_a_route() {
        let mut config = Config::default();
        assert_eq!(config.message_bytes_largest(), 1_048_576);
        config.routes[0].message_bytes_max = Some(2_000_000);
        assert_eq!(config.message_bytes_largest(), 2_000_000);
    }
}
