//! `loadtest storm`: how long it takes until all clients are served again after all were
//! disconnected.
//!
//! Opens connections with few open requests, drops them all as a failing network would, and
//! connects as many again at once.

mod arguments;
mod report;
mod workload;

use std::time::Duration;

use crate::commands::options::Requirements;
use crate::commands::session::{SERVE, Session};
use crate::error::{CommandError, Verdict};
use crate::load::clients::NextTurn;
use crate::system::interrupt::Interrupt;
use crate::tls::Resumption;
pub(crate) use arguments::StormArguments;
use report::StormReport;
use workload::StormWorkload;

/// Runs the command.
pub(crate) fn run(
    arguments: &StormArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let connections = arguments.connections.get();
    let requirements = Requirements {
        resumption: Resumption::Off,
        path: &arguments.path.path,
        connections,
        has_turnover: true,
        descriptors: None,
    };
    let mut session = Session::prepare(&arguments.session, requirements, interrupt)?;
    let report = study(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

fn study(arguments: &StormArguments, session: &mut Session) -> Result<StormReport, CommandError> {
    let connections = arguments.connections.get();
    let mut workload = StormWorkload::new();
    session.open("opening", None, connections, &mut workload)?;
    session.clients.abort_all();
    workload.begin();

    let before = session.cpu_sample();
    reconnect(connections, session, &mut workload)?;
    let after = session.cpu_sample();
    // The rest of the run counts as well: a connection that was served must be there to be closed.
    session.close(&mut workload)?;
    let served = workload.upgrades().count();
    let cpu = after.since(&before, "connection", served);
    let served_all = workload.last_served().map(|served| served.duration_since(before.time));
    Ok(StormReport::new(arguments, cpu, served_all, &workload))
}

/// Connects all clients as fast as the kernel allows, and serves them meanwhile.
fn reconnect(
    connections: usize,
    session: &mut Session,
    workload: &mut StormWorkload,
) -> Result<(), CommandError> {
    let step = session.begin("reconnecting", connections);
    let mut started = 0;
    session.drive(workload, |driver, workload| {
        step.reach(started - driver.awaiting().min(started));
        let batch = BATCH.min(connections - started);
        for _ in 0..batch {
            driver.connect_to(None, workload);
        }
        started += batch;
        if started < connections {
            return NextTurn::Wait(Duration::ZERO);
        }
        match driver.awaiting() {
            0 => NextTurn::Done,
            _ => SERVE,
        }
    })?;
    step.end(format_args!("reconnecting: {} were served", workload.upgrades().count()));
    Ok(())
}

/// Connections that are started in one turn.
const BATCH: usize = 256;
