//! Which of several servers is next.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The rule by which connections are spread over servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The same server for the same client, as long as that can be had (rendezvous hashing): when a
    /// server comes or goes, only its own part moves.
    Hash,
    /// The one with the fewest connections for its weight.
    #[default]
    LeastConnections,
    /// Of two that are drawn, the one with fewer connections for its weight: as good with many
    /// servers, and no crowd runs to one that has just come.
    PowerOfTwo,
}

/// A server that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Tells servers apart, and is the same in every process.
    pub(super) hash: u64,
    pub(super) weight: u32,
    pub(super) connections: u32,
}

impl Balance {
    /// The position of the candidate that is next; `None` without any.
    pub(super) fn choose(self, candidates: &[Candidate], key: u64, random: u64) -> Option<usize> {
        let count = candidates.len();
        let at = |random: u64| usize::try_from(random % count.max(1) as u64).unwrap_or(0);
        match self {
            Self::Hash => {
                let scores = candidates.iter().map(|own| score(key, own)).enumerate();
                scores.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
            }
            Self::LeastConnections => {
                // From a random one on, so that equals have equal parts.
                let start = at(random);
                let order = (start..count).chain(0..start);
                order.min_by(|a, b| compare(candidates.get(*a), candidates.get(*b)))
            }
            Self::PowerOfTwo => {
                let first = at(random);
                let second = at(random >> 32);
                let two = [first, second].into_iter().filter(|index| *index < count);
                two.min_by(|a, b| compare(candidates.get(*a), candidates.get(*b)))
            }
        }
    }
}

/// Compares how much servers have for their weight once they have one more, without a division:
/// a/x < b/y as a·y < b·x.
fn compare(a: Option<&Candidate>, b: Option<&Candidate>) -> std::cmp::Ordering {
    let (Some(a), Some(b)) = (a, b) else { return std::cmp::Ordering::Equal };
    let load = |own: &Candidate, other: &Candidate| {
        (u64::from(own.connections) + 1) * u64::from(other.weight)
    };
    load(a, b).cmp(&load(b, a))
}

/// The score of a server for a client: -w / ln(h), with a hash h of both between 0 and 1. Of two
/// servers the one with twice the weight has the higher score for two thirds of all clients.
fn score(key: u64, candidate: &Candidate) -> f64 {
    // A fixed key, as all loops must agree.
    let mut hasher = DefaultHasher::new();
    (key, candidate.hash).hash(&mut hasher);
    // 53 bits, as many as such a number has, and never 0 or 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let fraction = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight) / fraction.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(of: &[(u32, u32)]) -> Vec<Candidate> {
        let numbered = (0_u64..).zip(of);
        numbered
            .map(|(hash, (weight, connections))| Candidate {
                hash,
                weight: *weight,
                connections: *connections,
            })
            .collect()
    }

    /// How many of `count` connections each gets, if none of them ends.
    fn spread(balance: Balance, weights: &[u32], count: u64) -> Vec<u32> {
        let mut own = candidates(&weights.iter().map(|weight| (*weight, 0)).collect::<Vec<_>>());
        for key in 0..count {
            let random = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let chosen = balance.choose(&own, key, random).unwrap();
            own[chosen].connections += 1;
        }
        own.iter().map(|own| own.connections).collect()
    }

    #[test]
    fn parts_are_those_of_the_weights() {
        assert_eq!(spread(Balance::LeastConnections, &[1, 1, 2], 400), [100, 100, 200]);
        for balance in [Balance::PowerOfTwo, Balance::Hash] {
            let parts = spread(balance, &[1, 1, 2], 4000);
            let least = if balance == Balance::Hash { 900 } else { 700 };
            assert!(parts[0] > least && parts[1] > least && parts[2] > 1800, "{parts:?}");
        }
    }

    #[test]
    fn without_candidates_there_is_no_choice() {
        for balance in [Balance::Hash, Balance::LeastConnections, Balance::PowerOfTwo] {
            assert_eq!(balance.choose(&[], 1, u64::MAX), None);
        }
    }

    proptest! {
        /// The one that is chosen has no more than any other, for its weight.
        #[test]
        fn least_connections_chooses_the_least_loaded(
            of in prop::collection::vec((1..100u32, 0..1000u32), 1..20),
            random: u64,
        ) {
            let chosen = Balance::LeastConnections.choose(&candidates(&of), 0, random).unwrap();
            let load = |(weight, connections): (u32, u32)| {
                f64::from(connections + 1) / f64::from(weight)
            };
            let least = of.iter().map(|own| load(*own)).fold(f64::INFINITY, f64::min);
            prop_assert!(load(of[chosen]) <= least * 1.000_001);
        }

        /// A client stays where it is as long as its server does: of the others, whatever they are,
        /// none takes it over.
        #[test]
        fn a_client_moves_only_with_its_server(key: u64, weights in prop::collection::vec(1..9u32, 2..9), gone: usize) {
            let mut own = candidates(&weights.iter().map(|weight| (*weight, 0)).collect::<Vec<_>>());
            let before = own[Balance::Hash.choose(&own, key, 0).unwrap()].hash;
            let gone = own.remove(gone % weights.len()).hash;
            let after = own[Balance::Hash.choose(&own, key, 0).unwrap()].hash;
            prop_assert!(before == after || before == gone);
        }
    }
}
