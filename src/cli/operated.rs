//! The gateway as its operators see and steer it: what the admin listener asks for, done by the server.

use std::process;
use std::sync::Arc;

use super::reload::Reloader;
use super::report::log_drain;
use crate::admission::AddressUse;
use crate::certificates::CertificateView;
use crate::config::{AdminOptions, ApiOptions, KeyChange, NEEDS_CERTIFICATE, NEEDS_ENGINE};
use crate::control::admin::{
    DrainOrder, DrainStatus, Gateway, Readiness, ReloadReport, VersionInfo,
};
use crate::control::node_calls::AskNodes;
use crate::effects::{EventClient, Peer};
use crate::inspect::Query;
use crate::logging::{AccessLog, Log};
use crate::mail::{NoReply, Reply};
use crate::metrics::{
    ControlCounters, Counters, Family, FamilyKind, ProcessCounters, counter_families,
    counter_family, to_float,
};
use crate::os::{ProcessUse, SystemClock};
use crate::reactor::LoopCommand;
use crate::server::{DrainStage, DrainState, DrainTerms, Handle, certificate_lines};
use crate::timer::{Clock as _, Millis};
use crate::upstream::{ServerReport, UpstreamReport, upstream_families};

/// The running gateway.
pub(super) struct Operated {
    server: Arc<Handle>,
    reloader: Arc<Reloader>,
    log: Log,
    access_log: Option<AccessLog>,
    clock: SystemClock,
    started: Millis,
}

impl std::fmt::Debug for Operated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operated")
    }
}

impl Operated {
    /// Where the admin listener is to be, and who may do what there.
    pub(super) fn admin(&self) -> AdminOptions {
        self.reloader.running().settings.admin.clone()
    }

    /// Where the listener for backends is to be, and who may use it.
    pub(super) fn api(&self) -> ApiOptions {
        self.reloader.running().settings.api.clone()
    }

    /// The counters of all control threads.
    pub(super) fn control(&self) -> Arc<ControlCounters> {
        Arc::clone(self.reloader.running().lookups.counters())
    }

    pub(super) fn new(
        server: &Arc<Handle>,
        reloader: &Arc<Reloader>,
        (log, access_log): (&Log, Option<&AccessLog>),
    ) -> Self {
        let clock = SystemClock::start();
        Self {
            server: Arc::clone(server),
            reloader: Arc::clone(reloader),
            log: log.clone(),
            access_log: access_log.cloned(),
            clock,
            started: clock.now(),
        }
    }

    fn total(&self, value: impl Fn(&Counters) -> u64) -> u64 {
        self.server.metrics().map(|own| value(&own.counters)).sum()
    }
}

impl Gateway for Operated {
    fn loop_count(&self) -> usize {
        self.reloader.running().settings.loops
    }

    fn query(&self, loop_index: usize, query: Query) -> Result<(), NoReply> {
        self.server.query(loop_index, query)
    }

    fn nodes(&self) -> Option<Arc<dyn AskNodes>> {
        self.reloader.running().events.engine().nodes()
    }

    fn event_client(&self, peer: Peer) -> Option<EventClient> {
        self.reloader.running().events.client(peer)
    }

    fn poke(&self, loop_index: usize, reply: Reply<()>) -> Result<(), NoReply> {
        let reply = Reply::new(move |_| reply.send(()));
        self.server.command(loop_index, LoopCommand::Inspect { reply })
    }

    fn metrics(&self) -> Vec<Family> {
        let certificates = self.server.certificate_counters();
        let mut families = counter_families(
            &self.server.metrics(),
            Some(self.reloader.running().lookups.counters()),
            certificates.as_deref(),
            Some(self.reloader.counters()),
        );
        let process = self.server.process_counters();
        for ((name, help), (_, value)) in ProcessCounters::NAMES.iter().zip(process.values()) {
            families.push(counter_family(name, help, to_float(value)));
        }
        families.extend(self.of_process());
        families.extend(self.of_server());
        families.extend(upstream_families(&self.upstreams()));
        families
    }

    fn readiness(&self) -> Readiness {
        let running = self.reloader.running();
        let mut readiness = Readiness::default();
        if self.server.drain_state().stage != DrainStage::Serving {
            readiness.reasons.push("draining");
        } else if !self.server.is_ready() {
            readiness.reasons.push("failed");
        }
        let open = self.total(|own| own.open_now.value());
        let is_overloaded = self.server.overload_marks().iter().next().is_some();
        if is_overloaded || open >= running.settings.limits.connections_max as u64 {
            readiness.reasons.push("full");
        }
        let needed = &running.settings.admin.ready_needs;
        for (name, _) in
            running.lookups.checks().iter().filter(|(_, lookup)| !lookup.is_available())
        {
            if needed.contains(name) {
                readiness.reasons.push("away");
            }
            readiness.away.push(name.clone());
        }
        let certificates = self.server.certificates();
        if running.settings.acme.is_on() && certificates.is_some_and(|own| own.now().is_empty()) {
            if needed.iter().any(|name| name == NEEDS_CERTIFICATE) {
                readiness.reasons.push("away");
            }
            readiness.away.push(NEEDS_CERTIFICATE.to_owned());
        }
        if !running.events.engine().is_available() {
            if needed.iter().any(|name| name == NEEDS_ENGINE) {
                readiness.reasons.push("away");
            }
            readiness.away.push(NEEDS_ENGINE.to_owned());
        }
        readiness.reasons.dedup();
        readiness.away.sort_unstable();
        readiness
    }

    fn drain(&self, order: DrainOrder) {
        let terms = self.reloader.running().settings.drain_terms();
        let terms = DrainTerms {
            grace_ms: order.grace_ms.unwrap_or(terms.grace_ms),
            drain_ms: order.drain_ms.unwrap_or(terms.drain_ms),
            ..terms
        };
        log::info!("an operator drains the gateway");
        log_drain(&terms);
        self.server.drain(terms);
    }

    fn cancel_drain(&self) -> bool {
        let was_draining = self.server.drain_state().stage != DrainStage::Serving;
        let is_cancelled = was_draining && self.server.cancel_drain();
        if is_cancelled {
            log::info!("an operator has called the drain off");
        }
        is_cancelled
    }

    fn drain_status(&self) -> DrainStatus {
        let DrainState { stage, connections, told, seconds_left } = self.server.drain_state();
        DrainStatus {
            stage: match stage {
                DrainStage::Serving => "serving",
                DrainStage::Grace => "grace",
                DrainStage::Draining => "draining",
                DrainStage::Ended => "ended",
            },
            connections: connections as u64,
            told: told as u64,
            left_ms: seconds_left.map(|seconds| seconds * 1000),
        }
    }

    fn reload(&self, dry_run: bool) -> Result<ReloadReport, String> {
        let changes = self.reloader.reload(dry_run).map_err(|error| error.to_string())?;
        let lines = |changes: &[KeyChange]| changes.iter().map(KeyChange::to_string).collect();
        Ok(ReloadReport {
            applied: lines(&changes.applied),
            needs_restart: lines(&changes.needs_restart),
        })
    }

    fn heaviest_addresses(&self, limit: usize) -> Vec<AddressUse> {
        self.server.client_addresses().heaviest(limit)
    }

    fn upstreams(&self) -> Vec<UpstreamReport> {
        self.reloader.running().upstreams.reports(self.server.now())
    }

    fn set_server_drained(
        &self,
        upstream: &str,
        server: &str,
        is_drained: bool,
    ) -> Option<ServerReport> {
        let running = self.reloader.running();
        let own = running.upstreams.by_name().get(upstream)?;
        let report = own.set_drained(server, is_drained, self.server.now())?;
        let what = if is_drained { "drains" } else { "resumes" };
        log::info!("an operator {what} server {server} of upstream {upstream}");
        Some(report)
    }

    fn log_level(&self) -> String {
        self.log.level().to_string().to_ascii_lowercase()
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        let parsed = level.parse();
        let level = parsed.map_err(|_| "level must be off, error, warn, info, debug or trace")?;
        self.log.set_level(level);
        Ok(())
    }

    fn configuration(&self) -> String {
        self.reloader.running().config.check_text(self.reloader.granted())
    }

    fn certificates(&self) -> Vec<String> {
        self.server.certificates().as_ref().map(certificate_lines).unwrap_or_default()
    }

    fn routes(&self) -> Vec<String> {
        self.reloader.running().settings.routes.iter().map(|route| route.id.to_string()).collect()
    }

    fn version(&self) -> VersionInfo {
        let features = [
            ("acme", cfg!(feature = "acme")),
            ("admin", true),
            ("client", cfg!(feature = "client")),
            ("redis", cfg!(feature = "redis")),
        ];
        VersionInfo {
            version: env!("CARGO_PKG_VERSION"),
            features: features.iter().filter(|(_, is_in)| *is_in).map(|(name, _)| *name).collect(),
            pid: process::id(),
            uptime_ms: self.clock.now().since(self.started),
        }
    }
}

impl Operated {
    /// The names that collectors know for every process.
    fn of_process(&self) -> Vec<Family> {
        let used = ProcessUse::now();
        let gauge =
            |name, help, value: f64| Family::new(FamilyKind::Gauge, name, help).with(&[], value);
        vec![
            Family::new(
                FamilyKind::Counter,
                "process_cpu_seconds_total",
                "Processor time of the process, user and system.",
            )
            .with(&[], used.cpu_seconds),
            gauge(
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                to_float(used.resident_bytes),
            ),
            gauge(
                "process_virtual_memory_bytes",
                "Addresses of the process that are in use.",
                to_float(used.virtual_bytes),
            ),
            gauge("process_open_fds", "Descriptors that are open.", to_float(used.descriptors)),
            gauge(
                "process_max_fds",
                "Descriptors that may be open.",
                to_float(self.reloader.granted().descriptors),
            ),
            gauge(
                "process_start_time_seconds",
                "When the process was started, in seconds of the Unix clock.",
                used.started_unix_seconds,
            ),
        ]
    }

    /// What is not a counter.
    fn of_server(&self) -> Vec<Family> {
        let gauge = |name, help| Family::new(FamilyKind::Gauge, name, help);
        let running = self.reloader.running();
        let limits = &running.settings.limits;
        let pool_bytes = self.total(|own| own.pool_bytes_now.value());
        let connections = self.total(|own| own.connections_now.value());
        let per_connection =
            if connections == 0 { 0.0 } else { to_float(pool_bytes) / to_float(connections) };
        let mut families = vec![
            gauge("build_info", "1, with what is running.")
                .with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0),
            Family::new(
                FamilyKind::Counter,
                "log_lines_dropped_total",
                "Lines of the log that were dropped because standard error was not read.",
            )
            .with(&[], to_float(self.log.dropped())),
            Family::new(
                FamilyKind::Counter,
                "access_lines_dropped_total",
                "Lines of the access log that were dropped because it could not be written.",
            )
            .with(&[], to_float(self.access_log.as_ref().map_or(0, AccessLog::dropped))),
            gauge("loops", "Event loops.").with(&[], to_float(running.settings.loops as u64)),
            gauge("connections_max", "Connections that are served at once.")
                .with(&[], to_float(limits.connections_max as u64)),
            gauge("pool_max_bytes", "Bytes that the pool may hold.")
                .with(&[], to_float(limits.pool_bytes_max as u64)),
            gauge(
                "pool_bytes_per_connection",
                "Bytes of the pool, divided by the connections; the slot of 64 bytes comes on top.",
            )
            .with(&[], per_connection),
        ];
        families.extend(self.server.certificates().as_ref().map(expiry));
        let readiness = self.readiness();
        let is_ready = if readiness.reasons.is_empty() { 1.0 } else { 0.0 };
        families.push(gauge("ready", "1 while clients are to be sent here.").with(&[], is_ready));
        let mut available =
            gauge("identity_available", "1 while the server of an identity can be reached.");
        for (name, lookup) in running.lookups.checks() {
            let value = if lookup.is_available() { 1.0 } else { 0.0 };
            available = available.with(&[("identity", name.as_str())], value);
        }
        families.push(available);
        families.extend(self.of_drain());
        families
    }
}

impl Operated {
    /// How far a drain has come.
    fn of_drain(&self) -> Vec<Family> {
        let DrainState { told, seconds_left, .. } = self.server.drain_state();
        let gauge = |name, help, value| Family::new(FamilyKind::Gauge, name, help).with(&[], value);
        vec![
            gauge(
                "drain_told_connections",
                "Connections that were told to go in this drain.",
                to_float(told as u64),
            ),
            gauge(
                "drain_left_seconds",
                "Time until the connections that are left are dropped; 0 without a drain.",
                to_float(seconds_left.unwrap_or(0)),
            ),
        ]
    }
}

/// When each certificate ends.
fn expiry(certificates: &CertificateView) -> Family {
    let name = "certificate_expiry_timestamp_seconds";
    let help = "When a certificate ends, in seconds of the Unix clock.";
    let mut family = Family::new(FamilyKind::Gauge, name, help);
    for (position, own) in certificates.now().iter().enumerate() {
        let (position, names) = (position.to_string(), own.names().to_string());
        let labels = [("certificate", position.as_str()), ("names", names.as_str())];
        family = family.with(&labels, to_float(own.expires().0 / 1000));
    }
    family
}
