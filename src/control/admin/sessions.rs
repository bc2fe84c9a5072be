//! Logins of the dashboard: a cookie stands for a token that was shown once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Sessions by the hash of their cookie: a look-up then takes a time that tells nothing about the cookie.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Instant>>);

impl Sessions {
    /// Whether the request has the cookie of a session.
    pub(super) fn holds(&self, headers: &HeaderMap) -> bool {
        let Some(cookie) = cookie(headers) else { return false };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, ends| *ends > Instant::now());
        sessions.contains_key(&hash(cookie))
    }

    /// Begins a session and gives its cookie. The one that ends first makes room if there are too many.
    pub(super) fn begin(&self) -> Option<String> {
        let mut bytes = [0; 24];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let cookie: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX
            && let Some(first) = sessions.iter().min_by_key(|(_, ends)| **ends).map(|(own, _)| *own)
        {
            sessions.remove(&first);
        }
        sessions.insert(hash(&cookie), Instant::now() + SESSION);
        Some(cookie)
    }

    /// Ends the session of the request, if it has one.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(cookie));
        }
    }
}

/// The value of our cookie (RFC 6265 §4.2.1).
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn hash(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

/// The name of the cookie.
pub(super) const COOKIE: &str = "tidegate_admin";
/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
const SESSIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(cookie: &str) -> HeaderMap {
        let line = format!("a=b; {COOKIE}={cookie}");
        HeaderMap::from_iter([(header::COOKIE, line.parse().unwrap())])
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let sessions = Sessions::default();
        assert!(!sessions.holds(&HeaderMap::new()) && !sessions.holds(&with_cookie("")));
        let first = with_cookie(&sessions.begin().unwrap());
        assert!(sessions.holds(&first));
        let others: Vec<HeaderMap> =
            (0..SESSIONS_MAX).map(|_| with_cookie(&sessions.begin().unwrap())).collect();
        assert!(!sessions.holds(&first));
        assert!(others.iter().all(|own| sessions.holds(own)));
        sessions.end(&others[0]);
        assert!(!sessions.holds(&others[0]) && sessions.holds(&others[1]));
    }
}
