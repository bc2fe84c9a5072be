//! Whether the cost of a connection grows with the number of connections.

/// Two numbers of connections, of which the larger one has the higher cost of each connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CostGrowth {
    pub(super) from_connections: usize,
    pub(super) from_bytes: f64,
    pub(super) to_connections: usize,
    pub(super) to_bytes: f64,
}

/// The worst growth that is more than chance, of (connections, bytes per connection) in ascending
/// order of connections.
pub(super) fn worst_growth(costs: &[(usize, f64)]) -> Option<CostGrowth> {
    let mut worst: Option<CostGrowth> = None;
    for (index, &(from_connections, from_bytes)) in costs.iter().enumerate() {
        for &(to_connections, to_bytes) in &costs[index + 1..] {
            let chance = chance_bytes(from_connections) + chance_bytes(to_connections);
            let is_worse = worst.is_none_or(|worst| to_bytes > worst.to_bytes);
            if to_bytes > from_bytes + chance && is_worse {
                worst = Some(CostGrowth { from_connections, from_bytes, to_connections, to_bytes });
            }
        }
    }
    worst
}

/// The uncertainty of the cost of each of `connections`.
fn chance_bytes(connections: usize) -> f64 {
    CHANCE_BYTES / connections.max(1) as f64
}

/// By this much one measurement differs from the next: a few pages of stack and allocator may or
/// may not have been touched before the baseline.
pub(super) const CHANCE_BYTES: f64 = 64.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_cost_is_no_growth() {
        assert_eq!(worst_growth(&[]), None);
        assert_eq!(worst_growth(&[(1000, 120.0), (5000, 66.0), (19_000, 65.0)]), None);
        assert_eq!(worst_growth(&[(1000, 66.0), (5000, 70.0), (19_000, 72.0)]), None);
    }

    #[test]
    fn the_largest_growth_is_found() {
        let growth = worst_growth(&[(1000, 66.0), (5000, 90.0), (19_000, 140.0)]).unwrap();
        assert_eq!(growth.to_connections, 19_000);
        assert_eq!(growth.to_bytes, 140.0);
    }
}
