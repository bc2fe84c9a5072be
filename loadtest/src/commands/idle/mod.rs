//! `loadtest idle`: the cost of an idle connection.
//!
//! Opens connections, holds them, checks that each of them still answers, closes them, and reads
//! the server's memory before and after. A second cycle shows whether the memory grows.

mod arguments;
mod plan;
mod record;
mod report;
mod run;
mod workload;

use crate::commands::capacity::require_capacity;
use crate::commands::options::resolve;
use crate::commands::reachable::require_listener;
use crate::driver::{DriverOptions, SourceAddresses};
use crate::error::{CommandError, Verdict};
use crate::load::clients::Clients;
use crate::output::Output;
use crate::servers::process::ServerProcess;
use crate::stats::meter::Meter;
use crate::stats::proc_stats;
use crate::system::interrupt::Interrupt;
use crate::target::Target;
use crate::tls::Resumption;
pub(crate) use arguments::IdleArguments;
pub(crate) use plan::{Check, Plan};
pub(crate) use record::{CycleReport, Record};
use report::IdleReport;
pub(crate) use run::IdleRun;
pub(crate) use workload::{IdleWorkload, Stage};

/// Runs the command.
pub(crate) fn run(
    arguments: &IdleArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let output = Output::new(arguments.json);
    let (target, sources) = prepare_target(arguments)?;
    let (address, authority) = (target.address, target.authority.clone());
    // Ends with this function, also in the case of an error.
    let server = ServerProcess::prepare(&arguments.server, target.address, interrupt)?;
    let options =
        DriverOptions { target, sources, answer_max: arguments.timeout, seed: arguments.seed };
    let clients = Clients::new(options, interrupt.clone())?;
    let (plan, meter) = (arguments.plan(), Meter::new(server.pid()));
    let record = IdleRun::new(&plan, output, meter, clients).run(|_| {})?;
    if record.failures.count() > 0 && record.baseline.is_none() {
        require_listener(address, &authority)?;
    }
    let report = IdleReport::new(arguments, server.pid(), record);
    output.report(&report)?;
    Ok(if report.has_failures() { Verdict::Failures } else { Verdict::Fine })
}

fn prepare_target(arguments: &IdleArguments) -> Result<(Target, SourceAddresses), CommandError> {
    let IdleArguments { target, .. } = arguments;
    let target = resolve(target.address(), target.path(), Resumption::Off)?;
    let sources = SourceAddresses::new(target.address, &proc_stats::read_ephemeral_ports()?);
    let sources = match arguments.addresses {
        Some(addresses) => sources.going_round(addresses.get()),
        None => sources,
    };
    require_capacity(arguments.connections.get(), &target, &sources)?;
    Ok((target, sources))
}
