//! `loadtest churn`: what connections cost that come, echo one message and leave.

mod report;
mod workload;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::session::{MessageArguments, Needs, Session, SessionArguments, TURN_MAX};
use super::{CommandError, Verdict};
use crate::clock;
use crate::driver::{Driver, Workload as _};
use crate::fleet::Steer;
use crate::interrupt::Interrupt;
use crate::message::Pattern;
use crate::target::parse_path;
use crate::units::parse_seconds;
use report::ChurnReport;
use workload::ChurnWorkload;

/// Connects, upgrades, echoes one message and closes, over and over
#[derive(Args, Debug)]
pub(crate) struct ChurnArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    message: MessageArguments,

    /// Path of the upgrade request
    #[arg(long, default_value = "/echo", value_parser = parse_path)]
    path: String,

    /// Connections under way at a time
    #[arg(long, value_name = "COUNT", default_value = "64")]
    concurrency: NonZeroUsize,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    seconds: Duration,

    /// How long to connect before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    warm_up_seconds: Duration,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &ChurnArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let connections = arguments.concurrency.get();
    let needs = Needs { path: &arguments.path, connections, has_turnover: true, descriptors: None };
    let mut session = Session::prepare(&arguments.session, needs, interrupt)?;
    let report = study(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

fn study(arguments: &ChurnArguments, session: &mut Session) -> Result<ChurnReport, CommandError> {
    let message = arguments.message;
    let pattern = Pattern::new(message.filling(), message.bytes, arguments.session.seed)
        .compressed(arguments.session.address.deflate);
    let mut workload = ChurnWorkload::new(pattern);
    churn(arguments, "warming up", arguments.warm_up_seconds, session, &mut workload)?;
    let before = session.mark();
    workload.measure();
    churn(arguments, "measuring", arguments.seconds, session, &mut workload)?;
    let after = session.mark();
    let completed = workload.completed();
    session.settle(&mut workload)?;
    session.require_server()?;
    let cpu = after.since(&before, "connection", completed);
    Ok(ChurnReport::new(arguments, cpu, completed, &workload))
}

/// Keeps so many connections under way for so long.
fn churn(
    arguments: &ChurnArguments,
    name: &str,
    duration: Duration,
    session: &mut Session,
    workload: &mut ChurnWorkload,
) -> Result<(), CommandError> {
    let concurrency = arguments.concurrency.get();
    let step = session.begin(&format!("{name} (ms)"), millis(duration));
    let began = clock::now();
    session.drive(workload, |driver: &mut Driver, workload| {
        let passed = clock::now().saturating_duration_since(began);
        step.reach(millis(passed));
        // When as many have failed as are under way at a time, there is nothing to measure.
        if passed >= duration || workload.failures() >= concurrency {
            return Steer::Done;
        }
        // A refusal by the kernel leaves the place free: it must not be tried again for ever.
        for _ in driver.len()..concurrency {
            driver.connect_to(None, workload);
        }
        Steer::Wait(TURN_MAX.min(duration - passed))
    })
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}
