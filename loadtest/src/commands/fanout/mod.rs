//! `loadtest fanout`: what it costs a server to deliver publications to many subscribers.
//!
//! Publishers send bursts; the next burst follows when every subscriber has received the last one
//! completely. Every publication must reach every subscriber, once and in order.

mod report;
mod workload;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::session::{MessageArguments, Needs, SERVE, Session, SessionArguments};
use super::{CommandError, Verdict};
use crate::clock;
use crate::driver::Workload as _;
use crate::fleet::Steer;
use crate::interrupt::Interrupt;
use crate::message::{Pattern, STAMP_BYTES};
use crate::target::parse_path;
use report::FanoutReport;
use workload::FanoutWorkload;

/// Publishes to many subscribers and verifies that each receives everything once and in order
#[derive(Args, Debug)]
pub(crate) struct FanoutArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    message: MessageArguments,

    #[command(flatten)]
    paths: BroadcastPaths,

    /// Connections that receive
    #[arg(long, value_name = "COUNT", default_value = "100")]
    subscribers: NonZeroUsize,

    /// Connections that send
    #[arg(long, value_name = "COUNT", default_value = "1")]
    publishers: NonZeroUsize,

    /// Publications of each publisher
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    publications: NonZeroUsize,

    /// Publications that each publisher sends at once
    #[arg(long, value_name = "COUNT", default_value = "1")]
    burst: NonZeroUsize,

    /// Publications of each publisher before those that are measured
    #[arg(long, value_name = "COUNT", default_value = "10")]
    warm_up: usize,
}

/// Where publishers and subscribers connect to.
#[derive(Args, Clone, Debug)]
pub(crate) struct BroadcastPaths {
    /// Path that publishers connect to
    #[arg(long, default_value = "/broadcast", value_parser = parse_path)]
    pub(crate) publish_path: String,

    /// Path that subscribers connect to
    #[arg(long, default_value = "/broadcast", value_parser = parse_path)]
    pub(crate) subscribe_path: String,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &FanoutArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    require_stamp(arguments.message.bytes)?;
    let connections = arguments.subscribers.get().saturating_add(arguments.publishers.get());
    let path = &arguments.paths.subscribe_path;
    let needs = Needs { path, connections, ..Needs::default() };
    let mut session = Session::prepare(&arguments.session, needs, interrupt)?;
    let report = study(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

/// A subscriber must be able to tell which publication it received.
pub(crate) fn require_stamp(payload_bytes: usize) -> Result<(), CommandError> {
    if payload_bytes < STAMP_BYTES {
        return Err(CommandError::Usage(format!(
            "--bytes {payload_bytes}: a publication needs {STAMP_BYTES} for its number"
        )));
    }
    Ok(())
}

fn study(arguments: &FanoutArguments, session: &mut Session) -> Result<FanoutReport, CommandError> {
    let FanoutArguments { message, subscribers, publishers, .. } = arguments;
    let pattern = Pattern::new(message.filling(), message.bytes, arguments.session.seed)
        .compressed(arguments.session.address.deflate);
    let mut workload = FanoutWorkload::new(pattern, publishers.get(), subscribers.get());
    session.open("subscribers", None, subscribers.get(), &mut workload)?;
    let path = arguments.paths.publish_path.as_str().into();
    session.open("publishers", Some(&path), publishers.get(), &mut workload)?;
    workload.begin(session.fleet.driver());
    // A server may subscribe a connection only after its 101 has left.
    session.run_for("subscribing", SUBSCRIBE_WAIT, &mut workload, |_, _| SERVE)?;

    publish(arguments, "warming up", arguments.warm_up, session, &mut workload)?;
    workload.measure();
    let before = session.mark();
    publish(arguments, "publishing", arguments.publications.get(), session, &mut workload)?;
    let after = session.mark();
    let deliveries = workload.delivered();
    // What comes now comes again: everything was received.
    session.run_for("listening", LISTEN_WAIT, &mut workload, |_, _| SERVE)?;
    session.close(&mut workload)?;
    Ok(FanoutReport::new(arguments, after.since(&before, "delivery", deliveries), &workload))
}

/// Sends so many publications of each publisher in bursts, and waits until all were received.
fn publish(
    arguments: &FanoutArguments,
    name: &str,
    publications: usize,
    session: &mut Session,
    workload: &mut FanoutWorkload,
) -> Result<(), CommandError> {
    let step = session.begin(name, publications);
    let (burst, timeout) = (arguments.burst.get(), arguments.session.timeout);
    let (mut sent, mut deadline) = (0, clock::now());
    session.drive(workload, |driver, workload| {
        if workload.is_over() {
            return Steer::Done;
        }
        if workload.is_everything_received() {
            step.reach(sent);
            if sent == publications {
                return Steer::Done;
            }
            let count = burst.min(publications - sent);
            workload.publish(count, driver);
            sent += count;
            deadline = clock::now() + timeout;
            return SERVE;
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            workload.give_up(timeout);
            return Steer::Done;
        }
        Steer::Wait(left)
    })?;
    let failures = workload.failures();
    step.end(format_args!("{name}: {sent} sent by each publisher, {failures} failures"));
    Ok(())
}

const SUBSCRIBE_WAIT: Duration = Duration::from_millis(200);
const LISTEN_WAIT: Duration = Duration::from_millis(200);
