//! The rules of one route.

use toml::{Table, Value};

use super::super::error::Refusal;
use super::super::{Origins, Route, Rule, SlowPolicy, grammar};
use super::first_repeated;

/// Checks the route at this position of the configuration, by itself.
pub(super) fn check(index: usize, route: &Route) -> Result<(), Refusal> {
    let key = |leaf: &str| format!("route[{index}].{leaf}");
    let refuse =
        |leaf: &str, text: &str, rule: &str| Err(Refusal::new(key(leaf), &Value::from(text), rule));
    if !grammar::is_path(&route.path) {
        return refuse("path", &route.path, &Rule::Path.to_string());
    }
    if let Origins::List(origins) = &route.origins {
        for (position, origin) in origins.iter().enumerate() {
            if !grammar::is_origin(origin) {
                return refuse(&format!("origins[{position}]"), origin, ORIGIN);
            }
        }
    }
    for (position, token) in route.subprotocols.iter().enumerate() {
        if !grammar::is_token(token) {
            return refuse(&format!("subprotocols[{position}]"), token, TOKEN);
        }
    }
    let subprotocols = route.subprotocols.iter().map(String::as_str).enumerate();
    if let Some((position, token)) = first_repeated(subprotocols) {
        return refuse(&format!("subprotocols[{position}]"), token, "must not be listed twice");
    }
    match websocket_key(route) {
        Some(leaf) if !route.service.is_websocket() => {
            let rule = "must be left out where the service is \"page\"";
            Err(match Table::try_from(route).ok().and_then(|mut keys| keys.remove(leaf)) {
                Some(value) => Refusal::new(key(leaf), &value, rule),
                None => Refusal::missing(key(leaf), rule),
            })
        }
        _ => Ok(()),
    }
}

/// The first key given that only means something to a WebSocket connection. Whoever gives one for
/// a page, which is answered with plain HTTP, expects something that would not happen.
fn websocket_key(route: &Route) -> Option<&'static str> {
    let given = [
        ("origins", !route.origins.is_same_host()),
        ("subprotocols", !route.subprotocols.is_empty()),
        ("message_bytes_max", route.message_bytes_max.is_some()),
        ("slow_policy", route.slow_policy != SlowPolicy::default()),
    ];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(leaf, _)| leaf)
}

const ORIGIN: &str = "must be \"null\" or scheme://host[:port] as browsers write it: lower case, \
                      no path, no default port";
const TOKEN: &str = "must be an RFC 9110 token (letters, digits, !#$%&'*+-.^_`|~)";
