//! How the traffic secrets of a connection are learnt: the library hands out keys, from which no
//! further keys can be derived, but logs the secrets (as for `SSLKEYLOGFILE`).

use std::sync::{Arc, Mutex, PoisonError};

use rustls::KeyLog;

use super::secret::Secret;

/// What was logged in one step of one handshake. Each loop has its own, so its lock is never
/// contended; the library's trait asks for one.
#[derive(Debug)]
pub struct SecretLog {
    captured: Mutex<Captured>,
    /// Where the operator wants secrets to go.
    next: Arc<dyn KeyLog>,
}

/// The traffic secrets of a TLS 1.3 connection, as far as they were logged.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    pub client: Option<Secret>,
    pub server: Option<Secret>,
}

impl SecretLog {
    /// Nothing logged; what is goes on to `next`.
    pub fn new(next: Arc<dyn KeyLog>) -> Self {
        Self { captured: Mutex::default(), next }
    }

    /// Takes what was logged since the last call.
    pub fn take(&self) -> Captured {
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = captured.clone();
        // Wiped where it lies, which a move would not do.
        *captured = Captured::default();
        taken
    }
}

impl KeyLog for SecretLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let own = Secret::of(&[secret]);
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => captured.client = own,
            "SERVER_TRAFFIC_SECRET_0" => captured.server = own,
            _ => {}
        }
        drop(captured);
        if self.next.will_log(label) {
            self.next.log(label, client_random, secret);
        }
    }
}
