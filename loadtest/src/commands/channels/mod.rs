//! `loadtest channels`: what a channel of the Centrifugo client protocol costs: deliveries, presence, and
//! the return of all members at once.
//!
//! A publisher sends bursts; the next follows when every subscriber has received the last one. Each
//! publication must reach each subscriber once, in order, with the offset that follows. Then, if asked for,
//! all subscribers are dropped, miss some publications, come back at once, and must be given all of them.

mod arguments;
mod protobuf;
mod protocol;
mod report;
mod workload;

use crate::commands::session::{SERVE, Session};
use crate::driver::{ConnKey, Driver};
use crate::error::{CommandError, Verdict};
use crate::load::clients::NextTurn;
use crate::system::clock;
use crate::system::interrupt::Interrupt;
pub(crate) use arguments::ChannelsArguments;
use arguments::Format;
use report::{ChannelsReport, IdleReport, RecoveryReport, StepReport, Steps};
use workload::ChannelsWorkload;

/// Runs the command.
pub(crate) fn run(
    arguments: &ChannelsArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let mut session = Session::prepare(&arguments.session, arguments.requirements(), interrupt)?;
    let report = measure(arguments, &mut session)?;
    session.report(&report, report.has_failures())
}

fn measure(
    arguments: &ChannelsArguments,
    session: &mut Session,
) -> Result<ChannelsReport, CommandError> {
    let subscribers = arguments.subscribers.get();
    let mut workload = ChannelsWorkload::new(arguments, clock::now());
    let subprotocol = (arguments.format == Format::Protobuf).then_some(PROTOBUF_SUBPROTOCOL);
    session.clients.driver().offer_subprotocol(subprotocol);
    let memory_before = session.meter().server().ok().flatten();
    session.open("subscribers", None, subscribers, &mut workload)?;
    await_until(session, &mut workload, |_, workload| workload.subscribed == subscribers)?;
    let idle = (!arguments.idle.is_zero())
        .then(|| {
            session.run_for("idle", arguments.idle, &mut workload, |_, _| SERVE)?;
            let memory = memory_before.zip(session.meter().server().ok().flatten());
            Ok::<_, CommandError>(IdleReport::new(arguments, memory))
        })
        .transpose()?;
    let publisher = open_publisher(session, &mut workload)?;

    publish(arguments.warm_up, arguments.burst.get(), publisher, session, &mut workload)?;
    workload.measure();
    let before = session.cpu_sample();
    publish(arguments.publications, arguments.burst.get(), publisher, session, &mut workload)?;
    let count = workload.deliveries.count();
    let cpu = session.cpu_sample().since(&before, "delivery", count);
    let deliveries = StepReport::new(&workload.deliveries, cpu);
    let publications = workload.answers.summary();

    let presence = (arguments.presence > 0)
        .then(|| ask_presence(arguments, publisher, session, &mut workload))
        .transpose()?;
    let recovery =
        (arguments.missed > 0).then(|| recover(arguments, session, &mut workload)).transpose()?;
    session.close(&mut workload)?;
    let steps = Steps { idle, deliveries, publications, presence, recovery };
    Ok(ChannelsReport::new(arguments, steps, &workload))
}

/// Opens the connection that publishes.
fn open_publisher(
    session: &mut Session,
    workload: &mut ChannelsWorkload<'_>,
) -> Result<ConnKey, CommandError> {
    let serial = session.clients.driver().next_serial();
    session.open("publisher", None, 1, workload)?;
    let keys = session.clients.driver().keys();
    keys.into_iter().find(|key| key.serial() == serial).ok_or_else(|| {
        let reason = workload.tally.first_reason().unwrap_or("it has ended");
        CommandError::Usage(format!("the publisher is not let in: {reason}"))
    })
}

/// Publishes `count` times, `burst` at once, each burst once all have the one before.
fn publish(
    count: usize,
    burst: usize,
    publisher: ConnKey,
    session: &mut Session,
    workload: &mut ChannelsWorkload<'_>,
) -> Result<(), CommandError> {
    let step = session.begin("publishing", count);
    let mut sent = 0;
    repeat(session, workload, |driver, workload| {
        step.reach(sent);
        let next = burst.min(count - sent);
        sent += next;
        if next > 0 {
            workload.publish(next, publisher, driver);
        }
        next > 0
    })?;
    step.end(format_args!("published {sent}"));
    Ok(())
}

fn ask_presence(
    arguments: &ChannelsArguments,
    publisher: ConnKey,
    session: &mut Session,
    workload: &mut ChannelsWorkload<'_>,
) -> Result<StepReport, CommandError> {
    workload.measure();
    let before = session.cpu_sample();
    let mut left = arguments.presence;
    repeat(session, workload, |driver, workload| {
        if left > 0 {
            workload.ask_presence(publisher, driver);
        }
        left = left.saturating_sub(1);
        !workload.is_settled()
    })?;
    let cpu = session.cpu_sample().since(&before, "answer", workload.answers.count());
    Ok(StepReport::new(&workload.answers, cpu))
}

/// Drops all, publishes what they miss, and lets all come back at once.
fn recover(
    arguments: &ChannelsArguments,
    session: &mut Session,
    workload: &mut ChannelsWorkload<'_>,
) -> Result<RecoveryReport, CommandError> {
    let subscribers = arguments.subscribers.get();
    session.clients.abort_all();
    workload.leave();
    let publisher = open_publisher(session, workload)?;
    publish(arguments.missed, arguments.burst.get(), publisher, session, workload)?;

    let memory_before = session.meter().server().ok().flatten();
    let before = session.cpu_sample();
    workload.come_back(session.clients.driver().next_serial());
    let step = session.begin("recovering", subscribers);
    let mut started = 0;
    await_until(session, workload, |driver, workload| {
        step.reach(workload.subscribed);
        let batch = BATCH.min(subscribers - started);
        for _ in 0..batch {
            driver.connect_to(None, workload);
        }
        started += batch;
        workload.subscribed == subscribers
    })?;
    let recovered = workload.recovered;
    let cpu = session.cpu_sample().since(&before, "recovery", recovered);
    let memory_after = session.meter().server().ok().flatten();
    step.end(format_args!("{recovered} have recovered"));
    // What is published now reaches those who are back, behind what they have missed.
    publish(1, 1, publisher, session, workload)?;
    Ok(RecoveryReport::new(workload, before.time, cpu, memory_before.zip(memory_after)))
}

/// Acts each time that nothing more is to come, until `act` has nothing left to do.
fn repeat(
    session: &mut Session,
    workload: &mut ChannelsWorkload<'_>,
    mut act: impl FnMut(&mut Driver, &mut ChannelsWorkload<'_>) -> bool,
) -> Result<(), CommandError> {
    await_until(session, workload, |driver, workload| {
        workload.is_settled() && !act(driver, workload)
    })
}

/// Serves the connections until `is_done`. It is given up when the server does nothing for as long as
/// an answer may take.
fn await_until(
    session: &mut Session,
    workload: &mut ChannelsWorkload<'_>,
    mut is_done: impl FnMut(&mut Driver, &mut ChannelsWorkload<'_>) -> bool,
) -> Result<(), CommandError> {
    let timeout = session.answer_max();
    let mut progress = workload.progress();
    let mut deadline = clock::now() + timeout;
    session.drive(workload, |driver, workload| {
        if workload.is_over() || is_done(driver, workload) {
            return NextTurn::Done;
        }
        let now = clock::now();
        if progress != workload.progress() {
            progress = workload.progress();
            deadline = now + timeout;
        }
        if now >= deadline {
            workload.abort(timeout);
            return NextTurn::Done;
        }
        SERVE
    })
}

/// What connections offer that speak Protobuf.
const PROTOBUF_SUBPROTOCOL: &str = "centrifuge-protobuf";
/// Connections that are begun in one turn.
const BATCH: usize = 256;
