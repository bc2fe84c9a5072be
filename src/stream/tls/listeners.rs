//! What the handshakes of a loop's listeners go by.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::certificates::ListenerConfig;
use crate::tls::SecretLog;
use crate::work::prices;

/// For each listener, how it does its handshakes; `None` where it is plain.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Option<Listener>>);

#[derive(Debug)]
struct Listener {
    /// What all loops go by, which may be replaced.
    shared: ListenerConfig,
    /// What `own` was made of.
    made_of: Arc<ServerConfig>,
    /// The same, with the log of this loop.
    own: Arc<ServerConfig>,
    log: Arc<SecretLog>,
}

impl Listeners {
    /// From now on the listeners, each by its number, do their handshakes so. Gives what the secrets
    /// of handshakes are learnt from, if there are any.
    pub(super) fn configure(
        &mut self,
        configs: &[Option<ListenerConfig>],
        former: Option<Arc<SecretLog>>,
    ) -> Option<Arc<SecretLog>> {
        // All of them log to the same place, if to any, for the life of the process: handshakes under
        // way go on to log to the first one.
        let operators = configs.iter().flatten().next().map(|own| Arc::clone(&own.now().key_log));
        let log = former.or_else(|| operators.map(|next| Arc::new(SecretLog::new(next))));
        let listener = |shared: &Option<ListenerConfig>| {
            let (shared, log) = (shared.clone()?, Arc::clone(log.as_ref()?));
            let made_of = shared.now();
            Some(Listener { own: own_of(&made_of, &log), shared, made_of, log })
        };
        self.0 = configs.iter().map(listener).collect();
        log
    }

    /// Whether connections of this listener speak TLS.
    #[inline]
    pub(super) fn has(&self, listener: usize) -> bool {
        self.0.get(listener).is_some_and(Option::is_some)
    }

    /// What a handshake that begins now goes by, to its end, and what a full one is charged with. `None`
    /// for a plain listener.
    pub(super) fn config(&mut self, listener: usize) -> Option<(Arc<ServerConfig>, u64)> {
        let own = self.0.get_mut(listener)?.as_mut()?;
        if !own.shared.is(&own.made_of) {
            own.made_of = own.shared.now();
            own.own = own_of(&own.made_of, &own.log);
        }
        let full_price = match own.shared.may_sign_with_rsa() {
            true => prices::TLS_FULL_RSA,
            false => prices::TLS_FULL,
        };
        Some((Arc::clone(&own.own), full_price))
    }
}

fn own_of(shared: &ServerConfig, log: &Arc<SecretLog>) -> Arc<ServerConfig> {
    // What the loops share lies behind references in it; the log is this loop's.
    let mut own = shared.clone();
    own.key_log = Arc::<SecretLog>::clone(log);
    own.enable_secret_extraction = true;
    own.max_early_data_size = 0;
    Arc::new(own)
}
