//! The rules of identities that are proven by signed tokens, or by a backend that is asked.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{CallbackOptions, Identity, IdentityKind, JwtOptions, TokenKey};
use crate::jwt::{Key, KeyError};

/// Checks an identity of kind `jwt` or `callback`. Others have no such rules.
pub(super) fn check(index: usize, identity: &Identity) -> Result<(), Refusal> {
    let path = format!("identity[{index}]");
    match &identity.kind {
        IdentityKind::Callback(own, _) => check_callback(&path, own),
        IdentityKind::Jwt(own, _, keys) => check_jwt(&path, own, keys),
        IdentityKind::Certificate(_)
        | IdentityKind::Cookie(_)
        | IdentityKind::Header(_)
        | IdentityKind::Query(_)
        | IdentityKind::Redis(..)
        | IdentityKind::Tokens(..) => Ok(()),
    }
}

fn check_callback(path: &str, own: &CallbackOptions) -> Result<(), Refusal> {
    if !cfg!(feature = "http-backends") {
        return Err(Refusal::new(format!("{path}.kind"), &Value::from("callback"), WITHOUT_HTTP));
    }
    match own.header_of_the_gateway() {
        Some((position, name)) => {
            let key = format!("{path}.callback_headers[{position}]");
            Err(Refusal::new(key, &Value::from(name.as_str()), OF_THE_GATEWAY))
        }
        None => Ok(()),
    }
}

fn check_jwt(path: &str, own: &JwtOptions, keys: &[TokenKey]) -> Result<(), Refusal> {
    match &own.jwks_url {
        Some(url) if !cfg!(feature = "http-backends") => {
            let value = Value::from(url.to_string());
            return Err(Refusal::new(format!("{path}.jwks_url"), &value, WITHOUT_HTTP));
        }
        Some(_) if !keys.is_empty() => {
            let value = Value::from(keys.len() as i64);
            return Err(Refusal::new(format!("{path}.keys"), &value, ONE_SOURCE));
        }
        None if keys.is_empty() => {
            return Err(Refusal::missing(format!("{path}.keys"), NO_KEYS));
        }
        Some(_) | None => {}
    }
    let places = [&own.token_subprotocol, &own.token_cookie, &own.token_query];
    if !own.token_authorization && places.iter().all(|place| place.is_none()) {
        let key = format!("{path}.token_authorization");
        return Err(Refusal::new(key, &Value::from(false), NO_PLACE));
    }
    if own.jwks_url.is_some() && own.jwks_algorithms.is_empty() {
        let key = format!("{path}.jwks_algorithms");
        return Err(Refusal::new(key, &Value::Array(Vec::new()), NO_ALGORITHM));
    }
    if keys.len() > KEYS_MAX {
        let value = Value::from(keys.len() as i64);
        return Err(Refusal::new(format!("{path}.keys"), &value, TOO_MANY_KEYS));
    }
    keys.iter()
        .enumerate()
        .try_for_each(|(position, key)| check_key(&format!("{path}.keys[{position}]"), key))
}

/// A key is given in the one way that its algorithm has, and a secret is one.
fn check_key(path: &str, own: &TokenKey) -> Result<(), Refusal> {
    let symmetric = own.algorithm.is_symmetric();
    match (&own.file, &own.secret) {
        (Some(file), _) if symmetric => {
            let value = Value::from(file.to_string());
            Err(Refusal::new(format!("{path}.file"), &value, KeyError::NeedsSecret.to_string()))
        }
        (_, Some(_)) if !symmetric => {
            let rule = KeyError::NeedsPublicKey.to_string();
            Err(Refusal::new(format!("{path}.secret"), &Value::from("***"), rule))
        }
        (_, Some(secret)) => {
            let key = Key::from_secret(own.algorithm, secret.expose().as_bytes());
            key.map(drop).map_err(|error| {
                Refusal::new(format!("{path}.secret"), &Value::from("***"), error.to_string())
            })
        }
        (None, None) if symmetric => {
            Err(Refusal::missing(format!("{path}.secret"), "is required for this algorithm"))
        }
        (None, None) => {
            Err(Refusal::missing(format!("{path}.file"), "is required for this algorithm"))
        }
        (Some(_), None) => Ok(()),
    }
}

/// The most keys of an identity: a rotation needs two or three.
const KEYS_MAX: usize = 16;
const WITHOUT_HTTP: &str =
    "must be left out: this program was built without the feature `http-backends`";
const OF_THE_GATEWAY: &str =
    "must not be passed on: the gateway sets it, or it is of the connection";
const ONE_SOURCE: &str = "must be left out where jwks_url is given";
const NO_KEYS: &str = "is required where jwks_url is not given: one [[identity.keys]] at least";
const NO_PLACE: &str = "must be true where no other place of a token is given";
const NO_ALGORITHM: &str = "must name one at least";
const TOO_MANY_KEYS: &str = "must be 16 tables at most";
