//! What the program says: the checked configuration, the lines of the log about the server, and the one
//! line of an error.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Config, MachineLimits, ResolvedConfig};
use crate::logging::{AccessLog, Log};
use crate::metrics::{ControlCounters, ReloadCounters, report, report_loop};
use crate::os::{Descriptors, SystemClock, kernel_warnings, write_stderr};
use crate::server::{DrainTerms, Handle, LoadedUpstreamTls, certificate_lines, check_certificates};
use crate::timer::Clock as _;

/// Prints what a configuration comes to on this machine.
#[must_use]
pub fn check(config: &Config, descriptors: Descriptors) -> ExitCode {
    let mut output = std::io::stdout();
    let granted = machine_limits(descriptors);
    let now = SystemClock::start().wall_now();
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if let Err(error) = LoadedUpstreamTls::load(index, upstream, None) {
            return fail(&error, 2);
        }
    }
    let certificates = match check_certificates(&config.resolve(granted), now) {
        Ok(certificates) => certificates,
        Err(error) => return fail(&error, 2),
    };
    let text = format!("{}{certificates}", config.check_text(granted));
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot print: {error}"), 1),
    }
}

/// Says in one line what went wrong.
pub fn fail(error: &dyn Display, exit_code: u8) -> ExitCode {
    // What cannot be said must not keep the process from its end.
    let _ = write_stderr(format!("tidegate: {error}\n").as_bytes(), Some(LAST_LINES_MAX));
    ExitCode::from(exit_code)
}

/// The name of this module in the log: what it says is no matter of how much else there is to say.
pub(super) const LOG_TARGET: &str = module_path!();

/// How long the end of the process may wait for standard error to be read.
pub(super) const LAST_LINES_MAX: Duration = Duration::from_secs(1);

pub(super) fn machine_limits(descriptors: Descriptors) -> MachineLimits {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    MachineLimits { descriptors: descriptors.granted, cores }
}

pub(super) fn log_limits(settings: &ResolvedConfig, descriptors: Descriptors) {
    let Descriptors { inherited, granted } = descriptors;
    if inherited < granted {
        log::info!("descriptor limit raised from {inherited} to {granted}");
    }
    for adjustment in &settings.adjustments {
        log::warn!("{adjustment}");
    }
    for warning in settings.warnings() {
        log::warn!("{warning}");
    }
    let backlog = u64::from(settings.socket.accept_backlog);
    for warning in kernel_warnings(backlog, settings.limits.connections_max as u64) {
        log::warn!("{warning}");
    }
}

/// The version, and what the settings come to.
pub(super) fn log_start(settings: &ResolvedConfig) {
    log::info!(
        "tidegate {}: loops = {}, connections_max = {} ({})",
        env!("CARGO_PKG_VERSION"),
        settings.loops,
        settings.limits.connections_max,
        settings.connections_max_origin,
    );
}

pub(super) fn log_listeners(settings: &ResolvedConfig, server: &Handle) {
    log_new_listeners(settings, server, &[]);
}

/// As [`log_listeners`], of those that do not have one of these addresses.
pub(super) fn log_new_listeners(settings: &ResolvedConfig, server: &Handle, before: &[SocketAddr]) {
    for (listener, address) in settings.listeners.iter().zip(server.addresses()) {
        if before.contains(&address) {
            continue;
        }
        let served = match &listener.route {
            Some(route) if listener.tls => format!("lines over TLS for {route}"),
            Some(route) => format!("lines for {route}"),
            None if listener.redirects() => "redirects to https".to_owned(),
            None => urls(settings, address, if listener.tls { "https" } else { "http" }),
        };
        log::info!("listening on {address}: {served}");
    }
}

/// What a shutdown will do, and how to hurry it.
pub(super) fn log_drain(terms: &DrainTerms) {
    let DrainTerms { grace_ms, drain_ms, .. } = terms;
    let grace = match grace_ms {
        0 => String::new(),
        grace_ms => format!(" after {grace_ms} ms in which connections are still accepted"),
    };
    log::info!("shutting down within {drain_ms} ms{grace}; a second signal stops at once");
}

/// Every counter in one line, and how busy each loop is in a line of its own.
pub(super) fn log_metrics(
    server: &Handle,
    control: &ControlCounters,
    reloads: &ReloadCounters,
    (log, access): (&Log, Option<&AccessLog>),
) {
    let dropped = |name: &str, count: u64| match count {
        0 => String::new(),
        count => format!(" {name}={count}"),
    };
    let lines = dropped("log_lines_dropped", log.dropped());
    let access_lines = dropped("access_lines_dropped", access.map_or(0, AccessLog::dropped));
    let certificates = server.certificate_counters();
    let process = server.process_counters().values().filter(|(_, value)| *value > 0);
    let process: String = process.map(|(name, value)| format!(" {name}={value}")).collect();
    let counted = report(server.metrics(), Some(control), certificates.as_deref(), Some(reloads));
    log::info!("{counted}{process}{lines}{access_lines}");
    for (index, metrics) in server.metrics().enumerate() {
        log::info!("{}", report_loop(index, metrics));
    }
}

/// What is served under which names and until when: a line for each certificate.
pub(super) fn log_certificates(server: &Handle) {
    for line in server.certificates().as_ref().map(certificate_lines).unwrap_or_default() {
        log::info!("{line}");
    }
}

/// The pages as URLs that a terminal lets its user open, and the paths of the WebSocket routes.
fn urls(settings: &ResolvedConfig, address: SocketAddr, scheme: &str) -> String {
    let reachable = SocketAddr::new(reachable_ip(address.ip()), address.port());
    let paths = |is_websocket: bool| {
        let routes = settings.routes.iter();
        let routes = routes.filter(move |route| route.service.is_websocket() == is_websocket);
        routes.flat_map(|route| &route.paths)
    };
    // A path with `:name` in it leads nowhere as it stands.
    let pages = paths(false).filter(|path| !path.contains(':'));
    let mut served: Vec<_> = pages.map(|path| format!("{scheme}://{reachable}{path}")).collect();
    let sockets: Vec<&str> = paths(true).map(String::as_str).collect();
    if !sockets.is_empty() {
        served.push(format!("WebSocket at {}", sockets.join(" ")));
    }
    served.join(", ")
}

/// An address of this machine for one that stands for all of them.
fn reachable_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(own) if own.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(own) if own.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => ip,
    }
}
