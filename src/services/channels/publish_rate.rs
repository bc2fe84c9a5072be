//! How often one client publishes in the channels of a namespace.

use std::sync::Arc;

use crate::channels::Namespace;
use crate::timer::Millis;

/// What a client has published in namespaces with a rate, as far as it has not drained. At most one entry for
/// each such namespace.
#[derive(Debug, Default)]
pub(super) struct PublishRates {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    namespace: Arc<Namespace>,
    level: u64,
    /// The moment for which the level holds.
    at: Millis,
}

impl PublishRates {
    /// Notes a publication. Whether the rate of the namespace allows it.
    pub(super) fn allow(&mut self, namespace: &Arc<Namespace>, now: Millis) -> bool {
        let Some(rate) = namespace.publish_rate else { return true };
        let known = self.entries.iter_mut().find(|own| own.namespace.name == namespace.name);
        let Some(own) = known else {
            self.entries.reserve_exact(1);
            self.entries.push(Entry { namespace: Arc::clone(namespace), level: 1, at: now });
            return true;
        };
        if !Arc::ptr_eq(&own.namespace, namespace) {
            // The options have changed; nothing else is to keep the former ones.
            own.namespace = Arc::clone(namespace);
        }
        let level = own.level.saturating_sub(rate.drained(own.at, now));
        let is_allowed = rate.room(level) > 0;
        (own.level, own.at) = (level + u64::from(is_allowed), now);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rate::Rate;

    fn namespace(name: &str, per_s: u32, burst: u32) -> Arc<Namespace> {
        let publish_rate = Some(Rate { per_s, burst });
        Arc::new(Namespace { publish_rate, ..Namespace::new(name) })
    }

    proptest! {
        /// In any time from the first publication on, at most the burst and what drains are allowed.
        #[test]
        fn a_client_publishes_the_burst_and_then_at_the_rate(
            waits in prop::collection::vec(0..400_u64, 1..100),
            per_s in 1..50_u32,
            burst in 1..20_u32,
        ) {
            let (own, mut rates) = (namespace("a", per_s, burst), PublishRates::default());
            let (mut now, mut allowed) = (0, 0);
            for ms in waits {
                now += ms;
                allowed += u64::from(rates.allow(&own, Millis(now)));
                prop_assert!(allowed <= u64::from(burst) + now * u64::from(per_s) / 1000 + 1);
            }
            prop_assert!(allowed >= 1);
        }
    }

    #[test]
    fn namespaces_have_rates_of_their_own_and_most_have_none() {
        let mut rates = PublishRates::default();
        let (one, other) = (namespace("a", 1, 1), namespace("b", 1, 1));
        assert!(rates.allow(&one, Millis(0)) && rates.allow(&other, Millis(0)));
        assert!(!rates.allow(&one, Millis(999)) && rates.allow(&one, Millis(1000)));
        let changed = namespace("a", 1, 9);
        assert!(rates.allow(&changed, Millis(1000)), "after a reload");
        assert_eq!(rates.entries.len(), 2);
        let none = Arc::new(Namespace::new("c"));
        assert!((0..100).all(|_| rates.allow(&none, Millis(0))));
        assert_eq!(rates.entries.len(), 2);
    }
}
