//! What the log is told of a Redis that goes and comes back: a line each, and no flood.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::control::RedisUrl;

/// What was said so far.
#[derive(Debug)]
pub(super) struct Notices {
    url: RedisUrl,
    is_gone_said: bool,
    back_said: Option<Instant>,
}

impl Notices {
    pub(super) fn new(url: RedisUrl) -> Self {
        Self { url, is_gone_said: false, back_said: None }
    }

    /// It does not do its work. Called again for as long as that goes on; whether it was said now.
    pub(super) fn gone(&mut self, now: Instant, why: &dyn Display) -> bool {
        let is_flapping = self.back_said.is_some_and(|at| now - at < QUIET);
        if self.is_gone_said || is_flapping {
            log::debug!("Redis at {}: {why}", self.url);
            return false;
        }
        self.is_gone_said = true;
        log::warn!(
            "Redis at {} is unavailable: {why}; logins with its tokens fail until it is back",
            self.url
        );
        true
    }

    /// It does its work; whether it was said now.
    pub(super) fn back(&mut self, now: Instant) -> bool {
        let is_said = self.is_gone_said;
        if is_said {
            self.is_gone_said = false;
            self.back_said = Some(now);
            log::info!("Redis at {} is back", self.url);
        }
        is_said
    }
}

/// After it was back, so long nothing is said of its going again: it may come and go.
const QUIET: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_when_it_goes_and_one_when_it_is_back() {
        let mut notices = Notices::new(RedisUrl::parse("redis://localhost").unwrap());
        let start = Instant::now();
        assert!(!notices.back(start));
        assert!(notices.gone(start, &"refused"));
        assert!(!notices.gone(start + QUIET, &"refused"));
        assert!(notices.back(start + QUIET));
        assert!(!notices.back(start + QUIET));
    }

    #[test]
    fn what_comes_and_goes_is_said_once_in_a_while() {
        let mut notices = Notices::new(RedisUrl::parse("redis://localhost").unwrap());
        let start = Instant::now();
        assert!(notices.gone(start, &"slow"));
        assert!(notices.back(start));
        for second in 0..QUIET.as_secs() {
            let now = start + Duration::from_secs(second);
            assert!(!notices.gone(now, &"slow"));
            assert!(!notices.back(now));
        }
        assert!(!notices.gone(start + QUIET / 2, &"refused"));
        // And it is said in the end if it stays away.
        assert!(notices.gone(start + QUIET, &"refused"));
    }
}
