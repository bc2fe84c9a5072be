//! The log lines about Redis outages: one when an outage starts, one when it ends, and no flood.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::control::RedisUrl;

/// Which outages are logged.
#[derive(Debug)]
pub(super) struct OutageLog {
    url: RedisUrl,
    is_outage_logged: bool,
    recovery_logged_at: Option<Instant>,
}

impl OutageLog {
    pub(super) fn new(url: RedisUrl) -> Self {
        Self { url, is_outage_logged: false, recovery_logged_at: None }
    }

    /// Redis does not work. May be called repeatedly during an outage; returns whether it logged
    /// one.
    pub(super) fn outage(&mut self, now: Instant, why: &dyn Display) -> bool {
        let is_flapping = self.recovery_logged_at.is_some_and(|at| now - at < QUIET);
        if self.is_outage_logged || is_flapping {
            log::debug!("Redis at {}: {why}", self.url);
            return false;
        }
        self.is_outage_logged = true;
        log::warn!(
            "Redis at {} is unavailable: {why}; logins with its tokens fail until it is back",
            self.url
        );
        true
    }

    /// Redis works; returns whether it logged a recovery.
    pub(super) fn recovery(&mut self, now: Instant) -> bool {
        let is_logged = self.is_outage_logged;
        if is_logged {
            self.is_outage_logged = false;
            self.recovery_logged_at = Some(now);
            log::info!("Redis at {} is back", self.url);
        }
        is_logged
    }
}

/// A new outage this soon after a recovery is not logged, as Redis may be flapping.
const QUIET: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_and_its_end_are_logged_once_each() {
        let mut notices = OutageLog::new(RedisUrl::parse("redis://localhost").unwrap());
        let start = Instant::now();
        assert!(!notices.recovery(start));
        assert!(notices.outage(start, &"refused"));
        assert!(!notices.outage(start + QUIET, &"refused"));
        assert!(notices.recovery(start + QUIET));
        assert!(!notices.recovery(start + QUIET));
    }

    #[test]
    fn a_flapping_redis_is_logged_once_in_a_while() {
        let mut notices = OutageLog::new(RedisUrl::parse("redis://localhost").unwrap());
        let start = Instant::now();
        assert!(notices.outage(start, &"slow"));
        assert!(notices.recovery(start));
        for second in 0..QUIET.as_secs() {
            let now = start + Duration::from_secs(second);
            assert!(!notices.outage(now, &"slow"));
            assert!(!notices.recovery(now));
        }
        assert!(!notices.outage(start + QUIET / 2, &"refused"));
        // An outage that lasts is logged in the end.
        assert!(notices.outage(start + QUIET, &"refused"));
    }
}
