//! `loadtest churn`: the cost of connections that connect, echo one message and close.

mod arguments;
mod report;
mod workload;

use std::time::Duration;

use crate::commands::session::{Session, TURN_MAX};
use crate::driver::{Driver, Workload as _};
use crate::error::{CommandError, Verdict};
use crate::load::clients::NextTurn;
use crate::message::Pattern;
use crate::system::clock;
use crate::system::interrupt::Interrupt;
pub(crate) use arguments::{ChurnArguments, ChurnLoad};
pub(crate) use report::ChurnReport;
use workload::ChurnWorkload;

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
    let mut workload = ChurnWorkload::new(pattern, load.concurrency.get());
    churn(load, "warming up", load.time.warm_up_seconds, session, &mut workload)?;
    let before = session.cpu_sample();
    workload.measure();
    churn(load, "measuring", load.time.seconds, session, &mut workload)?;
    let after = session.cpu_sample();
    let completed = workload.completed();
    workload.require_resumption(load.resume);
    session.await_answers(&mut workload)?;
    session.require_server()?;
    let cpu = after.since(&before, "connection", completed);
    Ok(ChurnReport::new(load, session, cpu, completed, &workload))
}

/// Keeps as many connections under way as the load asks for, for `duration`.
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
        // After as many failures as connections are under way, there is nothing to measure.
        if passed >= duration || workload.failures() >= concurrency {
            return NextTurn::Done;
        }
        // A fixed number of attempts: a connection that the kernel refuses ends at once, and must
        // not be tried again for ever.
        for _ in driver.len()..concurrency {
            driver.connect_to(None, workload);
        }
        NextTurn::Wait(TURN_MAX.min(duration - passed))
    })
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}
