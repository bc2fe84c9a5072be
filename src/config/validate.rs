//! The rules a configuration must keep, whether it came from a file, from flags or from code.

mod acme;
mod admin;
mod api;
mod backends;
mod channel_proxies;
mod channels;
mod engine;
mod identity;
mod listener;
mod path;
mod repeated;
mod tls;
mod upstream;

use toml::Value;

use super::Config;
use super::error::ConfigError;
use super::refusal::Refusal;
use crate::pool::pool_bytes_for;
use crate::ws::CLIENT_CONTROL_FRAME_BYTES_MAX;

/// The longest header of a WebSocket frame, mask included (RFC 6455 section 5.2), in bytes.
pub(super) const FRAME_HEADER_BYTES_MAX: usize = 14;

/// The numbers of routes that one byte of a connection's slot can hold.
const SOCKET_ROUTES_MAX: usize = 256;

impl Config {
    /// Checks every rule; `source` is what a message should name, such as `command line`.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn validate(&self, source: &str) -> Result<(), ConfigError> {
        self.check_rules().map_err(|refusal| refusal.of(source, None))
    }

    pub(super) fn check_rules(&self) -> Result<(), Refusal> {
        self.check_keys()?;
        self.check_limits_agree()?;
        self.check_routes()?;
        listener::check_all(self)?;
        tls::check_all(self)?;
        acme::check_all(self)?;
        admin::check_all(self)?;
        api::check_all(self)?;
        upstream::check_all(self)?;
        channels::check_all(self)?;
        channel_proxies::check_all(self)?;
        engine::check_all(self)?;
        identity::check_all(self)
    }

    /// The rules of single keys, and that each key means something beside the others of its table.
    fn check_keys(&self) -> Result<(), Refusal> {
        for table in self.tables() {
            for entry in &table.entries {
                let value = entry.value.as_ref();
                if let (Some(broken), Some(value)) = (&entry.broken, value) {
                    return Err(broken.of(&table.key(entry), entry.key.rule, value));
                }
                if let (Some(why), Some(value)) = (entry.idle, value) {
                    let rule = format!("must be left out where {why}");
                    return Err(Refusal::new(table.key(entry), value, rule));
                }
            }
        }
        Ok(())
    }

    /// The most bytes that any route accepts in one message.
    pub(super) fn message_bytes_largest(&self) -> usize {
        let options = self.routes.iter().filter_map(|route| route.service.websocket());
        let routes = options.filter_map(|websocket| websocket.message_bytes_max);
        routes.fold(self.limits.message_bytes_max, usize::max)
    }

    /// The pool that one message or request head of the largest kind needs by itself, beside the reserve
    /// that is not for messages. Its first part gets a buffer whose size is a power of two; that grows
    /// as far as a connection reads.
    pub(super) fn pool_bytes_least(&self) -> usize {
        let largest = self.message_bytes_largest().max(self.limits.head_bytes_max);
        let read = largest + CLIENT_CONTROL_FRAME_BYTES_MAX;
        let first = read.min(self.turn.receive_buffer_bytes).next_power_of_two();
        pool_bytes_for(read.max(first))
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
            let head_bytes = limits.head_bytes_max;
            let rule = if head_bytes > largest {
                format!(
                    "must be at least {least}, to hold one head of head_bytes_max ({head_bytes}) \
                     beside the reserve"
                )
            } else {
                format!(
                    "must be at least {least}, to hold one message of the largest \
                     message_bytes_max ({largest}) beside the reserve"
                )
            };
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
            path::check_all(index, route, self)?;
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

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Listener, ProcessOptions, Route, ServiceKind};

    #[test]
    fn numbers_beyond_what_toml_can_express_are_refused_too() {
        let process = ProcessOptions { loops: usize::MAX, ..ProcessOptions::default() };
        let config = Config { process, ..Config::default() };
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
        config.routes[0].service.websocket_mut().unwrap().message_bytes_max = Some(2_000_000);
        assert_eq!(config.message_bytes_largest(), 2_000_000);
    }
}
