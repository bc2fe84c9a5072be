//! The command line: configuration, limits, serve, exit code; or the client.
//!
//! Exit codes of the gateway: 0 after a shutdown that was asked for, 1 when the gateway could not start or go on,
//! 2 for a configuration that is wrong, 128 + n when a second signal n cut the shutdown short. Those of the
//! client stand in `tidegate::client`.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use tidegate::client;
use tidegate::config::{Action, CommandLine, Config, MachineLimits, ResolvedConfig};
use tidegate::control::{ControlThread, RedisSettings, RedisUrl};
use tidegate::metrics::{ControlCounters, report, report_loop};
use tidegate::os::{
    Descriptors, Request, Requests, kernel_warnings, raise_descriptor_limit, return_freed_memory,
};
use tidegate::server::{LoopEnd, Server, TokenLookups, built_in_routes};

fn main() -> ExitCode {
    return_freed_memory();
    let command_line = CommandLine::parse();
    match command_line.action() {
        Action::Client(options) => client::run(options),
        Action::Check => gateway(&command_line, check),
        Action::Serve => gateway(&command_line, serve),
    }
}

fn gateway(command_line: &CommandLine, run: fn(&Config, Descriptors) -> ExitCode) -> ExitCode {
    match command_line.configuration() {
        Ok(config) => run(&config, raise_descriptor_limit()),
        Err(error) => fail(&error, 2),
    }
}

fn machine_limits(descriptors: Descriptors) -> MachineLimits {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    MachineLimits { descriptors: descriptors.granted, cores }
}

fn check(config: &Config, descriptors: Descriptors) -> ExitCode {
    let mut output = std::io::stdout();
    let text = config.check_text(machine_limits(descriptors));
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot print: {error}"), 1),
    }
}

fn serve(config: &Config, descriptors: Descriptors) -> ExitCode {
    let default_level = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(default_level).init();
    let settings = &config.resolve(machine_limits(descriptors));
    // Signals are taken over before anything is served, so that none ends the process halfway.
    let mut requests = match Requests::listen() {
        Ok(requests) => requests,
        Err(error) => return fail(&format!("cannot listen for signals: {error}"), 1),
    };
    log_limits(settings, descriptors);
    let stop_listening = requests.stop_listening();
    let loops_left = Arc::new(AtomicUsize::new(settings.loops));
    let on_loop_end = move |end| {
        if loops_left.fetch_sub(1, Ordering::Relaxed) == 1 || end == LoopEnd::Failed {
            stop_listening.stop();
        }
    };
    let (control, lookups) = match start_control(settings) {
        Ok(started) => started,
        Err(error) => return fail(&error, 1),
    };
    let server = match Server::start(settings, built_in_routes(settings, &lookups), on_loop_end) {
        Ok(server) => server,
        Err(error) => return fail(&error, 1),
    };
    let counters = control.as_ref().map(ControlThread::counters);
    log_listeners(settings, &server);

    let mut is_draining = false;
    while let Some(request) = requests.wait() {
        match request {
            Request::Report => log_metrics(&server, counters),
            Request::Stop { exit_code, .. } if is_draining => {
                log::warn!("stopped at once by a second signal");
                return ExitCode::from(exit_code);
            }
            Request::Stop { is_paced, .. } => {
                is_draining = true;
                let drain_ms = settings.timeouts.drain_ms;
                log::info!("shutting down within {drain_ms} ms; a second signal stops at once");
                server.drain(drain_ms, is_paced);
            }
        }
    }
    log_metrics(&server, counters);
    // With one loop failed the process ends, rather than go on with a part of the traffic.
    match server.join_ended() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn log_limits(settings: &ResolvedConfig, descriptors: Descriptors) {
    let Descriptors { inherited, granted } = descriptors;
    if inherited < granted {
        log::info!("descriptor limit raised from {inherited} to {granted}");
    }
    for adjustment in &settings.adjustments {
        log::warn!("{adjustment}");
    }
    let backlog = u64::from(settings.socket.accept_backlog);
    for warning in kernel_warnings(backlog, settings.limits.connections_max as u64) {
        log::warn!("{warning}");
    }
}

fn log_listeners(settings: &ResolvedConfig, server: &Server) {
    for (listener, address) in settings.listeners.iter().zip(server.addresses()) {
        let served = match &listener.route {
            Some(route) => format!("lines for {route}"),
            None => urls(settings, *address),
        };
        log::info!(
            "listening on {address}: {served}; loops = {}, connections_max = {} ({})",
            settings.loops,
            settings.limits.connections_max,
            settings.connections_max_origin,
        );
    }
}

/// Every counter in one line, and how busy each loop is in a line of its own.
fn log_metrics(server: &Server, control: Option<&ControlCounters>) {
    log::info!("{}", report(server.metrics().map(|own| &*own.counters), control));
    for (index, metrics) in server.metrics().enumerate() {
        log::info!("{}", report_loop(index, metrics));
    }
}

/// Every path of every route, as a URL at this address.
fn urls(settings: &ResolvedConfig, address: SocketAddr) -> String {
    let urls = settings.routes.iter().flat_map(|route| {
        let scheme = if route.service.is_websocket() { "ws" } else { "http" };
        route.paths.iter().map(move |path| format!("{scheme}://{address}{path}"))
    });
    urls.collect::<Vec<_>>().join(" ")
}

/// The control thread, if a route needs it, and what it looks up.
fn start_control(
    settings: &ResolvedConfig,
) -> Result<(Option<ControlThread>, TokenLookups), Box<dyn Error>> {
    let mut lookups = TokenLookups::new();
    let mut started: Option<ControlThread> = None;
    for (name, redis) in settings.redis_identities() {
        let control = match started.take() {
            Some(control) => control,
            None => ControlThread::start()?,
        };
        let url = RedisUrl::parse(redis.url.expose());
        let tokens = control.redis_tokens(RedisSettings {
            url: url.map_err(|error| format!("the url of identity {name}: {error}"))?,
            token_prefix: redis.token_prefix.clone(),
            lookup_ms: redis.lookup_ms,
            lookups_max: redis.lookups_max,
            one_time: redis.one_time,
        });
        lookups.insert(name.to_owned(), Arc::new(tokens));
        started = Some(control);
    }
    Ok((started, lookups))
}

#[expect(clippy::print_stderr, reason = "errors of the command line go there, one line each")]
fn fail(error: &dyn std::fmt::Display, exit_code: u8) -> ExitCode {
    eprintln!("tidegate: {error}");
    ExitCode::from(exit_code)
}
