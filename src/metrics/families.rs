//! The families that counters make up: sums over the loops, grouped by what their names have in common.

use super::family::{Family, FamilyKind, SampleValue, to_float};
use super::{CertificateCounters, ControlCounters, Counters};

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
    ("not_deflate", "1007"),
    ("not_utf8", "1007"),
    ("overload", "1013"),
    ("protocol", "1002"),
    ("slow", "4002"),
    ("too_big", "1009"),
    ("unfinished", "1008"),
];

/// The families of the counters of loops, of the control threads and of certificates.
#[must_use]
pub fn counter_families<'c>(
    loops: impl Iterator<Item = &'c Counters>,
    control: Option<&ControlCounters>,
    certificates: Option<&CertificateCounters>,
) -> Vec<Family> {
    let mut totals: Vec<u64> = vec![0; Counters::NAMES.len()];
    for counters in loops {
        for (total, (_, value)) in totals.iter_mut().zip(counters.values()) {
            *total = total.saturating_add(value);
        }
    }
    let mut families = Vec::new();
    for ((name, help), total) in Counters::NAMES.iter().zip(totals) {
        add(&mut families, name, help, total);
    }
    let control = control.into_iter().flat_map(ControlCounters::values);
    let certificates = certificates.into_iter().flat_map(CertificateCounters::values);
    let names = ControlCounters::NAMES.iter().chain(CertificateCounters::NAMES);
    for (name, value) in control.chain(certificates) {
        let help = names.clone().find(|(own, _)| *own == name).map_or("", |(_, help)| help);
        add(&mut families, name, help, value);
    }
    families
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
    let help = help.trim_ascii();
    families.push(match name.strip_suffix("_now") {
        Some(gauge) => {
            // The report of SIGUSR1 shows no types, so the sentence says it there.
            let help = help.replace(" (gauge).", ".");
            Family::new(FamilyKind::Gauge, gauge, help).with(&[], value)
        }
        None => Family::new(FamilyKind::Counter, format!("{name}_total"), help).with(&[], value),
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_counter_is_in_exactly_one_sample() {
        let loops = [Counters::default(), Counters::default()];
        loops[0].closed_protocol.add(2);
        loops[1].closed_protocol.add(3);
        loops[1].open_now.set(7);
        let control = ControlCounters::default();
        let certificates = CertificateCounters::default();
        let families = counter_families(loops.iter(), Some(&control), Some(&certificates));
        let samples: usize = families.iter().map(|family| family.samples.len()).sum();
        let counters = [Counters::NAMES, ControlCounters::NAMES, CertificateCounters::NAMES];
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
        let loops = [Counters::default()];
        for family in counter_families(loops.iter(), None, None) {
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
}
