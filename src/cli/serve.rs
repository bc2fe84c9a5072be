//! The gateway as a process: it starts, does what signals ask for, and ends with an exit code.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::net::TcpListener;
use std::panic::{self, PanicHookInfo};
use std::process::{self, ExitCode};
use std::sync::Arc;

use super::CommandLine;
use super::acme::Acme;
use super::admin::Admin;
use super::admin_thread::AdminThread;
use super::channel_snapshot;
use super::events::EventRoutes;
use super::handover::{ADMIN_SOCKET, API_SOCKET};
use super::incidents::Incidents;
use super::lookups::{Lookups, keep_panic};
#[cfg(feature = "admin")]
use super::operated::Operated;
use super::overload::OverloadWatch;
use super::process::Process;
use super::reload::{Reloader, Running};
use super::report::{
    LAST_LINES_MAX, LOG_TARGET, fail, log_limits, log_listeners, log_metrics, log_start,
    machine_limits,
};
use super::upstreams::Upstreams;
use crate::config::{Config, ResolvedConfig};
#[cfg(feature = "admin")]
use crate::control::InheritedSocket;
use crate::logging::{AccessLog, Log, flush_log};
use crate::os::{Descriptors, PassedSockets, Signals, SystemClock, write_stderr};
use crate::server::{
    Handle, StartError, UpstreamTlsError, built_in_routes, current_loop, stop_with_the_loops,
    with_saved_streams,
};

/// Serves this configuration, which the command line asks for, until a signal ends it.
#[must_use]
pub fn serve(command_line: &CommandLine, config: &Config, descriptors: Descriptors) -> ExitCode {
    // Before anything is opened: the descriptors that were passed are known by their numbers only.
    let passed = match PassedSockets::take() {
        Ok(passed) => passed,
        Err(error) => return fail(&error, 1),
    };
    let log = match Log::start(&config.log.settings(), UNLIMITED) {
        Ok(log) => log,
        Err(error) => return fail(&format!("cannot start the log: {error}"), 1),
    };
    end_with_failing_loops();
    let outcome = run(command_line, config, descriptors, passed, &log);
    flush_log(LAST_LINES_MAX);
    match outcome {
        Ok(exit_code) => exit_code,
        Err(error) => {
            let is_configuration = error.downcast_ref::<UpstreamTlsError>().is_some()
                || matches!(error.downcast_ref(), Some(StartError::Certificates(_)));
            fail(&error, if is_configuration { 2 } else { 1 })
        }
    }
}

fn run(
    command_line: &CommandLine,
    config: &Config,
    descriptors: Descriptors,
    mut passed: PassedSockets,
    log: &Log,
) -> Result<ExitCode, Box<dyn Error>> {
    let granted = machine_limits(descriptors);
    let settings = config.resolve(granted);
    // Signals are taken over before anything is served, so that none ends the process halfway.
    let mut signals =
        Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    log_start(&settings);
    log_limits(&settings, descriptors);
    let mut ready = passed.ready.take();
    let own_sockets = [ADMIN_SOCKET, API_SOCKET].map(|name| passed.take_named(name));
    let mut lookups = Lookups::start(&settings).map_err(|error| -> Box<dyn Error> { error })?;
    let access = start_access_log(&settings)?;
    let mut upstreams = Upstreams::default().next(&settings)?;
    upstreams
        .take_over(&Upstreams::default(), lookups.counters())
        .map_err(|error| -> Box<dyn Error> { error })?;
    let events = EventRoutes::default()
        .next(&settings, &mut lookups, upstreams.by_name())
        .map_err(|error| -> Box<dyn Error> { error })?;
    let (checks, by_name) = (lookups.checks(), upstreams.by_name());
    let for_channels = events.for_channels();
    let routes = built_in_routes(&settings, checks, by_name, events.by_route(), for_channels);
    // The last thing before the loops start, as channels stand still meanwhile.
    let streams = channel_snapshot::take_over(&settings, ready.as_mut(), SystemClock::start());
    let routes = with_saved_streams(routes, streams);
    let sink = access.as_ref().map(|own| own.sink(log));
    let server = Arc::new(Handle::start_on(&settings, routes, passed, sink)?);
    stop_with_the_loops(server.events().clone(), settings.loops, signals.stop_listening())?;
    log_listeners(&settings, &server);
    let thread = AdminThread::idle();
    let acme = Acme::on(thread.downgrade());
    acme.prepare(&settings, lookups.counters())?;
    let acme = acme.next(&settings, &server, lookups.counters());
    let running = Running { config: config.clone(), settings, lookups, upstreams, events, acme };
    let reloader = Arc::new(Reloader::new(command_line, granted, &server, log, running));
    let inherited = (own_sockets, ready.is_some());
    let logs = (log, access.as_ref());
    let admin = start_admin((&server, &reloader), logs, inherited, &thread)?;
    let counters = server.metrics().map(|own| Arc::clone(&own.counters)).collect();
    let incidents = Incidents::watch(counters, OverloadWatch::new(&server, &reloader))?;

    let mut process = Process::start(&reloader, &server, logs, admin);
    if ready.is_some_and(|ready| ready.say_ready().is_err()) {
        log::warn!("the process that this one was to take over from has ended");
    }
    let exit_code = process.run(&mut signals);
    drop((process, incidents, thread));
    if let Some(access) = &access {
        access.flush(LAST_LINES_MAX);
    }
    if let Some(exit_code) = exit_code {
        return Ok(ExitCode::from(exit_code));
    }
    log_all_metrics(&server, &reloader, logs);
    // With one loop failed the process ends, rather than go on with a part of the traffic.
    let ended = server.join_ended();
    let running = reloader.running();
    running.events.finish();
    running.events.engine().finish();
    drop(running);
    ended?;
    Ok(ExitCode::SUCCESS)
}

fn log_all_metrics(server: &Handle, reloader: &Reloader, logs: (&Log, Option<&AccessLog>)) {
    log_metrics(server, reloader.running().lookups.counters(), reloader.counters(), logs);
}

/// The access log, if one is configured.
fn start_access_log(settings: &ResolvedConfig) -> Result<Option<AccessLog>, String> {
    let Some(output) = settings.log.access.output() else { return Ok(None) };
    let started = AccessLog::start(output.clone());
    started.map(Some).map_err(|error| format!("cannot open log.access = \"{output}\": {error}"))
}

/// What operators steer.
type Steered<'s> = (&'s Arc<Handle>, &'s Arc<Reloader>);

#[cfg(feature = "admin")]
fn start_admin(
    (server, reloader): Steered<'_>,
    logs: (&Log, Option<&AccessLog>),
    (sockets, replaces): ([Option<TcpListener>; 2], bool),
    thread: &AdminThread,
) -> Result<Option<Admin>, Box<dyn Error>> {
    let operated = Operated::new(server, reloader, logs);
    let answering = Arc::new(Operated::new(server, reloader, logs));
    reloader.running().events.engine().answer_nodes(answering);
    let inherited = sockets.map(|socket| InheritedSocket { socket, replaces });
    Admin::start(operated, inherited, &thread.downgrade()).map(Some)
}

#[cfg(not(feature = "admin"))]
#[expect(clippy::unnecessary_wraps, reason = "the listener of other builds may not start")]
fn start_admin(
    _: Steered<'_>,
    _: (&Log, Option<&AccessLog>),
    _: ([Option<TcpListener>; 2], bool),
    _: &AdminThread,
) -> Result<Option<Admin>, Box<dyn Error>> {
    Ok(None)
}

/// From now on a panic in an event loop ends the process, at once and with one line: its connections
/// are lost, and a process that serves a part of its clients looks healthy from outside. A panic on
/// the control thread ends nothing and becomes a line of the log. Replaces the process's panic hook,
/// which goes on to be called for all other threads.
pub fn end_with_failing_loops() {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match current_loop() {
        Some(index) => end_by_panic(index, panic),
        None if keep_panic(panic) => {}
        None => default_hook(panic),
    }));
}

#[expect(clippy::exit, reason = "nothing that could still be said to a client is worth the risk")]
fn end_by_panic(index: usize, panic: &PanicHookInfo<'_>) {
    flush_log(LAST_LINES_MAX);
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let text = panic.payload_as_str().unwrap_or("without a text");
    let mut lines = format!("tidegate: event loop {index} panicked{place}: {text}\n");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        lines.push_str(&format!("{backtrace}\n"));
    }
    // The logger may be what has panicked, and standard error may not be read.
    let _ = write_stderr(lines.as_bytes(), Some(LAST_LINES_MAX));
    process::exit(1);
}

/// The modules that log the start, the end and what operators ask for, whose lines are always written.
const UNLIMITED: &[&str] = &[LOG_TARGET, module_path!()];
