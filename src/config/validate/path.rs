//! The rules of a route's paths: each by itself, and those of one route together.

use std::collections::HashSet;

use toml::Value;

use super::super::refusal::Refusal;
use super::super::word::Word as _;
use super::super::{Config, NameKind, Route};
use super::repeated::first_repeated;
use crate::http::HostPattern;

/// Checks every path of the route at this position of the configuration.
pub(super) fn check_all(index: usize, route: &Route, config: &Config) -> Result<(), Refusal> {
    let websocket = route.service.websocket();
    let mut names = websocket.and_then(|own| own.identity.as_ref()).into_iter().flatten();
    let holds_token =
        names.any(|name| config.identity(name).is_some_and(|own| own.kind.is_in_path()));
    for (position, path) in route.paths().enumerate() {
        if let Err(rule) = check(path, route, holds_token) {
            return Err(Refusal::new(key(index, position), &Value::from(path), rule));
        }
    }
    Ok(())
}

/// The path that an earlier route of the same kind, or the same route, has too, for a host that both are
/// for. A page and a WebSocket route may share one: whether a request wants an upgrade tells them apart.
pub(super) fn check_unique(routes: &[Route]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for (index, route) in routes.iter().enumerate() {
        let own = route.host_patterns();
        if let Some((position, _)) = first_repeated(own.iter().enumerate()) {
            let (key, value) =
                (format!("route[{index}].hosts[{position}]"), own[position].to_string());
            return Err(Refusal::new(key, &Value::from(value), "must not be listed twice"));
        }
        // None stands for any.
        let hosts: Vec<Option<&HostPattern>> = match own.is_empty() {
            true => vec![None],
            false => own.iter().map(Some).collect(),
        };
        for (position, path) in route.paths().enumerate() {
            for host in &hosts {
                if !seen.insert((route.service.is_websocket(), host.cloned(), shape(path))) {
                    let kind =
                        if route.service.is_websocket() { "WebSocket routes" } else { "pages" };
                    let of = host.map(|host| format!(" of {host}")).unwrap_or_default();
                    let rule = format!("must not be the path of two {kind}{of}");
                    return Err(Refusal::new(key(index, position), &Value::from(path), rule));
                }
            }
        }
    }
    Ok(())
}

fn key(index: usize, position: usize) -> String {
    match position.checked_sub(1) {
        None => format!("route[{index}].path"),
        Some(alias) => format!("route[{index}].aliases[{alias}]"),
    }
}

/// The path without the names of its parameters: two with the same shape match the same requests.
fn shape(path: &str) -> Vec<&str> {
    let segments = path.split('/');
    segments.map(|segment| if segment.starts_with(':') { ":" } else { segment }).collect()
}

/// `holds_token` where an identity of the route stands in its path.
///
/// # Errors
/// The rule that the path breaks.
fn check(path: &str, route: &Route, holds_token: bool) -> Result<(), String> {
    let own = parameters(path);
    let room = route.service.room();
    if room.is_none() && !holds_token {
        return match own.first() {
            Some((_, name)) => Err(format!("must not hold {name}, which only a room's path may")),
            None => Ok(()),
        };
    }
    for (position, (_, name)) in own.iter().enumerate() {
        if !PARAMETERS.contains(name) {
            return Err("must hold no segments with : but :name, :room and :token".to_owned());
        }
        if own[..position].iter().any(|(_, earlier)| earlier == name) {
            return Err(format!("must hold {name} only once"));
        }
    }
    match room {
        Some(room) if !holds_token => check_needs(&own, room.name)?,
        Some(_) | None => check_token(&own, room.is_some())?,
    }
    check_places(path, route)
}

/// Whether the parameters are those that an identity in the path wants.
fn check_token(own: &[(usize, &str)], is_room: bool) -> Result<(), String> {
    let holds = |parameter: &str| own.iter().any(|(_, held)| *held == parameter);
    for parameter in [":name", ":token"] {
        if !holds(parameter) {
            return Err(format!(
                "must hold the segment {parameter}, in which an identity of the route stands"
            ));
        }
    }
    if holds(":room") && !is_room {
        return Err("must not hold :room, which only a room's path may".to_owned());
    }
    Ok(())
}

/// Whether the parameters are those that the source of names wants. One that it does not want
/// would stand for anything, and a token that is not compared would let any client in.
fn check_needs(own: &[(usize, &str)], name: NameKind) -> Result<(), String> {
    let (wants_name, wants_token) = match name {
        NameKind::Address | NameKind::First | NameKind::Identity | NameKind::Query => {
            (false, false)
        }
        NameKind::Path => (true, false),
        NameKind::Token => (true, true),
    };
    for (parameter, is_wanted) in [(":name", wants_name), (":token", wants_token)] {
        let verb = match (own.iter().any(|(_, held)| *held == parameter), is_wanted) {
            (true, false) => "must not hold",
            (false, true) => "must hold",
            _ => continue,
        };
        let word = name.name();
        return Err(format!("{verb} the segment {parameter} where the route's name is \"{word}\""));
    }
    Ok(())
}

/// Whether every parameter of the route's paths stands in the same place in this one, or this one
/// ends before: a room looks for each in one place only.
fn check_places(path: &str, route: &Route) -> Result<(), String> {
    let segment_count = path.split('/').count() - 1;
    let own = parameters(path);
    for other in route.paths() {
        for (place, name) in parameters(other) {
            let is_same = match own.iter().find(|(_, held)| *held == name) {
                Some((held_at, _)) => *held_at == place,
                None => segment_count <= place,
            };
            if !is_same {
                return Err(format!(
                    "must have {name} in the same place as {other}, or end before"
                ));
            }
        }
    }
    Ok(())
}

/// The segments that stand for any, with their places counted from 0.
fn parameters(path: &str) -> Vec<(usize, &str)> {
    let segments = path.split('/').skip(1).enumerate();
    segments.filter(|(_, segment)| segment.starts_with(':')).collect()
}

const PARAMETERS: [&str; 3] = [":name", ":room", ":token"];
