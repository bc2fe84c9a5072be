//! `loadtest fanout`: what it costs a server to deliver publications to many subscribers.
//!
//! Publishers send bursts; the next burst follows when every subscriber has received the last one
//! completely. Every publication must reach every subscriber, once and in order.

mod amount;
mod report;
mod workload;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::options::{MessageArguments, SessionArguments};
use super::session::{Requirements, SERVE, Session};
use super::{CommandError, Verdict};
use crate::clients::NextTurn;
use crate::clock;
use crate::driver::Workload as _;
use crate::interrupt::Interrupt;
use crate::message::{MESSAGE_ID_BYTES, Pattern};
use crate::target::parse_path;
pub(crate) use amount::Amount;
pub(crate) use report::FanoutReport;
use workload::FanoutWorkload;

/// Publishes to many subscribers and verifies that each receives everything once and in order
#[derive(Args, Debug)]
pub(crate) struct FanoutArguments {
    #[command(flatten)]
    session: SessionArguments,

    #[command(flatten)]
    load: FanoutLoad,
}

/// What is published to whom, and how much of it.
#[derive(Args, Clone, Debug)]
pub(crate) struct FanoutLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) paths: BroadcastPaths,

    /// Connections that receive
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(crate) subscribers: NonZeroUsize,

    /// Connections that send
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(crate) publishers: NonZeroUsize,

    /// Publications that each publisher sends at once
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(crate) burst: NonZeroUsize,

    /// Publications of each publisher, or how long to publish, as `2s`
    #[arg(long, value_name = "AMOUNT", default_value = "1000")]
    pub(crate) publications: Amount,

    /// The same, before those that are measured
    #[arg(long, value_name = "AMOUNT", default_value = "10")]
    pub(crate) warm_up: Amount,
}

impl FanoutLoad {
    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.subscribers.get().saturating_add(self.publishers.get());
        Requirements { path: &self.paths.subscribe_path, connections, ..Requirements::default() }
    }
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
    let load = &arguments.load;
    require_message_id(load.message.bytes)?;
    let mut session = Session::prepare(&arguments.session, load.requirements(), interrupt)?;
    let report = measure(load, &mut session)?;
    session.report(&report, report.has_failures())
}

/// A subscriber must be able to tell which publication it received.
pub(crate) fn require_message_id(payload_bytes: usize) -> Result<(), CommandError> {
    if payload_bytes < MESSAGE_ID_BYTES {
        return Err(CommandError::Usage(format!(
            "--bytes {payload_bytes}: a publication needs {MESSAGE_ID_BYTES} for its number"
        )));
    }
    Ok(())
}

/// Puts the load on the session's server.
pub(crate) fn measure(
    load: &FanoutLoad,
    session: &mut Session,
) -> Result<FanoutReport, CommandError> {
    let FanoutLoad { message, subscribers, publishers, .. } = load;
    let pattern = Pattern::new(message.payload_kind(), message.bytes, session.seed())
        .compressed(session.is_deflated());
    let mut workload = FanoutWorkload::new(pattern, publishers.get(), subscribers.get());
    session.open("subscribers", None, subscribers.get(), &mut workload)?;
    let path = load.paths.publish_path.as_str().into();
    session.open("publishers", Some(&path), publishers.get(), &mut workload)?;
    workload.begin(session.clients.driver());
    // A server may subscribe a connection only after its 101 has left.
    session.run_for("subscribing", SUBSCRIBE_WAIT, &mut workload, |_, _| SERVE)?;

    publish(load, "warming up", load.warm_up, session, &mut workload)?;
    workload.measure();
    let before = session.cpu_sample();
    let sent = publish(load, "publishing", load.publications, session, &mut workload)?;
    let after = session.cpu_sample();
    let deliveries = workload.delivered();
    // What comes now comes again: everything was received.
    session.run_for("listening", LISTEN_WAIT, &mut workload, |_, _| SERVE)?;
    session.close(&mut workload)?;
    let cpu = after.since(&before, "delivery", deliveries);
    Ok(FanoutReport::new(load, session, cpu, sent, &workload))
}

/// Sends so many publications of each publisher in bursts, and waits until all were received.
/// Returns how many they were.
fn publish(
    load: &FanoutLoad,
    name: &str,
    amount: Amount,
    session: &mut Session,
    workload: &mut FanoutWorkload,
) -> Result<usize, CommandError> {
    let began = clock::now();
    let step = session.begin(name, amount.steps());
    let (burst, timeout) = (load.burst.get(), session.answer_max());
    let (mut sent, mut deadline) = (0, began);
    session.drive(workload, |driver, workload| {
        if workload.is_over() {
            return NextTurn::Done;
        }
        if workload.is_everything_received() {
            let left = amount.left(sent, clock::now().saturating_duration_since(began));
            step.reach(amount.steps().saturating_sub(left));
            if left == 0 {
                return NextTurn::Done;
            }
            let count = match amount {
                Amount::Publications(_) => burst.min(left),
                Amount::Time(_) => burst,
            };
            workload.publish(count, driver);
            sent += count;
            deadline = clock::now() + timeout;
            return SERVE;
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            workload.abort(timeout);
            return NextTurn::Done;
        }
        NextTurn::Wait(left)
    })?;
    let failures = workload.failures();
    step.end(format_args!("{name}: {sent} sent by each publisher, {failures} failures"));
    Ok(sent)
}

const SUBSCRIBE_WAIT: Duration = Duration::from_millis(200);
const LISTEN_WAIT: Duration = Duration::from_millis(200);
