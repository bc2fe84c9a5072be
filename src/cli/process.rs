//! The process while it serves: it does what signals, a new process and its supervisor ask for.

use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::channel_snapshot::ChannelSnapshot;
use super::handover::Handover;
use super::heartbeat::Heartbeat;
use super::lifecycle::{Action, Event, Lifecycle};
use super::reload::Reloader;
use super::report::{log_certificates, log_drain, log_metrics};
use crate::logging::{AccessLog, Log};
use crate::os::{Signals, Supervisor, SystemClock, Wake};
use crate::server::{DrainTerms, Handle, QueuePolicy};
use crate::timer::{Clock as _, Millis, earliest};

/// A process that serves.
pub(super) struct Process<'p> {
    reloader: &'p Arc<Reloader>,
    server: &'p Handle,
    logs: (&'p Log, Option<&'p AccessLog>),
    admin: Option<Admin>,
    clock: SystemClock,
    lifecycle: Lifecycle,
    handover: Handover,
    /// What was written for the new process. Channels stand still while there is one.
    snapshot: Option<ChannelSnapshot>,
    heartbeat: Heartbeat,
}

impl<'p> Process<'p> {
    /// A process whose server runs. Its supervisor hears that it is ready.
    pub(super) fn start(
        reloader: &'p Arc<Reloader>,
        server: &'p Handle,
        logs: (&'p Log, Option<&'p AccessLog>),
        admin: Option<Admin>,
    ) -> Self {
        let clock = SystemClock::start();
        let process = Self {
            reloader,
            server,
            logs,
            admin,
            clock,
            lifecycle: Lifecycle::default(),
            handover: Handover::default(),
            snapshot: None,
            heartbeat: Heartbeat::start(clock.now()),
        };
        process.tell_ready();
        process
    }

    /// Runs until the loops have ended, or gives the exit code with which a signal ends the process at
    /// once.
    pub(super) fn run(&mut self, signals: &mut Signals) -> Option<u8> {
        loop {
            self.heartbeat.beat(self.server, self.clock.now());
            let due = earliest([self.handover.deadline(), self.heartbeat.due()]);
            let timeout = due.map(|due| self.time_until(due));
            let event = match signals.wait_for(self.handover.descriptor(), timeout) {
                Wake::Ended => {
                    // The loops have failed, or drained: a new process that is not ready yet never will
                    // be a successor.
                    let _ = self.handover.abort();
                    return None;
                }
                Wake::Signal(request) => Some(Event::Signal(request)),
                Wake::Readable => self.handover.heard(),
                Wake::TimedOut => self.handover.late(self.clock.now()),
            };
            let Some(event) = event else { continue };
            for action in self.lifecycle.on(event, self.server.is_ready()) {
                if let Some(exit_code) = self.act(action) {
                    return Some(exit_code);
                }
            }
        }
    }

    /// Gives an exit code if the process is to end with it at once.
    fn act(&mut self, action: Action) -> Option<u8> {
        match action {
            Action::Report => {
                let running = self.reloader.running();
                let control = running.lookups.counters();
                log_metrics(self.server, control, self.reloader.counters(), self.logs);
                log_certificates(self.server);
            }
            Action::Reload => self.reload(),
            Action::Warn(text) => log::warn!("{text}"),
            Action::StartNew => self.start_new(),
            Action::Snapshot => self.write_snapshot(),
            Action::KillNew => {
                let has_opened = self.handover.abort();
                if let Some(snapshot) = self.snapshot.take() {
                    snapshot.discard(self.server, has_opened);
                }
            }
            Action::Stay(why) => {
                self.server.process_counters().handovers_failed.add(1);
                log::error!("the new process did not take over: {why}; this one serves on");
                self.tell_ready();
            }
            Action::Leave => self.leave(),
            Action::Drain { is_paced } => {
                let terms = self.reloader.running().settings.drain_terms();
                let terms = if is_paced { terms } else { terms.at_once() };
                log_drain(&terms);
                self.tell(|supervisor| supervisor.stopping("telling clients to go"));
                self.server.drain(terms);
            }
            Action::End { exit_code } => {
                log::warn!("stopped at once by a second signal");
                return Some(exit_code);
            }
        }
        None
    }

    fn reload(&self) {
        self.tell(Supervisor::reloading);
        if let (_, Some(access)) = self.logs {
            access.reopen();
        }
        let supervisor = self.heartbeat.supervisor().cloned();
        self.reloader.reload_soon(move |server| {
            if let Some(supervisor) = supervisor {
                say_ready(&supervisor, server);
            }
        });
    }

    fn start_new(&mut self) {
        let running = self.reloader.running();
        let settings = &running.settings;
        let handover_ms = settings.timeouts.handover_ms;
        log::info!("SIGUSR2: a new process is started, which has {handover_ms} ms to be ready");
        self.tell(Supervisor::reloading);
        let more = self.admin.as_ref().map(Admin::share_sockets).unwrap_or_default();
        let started = self.handover.start(self.server, settings, more, self.clock.now());
        if let Err(error) = started {
            let failed = Event::NewFailed(format!("it cannot be started: {error}"));
            for action in self.lifecycle.on(failed, true) {
                // Neither of what follows ends the process.
                let _ = self.act(action);
            }
        }
    }

    fn write_snapshot(&mut self) {
        let running = self.reloader.running();
        let until = self.clock.now().plus(running.settings.channels.snapshot_ms);
        self.snapshot = ChannelSnapshot::write(self.server, &running.settings, self.clock);
        let deadline = self.snapshot.as_ref().map(|_| until);
        self.handover.answer(self.snapshot.as_ref().map(ChannelSnapshot::key), deadline);
    }

    /// The new process serves, so there is no need of a grace.
    fn leave(&mut self) {
        self.server.process_counters().handovers.add(1);
        // Operators are to meet the new one.
        self.admin = None;
        let terms = DrainTerms {
            grace_ms: 0,
            queue: QueuePolicy::LeaveToOther,
            ..self.reloader.running().settings.drain_terms()
        };
        if let Some(pid) = self.handover.finish() {
            log::info!("process {pid} has taken over the listeners");
            self.tell(|supervisor| supervisor.replaced_by(pid, "a new process serves"));
        }
        if self.snapshot.take().is_some() {
            ChannelSnapshot::leave(self.server);
        }
        if self.reloader.running().settings.joins_clients() {
            log::info!(
                "until this process has drained, its rooms and those of the new one are apart"
            );
        }
        log_drain(&terms);
        self.server.drain(terms);
    }

    fn tell_ready(&self) {
        self.tell(|supervisor| say_ready(supervisor, self.server));
    }

    fn tell(&self, message: impl FnOnce(&Supervisor)) {
        if let Some(supervisor) = self.heartbeat.supervisor() {
            message(supervisor);
        }
    }

    fn time_until(&self, due: Millis) -> Duration {
        Duration::from_millis(due.since(self.clock.now()))
    }
}

/// The supervisor hears that the process serves, and where.
fn say_ready(supervisor: &Supervisor, server: &Handle) {
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    supervisor.ready(&format!("serving {}", addresses.join(", ")));
}
