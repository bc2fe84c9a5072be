//! `loadtest rate`: how long echoes take at a given rate.
//!
//! An open loop: messages are due at moments that do not depend on the server, and a latency
//! counts from the moment at which its message was due, not from when it could be sent. So a
//! server that stalls is charged for all that was due meanwhile, as its users would charge it.

mod report;
mod workload;

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

use super::options::{MessageArguments, SessionArguments, TimeArguments};
use super::session::{Requirements, Session};
use super::{CommandError, Verdict};
use crate::clock;
use crate::interrupt::Interrupt;
use crate::message::Pattern;
use crate::schedule::Schedule;
use crate::target::PathArguments;
pub(crate) use report::RateReport;
use workload::RateWorkload;

/// Sends messages at a given rate, whatever the server does, and verifies the echoes
#[derive(Args, Debug)]
pub(crate) struct RateArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    load: RateLoad,
}

/// What is sent, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct RateLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) path: PathArguments,

    /// Messages to send per second, on all connections together
    #[arg(long, value_name = "MESSAGES_PER_SECOND")]
    pub(crate) rate: NonZeroU32,

    /// Connections to send them on, in turn
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(crate) connections: NonZeroUsize,

    #[command(flatten)]
    pub(crate) time: TimeArguments,
}

impl RateLoad {
    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.connections.get();
        Requirements { path: &self.path.path, connections, ..Requirements::default() }
    }
}

/// Runs the command.
pub(crate) fn run(
    arguments: &RateArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let mut session =
        Session::prepare(&arguments.session, arguments.load.requirements(), interrupt)?;
    let report = measure(&arguments.load, &mut session)?;
    session.report(&report, report.has_failures())
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
