//! The rules of identities, and of the routes that take them.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{Config, Identity, IdentityKind};
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
    }
    for index in 0..config.routes.len() {
        check_route(config, index)?;
    }
    check_lookups(config)
}

/// A program without the feature `redis` cannot ask one.
fn check_kind(index: usize, identity: &Identity) -> Result<(), Refusal> {
    match identity.kind {
        IdentityKind::Redis(_) if !cfg!(feature = "redis") => {
            let key = format!("identity[{index}].kind");
            Err(Refusal::new(key, &Value::from("redis"), WITHOUT_REDIS))
        }
        IdentityKind::Redis(_) | IdentityKind::Tokens(_) => Ok(()),
    }
}

fn check_tokens(index: usize, identity: &Identity) -> Result<(), Refusal> {
    let IdentityKind::Tokens(tokens) = &identity.kind else { return Ok(()) };
    let names = tokens.iter().map(|token| token.name.as_str()).enumerate();
    match first_repeated(names) {
        Some((position, name)) => {
            let key = format!("identity[{index}].tokens[{position}].name");
            Err(Refusal::new(key, &Value::from(name), "must not be the name of two tokens"))
        }
        None => Ok(()),
    }
}

/// A route names exactly one identity so far, and one that there is.
fn check_route(config: &Config, index: usize) -> Result<(), Refusal> {
    let room = config.routes.get(index).and_then(|route| route.service.room());
    let Some(names) = room.and_then(|room| room.identity.as_ref()) else { return Ok(()) };
    let key = format!("route[{index}].identity");
    for (position, name) in names.iter().enumerate() {
        if config.identity(name).is_none() {
            let known: Vec<&str> =
                config.identities.iter().map(|identity| identity.name.as_str()).collect();
            let rule = match known.as_slice() {
                [] => "must be the name of an [[identity]], of which there is none".to_owned(),
                known => format!("must be the name of an [[identity]]: {known:?}"),
            };
            let key = format!("{key}[{position}]");
            return Err(Refusal::new(key, &Value::from(name.as_str()), rule));
        }
    }
    if names.len() == 1 {
        return Ok(());
    }
    let value = Value::Array(names.iter().map(|name| Value::from(name.as_str())).collect());
    Err(Refusal::new(key, &value, EXACTLY_ONE))
}

/// A look-up must end before the handshake does: a client whose handshake is over gets no answer.
fn check_lookups(config: &Config) -> Result<(), Refusal> {
    let handshake_ms = config.timeouts.handshake_ms;
    for (index, identity) in config.identities.iter().enumerate() {
        let IdentityKind::Redis(redis) = &identity.kind else { continue };
        let mut rooms = config.routes.iter().filter_map(|route| route.service.room());
        let is_taken =
            rooms.any(|room| room.identity.iter().flatten().any(|name| *name == identity.name));
        if is_taken && redis.lookup_ms >= handshake_ms {
            let rule = format!("must be below timeouts.handshake_ms ({handshake_ms})");
            let key = format!("identity[{index}].lookup_ms");
            return Err(Refusal::number(key, redis.lookup_ms, rule));
        }
    }
    Ok(())
}

const WITHOUT_REDIS: &str =
    "must be \"tokens\": this program was built without the feature `redis`";
const EXACTLY_ONE: &str =
    "must name exactly one [[identity]] so far, of kind \"redis\" or \"tokens\"";
