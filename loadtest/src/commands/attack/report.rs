//! The report of `attack`: as text, or as one JSON document.

use std::fmt;
use std::num::NonZeroU64;

use serde::Serialize;

use super::arguments::AttackArguments;
use super::attackers::AttackerFigures;
use super::bystanders::{Absences, BystanderSummary};
use crate::output::units::{Bytes, shown_bytes};
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::LatencySummary;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AttackReport {
    command: &'static str,
    attack: &'static str,
    address: Origin,
    bystanders: usize,
    attackers: AttackerFigures,
    before: StageReport,
    during: StageReport,
    after: StageReport,
    bystanders_shut_out: Absences,
    handshakes_shut_out: Absences,
    /// Of the attack and the time after it, without what the bystanders cost before it.
    attack_server_cpu_seconds: Option<f64>,
    attack_server_cpu_ns_per_sent_byte: Option<f64>,
    rss_before_bytes: Option<u64>,
    rss_peak_bytes: Option<u64>,
    rss_final_bytes: Option<u64>,
    /// The growth to the peak, for each connection of the attackers.
    rss_peak_per_connection_bytes: Option<f64>,
    /// What of it is left at the end.
    rss_left_per_connection_bytes: Option<f64>,
    pool_bytes_max: NonZeroU64,
    /// Of the machine, in the minute before the run.
    load_average: Option<f64>,
}

/// The figures of one stage.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StageReport {
    #[serde(flatten)]
    pub(super) bystanders: BystanderSummary,
    pub(super) cpu: CpuUse,
    #[serde(rename = "rss_peak_bytes")]
    pub(super) highest_rss_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) last_rss_bytes: Option<u64>,
}

impl StageReport {
    fn cpu_seconds(&self) -> Option<f64> {
        self.cpu.server_cores.map(|cores| cores * self.wall_seconds())
    }

    fn wall_seconds(&self) -> f64 {
        self.cpu.wall.0.as_secs_f64()
    }

    fn has_failures(&self) -> bool {
        let BystanderSummary { messages_lost, connections_closed, handshakes_failed, .. } =
            &self.bystanders;
        *messages_lost + connections_closed.count() + handshakes_failed.count() > 0
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let BystanderSummary {
            latency,
            latency_with_due,
            messages_lost,
            connections_closed,
            handshakes_ok,
            handshakes_failed,
            handshake_latency,
        } = &self.bystanders;
        writeln!(f, "{name}, {:.1} s:", self.wall_seconds())?;
        writeln!(f, "  messages: {}", shown(latency.as_ref()))?;
        writeln!(f, "  with those that could not be sent: {}", shown(latency_with_due.as_ref()))?;
        writeln!(f, "  messages lost: {messages_lost}; connections closed: {connections_closed}")?;
        writeln!(
            f,
            "  handshakes: {handshakes_ok} ok, failed: {handshakes_failed}; {}",
            shown(handshake_latency.as_ref())
        )?;
        if let Some(cores) = self.cpu.server_cores {
            write!(f, "  server: {cores:.2} of a core")?;
            if let Some(bytes) = self.highest_rss_bytes {
                write!(f, ", at most {} resident", Bytes(bytes))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl AttackReport {
    pub(super) fn new(
        attack: &'static str,
        arguments: &AttackArguments,
        [before, during, after]: [StageReport; 3],
        attackers: AttackerFigures,
        [bystanders_shut_out, handshakes_shut_out]: [Absences; 2],
        load_average: Option<f64>,
    ) -> Self {
        let attack_server_cpu_seconds = attack_cpu_seconds(&before, &during, &after);
        let sent_bytes = attackers.sent_bytes;
        let rss_before_bytes = before.last_rss_bytes;
        let rss_peak_bytes = during.highest_rss_bytes.max(after.highest_rss_bytes);
        let rss_final_bytes = after.last_rss_bytes;
        let held_max = attackers.connections_held_max;
        let per_connection = |bytes: Option<u64>| {
            let growth = bytes? as f64 - rss_before_bytes? as f64;
            (held_max > 0).then(|| growth / held_max as f64)
        };
        Self {
            command: "attack",
            attack,
            address: arguments.session.address.origin(),
            bystanders: arguments.bystanders.get(),
            bystanders_shut_out,
            handshakes_shut_out,
            attack_server_cpu_seconds,
            attack_server_cpu_ns_per_sent_byte: attack_server_cpu_seconds
                .filter(|_| sent_bytes > 0)
                .map(|seconds| seconds * 1e9 / sent_bytes as f64),
            rss_before_bytes,
            rss_peak_bytes,
            rss_final_bytes,
            rss_peak_per_connection_bytes: per_connection(rss_peak_bytes),
            rss_left_per_connection_bytes: per_connection(rss_final_bytes),
            pool_bytes_max: arguments.pool_bytes_max,
            load_average,
            attackers,
            before,
            during,
            after,
        }
    }

    /// Whether a bystander or a new client was harmed, other than by waiting.
    pub(super) fn has_failures(&self) -> bool {
        [&self.before, &self.during, &self.after].into_iter().any(StageReport::has_failures)
    }
}

/// The server's CPU time during and after the attack, without what the bystanders cost in the same
/// time.
fn attack_cpu_seconds(
    before: &StageReport,
    during: &StageReport,
    after: &StageReport,
) -> Option<f64> {
    let spent = during.cpu_seconds()? + after.cpu_seconds()?;
    let usual = before.cpu.server_cores? * (during.wall_seconds() + after.wall_seconds());
    Some((spent - usual).max(0.0))
}

impl fmt::Display for AttackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attack, address, bystanders, attackers, .. } = self;
        writeln!(f, "attack {attack} on {address}, beside {bystanders} bystanders")?;
        if let Some(load) = self.load_average {
            writeln!(f, "load average of the machine before: {load}")?;
        }
        writeln!(
            f,
            "attackers: {} connections opened, {} sent in {}, {} messages of {} received; ended: {}",
            attackers.connections_opened,
            Bytes(attackers.sent_bytes),
            attackers.wall,
            attackers.received_messages,
            Bytes(attackers.received_bytes),
            attackers.connections_ended
        )?;
        let latencies = [
            ("connect to TLS", attackers.connect_to_tls),
            ("connect to 101", attackers.connect_to_upgrade),
        ];
        for (name, latency) in latencies {
            if let Some(latency) = latency {
                writeln!(f, "attackers, {name}: {}", shown(Some(&latency)))?;
            }
        }
        self.before.write(f, "before")?;
        self.during.write(f, "during the attack")?;
        self.after.write(f, "after")?;
        writeln!(f, "bystanders were shut out: {}", self.bystanders_shut_out.describe())?;
        writeln!(f, "new clients were shut out: {}", self.handshakes_shut_out.describe())?;
        if let Some(seconds) = self.attack_server_cpu_seconds {
            write!(f, "server CPU for the attack: {seconds:.2} s")?;
            if let Some(nanoseconds) = self.attack_server_cpu_ns_per_sent_byte {
                write!(f, ", {nanoseconds:.1} ns for each byte that was sent")?;
            }
            writeln!(f)?;
        }
        if let (Some(before), Some(peak), Some(last)) =
            (self.rss_before_bytes, self.rss_peak_bytes, self.rss_final_bytes)
        {
            let [before, peak, last] = [before, peak, last].map(Bytes);
            let limit = Bytes(self.pool_bytes_max.get());
            writeln!(
                f,
                "server memory: {before} before, {peak} at most, {last} in the end; the pool may \
                 have {limit}"
            )?;
        }
        if let (Some(peak), Some(left)) =
            (self.rss_peak_per_connection_bytes, self.rss_left_per_connection_bytes)
        {
            writeln!(
                f,
                "server memory for each of {} connections of the attackers: {} at most, {} left",
                attackers.connections_held_max,
                shown_bytes(peak),
                shown_bytes(left)
            )?;
        }
        writeln!(f, "{}", if self.has_failures() { "FAILURES: see above" } else { "no failures" })
    }
}

fn shown(latency: Option<&LatencySummary>) -> String {
    latency.map_or_else(|| "none".to_owned(), |latency| format!("{}× {latency}", latency.count))
}
