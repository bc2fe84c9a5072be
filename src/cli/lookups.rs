//! The look-ups of the process: the control thread, if a route needs it, and what it looks up.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use crate::config::ResolvedConfig;
#[cfg(feature = "redis")]
use crate::config::{RedisOptions, TokenPlace};
#[cfg(feature = "redis")]
use crate::control::{ControlRole, ControlThread, RedisSettings, RedisUrl};
use crate::metrics::ControlCounters;
use crate::server::IdentityChecks;
#[cfg(feature = "redis")]
use crate::server::token_in;
#[cfg(feature = "redis")]
use crate::services::identity::{TokenIdentity, Tokens};

/// The look-ups by the name of their identity, and the thread that does them.
#[derive(Default)]
pub(super) struct Lookups {
    checks: IdentityChecks,
    /// Of all control threads, over all configurations.
    counters: Arc<ControlCounters>,
    /// What each look-up was begun with.
    #[cfg(feature = "redis")]
    begun: Vec<Begun>,
    #[cfg(feature = "redis")]
    control: Option<Arc<ControlThread>>,
}

/// What a look-up was begun with: the name of its identity, where clients show it, its options, and its
/// deadline in milliseconds.
#[cfg(feature = "redis")]
type Begun = (String, TokenPlace, RedisOptions, u64);

impl Lookups {
    /// Starts the control thread if the configuration has an identity of kind `redis`. A program without
    /// the feature has refused such a configuration before.
    ///
    /// # Errors
    /// Those of [`ControlThread::start`].
    pub(super) fn start(settings: &ResolvedConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Self::default().next(settings)
    }

    /// The look-ups of the next configuration. Those whose settings stay go on, with their connection;
    /// others end with the last login that waits for them. The thread stays once it was needed.
    ///
    /// # Errors
    /// Those of [`ControlThread::start`], if it is needed for the first time.
    #[cfg(feature = "redis")]
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let control = self.control.clone();
        let counters = Arc::clone(&self.counters);
        let mut next = Self { control, counters, ..Self::default() };
        for (name, place, redis) in settings.redis_identities() {
            let deadline_ms = redis.deadline_ms(settings.timeouts.handshake_ms);
            let wanted = (name.to_owned(), place.clone(), redis.clone(), deadline_ms);
            let stays = self.begun.contains(&wanted);
            let check = match self.checks.get(name).filter(|_| stays) {
                Some(check) => Arc::clone(check),
                None => {
                    let control = match &next.control {
                        Some(control) => control,
                        None => next.control.insert(Arc::new(ControlThread::start(
                            ControlRole::Backends,
                            &self.counters,
                        )?)),
                    };
                    let tokens = Arc::new(control.redis_tokens(redis_settings(&wanted)?));
                    Arc::new(TokenIdentity::new(name, token_in(place), Tokens::Looked(tokens)))
                }
            };
            next.checks.insert(name.to_owned(), check);
            next.begun.push(wanted);
        }
        Ok(next)
    }

    #[cfg(not(feature = "redis"))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "the thread of other builds may not start"
    )]
    pub(super) fn next(&self, _: &ResolvedConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::default())
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

#[cfg(feature = "redis")]
fn redis_settings((name, _, redis, deadline_ms): &Begun) -> Result<RedisSettings, String> {
    let url = RedisUrl::parse(redis.url.expose());
    Ok(RedisSettings {
        url: url.map_err(|error| format!("the url of identity {name}: {error}"))?,
        token_prefix: redis.token_prefix.clone(),
        lookup_ms: redis.lookup_ms,
        deadline_ms: *deadline_ms,
        lookups_max: redis.lookups_max,
        one_time: redis.one_time,
    })
}

/// Keeps what a panic hook was told if the panic is one of the control thread, whose end is a line of
/// the log; whether it is one.
#[cfg(any(feature = "acme", feature = "admin", feature = "redis"))]
pub(super) fn keep_panic(panic: &PanicHookInfo<'_>) -> bool {
    crate::control::panics::keep(panic)
}

#[cfg(not(any(feature = "acme", feature = "admin", feature = "redis")))]
pub(super) fn keep_panic(_: &PanicHookInfo<'_>) -> bool {
    false
}
