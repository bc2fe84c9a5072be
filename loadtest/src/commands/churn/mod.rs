//! `loadtest churn`: what connections cost that come, echo one message and leave.

mod report;
mod workload;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::options::{MessageArguments, SessionArguments, TimeArguments};
use super::session::{Requirements, Session, TURN_MAX};
use super::{CommandError, Verdict};
use crate::clients::NextTurn;
use crate::clock;
use crate::driver::{Driver, Workload as _};
use crate::interrupt::Interrupt;
use crate::message::Pattern;
use crate::target::PathArguments;
pub(crate) use report::ChurnReport;
use workload::ChurnWorkload;

/// Connects, upgrades, echoes one message and closes, over and over
#[derive(Args, Debug)]
pub(crate) struct ChurnArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    load: ChurnLoad,
}

/// Who comes and goes, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChurnLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) path: PathArguments,

    /// Connections under way at a time
    #[arg(long, value_name = "COUNT", default_value = "64")]
    pub(crate) concurrency: NonZeroUsize,

    #[command(flatten)]
    pub(crate) time: TimeArguments,
}

impl ChurnLoad {
    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.concurrency.get();
        Requirements { path: &self.path.path, connections, has_turnover: true, descriptors: None }
    }
}

/// Runs the command.
pub(crate) fn run(
    arguments: &ChurnArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let mut session =
        Session::prepare(&arguments.session, arguments.load.requirements(), interrupt)?;
    let report = measure(&arguments.load, &mut session)?;
    session.report(&report, report.has_failures())
}

/// Puts the load on the session's server.
pub(crate) fn measure(
    load: &ChurnLoad,
    session: &mut Session,
) -> Result<ChurnReport, CommandError> {
    let message = load.message;
    let pattern = Pattern::new(message.payload_kind(), message.bytes, session.seed())
        .compressed(session.is_deflated());
    let mut workload = ChurnWorkload::new(pattern);
    churn(load, "warming up", load.time.warm_up_seconds, session, &mut workload)?;
    let before = session.cpu_sample();
    workload.measure();
    churn(load, "measuring", load.time.seconds, session, &mut workload)?;
    let after = session.cpu_sample();
    let completed = workload.completed();
    session.await_answers(&mut workload)?;
    session.require_server()?;
    let cpu = after.since(&before, "connection", completed);
    Ok(ChurnReport::new(load, session, cpu, completed, &workload))
}

/// Keeps so many connections under way for so long.
fn churn(
    load: &ChurnLoad,
    name: &str,
    duration: Duration,
    session: &mut Session,
    workload: &mut ChurnWorkload,
) -> Result<(), CommandError> {
    let concurrency = load.concurrency.get();
    let step = session.begin(&format!("{name} (ms)"), millis(duration));
    let began = clock::now();
    session.drive(workload, |driver: &mut Driver, workload| {
        let passed = clock::now().saturating_duration_since(began);
        step.reach(millis(passed));
        // When as many have failed as are under way at a time, there is nothing to measure.
        if passed >= duration || workload.failures() >= concurrency {
            return NextTurn::Done;
        }
        // A refusal by the kernel leaves the place free: it must not be tried again for ever.
        for _ in driver.len()..concurrency {
            driver.connect_to(None, workload);
        }
        NextTurn::Wait(TURN_MAX.min(duration - passed))
    })
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}
