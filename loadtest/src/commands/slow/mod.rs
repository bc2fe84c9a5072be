//! `loadtest slow`: how readers that stop reading affect the server and the other connections.
//!
//! Some connections are measured all the time. After a while others stop reading, which were idle
//! until then: those of an echo go on sending messages, to those of a broadcast the server goes on
//! sending. In the end they read again, which shows what they have lost.

mod arguments;
mod broadcast;
mod echo;
mod report;
mod slow_workload;
mod tracker;

use std::time::Duration;

use crate::commands::options::{Requirements, require_message_id};
use crate::commands::session::Session;
use crate::error::{CommandError, Verdict};
use crate::load::clients::NextTurn;
use crate::message::Pattern;
use crate::stats::proc_stats::ProcessStats;
use crate::system::clock;
use crate::system::interrupt::Interrupt;
pub(crate) use arguments::SlowArguments;
use broadcast::BroadcastWorkload;
use echo::EchoWorkload;
use report::{SlowReport, StageReport};
use slow_workload::SlowWorkload;
use tracker::Tracker;

/// Runs the command.
pub(crate) fn run(
    arguments: &SlowArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let SlowArguments { message, paths, rate, .. } = arguments;
    let (others, slow) = (arguments.connections.get(), arguments.slow.get());
    let pattern = Pattern::new(message.payload_kind(), message.bytes, arguments.session.seed)
        .compressed(arguments.session.address.deflate);
    let path = if arguments.broadcast { &paths.subscribe_path } else { &arguments.path };
    let connections = others.saturating_add(slow).saturating_add(1);
    if arguments.broadcast {
        require_message_id(message.bytes)?;
    }
    let requirements = Requirements { path, connections, ..Requirements::default() };
    let mut session = Session::prepare(&arguments.session, requirements, interrupt)?;
    let report = if arguments.broadcast {
        let workload = BroadcastWorkload::new(pattern, Tracker::new(others, slow), *rate);
        study(arguments, &mut session, workload)?
    } else {
        let workload = EchoWorkload::new(pattern, Tracker::new(others, slow));
        study(arguments, &mut session, workload)?
    };
    session.report(&report, report.has_failures())
}

fn study(
    arguments: &SlowArguments,
    session: &mut Session,
    mut workload: impl SlowWorkload,
) -> Result<SlowReport, CommandError> {
    session.open("opening", None, arguments.connections.get(), &mut workload)?;
    session.clients.driver().limit_receive_buffers(arguments.receive_buffer.get());
    session.open("slow readers", None, arguments.slow.get(), &mut workload)?;
    if arguments.broadcast {
        let path = arguments.paths.publish_path.as_str().into();
        session.open("publisher", Some(&path), 1, &mut workload)?;
    }
    workload.begin(session.clients.driver());
    session
        .run_for("warming up", WARM_UP, &mut workload, |driver, workload| workload.act(driver))?;
    let before = measure("before", arguments.before_seconds, session, &mut workload)?;
    workload.stop_reading(session.clients.driver());
    let during = measure("during", arguments.during_seconds, session, &mut workload)?;
    workload.read_again(session.clients.driver());
    // Until all connections have received everything, or the timeout of an answer has passed.
    let timeout = arguments.session.timeout;
    session.run_for("reading again", timeout, &mut workload, |driver, workload| {
        let is_over = driver.awaiting() == 0 && workload.behind(driver) == 0;
        if is_over { NextTurn::Done } else { NextTurn::Wait(CHECK_INTERVAL) }
    })?;
    let behind = workload.behind(session.clients.driver());
    session.close(&mut workload)?;
    let after = session.meter().server()?;
    Ok(SlowReport::new(arguments, [before, during], after, behind, workload.tracker()))
}

/// Measures the active connections and the server's memory for `duration`.
fn measure(
    name: &str,
    duration: Duration,
    session: &mut Session,
    workload: &mut impl SlowWorkload,
) -> Result<StageReport, CommandError> {
    let meter = session.meter();
    let (mut highest, mut next_sample) = (meter.server()?, clock::now());
    workload.tracker().clear_latencies();
    let before = session.cpu_sample();
    session.run_for(name, duration, workload, |driver, workload| {
        let now = clock::now();
        if next_sample <= now {
            next_sample = now + SAMPLE_INTERVAL;
            // `require_server` reports a server that has ended.
            highest = higher(highest, meter.server().unwrap_or_default());
        }
        workload.act(driver)
    })?;
    let after = session.cpu_sample();
    session.require_server()?;
    highest = higher(highest, meter.server()?);
    let latencies = workload.tracker().latencies();
    // Not per message, because the slow readers cause work as well.
    let cpu = after.since(&before, "message", 0);
    Ok(StageReport::new(latencies, highest, cpu))
}

/// The figures with more anonymous memory.
fn higher(one: Option<ProcessStats>, other: Option<ProcessStats>) -> Option<ProcessStats> {
    one.into_iter().chain(other).max_by_key(|stats| stats.anonymous_bytes)
}

const WARM_UP: Duration = Duration::from_secs(1);
/// Long, so that reading the memory does not show in the latencies.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
