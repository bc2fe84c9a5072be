//! Measures one server: starts it, runs the idle cycles against it, and ends it.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use super::document::{Cycle, Figures, Outcome};
use super::process_log::ProcessLog;
use super::runtime_stats::RuntimeStats;
use super::thread_limit::{self, ThreadLimit};
use crate::commands::idle::{IdleRun, Plan, Record};
use crate::driver::{DriverOptions, SourceAddresses};
use crate::error::CommandError;
use crate::load::clients::Clients;
use crate::output;
use crate::output::Output;
use crate::servers::process::SpawnedServer;
use crate::servers::{Launch, Ports, ServerSpec};
use crate::stats::meter::Meter;
use crate::stats::proc_stats;
use crate::system::interrupt::Interrupt;
use crate::system::{clock, file_limit};
use crate::target::Target;
use crate::tls::{ServerCertificate, TlsClient, TlsOptions};

/// The state that all measurements of a run share.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) ports: Ports,
    /// The directory of the servers' logs.
    pub(super) logs: &'a Path,
    pub(super) interrupt: &'a Interrupt,
    pub(super) output: Output,
    /// How long a server may take for each answer.
    pub(super) answer_max: Duration,
    /// The certificate of the servers and what clients agree to, if connections are encrypted.
    pub(super) tls: Option<(&'a ServerCertificate, TlsOptions)>,
    /// How long to wait until the kernel has released the sockets of the server before.
    pub(super) forget_max: Duration,
}

impl Runner<'_> {
    /// Measures a server. A failure of the server is the outcome of its row. An error ends the
    /// whole run.
    pub(super) fn measure(
        &mut self,
        row: &ServerSpec,
        launch: &Launch,
        plan: &Plan,
    ) -> Result<Outcome, CommandError> {
        let (connections, fewer_because) = fitting(plan.connections, limit(row));
        let plan = Plan { connections, ..*plan };
        let output = self.output.of_part(row.name);
        self.wait_until_forgotten(output, plan.connections)?;

        let (listen, stats_address) = (self.ports.next()?, self.ports.next()?);
        // Ends with this function, like the server.
        let backend = launch.backend_command(stats_address).map(|mut command| {
            SpawnedServer::start_behind(&mut command, None, stats_address, self.interrupt)
        });
        let _backend = backend.transpose()?;
        let mut command = launch.command(listen, stats_address)?;
        let log = ProcessLog::attach(&mut command, self.logs, row.name)?;
        let mut server = match SpawnedServer::start(&mut command, listen, self.interrupt) {
            Ok(server) => server,
            Err(CommandError::Server(reason)) => return Ok(failed(&reason, &log)),
            Err(error) => return Err(error),
        };

        let (deflate, tls) = (row.is_compressed(), self.tls_client()?);
        let target = Target { deflate, tls, ..Target::at(listen, PATH) };
        let clients =
            Clients::new(self.driver_options(target, plan.seed)?, self.interrupt.clone())?;
        let mut runtime_stats = Vec::new();
        let idle_run = IdleRun::new(&plan, output, Meter::new(server.pid()), clients);
        let record = idle_run.run(|cycle| {
            // Only in the last cycle, because a collection changes the figures after it.
            let with_collection = plan.cycles.get() > 1 && cycle == plan.cycles.get();
            runtime_stats.push(launch.stats_endpoint.and_then(|endpoint| {
                RuntimeStats::fetch(endpoint, stats_address, with_collection)
                    .inspect_err(|error| output::note(format_args!("{}: {error}", row.name)))
                    .ok()
            }));
        })?;

        if let Some(status) = server.exit_status() {
            return Ok(failed(&format!("ended while it was measured: {status}"), &log));
        }
        Ok(outcome(launch, &plan, fewer_because, record, runtime_stats, &log))
    }

    fn tls_client(&self) -> Result<Option<TlsClient>, CommandError> {
        let client = self
            .tls
            .map(|(certificate, options)| TlsClient::trusting(certificate.certificate(), options));
        client.transpose().map_err(|error| CommandError::Usage(error.to_string()))
    }

    /// The options of clients that connect to `target`.
    pub(super) fn driver_options(
        &self,
        target: Target,
        seed: u64,
    ) -> Result<DriverOptions, CommandError> {
        let sources = SourceAddresses::new(target.address, &proc_stats::read_ephemeral_ports()?);
        Ok(DriverOptions { target, sources, answer_max: self.answer_max, seed })
    }

    /// Waits until few connections are left in TIME_WAIT, where each stays for a minute after its
    /// close. If those of the server before vanished during a measurement, it would show too little
    /// slab.
    fn wait_until_forgotten(
        &self,
        output: Output,
        connections: NonZeroUsize,
    ) -> Result<(), CommandError> {
        let few = FORGOTTEN.max(connections.get() as u64 / 50);
        let began = clock::now();
        let step = output.begin("waiting for TIME_WAIT (s)", seconds(self.forget_max));
        loop {
            let waited = clock::now().saturating_duration_since(began);
            if waited >= self.forget_max || proc_stats::read_kernel()?.time_wait_sockets <= few {
                return Ok(());
            }
            if self.interrupt.is_raised() {
                return Err(CommandError::Interrupted);
            }
            step.reach(seconds(waited));
            clock::pause(FORGET_INTERVAL);
        }
    }
}

/// The most connections that a server can have, and why.
#[derive(Clone, Debug)]
struct Limit {
    connections_max: u64,
    reason: String,
}

/// The limit of a server that takes more than a descriptor for each connection.
fn limit(row: &ServerSpec) -> Option<Limit> {
    let descriptors = row.descriptors_per_connection();
    if row.has_thread_per_connection() {
        let ThreadLimit { threads_max, reason } = thread_limit::read()?;
        return Some(Limit { connections_max: threads_max, reason });
    }
    let granted = file_limit::raise();
    let connections_max = granted.saturating_sub(file_limit::RESERVED_FILES) / descriptors;
    (descriptors > 1).then(|| Limit {
        connections_max: connections_max as u64,
        reason: format!(
            "it takes {descriptors} descriptors for each, and the limit on open files (ulimit -Hn) \
             is {granted}"
        ),
    })
}

/// The number of connections that a server can have.
fn fitting(connections: NonZeroUsize, limit: Option<Limit>) -> (NonZeroUsize, Option<String>) {
    let Some(limit) = limit else {
        return (connections, None);
    };
    let connections_max = usize::try_from(limit.connections_max).unwrap_or(usize::MAX);
    match NonZeroUsize::new(connections_max) {
        Some(fewer) if fewer < connections => (fewer, Some(limit.reason)),
        // Without a single thread, the failure of the server tells the reason.
        Some(_) | None => (connections, None),
    }
}

fn outcome(
    launch: &Launch,
    plan: &Plan,
    fewer_because: Option<String>,
    record: Record,
    runtime_stats: Vec<Option<RuntimeStats>>,
    log: &ProcessLog,
) -> Outcome {
    let Some(baseline) = record.baseline else {
        let reason = record.failures.first_reason().unwrap_or("did not get through the warm-up");
        return failed(reason, log);
    };
    let cycles = record
        .cycles
        .into_iter()
        .zip(runtime_stats)
        .map(|(report, runtime_stats)| Cycle { report, runtime_stats })
        .collect();
    Outcome::Measured(Box::new(Figures {
        version: launch.version.clone(),
        connections: plan.connections.get(),
        fewer_because,
        baseline,
        cycles,
        failures: record.failures,
    }))
}

fn failed(reason: &str, log: &ProcessLog) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), last_log_lines: log.last_lines() }
}

fn seconds(duration: Duration) -> usize {
    usize::try_from(duration.as_secs()).unwrap_or(usize::MAX)
}

/// All servers get the same path; only tidegate distinguishes paths.
pub(super) const PATH: &str = "/echo";
/// Up to this number, sockets do not affect the figures.
const FORGOTTEN: u64 = 500;
const FORGET_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_limit_lowers_the_count_and_says_why() {
        let ten = NonZeroUsize::new(10).unwrap();
        let limit = |connections_max| Some(Limit { connections_max, reason: "tight".to_owned() });
        assert_eq!(fitting(ten, None), (ten, None));
        assert_eq!(fitting(ten, limit(10)), (ten, None));
        let seven = NonZeroUsize::new(7).unwrap();
        assert_eq!(fitting(ten, limit(7)), (seven, Some("tight".to_owned())));
    }
}
