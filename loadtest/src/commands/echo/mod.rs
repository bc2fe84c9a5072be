//! `loadtest echo`: how many messages a server echoes, and what each costs it.
//!
//! A closed loop: every connection keeps so many messages in flight, and each echo that comes back
//! as it was sent is followed by the next message.

mod report;
mod workload;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::session::{MessageArguments, Needs, SERVE, Session, SessionArguments};
use super::{CommandError, Verdict};
use crate::interrupt::Interrupt;
use crate::message::Pattern;
use crate::target::parse_path;
use crate::units::parse_seconds;
use report::EchoReport;
use workload::EchoWorkload;

/// Keeps messages in flight on every connection and verifies the echoes
#[derive(Args, Debug)]
pub(crate) struct EchoArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    message: MessageArguments,

    /// Path of the upgrade request
    #[arg(long, default_value = "/echo", value_parser = parse_path)]
    path: String,

    /// Connections to open
    #[arg(long, value_name = "COUNT", default_value = "100")]
    connections: NonZeroUsize,

    /// Messages in flight on each connection
    #[arg(long, value_name = "COUNT", default_value = "1")]
    in_flight: NonZeroU32,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    seconds: Duration,

    /// How long to send before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    warm_up_seconds: Duration,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &EchoArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let connections = arguments.connections.get();
    let needs = Needs { path: &arguments.path, connections, ..Needs::default() };
    let mut session = Session::prepare(&arguments.session, needs, interrupt)?;
    let report = study(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

fn study(arguments: &EchoArguments, session: &mut Session) -> Result<EchoReport, CommandError> {
    let EchoArguments { message, seconds, warm_up_seconds, .. } = arguments;
    let connections = arguments.connections.get();
    let pattern = Pattern::new(message.filling(), message.bytes, arguments.session.seed)
        .compressed(arguments.session.address.deflate);
    let mut workload = EchoWorkload::new(pattern, connections, arguments.in_flight);
    session.open("opening", None, connections, &mut workload)?;

    workload.begin(session.fleet.driver());
    session.run_for("warming up", *warm_up_seconds, &mut workload, |_, _| SERVE)?;
    let before = session.mark();
    workload.measure();
    session.run_for("measuring", *seconds, &mut workload, |_, _| SERVE)?;
    let after = session.mark();
    workload.finish();
    session.settle(&mut workload)?;
    session.close(&mut workload)?;

    let cpu = after.since(&before, "message", workload.measured());
    Ok(EchoReport::new(arguments, cpu, &workload))
}
