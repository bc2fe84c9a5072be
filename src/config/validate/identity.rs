//! The rules of identities, and of the routes that take them.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{
    Config, Identity, IdentityKind, Listener, NameKind, RoomOptions, WebSocketOptions,
};
use super::backends;
use super::repeated::first_repeated;

/// Checks all identities, and the routes that name them.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let names = config.identities.iter().map(|identity| identity.name.as_str()).enumerate();
    if let Some((index, name)) = first_repeated(names) {
        let rule = "must not be the name of two identities";
        return Err(Refusal::new(format!("identity[{index}].name"), &Value::from(name), rule));
    }
    for (index, identity) in config.identities.iter().enumerate() {
        check_kind(index, identity)?;
        check_tokens(index, identity)?;
        backends::check(index, identity)?;
    }
    for index in 0..config.routes.len() {
        check_route(config, index)?;
    }
    check_certificates(config)?;
    check_lookups(config)
}

/// A program without the feature `redis` cannot ask one.
fn check_kind(index: usize, identity: &Identity) -> Result<(), Refusal> {
    match identity.kind {
        IdentityKind::Redis(..) if !cfg!(feature = "redis") => {
            let key = format!("identity[{index}].kind");
            Err(Refusal::new(key, &Value::from("redis"), WITHOUT_REDIS))
        }
        IdentityKind::Callback(..)
        | IdentityKind::Certificate(_)
        | IdentityKind::Cookie(_)
        | IdentityKind::Header(_)
        | IdentityKind::Jwt(..)
        | IdentityKind::Query(_)
        | IdentityKind::Redis(..)
        | IdentityKind::Tokens(..) => Ok(()),
    }
}

fn check_tokens(index: usize, identity: &Identity) -> Result<(), Refusal> {
    let IdentityKind::Tokens(_, tokens) = &identity.kind else { return Ok(()) };
    let names = tokens.iter().map(|token| token.name.as_str()).enumerate();
    match first_repeated(names) {
        Some((position, name)) => {
            let key = format!("identity[{index}].tokens[{position}].name");
            Err(Refusal::new(key, &Value::from(name), "must not be the name of two tokens"))
        }
        None => Ok(()),
    }
}

/// A route names identities that there are, and a room gives rights to those that the route takes.
fn check_route(config: &Config, index: usize) -> Result<(), Refusal> {
    let Some(route) = config.routes.get(index) else { return Ok(()) };
    let Some(websocket) = route.service.websocket() else { return Ok(()) };
    let known: Vec<&str> = config.identities.iter().map(|own| own.name.as_str()).collect();
    let taken: Vec<&str> = websocket.identity.iter().flatten().map(String::as_str).collect();
    let key = format!("route[{index}].identity");
    check_names(&key, &taken, &known, "an [[identity]]")?;
    let Some(room) = route.service.room() else { return Ok(()) };
    let rights = [("read", &room.read), ("write", &room.write), ("see_members", &room.see_members)];
    for (leaf, names) in rights {
        let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        check_names(
            &format!("route[{index}].{leaf}"),
            &names,
            &taken,
            "one of the route's identities",
        )?;
    }
    check_name_source(config, key, room, websocket)
}

/// Whether each name is one of `known`.
fn check_names(key: &str, names: &[&str], known: &[&str], what: &str) -> Result<(), Refusal> {
    let unknown = names.iter().enumerate().find(|(_, name)| !known.contains(*name));
    let Some((position, name)) = unknown else { return Ok(()) };
    let rule = match known {
        [] => format!("must be the name of {what}, of which there is none"),
        known => format!("must be the name of {what}: {known:?}"),
    };
    Err(Refusal::new(format!("{key}[{position}]"), &Value::from(*name), rule))
}

/// A room whose members are named by their identity takes one.
fn check_name_source(
    config: &Config,
    key: String,
    room: &RoomOptions,
    websocket: &WebSocketOptions,
) -> Result<(), Refusal> {
    let value = websocket
        .identity
        .as_ref()
        .map(|names| Value::Array(names.iter().map(|name| Value::from(name.as_str())).collect()));
    match (room.name, value) {
        (NameKind::Identity, None) => Err(Refusal::missing(key, NEEDS_IDENTITY)),
        (NameKind::Identity, Some(value)) if !websocket.asks_identity() => {
            Err(Refusal::new(key, &value, NEEDS_IDENTITY))
        }
        (NameKind::Token, Some(value)) => {
            let mut names = websocket.identity.iter().flatten();
            let is_in_path =
                |name: &String| config.identity(name).is_some_and(|own| own.kind.is_in_path());
            if names.any(is_in_path) { Ok(()) } else { Err(Refusal::new(key, &value, NEEDS_PATH)) }
        }
        (
            NameKind::Address
            | NameKind::First
            | NameKind::Identity
            | NameKind::Path
            | NameKind::Query
            | NameKind::Token,
            _,
        ) => Ok(()),
    }
}

/// A look-up must end before the handshake does: a client whose handshake is over gets no answer.
fn check_lookups(config: &Config) -> Result<(), Refusal> {
    let handshake_ms = config.timeouts.handshake_ms;
    for (index, identity) in config.identities.iter().enumerate() {
        let (leaf, wait_ms) = match &identity.kind {
            IdentityKind::Callback(own, _) => ("callback_ms", own.callback_ms),
            IdentityKind::Jwt(own, ..) if own.jwks_url.is_some() => {
                ("jwks_fetch_ms", own.jwks_fetch_ms)
            }
            IdentityKind::Redis(_, redis) => ("lookup_ms", redis.lookup_ms),
            IdentityKind::Certificate(_)
            | IdentityKind::Cookie(_)
            | IdentityKind::Header(_)
            | IdentityKind::Jwt(..)
            | IdentityKind::Query(_)
            | IdentityKind::Tokens(..) => continue,
        };
        if is_taken(config, identity) && wait_ms >= handshake_ms {
            let rule = format!("must be below timeouts.handshake_ms ({handshake_ms})");
            let key = format!("identity[{index}].{leaf}");
            return Err(Refusal::number(key, wait_ms, rule));
        }
    }
    Ok(())
}

/// Certificates are shown in TLS handshakes that ask for them.
fn check_certificates(config: &Config) -> Result<(), Refusal> {
    if config.listeners.iter().any(Listener::asks_for_certificates) {
        return Ok(());
    }
    for (index, identity) in config.identities.iter().enumerate() {
        if matches!(identity.kind, IdentityKind::Certificate(_)) && is_taken(config, identity) {
            let key = format!("identity[{index}].kind");
            return Err(Refusal::new(key, &Value::from("certificate"), NEEDS_CERTIFICATES));
        }
    }
    Ok(())
}

/// Whether a route names the identity.
fn is_taken(config: &Config, identity: &Identity) -> bool {
    let websockets = config.routes.iter().filter_map(|route| route.service.websocket());
    websockets.flat_map(|own| own.identity.iter().flatten()).any(|name| *name == identity.name)
}

const WITHOUT_REDIS: &str =
    "must be \"tokens\": this program was built without the feature `redis`";
const NEEDS_IDENTITY: &str =
    "must name at least one [[identity]] where the route's name is \"identity\"";
const NEEDS_PATH: &str = "must name an [[identity]] of kind \"redis\" or \"tokens\" whose place is \
                          \"path\" where the route's name is \"token\"";
const NEEDS_CERTIFICATES: &str =
    "must not be taken by a route while no [[listener]] asks for client_certificates";
