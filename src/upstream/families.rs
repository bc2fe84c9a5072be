//! The metrics of upstreams: a sample for each server.

use super::{ServerReport, ServerState, UpstreamReport};
use crate::metrics::{Family, FamilyKind, LABELS_MAX, OTHERS, SampleValue, to_float};

/// The families of these upstreams. Of each the first [`LABELS_MAX`] servers have samples of their own,
/// and the others one together.
#[must_use]
pub fn upstream_families(upstreams: &[UpstreamReport]) -> Vec<Family> {
    COLUMNS.iter().map(|column| family(column, upstreams)).collect()
}

fn family(column: &Column, upstreams: &[UpstreamReport]) -> Family {
    let mut family = Family::new(column.kind, column.name, column.help);
    for upstream in upstreams {
        let (own, others) = upstream.servers.split_at(upstream.servers.len().min(LABELS_MAX));
        let mut push = |server: &str, value: f64| {
            let labels = [("upstream", upstream.name.as_str()), ("server", server)];
            family.push(&labels, SampleValue::Number(value));
        };
        for server in own {
            push(&server.address, (column.value)(server));
        }
        if !others.is_empty() {
            push(OTHERS, others.iter().map(column.value).sum());
        }
    }
    family
}

/// A family, and its value for a server.
struct Column {
    kind: FamilyKind,
    name: &'static str,
    help: &'static str,
    value: fn(&ServerReport) -> f64,
}

const COLUMNS: [Column; 7] = [
    Column {
        kind: FamilyKind::Gauge,
        name: "upstream_connections",
        help: "Connections to a server that were begun and have not ended.",
        value: |own| f64::from(own.connections),
    },
    Column {
        kind: FamilyKind::Gauge,
        name: "upstream_up",
        help: "1 while a server gets its part of new connections.",
        value: |own| is(own.is_listed && own.state == ServerState::Up),
    },
    Column {
        kind: FamilyKind::Gauge,
        name: "upstream_drained",
        help: "1 while an operator lets a server have nothing new.",
        value: |own| is(own.state == ServerState::Drained),
    },
    Column {
        kind: FamilyKind::Counter,
        name: "upstream_connects_total",
        help: "Connections to a server that were begun.",
        value: |own| to_float(own.counts.connects),
    },
    Column {
        kind: FamilyKind::Counter,
        name: "upstream_connects_failed_total",
        help: "Connections to a server that were refused, cut, too late or without a valid reply.",
        value: |own| to_float(own.counts.failures),
    },
    Column {
        kind: FamilyKind::Counter,
        name: "upstream_connects_reached_total",
        help: "Connections to a server that came to stand.",
        value: |own| to_float(own.counts.reached),
    },
    Column {
        kind: FamilyKind::Counter,
        name: "upstream_connect_seconds_total",
        help: "Time until connections stood, for all of upstream_connects_reached_total together.",
        value: |own| to_float(own.counts.reached_ms) / 1000.0,
    },
];

fn is(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::ServerCounts;

    fn report(number: usize, state: ServerState) -> ServerReport {
        ServerReport {
            address: format!("10.0.0.1:{number}"),
            weight: 1,
            state,
            is_listed: true,
            connections: 2,
            counts: ServerCounts { connects: 5, failures: 1, reached: 4, reached_ms: 250 },
        }
    }

    #[test]
    fn many_servers_have_few_samples() {
        let servers = (0..LABELS_MAX + 3).map(|number| report(number, ServerState::Up)).collect();
        let families = upstream_families(&[UpstreamReport { name: "app".to_owned(), servers }]);
        for family in &families {
            assert_eq!(family.samples.len(), LABELS_MAX + 1, "{}", family.name);
        }
        let others = families[0].samples.last().unwrap();
        assert_eq!(others.labels[1], ("server", OTHERS.to_owned()));
        assert_eq!(others.value, SampleValue::Number(6.0));
    }

    #[test]
    fn only_servers_that_get_their_part_are_up() {
        let gone = ServerReport { is_listed: false, ..report(3, ServerState::Up) };
        let states = [ServerState::Up, ServerState::Failed, ServerState::Drained];
        let mut servers: Vec<_> =
            (0..).zip(states).map(|(number, state)| report(number, state)).collect();
        servers.push(gone);
        let families = upstream_families(&[UpstreamReport { name: "app".to_owned(), servers }]);
        let values = |name: &str| -> Vec<SampleValue> {
            let family = families.iter().find(|own| own.name == name).unwrap();
            family.samples.iter().map(|own| own.value.clone()).collect()
        };
        let numbers = |of: [f64; 4]| of.map(SampleValue::Number);
        assert_eq!(values("upstream_up"), numbers([1.0, 0.0, 0.0, 0.0]));
        assert_eq!(values("upstream_drained"), numbers([0.0, 0.0, 1.0, 0.0]));
        assert_eq!(values("upstream_connect_seconds_total"), numbers([0.25; 4]));
    }
}
