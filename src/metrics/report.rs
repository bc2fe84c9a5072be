//! The report that SIGUSR1 logs: every counter that is not 0, and `turns` in any case, so that the
//! line is not empty on a gateway without traffic.

use super::{CertificateCounters, ControlCounters, LoopMetrics, ReloadCounters};

/// Formats the counters summed over the loops, then those of routes, summed over the routes as well,
/// then those of the control thread, of certificates and of reloads, as `name=value` separated by
/// spaces.
#[must_use]
pub fn report<'c>(
    loops: impl Iterator<Item = &'c LoopMetrics> + Clone,
    control: Option<&ControlCounters>,
    certificates: Option<&CertificateCounters>,
    reloads: Option<&ReloadCounters>,
) -> String {
    let mut totals: Vec<(&str, u64)> = Vec::new();
    let by_loop = loops.clone().flat_map(|own| own.counters.values());
    let by_route = loops.flat_map(|own| own.routes.iter()).flat_map(|own| own.values());
    for (name, value) in by_loop.chain(by_route) {
        match totals.iter_mut().find(|(known, _)| *known == name) {
            Some((_, total)) => *total += value,
            None => totals.push((name, value)),
        }
    }
    totals.extend(control.into_iter().flat_map(ControlCounters::values));
    totals.extend(certificates.into_iter().flat_map(CertificateCounters::values));
    totals.extend(reloads.into_iter().flat_map(ReloadCounters::values));
    let counted: Vec<String> = totals
        .iter()
        .filter(|(name, total)| *total > 0 || *name == "turns")
        .map(|(name, total)| format!("{name}={total}"))
        .collect();
    counted.join(" ")
}

/// Formats what one loop holds and how long its turns take, as upper bounds that are powers of two.
#[must_use]
pub fn report_loop(index: usize, metrics: &LoopMetrics) -> String {
    let LoopMetrics { counters, turn_time, .. } = metrics;
    let within = |per_thousand| turn_time.within(per_thousand).unwrap_or_default();
    let (half, nearly_all, longest) = (within(500), within(990), within(1000));
    let (count, open) = (counters.connections_now.value(), counters.open_now.value());
    format!(
        "loop {index}: {count} connections, {open} open; turns within {half} us by half, \
         {nearly_all} us by 99 %, {longest} us at worst"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_summed_and_zeros_left_out() {
        let loops = [LoopMetrics::default(), LoopMetrics::default()];
        assert_eq!(report(loops.iter(), None, None, None), "turns=0");
        loops[0].counters.upgrades.add(2);
        loops[1].counters.upgrades.add(3);
        loops[1].counters.turns.add(1);
        loops[0].routes.of("echo /a").messages_in.add(7);
        loops[1].routes.of("echo /b").messages_in.add(1);
        let control = ControlCounters::default();
        control.lookups.add(4);
        let certificates = CertificateCounters::default();
        certificates.certificates_reloaded.add(6);
        assert_eq!(report(loops.iter(), None, None, None), "upgrades=5 turns=1 messages_in=8");
        let reloads = ReloadCounters::default();
        reloads.reloads.add(7);
        let all = report(loops.iter(), Some(&control), Some(&certificates), Some(&reloads));
        assert_eq!(
            all,
            "upgrades=5 turns=1 messages_in=8 lookups=4 certificates_reloaded=6 reloads=7"
        );
    }
}
