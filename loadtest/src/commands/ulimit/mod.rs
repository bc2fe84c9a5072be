//! `loadtest ulimit`: what a server does when it runs out of descriptors.
//!
//! Starts the server under a low limit on open files and connects more clients than fit. It must go
//! on serving the clients that it accepted. Once some of them leave, it must serve others.

mod arguments;
mod report;
mod workload;

use std::time::Duration;

use crate::commands::options::Requirements;
use crate::commands::session::{SERVE, Session, TURN_MAX};
use crate::error::{CommandError, Verdict};
use crate::load::clients::NextTurn;
use crate::message::Pattern;
use crate::system::clock;
use crate::system::interrupt::Interrupt;
use crate::tls::Resumption;
pub(crate) use arguments::UlimitArguments;
use report::{Pressure, UlimitReport};
use workload::{Stage, UlimitWorkload};

/// Runs the command.
pub(crate) fn run(
    arguments: &UlimitArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    if arguments.hold >= arguments.session.timeout {
        let reason = "--hold must be shorter than --timeout, after which clients stop waiting";
        return Err(CommandError::Usage(reason.to_owned()));
    }
    let requirements = Requirements {
        resumption: Resumption::Off,
        path: &arguments.path.path,
        // New clients connect while the others are still there.
        connections: arguments.clients.get().saturating_mul(2),
        descriptors: Some(arguments.descriptors),
        has_turnover: true,
    };
    let mut session = Session::prepare(&arguments.session, requirements, interrupt)?;
    let report = study(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

fn study(arguments: &UlimitArguments, session: &mut Session) -> Result<UlimitReport, CommandError> {
    let message = arguments.message;
    let pattern = Pattern::new(message.payload_kind(), message.bytes, arguments.session.seed);
    let mut workload = UlimitWorkload::new(pattern);
    let timeout = arguments.session.timeout;

    connect_clients(arguments.clients.get(), session, &mut workload)?;
    // By now the server has answered all clients that it can serve. From here on it is under
    // pressure.
    session.run_for("arriving", ARRIVAL, &mut workload, |_, _| SERVE)?;
    let before = session.cpu_sample();
    session.run_for("under pressure", arguments.hold, &mut workload, |_, _| SERVE)?;
    let after = session.cpu_sample();
    let pressure = Pressure {
        arrived: workload.counts(),
        left_waiting: workload.waiting(session.clients.driver()),
        cpu: after.since(&before, "client", 0),
    };

    workload.enter(Stage::Echo);
    workload.echo_all(session.clients.driver());
    until("echoing", timeout, session, &mut workload, UlimitWorkload::has_echoed_all)?;
    workload.require_echoes();

    let leaving = pressure.arrived.served.div_ceil(2);
    workload.enter(Stage::Leave);
    workload.close_some(leaving, session.clients.driver());
    until("leaving", timeout, session, &mut workload, |workload| workload.left() >= leaving)?;

    workload.enter(Stage::Return);
    // Half of the descriptors that were freed: after meeting its limit, a server may keep some in
    // reserve.
    let new_clients = leaving.div_ceil(2);
    connect_new_clients(new_clients, timeout, session, &mut workload)?;
    workload.require_new_clients(new_clients);
    session.close(&mut workload)?;
    Ok(UlimitReport::new(arguments, pressure, new_clients, &workload))
}

/// Connects the clients in batches, without waiting for answers.
fn connect_clients(
    clients: usize,
    session: &mut Session,
    workload: &mut UlimitWorkload,
) -> Result<(), CommandError> {
    let step = session.begin("clients", clients);
    let mut started = 0;
    session.drive(workload, |driver, workload| {
        step.reach(started);
        if started == clients {
            return NextTurn::Done;
        }
        let batch = BATCH.min(clients - started);
        for _ in 0..batch {
            driver.connect_to(None, workload);
        }
        started += batch;
        NextTurn::Wait(BATCH_INTERVAL)
    })?;
    step.end(format_args!("clients: {started} connected"));
    Ok(())
}

/// Serves the connections until `is_over`, at most for `time_max`.
fn until(
    name: &str,
    time_max: Duration,
    session: &mut Session,
    workload: &mut UlimitWorkload,
    is_over: impl Fn(&UlimitWorkload) -> bool,
) -> Result<(), CommandError> {
    session.run_for(name, time_max, workload, |_, workload| {
        if is_over(workload) { NextTurn::Done } else { NextTurn::Wait(TURN_MAX) }
    })
}

/// Connects clients until `new_clients` of them have been served. Clients that waited count as
/// well.
fn connect_new_clients(
    new_clients: usize,
    time_max: Duration,
    session: &mut Session,
    workload: &mut UlimitWorkload,
) -> Result<(), CommandError> {
    let mut next_attempt = clock::now();
    session.run_for("new clients", time_max, workload, |driver, workload| {
        let missing = new_clients.saturating_sub(workload.returned());
        if missing == 0 {
            return NextTurn::Done;
        }
        let now = clock::now();
        if next_attempt <= now {
            next_attempt = now + RETRY_INTERVAL;
            // A client that still waits for an answer need not connect again.
            for _ in workload.waiting(driver)..missing {
                driver.connect_to(None, workload);
            }
        }
        NextTurn::Wait(next_attempt.saturating_duration_since(now))
    })
}

/// Clients that connect at a time: far fewer than an accept queue holds, which is not what is
/// measured.
const BATCH: usize = 16;
const BATCH_INTERVAL: Duration = Duration::from_millis(5);
const ARRIVAL: Duration = Duration::from_millis(500);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
