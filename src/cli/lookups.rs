//! The look-ups of the process: the control thread, if a route needs it, and what it looks up.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::sync::Arc;

#[cfg(feature = "redis")]
use crate::config::RedisOptions;
use crate::config::ResolvedConfig;
#[cfg(feature = "redis")]
use crate::control::{ControlRole, ControlThread, RedisSettings, RedisUrl};
use crate::metrics::ControlCounters;
use crate::server::TokenLookups;

/// The look-ups by the name of their identity, and the thread that does them.
#[derive(Default)]
pub(super) struct Lookups {
    tokens: TokenLookups,
    /// Of all control threads, over all configurations.
    counters: Arc<ControlCounters>,
    /// What each look-up was begun with.
    #[cfg(feature = "redis")]
    begun: Vec<Begun>,
    #[cfg(feature = "redis")]
    control: Option<Arc<ControlThread>>,
}

/// What a look-up was begun with: the name of its identity, its options, and its deadline in
/// milliseconds.
#[cfg(feature = "redis")]
type Begun = (String, RedisOptions, u64);

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
        for (name, redis) in settings.redis_identities() {
            let deadline_ms = redis.deadline_ms(settings.timeouts.handshake_ms);
            let wanted = (name.to_owned(), redis.clone(), deadline_ms);
            let stays = self.begun.contains(&wanted);
            let tokens = match self.tokens.get(name).filter(|_| stays) {
                Some(tokens) => Arc::clone(tokens),
                None => {
                    let control = match &next.control {
                        Some(control) => control,
                        None => next.control.insert(Arc::new(ControlThread::start(
                            ControlRole::Backends,
                            &self.counters,
                        )?)),
                    };
                    Arc::new(control.redis_tokens(redis_settings(&wanted)?))
                }
            };
            next.tokens.insert(name.to_owned(), tokens);
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

    /// What looks tokens up, by the name of the identity.
    pub(super) fn tokens(&self) -> &TokenLookups {
        &self.tokens
    }

    /// The counters of all control threads.
    pub(super) fn counters(&self) -> &Arc<ControlCounters> {
        &self.counters
    }
}

#[cfg(feature = "redis")]
fn redis_settings((name, redis, deadline_ms): &Begun) -> Result<RedisSettings, String> {
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
