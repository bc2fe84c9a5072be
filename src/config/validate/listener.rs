//! The rules of the listeners, and of the routes that line clients join.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{Config, Listener, ListenerKind, RoomOptions, Route, Rule};
use super::repeated::first_repeated;
use crate::proxy_protocol::HeaderPolicy;

/// Checks all listeners, with the routes that they lead to.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    if config.listeners.is_empty() {
        return Err(Refusal::new("listener", &empty_array(), "must hold at least one address"));
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        check(index, listener, &config.routes)?;
        check_redirect(index, listener, &config.listeners)?;
        check_header(index, listener, config.process.trusted_proxies.is_empty())?;
    }
    if let Some(listener) = config.listeners.get(LISTENERS_MAX) {
        let key = format!("listener[{LISTENERS_MAX}].address");
        let rule = format!("must not be one more of {LISTENERS_MAX} listeners");
        return Err(Refusal::new(key, &Value::from(listener.address.to_string()), rule));
    }
    // Port 0 is a different port every time the kernel chooses.
    let fixed = |&(_, listener): &(usize, &Listener)| listener.address.port() != 0;
    let listeners = config.listeners.iter().enumerate().filter(fixed);
    match first_repeated(listeners.map(|(index, listener)| (index, listener.address))) {
        Some((index, address)) => Err(Refusal::new(
            format!("listener[{index}].address"),
            &Value::from(address.to_string()),
            "must not be listed twice",
        )),
        None => Ok(()),
    }
}

fn check(index: usize, listener: &Listener, routes: &[Route]) -> Result<(), Refusal> {
    let key = format!("listener[{index}].route");
    let refuse = |route: &str, rule: &str| Err(Refusal::new(&key, &Value::from(route), rule));
    match (listener.kind, listener.route.as_deref()) {
        (ListenerKind::Http, None) => Ok(()),
        (ListenerKind::Http, Some(route)) => {
            refuse(route, "must be left out where the kind is \"http\"")
        }
        (ListenerKind::Line, None) => {
            let rule = format!("is required where the kind is \"line\", and {}", Rule::RoutePath);
            Err(Refusal::missing(key, rule))
        }
        (ListenerKind::Line, Some(path)) => match joined(routes, path) {
            None => refuse(path, &Rule::RoutePath.to_string()),
            Some(route) if asks_for_token(route) => {
                refuse(path, "must not be a room whose name is \"token\": a line client has none")
            }
            Some(route) if route.service.forward().is_some() => {
                refuse(path, "must not be a relay: a line client sends no request to pass on")
            }
            Some(_) => Ok(()),
        },
    }
}

/// A listener redirects to another one.
fn check_redirect(index: usize, listener: &Listener, all: &[Listener]) -> Result<(), Refusal> {
    if !listener.redirects() || all.iter().any(Listener::is_https) {
        return Ok(());
    }
    let rule = "must be \"off\" where no [[listener]] of kind \"http\" has tls = true";
    Err(Refusal::new(format!("listener[{index}].redirect"), &Value::from("https"), rule))
}

/// A header that may be left out is one that only trusted proxies may send.
fn check_header(index: usize, listener: &Listener, trusts_none: bool) -> Result<(), Refusal> {
    if listener.proxy_protocol == HeaderPolicy::Optional && trusts_none {
        let rule = "must not be \"optional\" where trusted_proxies is empty: any client could claim \
                    any address";
        let key = format!("listener[{index}].proxy_protocol");
        return Err(Refusal::new(key, &Value::from("optional"), rule));
    }
    Ok(())
}

/// The WebSocket route with this path; of several the one for any host, or else the first.
fn joined<'r>(routes: &'r [Route], path: &str) -> Option<&'r Route> {
    let sockets = routes.iter().filter(|route| route.service.is_websocket());
    let named = sockets.filter(|route| route.paths().any(|own| own == path));
    named.min_by_key(|route| !route.hosts.is_empty())
}

fn asks_for_token(route: &Route) -> bool {
    route.service.room().is_some_and(RoomOptions::asks_for_tokens)
}

/// The numbers of listeners that one byte of a connection's slot can hold.
const LISTENERS_MAX: usize = 256;

fn empty_array() -> Value {
    Value::Array(Vec::new())
}
