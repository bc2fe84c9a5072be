//! The rules of a route's paths: each by itself, and those of one route together.

use std::collections::HashSet;

use toml::Value;

use super::super::declare::Word as _;
use super::super::error::Refusal;
use super::super::{NameKind, Route};

/// Checks every path of the route at this position of the configuration.
pub(super) fn check_all(index: usize, route: &Route) -> Result<(), Refusal> {
    for (position, path) in route.paths().enumerate() {
        if let Err(rule) = check(path, route) {
            return Err(Refusal::new(key(index, position), &Value::from(path), rule));
        }
    }
    Ok(())
}

/// The path that an earlier route of the same kind, or the same route, has too. A page and a
/// WebSocket route may share one: whether a request wants an upgrade tells them apart.
pub(super) fn check_unique(routes: &[Route]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for (index, route) in routes.iter().enumerate() {
        for (position, path) in route.paths().enumerate() {
            if !seen.insert((route.service.is_websocket(), shape(path))) {
                let rule = if route.service.is_websocket() {
                    "must not be the path of two WebSocket routes"
                } else {
                    "must not be the path of two pages"
                };
                return Err(Refusal::new(key(index, position), &Value::from(path), rule));
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

/// # Errors
/// The rule that the path breaks.
fn check(path: &str, route: &Route) -> Result<(), String> {
    let own = parameters(path);
    let Some(room) = route.service.room() else {
        return match own.first() {
            Some((_, name)) => Err(format!("must not hold {name}, which only a room's path may")),
            None => Ok(()),
        };
    };
    for (position, (_, name)) in own.iter().enumerate() {
        if !PARAMETERS.contains(name) {
            return Err("must hold no segments with : but :name, :room and :token".to_owned());
        }
        if own[..position].iter().any(|(_, earlier)| earlier == name) {
            return Err(format!("must hold {name} only once"));
        }
    }
    check_needs(&own, room.name)?;
    check_places(path, route)
}

/// Whether the parameters are those that the source of names wants. One that it does not want
/// would stand for anything, and a token that is not compared would let any client in.
fn check_needs(own: &[(usize, &str)], name: NameKind) -> Result<(), String> {
    let (wants_name, wants_token) = match name {
        NameKind::Address | NameKind::First | NameKind::Query => (false, false),
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
