//! The configuration is read again while the gateway serves, with the flags of the command line on top,
//! and taken over as far as that is possible.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::CommandLine;
use super::acme::Acme;
use super::events::EventRoutes;
use super::lookups::Lookups;
use super::report::log_new_listeners;
use super::upstreams::Upstreams;
use crate::config::{Changes, Config, ConfigError, MachineLimits, ResolvedConfig};
use crate::display::debug_as_display;
use crate::logging::Log;
use crate::metrics::ReloadCounters;
use crate::os::SystemClock;
use crate::server::{self, Handle, UpstreamTlsError, built_in_routes};
use crate::timer::Clock as _;

/// The configuration was not taken over, and nothing has changed.
#[derive(thiserror::Error)]
pub enum ReloadError {
    /// The file cannot be read or breaks a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is right by itself, and breaks a rule together with what stays until a restart.
    #[error("{0}; this goes by values that need a restart")]
    Kept(ConfigError),
    /// The engine, which stays until a restart, cannot do what it wants.
    #[error("{0}")]
    Engine(String),
    /// The files of TLS to upstreams cannot be used.
    #[error(transparent)]
    UpstreamTls(#[from] UpstreamTlsError),
    /// What the configuration asks for cannot be begun.
    #[error("{0}")]
    Lookups(Box<dyn Error + Send + Sync>),
    /// The system gives no thread for certificates that are to be got.
    #[error("cannot get certificates: {0}")]
    Thread(io::Error),
    /// The server has refused it.
    #[error(transparent)]
    Server(#[from] server::ReloadError),
}

debug_as_display!(ReloadError);

/// Reloads the configuration of a running gateway, one time after the other, from any thread that may
/// wait.
pub struct Reloader {
    command_line: CommandLine,
    granted: MachineLimits,
    server: Arc<Handle>,
    log: Log,
    counters: ReloadCounters,
    /// A reload was asked for by a signal and has not read the file yet.
    is_asked: AtomicBool,
    clock: SystemClock,
    /// Held by a reload all the while.
    turn: Mutex<()>,
    running: ArcSwap<Running>,
}

/// What the gateway runs with.
pub(super) struct Running {
    /// What the file and the flags ask for, but for what needs a restart.
    pub(super) config: Config,
    pub(super) settings: ResolvedConfig,
    pub(super) lookups: Lookups,
    pub(super) acme: Acme,
    pub(super) upstreams: Upstreams,
    pub(super) events: EventRoutes,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("command_line", &self.command_line).finish_non_exhaustive()
    }
}

impl Reloader {
    /// A gateway that runs with this.
    pub(super) fn new(
        command_line: &CommandLine,
        granted: MachineLimits,
        server: &Arc<Handle>,
        log: &Log,
        running: Running,
    ) -> Self {
        Self {
            command_line: command_line.clone(),
            granted,
            server: Arc::clone(server),
            log: log.clone(),
            counters: ReloadCounters::default(),
            is_asked: AtomicBool::new(false),
            clock: SystemClock::start(),
            turn: Mutex::default(),
            running: ArcSwap::from_pointee(running),
        }
    }

    /// What it has done so far.
    pub(super) fn counters(&self) -> &ReloadCounters {
        &self.counters
    }

    /// What the gateway runs with now. Waits for nothing.
    pub(super) fn running(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// What the machine grants the process.
    pub(super) fn granted(&self) -> MachineLimits {
        self.granted
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reloads on a thread of its own, so that the next signal is heard meanwhile, and calls `when_over`
    /// there, whether or not that changed anything. Asked again before the file is read, it is read
    /// once, and the end is told by the first who asked.
    pub(super) fn reload_soon(self: &Arc<Self>, when_over: impl FnOnce(&Handle) + Send + 'static) {
        if self.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Arc::clone(self);
        let run = move || {
            if own.server.reload_certificates() {
                log::info!("SIGHUP: certificates are looked at again");
            }
            own.running().acme.retry();
            // What went wrong is logged.
            drop(own.take_over_and_say());
            when_over(&own.server);
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(run) {
            self.is_asked.store(false, Ordering::Release);
            log::error!("the configuration is not reloaded: there is no thread for it: {error}");
        }
    }

    /// Reads the configuration again and takes it over, or only says what would change, with `dry_run`.
    /// Certificates are looked at again in any case but that. Waits for the loops, up to 10 s, and for
    /// another reload; so it must not be called by a loop or by a task of a control thread.
    ///
    /// # Errors
    /// Why nothing was changed. It is logged as well, unless it is a `dry_run`.
    pub fn reload(&self, dry_run: bool) -> Result<Changes, ReloadError> {
        if dry_run {
            return self.check(&self.running());
        }
        self.server.reload_certificates();
        self.running().acme.retry();
        self.take_over_and_say()
    }

    fn take_over_and_say(&self) -> Result<Changes, ReloadError> {
        let _turn = self.turn();
        self.is_asked.store(false, Ordering::Release);
        let reloaded = self.take_over(&self.running());
        match &reloaded {
            Ok(changes) => {
                self.counters.reloads.add(1);
                self.counters.reloaded_at_s.set(self.clock.wall_now().0 / 1000);
                log_changes(changes);
            }
            Err(error) => {
                self.counters.reloads_failed.add(1);
                log::error!("the configuration is not reloaded, and nothing has changed: {error}");
            }
        }
        reloaded
    }

    fn check(&self, running: &Running) -> Result<Changes, ReloadError> {
        let (changes, config) = self.read(running)?;
        let settings = self.resolve(&config, running);
        running.events.engine().check(&settings).map_err(ReloadError::Engine)?;
        running.upstreams.has_new_files(&settings)?;
        // Look-ups that would be new are not begun: what they look up decides nothing here.
        let upstreams = running.upstreams.by_name();
        let events = running.events.by_route();
        let (checks, for_channels) = (running.lookups.checks(), running.events.for_channels());
        let routes = built_in_routes(&settings, checks, upstreams, events, for_channels);
        self.server.check_reload(&settings, &routes)?;
        Ok(changes)
    }

    fn take_over(&self, running: &Running) -> Result<Changes, ReloadError> {
        let (changes, config) = self.read(running)?;
        let settings = self.resolve(&config, running);
        running.events.engine().check(&settings).map_err(ReloadError::Engine)?;
        let has_new_files = running.upstreams.has_new_files(&settings)?;
        if changes.applied.is_empty() && !has_new_files {
            return Ok(changes);
        }
        if changes.applied.is_empty() {
            log::info!("reload: the files of TLS to upstreams have changed");
        }
        let mut lookups = running.lookups.next(&settings).map_err(ReloadError::Lookups)?;
        running.acme.prepare(&settings, lookups.counters()).map_err(ReloadError::Thread)?;
        let mut upstreams = running.upstreams.next(&settings)?;
        let events = running.events.next(&settings, &mut lookups, upstreams.by_name());
        let events = events.map_err(ReloadError::Lookups)?;
        let by_name = upstreams.by_name();
        let (checks, by_route) = (lookups.checks(), events.by_route());
        let routes = built_in_routes(&settings, checks, by_name, by_route, events.for_channels());
        let before = self.server.addresses();
        let reloaded = self.server.reload(&settings, routes, PATIENCE)?;
        for loop_index in reloaded.late_loops {
            log::warn!(
                "event loop {loop_index} has not taken the new configuration within {} s; it does so \
                 as soon as it comes to it",
                PATIENCE.as_secs()
            );
        }
        let log_settings = config.log.settings();
        // A level that an operator has set stays unless the file says another one now.
        if running.config.log.settings() != log_settings {
            self.log.set(&log_settings);
        }
        log_new_listeners(&settings, &self.server, &before);
        for adjustment in &settings.adjustments {
            log::warn!("{adjustment}");
        }
        let acme = running.acme.next(&settings, &self.server, lookups.counters());
        if let Err(error) = upstreams.take_over(&running.upstreams, lookups.counters()) {
            log::error!("the addresses of upstreams stay as they are: {error}");
        }
        events.take_over(&settings, upstreams.by_name());
        let running = Running { config, settings, lookups, upstreams, events, acme };
        self.running.store(Arc::new(running));
        Ok(changes)
    }

    /// What the file and the flags ask for now, and what of it can be had.
    fn read(&self, running: &Running) -> Result<(Changes, Config), ReloadError> {
        let config = self.command_line.configuration()?;
        let changes = running.config.changes_to(&config);
        let config = config.kept_from(&running.config);
        config.validate(KEPT).map_err(ReloadError::Kept)?;
        Ok((changes, config))
    }

    fn resolve(&self, config: &Config, running: &Running) -> ResolvedConfig {
        let mut settings = config.resolve(self.granted);
        // Derived from the number of listeners as well where descriptors are few.
        settings.loops = running.settings.loops;
        settings
    }
}

fn log_changes(changes: &Changes) {
    let Changes { applied, needs_restart } = changes;
    for change in applied {
        log::info!("reload: {change}");
    }
    for change in needs_restart {
        log::warn!("reload: {change}: this needs a restart, and the old value holds until then");
    }
    match (applied.len(), needs_restart.len()) {
        (0, 0) => log::info!("the configuration is reloaded: nothing in it has changed"),
        (applied, 0) => log::info!("the configuration is reloaded: changes: {applied}"),
        (applied, left) => log::info!(
            "the configuration is reloaded: changes: {applied}, waiting for a restart: {left}"
        ),
    }
}

/// How long a loop may take to answer: far longer than any turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// What messages name in place of a file.
const KEPT: &str = "reload";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::MachineLimits;
    use crate::server::DrainTerms;

    const GRANTED: MachineLimits = MachineLimits { descriptors: 1024, cores: 1 };

    fn file(more: &str) -> String {
        format!("loops = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\n{more}")
    }

    /// A gateway with the configuration in this file.
    fn start(path: &Path) -> Reloader {
        start_with(&CommandLine { config: vec![path.to_owned()], ..CommandLine::default() })
    }

    fn start_with(command_line: &CommandLine) -> Reloader {
        let config = command_line.configuration().unwrap();
        let settings = config.resolve(GRANTED);
        let lookups = Lookups::start(&settings).unwrap();
        let upstreams = Upstreams::default();
        let events = EventRoutes::default();
        let by_name = upstreams.by_name();
        let (checks, by_route) = (lookups.checks(), events.by_route());
        let routes = built_in_routes(&settings, checks, by_name, by_route, events.for_channels());
        let server = Arc::new(Handle::start(&settings, routes).unwrap());
        let acme = Acme::default();
        let running = Running { config, settings, lookups, upstreams, events, acme };
        Reloader::new(command_line, GRANTED, &server, &Log::detached(), running)
    }

    #[test]
    fn without_a_file_there_is_nothing_to_change() {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let own = start_with(&CommandLine { listen, loops: Some(1), ..CommandLine::default() });
        for dry_run in [true, false] {
            assert_eq!(own.reload(dry_run).unwrap(), Changes::default());
        }
        own.server.drain(DrainTerms::within_ms(0));
        own.server.join().unwrap();
    }

    #[test]
    fn a_dry_run_says_what_a_reload_changes_and_changes_nothing() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(path.path(), text).unwrap();
        write(&file(""));
        let own = start(path.path());
        write(&file("[limits]\nmessage_bytes_max = 5000\nmailbox_items_max = 16\n"));
        let settings = || own.running().settings.clone();
        let before = settings();
        let dry = own.reload(true).unwrap();
        assert_eq!(dry.applied.len(), 1);
        assert_eq!(dry.needs_restart.len(), 1);
        assert_eq!(settings(), before);
        assert_eq!(own.reload(true).unwrap(), dry, "it would still change that");
        assert_eq!(own.reload(false).unwrap(), dry);
        assert_eq!(settings().limits.message_bytes_max, 5000);
        assert_eq!(settings().limits.mailbox_items_max, before.limits.mailbox_items_max);
        let again = own.reload(true).unwrap();
        assert_eq!((again.applied.len(), again.needs_restart), (0, dry.needs_restart));

        write(&file("[limits]\nmessage_bytes_max = 1\n"));
        let dry = own.reload(true).unwrap_err().to_string();
        assert!(
            dry.ends_with(":5: limits.message_bytes_max = 1: must be between 125 and 268435456")
        );
        assert_eq!(own.reload(false).unwrap_err().to_string(), dry);
        assert_eq!((own.counters().reloads.value(), own.counters().reloads_failed.value()), (1, 1));
        own.server.drain(DrainTerms::within_ms(0));
        own.server.join().unwrap();
    }

    /// What a reload leads to is what a start with the new file does, but for what needs a restart.
    #[test]
    fn after_reloads_the_gateway_runs_with_what_a_start_would_have() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let texts = [
            file(""),
            file("[[route]]\npath = \"/a\"\nservice = \"echo\"\n"),
            file("hosts = \"*\"\n[timeouts]\nping_idle_ms = 3000\n[turn]\nmail_per_turn = 5\n"),
            file("[[listener]]\naddress = \"[::1]:0\"\n[limits]\nconnections_max = 5\n"),
        ];
        std::fs::write(path.path(), &texts[0]).unwrap();
        let own = start(path.path());
        for text in texts.iter().chain(texts.iter().rev()) {
            std::fs::write(path.path(), text).unwrap();
            own.reload(false).unwrap();
            let fresh = own.command_line.configuration().unwrap();
            assert_eq!(own.running().config, fresh);
            assert_eq!(own.running().settings, fresh.resolve(GRANTED));
            assert_eq!(own.server.addresses().len(), fresh.listeners.len());
        }
        own.server.drain(DrainTerms::within_ms(0));
        own.server.join().unwrap();
    }
}
