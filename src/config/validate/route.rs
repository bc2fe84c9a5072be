//! The rules of one route, its paths apart.

use toml::{Table, Value};

use super::super::error::Refusal;
use super::super::{
    NameKind, Origins, RoomOptions, Route, RouteDeflate, ServiceKind, SlowPolicy, TokenSource,
    grammar,
};
use super::{check_number, check_text, first_repeated, wide};
use crate::services::Order;
use crate::services::room::LineFormat;

/// Checks the numbers of the route at this position of the configuration.
pub(super) fn check_numbers(index: usize, route: &Route) -> Result<(), Refusal> {
    let numbers = [
        ("message_bytes_max", route.message_bytes_max),
        ("backlog_messages_max", route.backlog_messages_max),
        ("deflate_level", Some(route.deflate.level)),
        ("deflate_bytes_min", Some(route.deflate.bytes_min)),
        ("deflate_window_bits_max", Some(route.deflate.window_bits_max)),
    ];
    for (leaf, value) in numbers {
        if let Some(value) = value {
            let key = format!("route[{index}].{leaf}");
            check_number(&format!("route.{leaf}"), &key, wide(value))?;
        }
    }
    Ok(())
}

/// Checks everything else of the route at this position of the configuration.
pub(super) fn check(index: usize, route: &Route) -> Result<(), Refusal> {
    let key = |leaf: &str| format!("route[{index}].{leaf}");
    check_origins(&key, &route.origins)?;
    check_subprotocols(&key, route.subprotocols.as_deref().unwrap_or_default())?;
    check_text("route.room", &key("room"), &route.room.room)?;
    if let Err(error) = LineFormat::parse(&route.room.line) {
        let line = Value::from(route.room.line.as_str());
        return Err(Refusal::new(key("line"), &line, error.to_string()));
    }
    check_is_meaningful(&key, route)
}

fn check_origins(key: &impl Fn(&str) -> String, origins: &Origins) -> Result<(), Refusal> {
    let Origins::List(origins) = origins else { return Ok(()) };
    match origins.iter().enumerate().find(|(_, origin)| !grammar::is_origin(origin)) {
        Some((position, origin)) => {
            let key = key(&format!("origins[{position}]"));
            Err(Refusal::new(key, &Value::from(origin.as_str()), ORIGIN))
        }
        None => Ok(()),
    }
}

fn check_subprotocols(key: &impl Fn(&str) -> String, names: &[String]) -> Result<(), Refusal> {
    let names = names.iter().map(String::as_str).enumerate();
    let refuse = |(position, name): (usize, &str), rule: &str| {
        Err(Refusal::new(key(&format!("subprotocols[{position}]")), &Value::from(name), rule))
    };
    if let Some(wrong) = names.clone().find(|(_, name)| !grammar::is_token(name)) {
        return refuse(wrong, TOKEN);
    }
    match first_repeated(names) {
        Some(repeated) => refuse(repeated, "must not be listed twice"),
        None => Ok(()),
    }
}

/// Refuses a key that means nothing to the service: whoever gives one expects something that would
/// not happen.
fn check_is_meaningful(key: &impl Fn(&str) -> String, route: &Route) -> Result<(), Refusal> {
    let service = route.service;
    let is_meaningful = |scope: Scope| match scope {
        Scope::Compressed => service.is_websocket() && route.deflate.deflate,
        Scope::Published => matches!(service, ServiceKind::Broadcast | ServiceKind::Room),
        Scope::Room => service == ServiceKind::Room,
        Scope::Takeover => service.is_websocket() && route.deflate.context_takeover,
        Scope::Token => service == ServiceKind::Room && route.room.name == NameKind::Token,
        Scope::WebSocket => service.is_websocket(),
    };
    let given = given_keys(route).into_iter().filter(|(_, _, is_given)| *is_given);
    let mut meaningless = given.filter(|(_, scope, _)| !is_meaningful(*scope));
    let Some((leaf, scope, _)) = meaningless.next() else { return Ok(()) };
    let rule = match scope {
        Scope::Compressed if service.is_websocket() => {
            "must be left out where deflate is false".to_owned()
        }
        Scope::Takeover if service.is_websocket() => {
            "must be left out where deflate_context_takeover is not true".to_owned()
        }
        Scope::Token if service == ServiceKind::Room => {
            "must be left out where the name is not \"token\"".to_owned()
        }
        Scope::Compressed
        | Scope::Published
        | Scope::Room
        | Scope::Takeover
        | Scope::Token
        | Scope::WebSocket => {
            format!("must be left out where the service is \"{}\"", service.word())
        }
    };
    Err(match Table::try_from(route).ok().and_then(|mut keys| keys.remove(leaf)) {
        Some(value) => Refusal::new(key(leaf), &value, rule),
        None => Refusal::missing(key(leaf), rule),
    })
}

/// Where a key means something.
#[derive(Clone, Copy, Debug)]
enum Scope {
    /// Where messages are compressed.
    Compressed,
    /// To services that publish.
    Published,
    Room,
    /// Where contexts are taken over.
    Takeover,
    /// To rooms that ask for tokens.
    Token,
    WebSocket,
}

/// Every key but those that all services take, and whether it is given; the default of a key
/// cannot be told from nothing.
fn given_keys(route: &Route) -> [(&'static str, Scope, bool); 19] {
    let default = RoomOptions::default();
    let (deflate, default_deflate) = (route.deflate, RouteDeflate::default());
    let RouteDeflate { deflate: is_on, level, bytes_min, context_takeover, window_bits_max } =
        deflate;
    let default_bits = default_deflate.window_bits_max;
    let RoomOptions { name, room, line, hears_itself, newlines, logins, join_lines, tokens } =
        &route.room;
    [
        ("origins", Scope::WebSocket, !route.origins.is_same_host()),
        ("subprotocols", Scope::WebSocket, route.subprotocols.is_some()),
        ("message_bytes_max", Scope::WebSocket, route.message_bytes_max.is_some()),
        ("backlog_messages_max", Scope::WebSocket, route.backlog_messages_max.is_some()),
        ("slow_policy", Scope::WebSocket, route.slow_policy != SlowPolicy::default()),
        ("deflate", Scope::WebSocket, is_on != default_deflate.deflate),
        ("deflate_level", Scope::WebSocket, level != default_deflate.level),
        ("deflate_bytes_min", Scope::WebSocket, bytes_min != default_deflate.bytes_min),
        ("deflate_context_takeover", Scope::Compressed, context_takeover),
        ("deflate_window_bits_max", Scope::Takeover, window_bits_max != default_bits),
        ("order", Scope::Published, route.order != Order::default()),
        ("name", Scope::Room, *name != default.name),
        ("room", Scope::Room, *room != default.room),
        ("line", Scope::Room, *line != default.line),
        ("hears_itself", Scope::Room, *hears_itself != default.hears_itself),
        ("newlines", Scope::Room, *newlines != default.newlines),
        ("logins", Scope::Room, *logins != default.logins),
        ("join_lines", Scope::Room, *join_lines != default.join_lines),
        ("tokens", Scope::Token, *tokens != TokenSource::default()),
    ]
}

const ORIGIN: &str = "must be \"null\" or scheme://host[:port] as browsers write it: lower case, \
                      no path, no default port";
const TOKEN: &str = "must be an RFC 9110 token (letters, digits, !#$%&'*+-.^_`|~)";
