//! The look-ups of the process: the control thread, if a route needs it, and what it looks up.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use crate::config::ResolvedConfig;
#[cfg(feature = "redis")]
use crate::control::{ControlRole, ControlThread, RedisSettings, RedisUrl};
use crate::metrics::ControlCounters;
use crate::server::TokenLookups;

/// The look-ups by the name of their identity, and the thread that does them.
#[derive(Default)]
pub(super) struct Lookups {
    pub(super) tokens: TokenLookups,
    /// Of all control threads.
    pub(super) counters: Arc<ControlCounters>,
    #[cfg(feature = "redis")]
    control: Option<ControlThread>,
}

impl Lookups {
    /// Starts the control thread if the configuration has an identity of kind `redis`. A program without
    /// the feature has refused such a configuration before.
    ///
    /// # Errors
    /// Those of [`ControlThread::start`].
    #[cfg(feature = "redis")]
    pub(super) fn start(settings: &ResolvedConfig) -> Result<Self, Box<dyn Error>> {
        let mut lookups = Self::default();
        for (name, redis) in settings.redis_identities() {
            let control = match lookups.control.take() {
                Some(control) => control,
                None => ControlThread::start(ControlRole::Backends, &lookups.counters)?,
            };
            let url = RedisUrl::parse(redis.url.expose());
            let tokens = control.redis_tokens(RedisSettings {
                url: url.map_err(|error| format!("the url of identity {name}: {error}"))?,
                token_prefix: redis.token_prefix.clone(),
                lookup_ms: redis.lookup_ms,
                deadline_ms: redis.deadline_ms(settings.timeouts.handshake_ms),
                lookups_max: redis.lookups_max,
                one_time: redis.one_time,
            });
            lookups.tokens.insert(name.to_owned(), Arc::new(tokens));
            lookups.control = Some(control);
        }
        Ok(lookups)
    }

    #[cfg(not(feature = "redis"))]
    #[expect(clippy::unnecessary_wraps, reason = "the thread of other builds may not start")]
    pub(super) fn start(_: &ResolvedConfig) -> Result<Self, Box<dyn Error>> {
        Ok(Self::default())
    }
}

/// Keeps what a panic hook was told if the panic is one of the control thread, whose end is a line of
/// the log; whether it is one.
#[cfg(any(feature = "admin", feature = "redis"))]
pub(super) fn keep_panic(panic: &PanicHookInfo<'_>) -> bool {
    crate::control::panics::keep(panic)
}

#[cfg(not(any(feature = "admin", feature = "redis")))]
pub(super) fn keep_panic(_: &PanicHookInfo<'_>) -> bool {
    false
}
