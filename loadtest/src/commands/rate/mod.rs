//! `loadtest rate`: how long echoes take at a given rate.
//!
//! An open loop: messages are due at moments that do not depend on the server, and a latency
//! counts from the moment at which its message was due, not from when it could be sent. So a
//! server that stalls is charged for all that was due meanwhile, as its users would charge it.

mod report;
mod workload;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::session::{MessageArguments, Needs, Session, SessionArguments};
use super::{CommandError, Verdict};
use crate::clock;
use crate::interrupt::Interrupt;
use crate::message::Pattern;
use crate::schedule::Schedule;
use crate::target::parse_path;
use crate::units::parse_seconds;
use report::RateReport;
use workload::RateWorkload;

/// Sends messages at a given rate, whatever the server does, and verifies the echoes
#[derive(Args, Debug)]
pub(crate) struct RateArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    message: MessageArguments,

    /// Path of the upgrade request
    #[arg(long, default_value = "/echo", value_parser = parse_path)]
    path: String,

    /// Messages to send per second, on all connections together
    #[arg(long, value_name = "MESSAGES_PER_SECOND")]
    rate: NonZeroU32,

    /// Connections to send them on, in turn
    #[arg(long, value_name = "COUNT", default_value = "100")]
    connections: NonZeroUsize,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    seconds: Duration,

    /// How long to send before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    warm_up_seconds: Duration,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &RateArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let connections = arguments.connections.get();
    let needs = Needs { path: &arguments.path, connections, ..Needs::default() };
    let mut session = Session::prepare(&arguments.session, needs, interrupt)?;
    let report = study(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

fn study(arguments: &RateArguments, session: &mut Session) -> Result<RateReport, CommandError> {
    let RateArguments { message, seconds, warm_up_seconds, .. } = arguments;
    let connections = arguments.connections.get();
    let pattern = Pattern::new(message.filling(), message.bytes, arguments.session.seed)
        .compressed(arguments.session.address.deflate);
    let mut workload = RateWorkload::new(pattern, connections);
    session.open("opening", None, connections, &mut workload)?;

    let schedule = Schedule::new(clock::now(), arguments.rate.get(), connections);
    workload.begin(schedule, session.fleet.driver());
    session.run_for("warming up", *warm_up_seconds, &mut workload, |driver, workload| {
        workload.send_due(driver)
    })?;
    let before = session.mark();
    workload.measure();
    session.run_for("measuring", *seconds, &mut workload, |driver, workload| {
        workload.send_due(driver)
    })?;
    let after = session.mark();
    let sent = workload.measured_sent();
    session.settle(&mut workload)?;
    session.close(&mut workload)?;

    Ok(RateReport::new(arguments, after.since(&before, "message", sent), sent, &workload))
}
