//! `loadtest fanout`: the cost of delivering publications to many subscribers.
//!
//! Publishers send bursts. The next burst follows when every subscriber has received the last one.
//! Every publication must reach every subscriber, once and in order.

mod amount;
mod arguments;
mod report;
mod workload;

use std::time::Duration;

use crate::commands::options::require_message_id;
use crate::commands::session::{SERVE, Session};
use crate::driver::Workload as _;
use crate::error::{CommandError, Verdict};
use crate::load::clients::NextTurn;
use crate::message::Pattern;
use crate::system::clock;
use crate::system::interrupt::Interrupt;
pub(crate) use amount::Amount;
pub(crate) use arguments::{FanoutArguments, FanoutLoad};
pub(crate) use report::FanoutReport;
use workload::FanoutWorkload;

/// Runs the command.
pub(crate) fn run(
    arguments: &FanoutArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let load = &arguments.load;
    require_message_id(load.message.bytes)?;
    if load.members_publish && load.publishers > load.subscribers {
        let reason = "--members-publish: there are more publishers than subscribers";
        return Err(CommandError::Usage(reason.to_owned()));
    }
    let mut session = Session::prepare(&arguments.session, load.requirements(), interrupt)?;
    let report = measure(load, &mut session)?;
    let verdict = session.report(&report, report.has_failures())?;
    arguments.chart.write(report.result().latency.as_ref(), &report.to_string())?;
    Ok(verdict)
}

/// Puts the load on the session's server.
pub(crate) fn measure(
    load: &FanoutLoad,
    session: &mut Session,
) -> Result<FanoutReport, CommandError> {
    let FanoutLoad { message, subscribers, publishers, .. } = load;
    let pattern = Pattern::new(message.payload_kind(), message.bytes, session.seed())
        .compressed(session.is_deflated());
    let counts = (publishers.get(), subscribers.get());
    let mut workload = FanoutWorkload::new(pattern, counts, load.members_publish);
    session.open("subscribers", None, subscribers.get(), &mut workload)?;
    if load.own_publishers() > 0 {
        let path = load.paths.publish_path.as_str().into();
        session.open("publishers", Some(&path), load.own_publishers(), &mut workload)?;
    }
    workload.begin(session.clients.driver());
    // The server may subscribe a connection only after it has sent the 101.
    session.run_for("subscribing", SUBSCRIBE_WAIT, &mut workload, |_, _| SERVE)?;

    publish(load, "warming up", load.warm_up, session, &mut workload)?;
    workload.measure();
    let before = session.cpu_sample();
    let sent = publish(load, "publishing", load.publications, session, &mut workload)?;
    let after = session.cpu_sample();
    let deliveries = workload.delivered();
    // All publications were received: any that arrives now is a duplicate.
    session.run_for("listening", LISTEN_WAIT, &mut workload, |_, _| SERVE)?;
    session.close(&mut workload)?;
    let cpu = after.since(&before, "delivery", deliveries);
    Ok(FanoutReport::new(load, session, cpu, sent, &workload))
}

/// Sends `amount` publications of each publisher in bursts, and waits until all subscribers have
/// received them. Returns the number that each publisher sent.
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
