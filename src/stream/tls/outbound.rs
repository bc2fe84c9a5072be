//! What the handshakes with servers go by: the configurations of upstreams, each with the log of this loop
//! and with sessions of its own to be resumed.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, NoKeyLog};

use crate::tls::SecretLog;

/// The configurations that are in use, as this loop has them.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    configs: Vec<OwnConfig>,
    log: Option<Arc<SecretLog>>,
}

#[derive(Debug)]
struct OwnConfig {
    /// What it was made of, which all loops go by.
    shared: Arc<ClientConfig>,
    own: Arc<ClientConfig>,
}

impl Outbound {
    /// What a handshake that begins now goes by, to its end.
    pub(super) fn config(&mut self, shared: &Arc<ClientConfig>) -> Arc<ClientConfig> {
        let is_same = |own: &&OwnConfig| Arc::ptr_eq(&own.shared, shared);
        if let Some(known) = self.configs.iter().find(is_same) {
            return Arc::clone(&known.own);
        }
        // Those of upstreams that are gone are in no other hands.
        self.configs.retain(|own| Arc::strong_count(&own.shared) > 1);
        let log = self.log.get_or_insert_with(|| Arc::new(SecretLog::new(Arc::new(NoKeyLog))));
        let mut own = ClientConfig::clone(shared);
        own.key_log = Arc::<SecretLog>::clone(log);
        own.enable_secret_extraction = true;
        // What the process shared would be behind a lock that loops contend for.
        own.resumption = Resumption::in_memory_sessions(SERVERS_REMEMBERED_MAX);
        let own = Arc::new(own);
        let shared = Arc::clone(shared);
        self.configs.push(OwnConfig { shared, own: Arc::clone(&own) });
        own
    }

    /// What the secrets of these handshakes are learnt from, once there has been one.
    pub(super) fn log(&self) -> Option<&SecretLog> {
        self.log.as_deref()
    }
}

/// Names of servers whose sessions one upstream can resume on one loop.
const SERVERS_REMEMBERED_MAX: usize = 16;
