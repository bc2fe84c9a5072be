//! `loadtest rate`: the latency of echoes at a given rate.
//!
//! An open loop: the times at which messages are due do not depend on the server, and a latency
//! counts from the time at which its message was due, not from the time at which it was sent. So a
//! stall of the server counts in the latencies of all messages that were due meanwhile, as it does
//! for real users.

mod arguments;
mod report;
mod workload;

use crate::commands::session::Session;
use crate::error::{CommandError, Verdict};
use crate::load::schedule::Schedule;
use crate::message::Pattern;
use crate::system::clock;
use crate::system::interrupt::Interrupt;
pub(crate) use arguments::{RateArguments, RateLoad};
pub(crate) use report::RateReport;
use workload::RateWorkload;

/// Runs the command.
pub(crate) fn run(
    arguments: &RateArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let mut session =
        Session::prepare(&arguments.session, arguments.load.requirements(), interrupt)?;
    let report = measure(&arguments.load, &mut session)?;
    let verdict = session.report(&report, report.has_failures())?;
    arguments.chart.write(report.result().latency.as_ref(), &report.to_string())?;
    Ok(verdict)
}

/// Puts the load on the session's server.
pub(crate) fn measure(load: &RateLoad, session: &mut Session) -> Result<RateReport, CommandError> {
    let RateLoad { message, time, .. } = load;
    let connections = load.connections.get();
    let pattern = Pattern::new(message.payload_kind(), message.bytes, session.seed())
        .compressed(session.is_deflated());
    let mut workload = RateWorkload::new(pattern, connections);
    session.open("opening", None, connections, &mut workload)?;

    let schedule = Schedule::new(clock::now(), load.rate.get(), connections);
    workload.begin(schedule, session.clients.driver());
    session.run_for("warming up", time.warm_up_seconds, &mut workload, |driver, workload| {
        workload.send_due(driver)
    })?;
    let before = session.cpu_sample();
    workload.measure();
    session.run_for("measuring", time.seconds, &mut workload, |driver, workload| {
        workload.send_due(driver)
    })?;
    let after = session.cpu_sample();
    let sent = workload.measured_sent();
    session.await_answers(&mut workload)?;
    session.close(&mut workload)?;

    Ok(RateReport::new(load, session, after.since(&before, "message", sent), sent, &workload))
}
