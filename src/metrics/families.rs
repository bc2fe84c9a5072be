//! The families that counters make up: sums over the loops, grouped by what their names have in common.

use super::family::{Buckets, Family, FamilyKind, SampleValue, to_float};
use super::histogram::Histogram;
use super::labelled::{Entry, Labelled};
use super::{
    CertificateCounters, ControlCounters, Counters, ListenerCounters, LoopMetrics, ReloadCounters,
    RouteCounters,
};

/// Counters that differ only by the reason are one family.
struct Group {
    /// What the names of its counters begin with; the rest is the reason.
    prefix: &'static str,
    name: &'static str,
    help: &'static str,
}

const GROUPS: &[Group] = &[
    Group {
        prefix: "closed_",
        name: "connections_closed_total",
        help: "Open connections that ended, by reason, and with the code of the close frame where the \
               reason has one.",
    },
    Group {
        prefix: "refused_",
        name: "requests_refused_total",
        help: "Requests and connections that were refused, by reason.",
    },
    Group {
        prefix: "shed_",
        name: "newcomers_shed_total",
        help: "Connections that were refused because of overload, by reason.",
    },
    Group {
        prefix: "tls_failed_",
        name: "tls_handshakes_failed_total",
        help: "TLS handshakes that failed, by reason.",
    },
];

/// The close codes of the reasons that have one (RFC 6455 §7.4.1 and docs/operations.md).
const CODES: &[(&str, &str)] = &[
    ("aged", "1001"),
    ("drained", "1001"),
    ("evicted", "1013"),
    ("expired", "4004"),
    ("fragments", "1008"),
    ("message_idle", "1001"),
    ("not_deflate", "1007"),
    ("not_utf8", "1007"),
    ("over_rate", "1008"),
    ("overload", "1013"),
    ("protocol", "1002"),
    ("slow", "4002"),
    ("too_big", "1009"),
    ("unfinished", "1008"),
];

/// The families of the counters of loops, of their routes and listeners, of the control threads, of
/// certificates and of reloads.
#[must_use]
pub fn counter_families<'c>(
    loops: &(impl Iterator<Item = &'c LoopMetrics> + Clone),
    control: Option<&ControlCounters>,
    certificates: Option<&CertificateCounters>,
    reloads: Option<&ReloadCounters>,
) -> Vec<Family> {
    let mut totals: Vec<u64> = vec![0; Counters::NAMES.len()];
    for metrics in loops.clone() {
        for (total, (_, value)) in totals.iter_mut().zip(metrics.counters.values()) {
            *total = total.saturating_add(value);
        }
    }
    let mut families = Vec::new();
    for ((name, help), total) in Counters::NAMES.iter().zip(totals) {
        add(&mut families, name, help, total);
    }
    families.extend(route_families(loops));
    families.extend(listener_families(loops));
    families.extend(time_families(loops));
    let control = control.into_iter().flat_map(ControlCounters::values);
    let certificates = certificates.into_iter().flat_map(CertificateCounters::values);
    let reloads = reloads.into_iter().flat_map(ReloadCounters::values);
    let names = ControlCounters::NAMES.iter().chain(CertificateCounters::NAMES);
    let names = names.chain(ReloadCounters::NAMES);
    for (name, value) in control.chain(certificates).chain(reloads) {
        let help = names.clone().find(|(own, _)| *own == name).map_or("", |(_, help)| help);
        add(&mut families, name, help, value);
    }
    families
}

/// What is counted for each WebSocket route.
fn route_families<'c>(loops: &(impl Iterator<Item = &'c LoopMetrics> + Clone)) -> Vec<Family> {
    type Read = fn(&RouteCounters) -> u64;
    let of = |kind, name, help, read: Read| {
        labelled(
            Family::new(kind, name, help),
            "route",
            loops.clone().map(|own| &*own.routes),
            read,
        )
    };
    let (counter, gauge) = (FamilyKind::Counter, FamilyKind::Gauge);
    vec![
        of(gauge, "route_open", "Connections open now, by route.", RouteCounters::open_now),
        of(counter, "route_opened_total", "Connections that were opened, by route.", |own| {
            own.opened.value()
        }),
        of(counter, "messages_in_total", "Messages received, by route.", |own| {
            own.messages_in.value()
        }),
        of(counter, "message_bytes_in_total", "Bytes received in messages, by route.", |own| {
            own.message_bytes_in.value()
        }),
        of(
            counter,
            "messages_out_total",
            "Messages written, or put into backlogs, by route.",
            |own| own.messages_out.value(),
        ),
        of(
            counter,
            "message_bytes_out_total",
            "Bytes of those messages before any compression, by route.",
            |own| own.message_bytes_out.value(),
        ),
    ]
}

/// What is counted for each listener.
fn listener_families<'c>(loops: &(impl Iterator<Item = &'c LoopMetrics> + Clone)) -> Vec<Family> {
    type Read = fn(&ListenerCounters) -> u64;
    let of = |name, help, read: Read| {
        let family = Family::new(FamilyKind::Counter, name, help);
        labelled(family, "listener", loops.clone().map(|own| &*own.listeners), read)
    };
    vec![
        of("listener_accepted_total", "Connections taken, by listener.", |own| {
            own.accepted.value()
        }),
        of("listener_tls_handshakes_total", "TLS handshakes completed, by listener.", |own| {
            own.tls_handshakes.value()
        }),
    ]
}

/// How long the turns of each loop last, and how late they begin.
fn time_families<'c>(loops: &(impl Iterator<Item = &'c LoopMetrics> + Clone)) -> [Family; 2] {
    let kind = FamilyKind::Histogram;
    let mut turns = Family::new(
        kind,
        "turn_duration_seconds",
        "Turns of the loop, without the time in which they wait.",
    );
    let mut lag = Family::new(
        kind,
        "loop_lag_seconds",
        "How late turns begin that were to begin at a time; up to 1 ms is no lateness.",
    );
    for (index, own) in loops.clone().enumerate() {
        let label = index.to_string();
        for (family, times) in [(&mut turns, &own.turn_time), (&mut lag, &own.lag)] {
            family.push(&[("loop", &label)], SampleValue::Buckets(buckets(times)));
        }
    }
    [turns, lag]
}

fn buckets(times: &Histogram) -> Buckets {
    let mut buckets = Buckets { sum: to_float(times.sum_us()) / 1e6, ..Buckets::default() };
    for bucket in times.buckets() {
        match bucket.below_us {
            Some(bound) => buckets.counts.push((to_float(bound) / 1e6, bucket.count)),
            None => buckets.above = bucket.count,
        }
    }
    buckets
}

/// The family with a sample for each label, summed over the loops.
fn labelled<'c, C: 'c>(
    mut family: Family,
    label: &'static str,
    loops: impl Iterator<Item = &'c Labelled<C>>,
    read: fn(&C) -> u64,
) -> Family {
    let mut totals: Vec<(&str, u64)> = Vec::new();
    for entry in loops.flat_map(Labelled::iter) {
        let (own, value) = (&**Entry::label(entry), read(entry));
        match totals.iter_mut().find(|(known, _)| *known == own) {
            Some((_, total)) => *total += value,
            None => totals.push((own, value)),
        }
    }
    for (own, total) in totals {
        family.push(&[(label, own)], SampleValue::Number(to_float(total)));
    }
    family
}

fn add(families: &mut Vec<Family>, name: &'static str, help: &'static str, value: u64) {
    let value = to_float(value);
    for Group { prefix, name: family, help } in GROUPS {
        let Some(reason) = name.strip_prefix(prefix) else { continue };
        let at = families.iter().position(|own| own.name == *family).unwrap_or_else(|| {
            families.push(Family::new(FamilyKind::Counter, *family, *help));
            families.len() - 1
        });
        let code = CODES.iter().find(|(own, _)| *own == reason).filter(|_| *prefix == "closed_");
        let mut labels = vec![("reason", reason)];
        labels.extend(code.map(|(_, code)| ("code", *code)));
        families[at].push(&labels, SampleValue::Number(value));
        return;
    }
    families.push(counter_family(name, help, value));
}

/// The family of one counter, by its name: `_now` ends that of a gauge, and `_at_s` that of a time.
#[must_use]
pub fn counter_family(name: &str, help: &'static str, value: f64) -> Family {
    let help = help.trim_ascii();
    let gauge = name.strip_suffix("_now").map(str::to_owned);
    let time = name.strip_suffix("_at_s").map(|event| format!("{event}_timestamp_seconds"));
    match gauge.or(time) {
        Some(gauge) => {
            // The report of SIGUSR1 shows no types, so the sentence says it there.
            let help = help.replace(" (gauge).", ".");
            Family::new(FamilyKind::Gauge, gauge, help).with(&[], value)
        }
        None => Family::new(FamilyKind::Counter, format!("{name}_total"), help).with(&[], value),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::family::Sample;
    use super::*;

    #[test]
    fn every_counter_is_in_exactly_one_sample() {
        let loops = [LoopMetrics::default(), LoopMetrics::default()];
        loops[0].counters.closed_protocol.add(2);
        loops[1].counters.closed_protocol.add(3);
        loops[1].counters.open_now.set(7);
        let control = ControlCounters::default();
        let certificates = CertificateCounters::default();
        let reloads = ReloadCounters::default();
        let families =
            counter_families(&loops.iter(), Some(&control), Some(&certificates), Some(&reloads));
        // The times of the loops are histograms, and no counters.
        let is_counter = |sample: &&Sample| matches!(sample.value, SampleValue::Number(_));
        let samples = families.iter().flat_map(|family| &family.samples).filter(is_counter).count();
        let counters = [
            Counters::NAMES,
            ControlCounters::NAMES,
            CertificateCounters::NAMES,
            ReloadCounters::NAMES,
        ];
        assert_eq!(samples, counters.iter().map(|names| names.len()).sum::<usize>());
        let names: HashSet<_> = families.iter().map(|family| &family.name).collect();
        assert_eq!(names.len(), families.len());

        let text = super::super::prometheus_text(&families);
        assert!(
            text.contains(
                "tidegate_connections_closed_total{reason=\"protocol\",code=\"1002\"} 5\n"
            )
        );
        assert!(text.contains("# TYPE tidegate_open gauge\ntidegate_open 7\n"), "{text}");
    }

    #[test]
    fn names_keep_the_rules_of_the_collector() {
        let loops = [LoopMetrics::default()];
        loops[0].routes.of("echo /echo").opened.add(1);
        for family in counter_families(&loops.iter(), None, None, None) {
            let is_total = family.name.ends_with("_total");
            assert_eq!(is_total, family.kind == FamilyKind::Counter, "{}", family.name);
            assert!(!family.help.is_empty() && !family.help.contains("(gauge)"));
            assert!(
                family
                    .name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
            );
        }
    }

    #[test]
    fn routes_are_summed_over_the_loops() {
        let loops = [LoopMetrics::default(), LoopMetrics::default()];
        loops[0].routes.of("echo /a").messages_in.add(2);
        loops[1].routes.of("echo /b").messages_in.add(5);
        loops[1].routes.of("echo /a").messages_in.add(1);
        loops[1].listeners.of("127.0.0.1:80").accepted.add(4);
        let text =
            super::super::prometheus_text(&counter_families(&loops.iter(), None, None, None));
        assert!(text.contains(
            "tidegate_messages_in_total{route=\"echo /a\"} 3\n\
             tidegate_messages_in_total{route=\"echo /b\"} 5\n"
        ));
        assert!(text.contains("tidegate_listener_accepted_total{listener=\"127.0.0.1:80\"} 4\n"));
    }
}
