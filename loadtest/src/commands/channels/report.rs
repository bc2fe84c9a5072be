//! The report of `channels`: as text, or as one JSON document.

use std::fmt;
use std::time::Instant;

use serde::Serialize;

use super::arguments::{ChannelsArguments, Format};
use super::workload::ChannelsWorkload;
use crate::output::units::Seconds;
use crate::stats::cpu_use::CpuUse;
use crate::stats::latency::{Latencies, LatencySummary};
use crate::stats::proc_stats::ProcessStats;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChannelsReport {
    command: &'static str,
    address: Origin,
    path: String,
    channel: String,
    format: Format,
    subscribers: usize,
    publications: usize,
    burst: usize,
    message_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<IdleReport>,
    deliveries: StepReport,
    /// From a publication to its answer.
    publish_to_answer: Option<LatencySummary>,
    lost: u64,
    repeated_or_late: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<StepReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<RecoveryReport>,
    failures: Tally,
}

/// The figures of each step.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) idle: Option<IdleReport>,
    pub(super) deliveries: StepReport,
    pub(super) publications: Option<LatencySummary>,
    pub(super) presence: Option<StepReport>,
    pub(super) recovery: Option<RecoveryReport>,
}

/// The memory of subscribers that are idle.
#[derive(Clone, Debug, Serialize)]
pub(super) struct IdleReport {
    seconds: Seconds,
    /// The server's memory before the first subscriber, and when all were idle.
    server_anonymous_bytes: Option<(u64, u64)>,
    /// The difference, for each.
    bytes_per_subscriber: Option<u64>,
}

impl IdleReport {
    pub(super) fn new(
        arguments: &ChannelsArguments,
        memory: Option<(ProcessStats, ProcessStats)>,
    ) -> Self {
        let memory = memory.map(|(before, after)| (before.anonymous_bytes, after.anonymous_bytes));
        let subscribers = arguments.subscribers.get() as u64;
        let each = |(before, after): (u64, u64)| after.saturating_sub(before) / subscribers;
        Self {
            seconds: Seconds(arguments.idle),
            server_anonymous_bytes: memory,
            bytes_per_subscriber: memory.map(each),
        }
    }
}

/// How often something was done, how long each took, and what it cost.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StepReport {
    count: u64,
    latency: Option<LatencySummary>,
    cpu: CpuUse,
}

impl StepReport {
    pub(super) fn new(latencies: &Latencies, cpu: CpuUse) -> Self {
        Self { count: latencies.count(), latency: latencies.summary(), cpu }
    }
}

/// The return of all subscribers at once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RecoveryReport {
    missed_each: usize,
    recovered: u64,
    /// From the first attempt to the last subscriber that had all it missed.
    #[serde(rename = "until_last_recovered_seconds")]
    until_last: Option<Seconds>,
    connect_to_recovered: Option<LatencySummary>,
    /// The server's memory before the first and after the last.
    server_anonymous_bytes: Option<(u64, u64)>,
    cpu: CpuUse,
}

impl RecoveryReport {
    pub(super) fn new(
        workload: &ChannelsWorkload<'_>,
        began: Instant,
        cpu: CpuUse,
        memory: Option<(ProcessStats, ProcessStats)>,
    ) -> Self {
        let until = workload.last_recovered.map(|last| last.saturating_duration_since(began));
        Self {
            missed_each: workload.missed(),
            recovered: workload.recovered,
            until_last: until.map(Seconds),
            connect_to_recovered: workload.recoveries.summary(),
            server_anonymous_bytes: memory
                .map(|(before, after)| (before.anonymous_bytes, after.anonymous_bytes)),
            cpu,
        }
    }
}

impl ChannelsReport {
    pub(super) fn new(
        arguments: &ChannelsArguments,
        steps: Steps,
        workload: &ChannelsWorkload<'_>,
    ) -> Self {
        let Steps { idle, deliveries, publications: publish_to_answer, presence, recovery } = steps;
        Self {
            command: "channels",
            address: arguments.session.address.origin(),
            path: arguments.path.clone(),
            channel: arguments.channel.clone(),
            format: arguments.format,
            subscribers: arguments.subscribers.get(),
            publications: arguments.publications,
            burst: arguments.burst.get(),
            message_bytes: arguments.bytes,
            idle,
            deliveries,
            publish_to_answer,
            lost: workload.lost,
            repeated_or_late: workload.repeated,
            presence,
            recovery,
            failures: workload.tally.clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }
}

impl fmt::Display for ChannelsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            channel, address, path, subscribers, publications, burst, message_bytes, ..
        } = self;
        writeln!(
            f,
            "channel {channel} of {address}{path} with {subscribers} subscribers: {publications} publications of \
             {message_bytes} B, {burst} at once"
        )?;
        if let Some(idle) = &self.idle {
            match idle.bytes_per_subscriber {
                Some(bytes) => {
                    writeln!(f, "{bytes} B of memory for each after {} idle", idle.seconds)?
                }
                None => writeln!(f, "the server's memory cannot be read")?,
            }
        }
        let Self { deliveries, lost, repeated_or_late, .. } = self;
        let count = deliveries.count;
        writeln!(
            f,
            "{count} deliveries verified; {lost} lost, {repeated_or_late} repeated or late"
        )?;
        write_latency(f, "publication to delivery", deliveries.latency.as_ref())?;
        write!(f, "{}", deliveries.cpu)?;
        write_latency(f, "publication to answer", self.publish_to_answer.as_ref())?;
        if let Some(presence) = &self.presence {
            write_latency(f, "presence", presence.latency.as_ref())?;
            write!(f, "{}", presence.cpu)?;
        }
        if let Some(recovery) = &self.recovery {
            let RecoveryReport { recovered, missed_each, until_last, cpu, .. } = recovery;
            write!(f, "{recovered} came back and recovered {missed_each} publications each")?;
            match until_last {
                Some(until) => writeln!(f, ", the last after {until}")?,
                None => writeln!(f)?,
            }
            write_latency(f, "connect to recovered", recovery.connect_to_recovered.as_ref())?;
            if let Some((before, after)) = recovery.server_anonymous_bytes {
                writeln!(
                    f,
                    "server memory: {} KiB before, {} KiB after",
                    before >> 10,
                    after >> 10
                )?;
            }
            write!(f, "{cpu}")?;
        }
        writeln!(f, "{}", self.failures)
    }
}

fn write_latency(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    latency: Option<&LatencySummary>,
) -> fmt::Result {
    match latency {
        Some(latency) => writeln!(f, "{name}: {latency}"),
        None => Ok(()),
    }
}
