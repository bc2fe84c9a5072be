//! `loadtest echo`: how many messages a server echoes, and the cost of each.
//!
//! A closed loop: every connection keeps `--in-flight` messages in flight, and sends the next one
//! when an echo has arrived as it was sent.

mod arguments;
mod report;
mod workload;

use crate::commands::session::{SERVE, Session};
use crate::error::{CommandError, Verdict};
use crate::message::Pattern;
use crate::system::interrupt::Interrupt;
pub(crate) use arguments::{EchoArguments, EchoLoad};
pub(crate) use report::EchoReport;
use workload::EchoWorkload;

/// Runs the command.
pub(crate) fn run(
    arguments: &EchoArguments,
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
pub(crate) fn measure(load: &EchoLoad, session: &mut Session) -> Result<EchoReport, CommandError> {
    let EchoLoad { message, time, .. } = load;
    let connections = load.connections.get();
    let pattern = Pattern::new(message.payload_kind(), message.bytes, session.seed())
        .compressed(session.is_deflated());
    let mut workload = EchoWorkload::new(pattern, connections, load.in_flight);
    session.open("opening", None, connections, &mut workload)?;

    workload.begin(session.clients.driver());
    session.run_for("warming up", time.warm_up_seconds, &mut workload, |_, _| SERVE)?;
    let before = session.cpu_sample();
    workload.measure();
    session.run_for("measuring", time.seconds, &mut workload, |_, _| SERVE)?;
    let after = session.cpu_sample();
    let distribution = session.connections_per_epoll();
    workload.finish();
    session.await_answers(&mut workload)?;
    session.close(&mut workload)?;

    let cpu = after.since(&before, "message", workload.measured());
    Ok(EchoReport::new(load, session, cpu, distribution, &workload))
}
