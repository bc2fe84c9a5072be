//! `loadtest idle`: what an idle connection costs the server.
//!
//! Opens connections, lets them rest, checks that each still answers, closes them properly and
//! looks whether the server's memory comes back; then once more, to show that nothing grows.

mod plan;
mod record;
mod report;
mod run;
mod workload;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::{CommandError, Verdict, require_capacity};
use crate::clients::Clients;
use crate::driver::DriverOptions;
use crate::file_limit;
use crate::interrupt::Interrupt;
use crate::meter::Meter;
use crate::output::Output;
use crate::proc_stats;
use crate::server_process::{ServerArguments, ServerProcess};
use crate::source_address::SourceAddresses;
use crate::target::{Target, TargetArguments};
use crate::units::parse_seconds;
pub(crate) use plan::{Check, Plan};
pub(crate) use record::{CycleReport, Record};
use report::IdleReport;
pub(crate) use run::IdleRun;
pub(crate) use workload::{IdleWorkload, Stage};

/// Holds idle connections and reports what each of them costs the server
#[derive(Args, Debug)]
pub(crate) struct IdleArguments {
    #[command(flatten)]
    target: TargetArguments,

    #[command(flatten)]
    server: ServerArguments,

    /// Connections to hold
    #[arg(long, value_name = "COUNT")]
    connections: NonZeroUsize,

    /// How long to hold them
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    hold: Duration,

    /// How often to open, hold and close them all
    #[arg(long, value_name = "COUNT", default_value = "2")]
    cycles: NonZeroUsize,

    /// Connections that come, echo one message and leave, one after the other, before the
    /// baseline is taken: enough for each loop of the server to see one. 0 if the path does not
    /// echo
    #[arg(long, value_name = "COUNT", default_value = "16")]
    warm_up: usize,

    /// Open at most so many connections per second
    #[arg(long, value_name = "CONNECTS_PER_SECOND")]
    rate: Option<NonZeroU32>,

    /// Answers awaited at a time. The server's CPU time per connection falls with it: what
    /// arrives together is accepted together. Compare runs of the same width only. A stage in
    /// which as many connections fail is given up
    #[arg(long, value_name = "COUNT", default_value = "256")]
    in_flight: NonZeroUsize,

    /// How long the server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    timeout: Duration,

    /// Memory counts as settled when it has not changed for so long
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    quiet: Duration,

    /// Seed of the accept keys, mask keys and ping payloads
    #[arg(long, default_value = "1")]
    seed: u64,

    /// Write the report as one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &IdleArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let output = Output::new(arguments.json);
    let (target, sources) = prepare_target(arguments)?;
    // Ended when this function is left, whichever way.
    let server = ServerProcess::prepare(&arguments.server, target.address, interrupt)?;
    let options =
        DriverOptions { target, sources, answer_max: arguments.timeout, seed: arguments.seed };
    let clients = Clients::new(options, interrupt.clone())?;
    let (plan, meter) = (arguments.plan(), Meter::new(server.pid()));
    let record = IdleRun::new(&plan, output, meter, clients).run(|_| {})?;
    let report = IdleReport::new(arguments, server.pid(), record);
    output.report(&report)?;
    Ok(if report.has_failures() { Verdict::Failures } else { Verdict::Fine })
}

impl IdleArguments {
    fn plan(&self) -> Plan {
        Plan {
            connections: self.connections,
            cycles: self.cycles,
            hold: self.hold,
            warm_up: self.warm_up,
            connects_per_second: self.rate,
            in_flight: self.in_flight,
            quiet: self.quiet,
            check: Check::Ping,
            seed: self.seed,
        }
    }
}

fn prepare_target(arguments: &IdleArguments) -> Result<(Target, SourceAddresses), CommandError> {
    let target = arguments.target.resolve().map_err(|error| {
        CommandError::Usage(format!("--address {}: {error}", arguments.target.address()))
    })?;
    let sources = SourceAddresses::new(target.address, &proc_stats::read_ephemeral_ports()?);
    require_capacity(arguments.connections.get(), &target, &sources)?;
    Ok((target, sources))
}

/// Every connection is an open file.
pub(crate) fn require_files(option: &str, connections: NonZeroUsize) -> Result<(), CommandError> {
    let granted = file_limit::raise();
    let connections_max = granted.saturating_sub(file_limit::RESERVED_FILES);
    if connections.get() > connections_max {
        return Err(CommandError::Usage(format!(
            "{option} {connections} does not fit: the limit on open files (ulimit -Hn) is \
             {granted}, which allows {connections_max}"
        )));
    }
    Ok(())
}
