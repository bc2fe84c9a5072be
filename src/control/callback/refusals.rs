//! Refusals that hold for a moment: a page that reconnects in a loop does not reach the backend.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::request::RequestDigest;
use crate::services::IdentityOutcome;

/// The latest refusals, by the digest of what was refused. It holds no part of a request itself.
#[derive(Debug)]
pub(super) struct Refusals {
    holds: Duration,
    by_request: HashMap<RequestDigest, IdentityOutcome>,
    /// In the order in which they end: all hold equally long.
    ends: VecDeque<(Instant, RequestDigest)>,
}

impl Refusals {
    /// Refusals that hold this long; zero for none.
    pub(super) fn new(holds: Duration) -> Self {
        Self { holds, by_request: HashMap::new(), ends: VecDeque::new() }
    }

    /// The refusal of an equal request, if there is one that holds.
    pub(super) fn find(
        &mut self,
        request: &RequestDigest,
        now: Instant,
    ) -> Option<&IdentityOutcome> {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.forget_oldest();
        }
        self.by_request.get(request)
    }

    /// Keeps a refusal. The oldest makes room for it.
    pub(super) fn keep(&mut self, request: RequestDigest, outcome: IdentityOutcome, now: Instant) {
        if self.holds.is_zero() || self.by_request.contains_key(&request) {
            return;
        }
        if self.ends.len() >= REFUSALS_MAX {
            self.forget_oldest();
        }
        self.by_request.insert(request, outcome);
        self.ends.push_back((now + self.holds, request));
    }

    fn forget_oldest(&mut self) {
        if let Some((_, request)) = self.ends.pop_front() {
            self.by_request.remove(&request);
        }
    }
}

/// The most refusals that are kept, each of at most 2 KB.
const REFUSALS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Rejection;

    fn digest(number: usize) -> RequestDigest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn a_refusal_holds_for_its_time() {
        let outcome = IdentityOutcome::Refused(Rejection::forbidden("no"));
        let holds = Duration::from_secs(1);
        let start = Instant::now();
        let mut refusals = Refusals::new(holds);
        refusals.keep(digest(1), outcome.clone(), start);
        refusals.keep(digest(1), IdentityOutcome::unavailable(), start + holds / 2);
        assert_eq!(refusals.find(&digest(1), start + holds / 2), Some(&outcome));
        assert_eq!(refusals.find(&digest(2), start), None);
        assert_eq!(refusals.find(&digest(1), start + holds), None);
        let mut none = Refusals::new(Duration::ZERO);
        none.keep(digest(1), outcome, start);
        assert_eq!(none.find(&digest(1), start), None);
    }

    #[test]
    fn a_flood_of_refusals_is_bounded() {
        let outcome = IdentityOutcome::Refused(Rejection::forbidden("no"));
        let start = Instant::now();
        let mut refusals = Refusals::new(Duration::from_secs(1));
        for number in 0..REFUSALS_MAX * 2 {
            refusals.keep(digest(number), outcome.clone(), start);
        }
        assert_eq!((refusals.ends.len(), refusals.by_request.len()), (REFUSALS_MAX, REFUSALS_MAX));
        assert!(refusals.find(&digest(REFUSALS_MAX * 2 - 1), start).is_some());
        assert!(refusals.find(&digest(0), start).is_none());
        let late = start + Duration::from_secs(1);
        assert!(refusals.find(&digest(0), late).is_none());
        assert!(refusals.ends.is_empty() && refusals.by_request.is_empty());
    }
}
