//! Identities that need keys from files, or other servers, made from their options.

use std::fs;
use std::sync::Arc;

#[cfg(feature = "http-backends")]
use crate::config::{BackendOptions, CallbackOptions, ServerUrl};
use crate::config::{JwtOptions, TokenKey};
#[cfg(feature = "http-backends")]
use crate::control::{CallbackSettings, HttpUrl, KeySetSettings, Trust};
use crate::jwt::{ClaimRules, Key, KeyError, KeySet, Verifier};
use crate::services::identity::{JwtJudge, TokenPlaces};

/// What judges the tokens of an identity.
pub(super) fn judge(name: &str, own: &JwtOptions) -> Arc<JwtJudge> {
    let rules = ClaimRules {
        issuers: own.issuers.clone(),
        audiences: own.audiences.clone(),
        leeway_ms: own.leeway_ms,
        needs_expiry: own.exp_required,
        user: own.user_claim.clone(),
    };
    Arc::new(JwtJudge {
        name: name.into(),
        verifier: Verifier { token_bytes_max: own.token_bytes_max, rules },
        rooms_claim: own.rooms_claim.clone(),
        rights_claim: own.rights_claim.clone(),
        info_claim: own.info_claim.clone(),
    })
}

/// Where its tokens stand.
pub(super) fn places(own: &JwtOptions) -> TokenPlaces {
    TokenPlaces {
        authorization: own.token_authorization,
        subprotocol_prefix: own.token_subprotocol.clone(),
        cookie: own.token_cookie.clone(),
        query: own.token_query.clone(),
    }
}

/// The keys of the configuration, some of them in files.
///
/// # Errors
/// Which file cannot be read, or holds no key for its algorithm.
pub(super) fn configured_keys(name: &str, keys: &[TokenKey]) -> Result<KeySet, String> {
    let mut set = KeySet::default();
    for own in keys {
        let key = match (&own.file, &own.secret) {
            (Some(file), _) => {
                let wrong = |why: &dyn ToString| {
                    format!("identity {name}: the key file {file} {}", why.to_string())
                };
                let pem = fs::read(file.path())
                    .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
                Key::from_pem(own.algorithm, &pem).map_err(|error| wrong(&error))?
            }
            (None, Some(secret)) => Key::from_secret(own.algorithm, secret.expose().as_bytes())
                .map_err(|error| format!("identity {name}: a secret {error}"))?,
            (None, None) => {
                return Err(format!("identity {name}: a key {}", KeyError::NoPublicKey));
            }
        };
        set.add(own.kid.clone(), key);
    }
    Ok(set)
}

/// How the keys of an identity are fetched from where they are published.
#[cfg(feature = "http-backends")]
pub(super) fn key_set_settings(
    name: &str,
    own: &JwtOptions,
    backend: &BackendOptions,
    authorities: Option<&[u8]>,
) -> Result<KeySetSettings, String> {
    let url = own.jwks_url.as_ref().map_or("", ServerUrl::expose);
    let (url, trust) = server(name, url, backend, authorities)?;
    Ok(KeySetSettings {
        url,
        trust,
        algorithms: own.published_algorithms(),
        refresh_ms: own.jwks_refresh_ms,
        unknown_key_ms: own.jwks_unknown_key_ms,
        fetch_ms: own.jwks_fetch_ms,
        waiting_max: backend.waiting_max,
    })
}

/// How a backend is asked.
#[cfg(feature = "http-backends")]
pub(super) fn callback_settings(
    name: &str,
    own: &CallbackOptions,
    backend: &BackendOptions,
    authorities: Option<&[u8]>,
) -> Result<CallbackSettings, String> {
    let (url, trust) = server(name, own.callback_url.expose(), backend, authorities)?;
    Ok(CallbackSettings {
        name: name.into(),
        url,
        trust,
        headers: own.callback_headers.clone(),
        cookies: own.callback_cookies.clone(),
        query: own.callback_query.clone(),
        callback_ms: own.callback_ms,
        connections_max: own.connections_max,
        waiting_max: backend.waiting_max,
        refusal_ms: own.refusal_ms,
        failures_max: own.failures_max,
    })
}

/// What stands in the file of authorities, if one is named.
///
/// # Errors
/// If it cannot be read.
#[cfg(feature = "http-backends")]
pub(super) fn read_authorities(
    name: &str,
    backend: &BackendOptions,
) -> Result<Option<Vec<u8>>, String> {
    let read = backend.tls_ca.as_ref().map(|file| {
        let wrong = |error| format!("identity {name}: the file {file} cannot be read: {error}");
        fs::read(file.path()).map_err(wrong)
    });
    read.transpose()
}

/// Where a server is, and whose certificates it may have.
#[cfg(feature = "http-backends")]
fn server(
    name: &str,
    url: &str,
    backend: &BackendOptions,
    authorities: Option<&[u8]>,
) -> Result<(HttpUrl, Option<Trust>), String> {
    let url =
        HttpUrl::parse(url).map_err(|error| format!("the url of identity {name}: {error}"))?;
    if !url.has_tls() {
        return Ok((url, None));
    }
    let trust = match (authorities, &backend.tls_ca) {
        (Some(pem), Some(file)) => Trust::from_pem(pem)
            .map_err(|error| format!("identity {name}: the file {file} {error}"))?,
        (Some(_) | None, _) => {
            Trust::system().map_err(|error| format!("identity {name}: {url} {error}"))?
        }
    };
    Ok((url, Some(trust)))
}
