//! `loadtest study`: the cost of an idle connection, for tidegate and for other servers.
//!
//! The study runs `loadtest idle` with one server after the other; each is started for its own row
//! and ended after it. The parts in the order of a run: [`runner`] measures a server,
//! [`runtime_stats`] asks it for what the kernel cannot see, [`document`] keeps the raw figures,
//! and [`report`], [`bar_chart`] and [`line_chart`] make the report from them alone.

mod arguments;
mod bar_chart;
mod cost_growth;
mod document;
mod line_chart;
mod process_log;
mod report;
mod runner;
mod runtime_stats;
mod scale;
mod store;
mod thread_limit;

use std::num::NonZeroUsize;

use tempfile::TempDir;

use crate::commands::capacity::require_files;
use crate::commands::idle::{Check, Plan};
use crate::error::{CommandError, Verdict};
use crate::output::{Output, note};
use crate::servers::{Installation, Launch, Ports, SERVERS, ServerSpec, TIDEGATE, TLS_SERVERS};
use crate::stats::machine::Machine;
use crate::system::interrupt::Interrupt;
use crate::tls::{Resumption, ServerCertificate, TlsOptions};
pub(crate) use arguments::StudyArguments;
use document::{Document, Outcome, RowReport, ServersPart, Settings, SweepPart};
use runner::Runner;
use scale::ScalePlan;
pub(crate) use scale::{WorkerArguments, run_worker};
use store::{Store, documentation};

/// Runs the command.
pub(crate) fn run(
    arguments: &StudyArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let installation = arguments.installation.find()?;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None if arguments.write_docs => documentation(),
        None => installation.target.join("study"),
    };
    // Before the measurements: an error here must not lose their figures.
    let store = Store::open(out)?;
    let mut document = store.load()?;
    let measured = if arguments.render {
        Document::default()
    } else {
        let study = Study { arguments, installation };
        study.measure(interrupt)?
    };
    let has_failures = measured.has_failures();
    document.replace(measured);
    store.save(&document)?;
    Output::new(arguments.json).report(&document)?;
    note(format_args!("written to {}", store.report().display()));
    Ok(if has_failures { Verdict::Failures } else { Verdict::Fine })
}

/// A running study.
struct Study<'a> {
    arguments: &'a StudyArguments,
    installation: Installation,
}

impl Study<'_> {
    fn measure(&self, interrupt: &Interrupt) -> Result<Document, CommandError> {
        let Self { arguments, .. } = self;
        let logs = TempDir::new()?;
        let certificate = arguments.tls.then(ServerCertificate::make).transpose();
        let certificate = certificate.map_err(|error| CommandError::Usage(error.to_string()))?;
        let options = TlsOptions {
            version: Some(arguments.tls_version),
            ..TlsOptions::of_comparison(Resumption::Off)
        };
        let mut runner = Runner {
            tls: certificate.as_ref().map(|certificate| (certificate, options)),
            ports: Ports::new()?,
            logs: logs.path(),
            interrupt,
            output: Output::new(arguments.json),
            answer_max: arguments.timeout,
            forget_max: arguments.forget,
        };
        let mut document = Document::default();
        if let Some(largest) = arguments.sweep.iter().max() {
            document.sweep = Some(self.sweep(&mut runner, *largest)?);
        }
        if let Some(connections) = arguments.scale {
            document.scale = Some(self.scale(&mut runner, connections)?);
        }
        if document.sweep.is_none() && document.scale.is_none() {
            let part = Some(self.servers(&mut runner)?);
            *(if arguments.tls { &mut document.tls_servers } else { &mut document.servers }) = part;
        }
        Ok(document)
    }

    fn servers(&self, runner: &mut Runner<'_>) -> Result<ServersPart, CommandError> {
        let plan = self.plan(self.arguments.connections, CYCLES);
        require_files("--connections", plan.connections.get())?;
        let machine = Machine::read();
        if machine.is_debug_build() {
            note("this is a debug build: its figures are for tests only");
        }
        let rows = self.rows();
        let mut reports = Vec::new();
        for (number, row) in (1..).zip(&rows) {
            let certificate = runner.tls.map(|(certificate, _)| certificate);
            let outcome = match row.launch(&self.installation, certificate) {
                Ok(launch) => runner.measure(row, &launch, &plan)?,
                Err(reason) => Outcome::Skipped { reason },
            };
            note(format_args!("[{number}/{}] {}: {outcome}", rows.len(), row.name));
            reports.push(RowReport {
                row: row.name.to_owned(),
                server: row.server.to_owned(),
                design: row.design.to_owned(),
                outcome,
            });
        }
        let tls = runner.tls.and_then(|(_, options)| options.version);
        let settings = Settings { tls, ..settings(&plan) };
        Ok(ServersPart { machine, settings, rows: reports })
    }

    /// The chosen servers, in the order of the report.
    fn rows(&self) -> Vec<&'static ServerSpec> {
        let StudyArguments { rows: names, tls, .. } = self.arguments;
        let is_named = |row: &&ServerSpec| names.iter().any(|name| *name == row.name);
        if *tls {
            let all = TLS_SERVERS.iter().filter_map(|name| ServerSpec::find(name));
            return all.filter(|row| names.is_empty() || is_named(row)).collect();
        }
        let is_wanted =
            |row: &&ServerSpec| if names.is_empty() { row.has_plain() } else { is_named(row) };
        SERVERS.iter().filter(is_wanted).collect()
    }

    fn sweep(
        &self,
        runner: &mut Runner<'_>,
        largest: NonZeroUsize,
    ) -> Result<SweepPart, CommandError> {
        require_files("--sweep", largest.get())?;
        let (row, launch) = self.tidegate()?;
        let machine = Machine::read();
        let mut counts = self.arguments.sweep.clone();
        counts.sort_unstable();
        counts.dedup();
        let mut points = Vec::new();
        for (number, connections) in (1..).zip(&counts) {
            let outcome = runner.measure(row, &launch, &self.plan(*connections, 1))?;
            note(format_args!("[{number}/{}] {connections} connections: {outcome}", counts.len()));
            match outcome {
                Outcome::Measured(figures) => points.push(*figures),
                Outcome::Failed { reason, .. } | Outcome::Skipped { reason } => {
                    return Err(CommandError::Server(reason));
                }
            }
        }
        let settings = settings(&self.plan(largest, 1));
        Ok(SweepPart { machine, settings, server: row.server.to_owned(), points })
    }

    fn scale(
        &self,
        runner: &mut Runner<'_>,
        connections: NonZeroUsize,
    ) -> Result<document::ScalePart, CommandError> {
        if connections.get() > SCALE_MAX {
            let message = format!("--scale {connections}: must be at most {SCALE_MAX}");
            return Err(CommandError::Usage(message));
        }
        let (_, launch) = self.tidegate()?;
        let StudyArguments { hold, in_flight, quiet, seed, .. } = *self.arguments;
        let plan = ScalePlan { connections, hold, in_flight, quiet, seed };
        let part = scale::measure(runner, &launch, &self.installation.loadtest, &plan)?;
        note(format_args!("{part}"));
        Ok(part)
    }

    /// tidegate in the catalogue, and its program. A sweep and a scale need them.
    fn tidegate(&self) -> Result<(&'static ServerSpec, Launch), CommandError> {
        let row = ServerSpec::find(TIDEGATE)
            .ok_or_else(|| CommandError::Usage("tidegate is not in the catalogue".to_owned()))?;
        let launch = row.prepare(&self.installation).map_err(CommandError::Usage)?;
        Ok((row, launch))
    }

    fn plan(&self, connections: NonZeroUsize, cycles: usize) -> Plan {
        let StudyArguments { hold, in_flight, quiet, seed, .. } = *self.arguments;
        Plan {
            connections,
            cycles: NonZeroUsize::new(cycles).unwrap_or(NonZeroUsize::MIN),
            hold,
            warm_up: WARM_UP,
            connects_per_second: None,
            in_flight,
            quiet,
            check: Check::Echo,
            seed,
        }
    }
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        connections: plan.connections.get(),
        cycles: plan.cycles.get(),
        hold_seconds: plan.hold.as_secs_f64(),
        warm_up_connections: plan.warm_up,
        in_flight: plan.in_flight.get(),
        quiet_seconds: plan.quiet.as_secs_f64(),
        seed: plan.seed,
        tls: None,
    }
}

/// The second cycle shows whether memory grows.
const CYCLES: usize = 2;
/// Enough for each loop of a server to serve one.
const WARM_UP: usize = 16;
/// Takes some GiB of the kernel's memory.
const SCALE_MAX: usize = 1_000_000;
