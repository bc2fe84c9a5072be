//! What checks identities that need files or other servers: made anew for each configuration, or kept.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::sync::Arc;

#[cfg(feature = "http-backends")]
use super::identities::{callback_settings, key_set_settings, read_authorities};
use super::identities::{configured_keys, judge, places};
#[cfg(feature = "redis")]
use crate::config::RedisOptions;
use crate::config::{Identity, IdentityKind, ResolvedConfig};
#[cfg(any(feature = "http-backends", feature = "nats", feature = "redis"))]
use crate::control::{ControlRole, ControlThread};
#[cfg(feature = "redis")]
use crate::control::{RedisSettings, RedisUrl};
use crate::metrics::ControlCounters;
use crate::server::IdentityChecks;
#[cfg(feature = "redis")]
use crate::server::token_in;
use crate::services::IdentityCheck;
use crate::services::identity::{JwtIdentity, JwtKeys};
#[cfg(feature = "redis")]
use crate::services::identity::{TokenIdentity, Tokens};

/// The checks by the name of their identity, and the thread that asks other servers for them.
#[derive(Default)]
pub(super) struct Lookups {
    checks: IdentityChecks,
    /// Of all control threads, over all configurations.
    counters: Arc<ControlCounters>,
    /// What each check was begun with.
    begun: Vec<Begun>,
    #[cfg(any(feature = "http-backends", feature = "nats", feature = "redis"))]
    control: Option<Arc<ControlThread>>,
}

/// What a check was begun with. One that is the same goes on over a reload, with its connections.
#[derive(Clone, PartialEq, Eq)]
struct Begun {
    identity: Identity,
    /// Of a look-up, in milliseconds.
    handshake_ms: u64,
    /// What stood in the file of authorities.
    authorities: Option<Vec<u8>>,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Lookups {
    /// Makes the checks of a configuration, and starts the control thread if one of them needs it.
    ///
    /// # Errors
    /// Those of [`ControlThread::start`](crate::control::ControlThread::start), and a file of keys or
    /// authorities that cannot be used.
    pub(super) fn start(settings: &ResolvedConfig) -> Result<Self, Failure> {
        Self::default().next(settings)
    }

    /// The checks of the next configuration. Those whose settings stay go on, with their connections;
    /// others end with the last client that waits for them. The thread stays once it was needed. Keys in
    /// files are read again.
    ///
    /// # Errors
    /// As [`Lookups::start`].
    pub(super) fn next(&self, settings: &ResolvedConfig) -> Result<Self, Failure> {
        let mut next = Self {
            #[cfg(any(feature = "http-backends", feature = "nats", feature = "redis"))]
            control: self.control.clone(),
            counters: Arc::clone(&self.counters),
            ..Self::default()
        };
        for identity in settings.identities.iter().filter(|own| settings.takes(&own.name)) {
            let wanted = Begun {
                identity: identity.clone(),
                handshake_ms: settings.timeouts.handshake_ms,
                authorities: authorities(identity)?,
            };
            let stays = self.begun.contains(&wanted);
            let check = match self.checks.get(&identity.name).filter(|_| stays) {
                Some(check) => Some(Arc::clone(check)),
                None => next.begin(&wanted)?,
            };
            if let Some(check) = check {
                next.checks.insert(identity.name.clone(), check);
                // Files of keys may have changed under the same name.
                if !matches!(&identity.kind, IdentityKind::Jwt(own, ..) if own.jwks_url.is_none()) {
                    next.begun.push(wanted);
                }
            }
        }
        Ok(next)
    }

    /// The check of an identity; `None` for a kind that needs nothing from here. A program without a feature
    /// has refused the kinds that need it before.
    #[cfg_attr(
        not(any(feature = "http-backends", feature = "redis")),
        expect(clippy::needless_pass_by_ref_mut, reason = "other builds start the thread here")
    )]
    fn begin(&mut self, wanted: &Begun) -> Result<Option<Arc<dyn IdentityCheck>>, Failure> {
        let name = &wanted.identity.name;
        let check: Arc<dyn IdentityCheck> = match &wanted.identity.kind {
            #[cfg(feature = "http-backends")]
            IdentityKind::Callback(own, backend) => {
                let authorities = wanted.authorities.as_deref();
                let settings = callback_settings(name, own, backend, authorities)?;
                Arc::new(self.control()?.callback(settings))
            }
            #[cfg(feature = "http-backends")]
            IdentityKind::Jwt(own, backend, _) if own.jwks_url.is_some() => {
                let authorities = wanted.authorities.as_deref();
                let settings = key_set_settings(name, own, backend, authorities)?;
                let judge = judge(name, own);
                let keys = self.control()?.remote_keys(settings, &judge).into_keys();
                Arc::new(JwtIdentity::new(judge, places(own), keys))
            }
            IdentityKind::Jwt(own, _, keys) => {
                let keys = JwtKeys::Configured(Arc::new(configured_keys(name, keys)?));
                Arc::new(JwtIdentity::new(judge(name, own), places(own), keys))
            }
            #[cfg(feature = "redis")]
            IdentityKind::Redis(place, redis) => {
                let deadline_ms = redis.deadline_ms(wanted.handshake_ms);
                let settings = redis_settings(name, redis, deadline_ms)?;
                let tokens = Arc::new(self.control()?.redis_tokens(settings));
                Arc::new(TokenIdentity::new(name.as_str(), token_in(place), Tokens::Looked(tokens)))
            }
            #[cfg(not(feature = "http-backends"))]
            IdentityKind::Callback(..) => return Ok(None),
            #[cfg(not(feature = "redis"))]
            IdentityKind::Redis(..) => return Ok(None),
            IdentityKind::Certificate(_)
            | IdentityKind::Cookie(_)
            | IdentityKind::Header(_)
            | IdentityKind::Query(_)
            | IdentityKind::Tokens(..) => return Ok(None),
        };
        Ok(Some(check))
    }

    /// The thread that asks other servers, which starts when it is needed for the first time.
    #[cfg(any(feature = "http-backends", feature = "nats", feature = "redis"))]
    pub(super) fn control(&mut self) -> Result<&ControlThread, Failure> {
        let control = match self.control.take() {
            Some(control) => control,
            None => Arc::new(ControlThread::start(ControlRole::Backends, &self.counters)?),
        };
        Ok(self.control.insert(control))
    }

    /// What checks identities that need other servers, by the name of the identity.
    pub(super) fn checks(&self) -> &IdentityChecks {
        &self.checks
    }

    /// The counters of all control threads.
    pub(super) fn counters(&self) -> &Arc<ControlCounters> {
        &self.counters
    }
}

/// What stands in the file of authorities of an identity, if it names one.
#[cfg(feature = "http-backends")]
fn authorities(identity: &Identity) -> Result<Option<Vec<u8>>, String> {
    match &identity.kind {
        IdentityKind::Callback(_, backend) | IdentityKind::Jwt(_, backend, _) => {
            read_authorities(&identity.name, backend)
        }
        IdentityKind::Certificate(_)
        | IdentityKind::Cookie(_)
        | IdentityKind::Header(_)
        | IdentityKind::Query(_)
        | IdentityKind::Redis(..)
        | IdentityKind::Tokens(..) => Ok(None),
    }
}

#[cfg(not(feature = "http-backends"))]
#[expect(clippy::unnecessary_wraps, reason = "other builds read files")]
fn authorities(_: &Identity) -> Result<Option<Vec<u8>>, String> {
    Ok(None)
}

#[cfg(feature = "redis")]
fn redis_settings(
    name: &str,
    redis: &RedisOptions,
    deadline_ms: u64,
) -> Result<RedisSettings, String> {
    let url = RedisUrl::parse(redis.url.expose());
    Ok(RedisSettings {
        url: url.map_err(|error| format!("the url of identity {name}: {error}"))?,
        token_prefix: redis.token_prefix.clone(),
        lookup_ms: redis.lookup_ms,
        deadline_ms,
        lookups_max: redis.lookups_max,
        one_time: redis.one_time,
    })
}

/// Keeps what a panic hook was told if the panic is one of the control thread, whose end is a line of
/// the log; whether it is one.
#[cfg(feature = "control")]
pub(super) fn keep_panic(panic: &PanicHookInfo<'_>) -> bool {
    crate::control::panics::keep(panic)
}

#[cfg(not(feature = "control"))]
pub(super) fn keep_panic(_: &PanicHookInfo<'_>) -> bool {
    false
}
