//! The thread that keeps certificates up to date: it reads changed files again, replaces the secrets of
//! tickets in time, and warns of certificates that expire. A process without TLS has none.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::dates;
use super::folders::{FolderWatch, LOOK_MS};
use super::load::Loaded;
use super::reload::Reloader;
use crate::certificates::CertificateView;
use crate::metrics::CertificateCounters;
use crate::os::SystemClock;
use crate::timer::{Clock as _, Millis};

/// The thread, as the server holds it. Dropping it does not end the thread.
#[derive(Debug)]
pub(crate) struct CertificateWatch {
    commands: Sender<Command>,
    thread: JoinHandle<()>,
    certificates: CertificateView,
    counters: Arc<CertificateCounters>,
}

#[derive(Debug)]
enum Command {
    /// Something in the folders has changed.
    Changed,
    /// An operator asks for it.
    Reload,
    /// Others are to be kept up to date.
    Replace(Box<Loaded>),
    Stop,
}

impl CertificateWatch {
    /// Starts the thread, named `certificates`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(loaded: Loaded, clock: SystemClock) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel();
        let counters = Arc::new(CertificateCounters::default());
        let reloader = Reloader::new(loaded, Arc::clone(&counters));
        let certificates = reloader.store().certificates();
        let work = Work {
            reloader,
            clock,
            folders: None,
            is_change_sent: Arc::default(),
            look_at: clock.now().plus(LOOK_MS),
            dates_at: clock.now(),
        };
        let changes = commands.clone();
        let run = move || work.run(&receiver, changes);
        let thread = thread::Builder::new().name("certificates".to_owned()).spawn(run)?;
        Ok(Self { commands, thread, certificates, counters })
    }

    /// Has all files looked at again, without waiting.
    pub(crate) fn reload(&self) {
        // A thread that has ended by a panic was reported by the panic hook.
        let _ = self.commands.send(Command::Reload);
    }

    /// Keeps others up to date from now on. Random secrets of tickets go on, so that sessions are
    /// resumed.
    pub(super) fn replace(&mut self, loaded: Loaded) {
        self.certificates = loaded.store.certificates();
        let _ = self.commands.send(Command::Replace(Box::new(loaded)));
    }

    /// Ends the thread and waits for its end.
    pub(crate) fn stop(self) {
        let _ = self.commands.send(Command::Stop);
        let _ = self.thread.join();
    }

    /// The certificates that are served.
    pub(crate) fn certificates(&self) -> &CertificateView {
        &self.certificates
    }

    /// What it counts.
    pub(crate) fn counters(&self) -> &Arc<CertificateCounters> {
        &self.counters
    }
}

/// What the thread works with.
struct Work {
    reloader: Reloader,
    clock: SystemClock,
    folders: Option<FolderWatch>,
    /// Whether a change is on its way already: a busy folder must not fill the channel.
    is_change_sent: Arc<AtomicBool>,
    /// When to look at the files.
    look_at: Millis,
    /// When to look at the dates of certificates.
    dates_at: Millis,
}

impl Work {
    fn run(mut self, commands: &Receiver<Command>, changes: Sender<Command>) {
        self.watch_folders(changes);
        self.say_certificates();
        loop {
            self.do_what_is_due();
            let next = self.look_at.min(self.dates_at).since(self.clock.now());
            // Of all that is due at times, the secrets of tickets are due most often.
            let wait = Duration::from_millis(next.min(ROTATE_MS));
            match commands.recv_timeout(wait) {
                Ok(Command::Changed) => {
                    self.is_change_sent.store(false, Ordering::Release);
                    // A renewer changes several files, and more than once.
                    self.look_at = self.look_at.min(self.clock.now().plus(SETTLE_MS));
                }
                Ok(Command::Reload) => {
                    self.reloader.forget_what_was_said();
                    if !self.look() {
                        log::info!("certificates looked at again: none has changed");
                    }
                }
                Ok(Command::Replace(loaded)) => {
                    self.reloader.replace(*loaded);
                    self.say_certificates();
                    (self.look_at, self.dates_at) = (self.clock.now(), self.clock.now());
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn say_certificates(&self) {
        for line in dates::certificate_lines(&self.reloader.store().certificates()) {
            log::info!("{line}");
        }
    }

    fn watch_folders(&mut self, changes: Sender<Command>) {
        let is_sent = Arc::clone(&self.is_change_sent);
        let changed = move || {
            if !is_sent.swap(true, Ordering::AcqRel) {
                // The thread may have ended.
                let _ = changes.send(Command::Changed);
            }
        };
        match FolderWatch::new(changed) {
            Ok(folders) => self.folders = Some(folders),
            Err(error) => log::warn!(
                "cannot watch for changed certificates: {error}; they are looked at every {} minutes and \
                 on SIGHUP",
                LOOK_MS / 60_000
            ),
        }
        self.follow_folders();
        // What has changed since it was loaded and before it was watched.
        self.look_at = self.clock.now();
    }

    fn do_what_is_due(&mut self) {
        let now = self.clock.now();
        if let Err(error) = self.reloader.store_mut().rotate(now) {
            log::warn!("the secrets of session tickets cannot be replaced: {error}");
        }
        if self.look_at <= now {
            self.look();
        }
        if self.dates_at <= now {
            self.dates_at = now.plus(dates::DAY_MS);
            self.warn_of_dates();
        }
    }

    /// Looks at all files. Returns whether anything was said.
    fn look(&mut self) -> bool {
        let now = self.clock.now();
        let look = self.reloader.look(now);
        self.look_at = look.again.unwrap_or_else(|| now.plus(LOOK_MS));
        for line in &look.reloaded {
            log::info!("{line}");
        }
        for line in &look.failed {
            log::warn!("{line}");
        }
        if !look.reloaded.is_empty() {
            self.warn_of_dates();
        }
        self.follow_folders();
        look.again.is_some() || !look.reloaded.is_empty() || !look.failed.is_empty()
    }

    fn warn_of_dates(&self) {
        let certificates = self.reloader.store().certificates().now();
        for warning in dates::warnings(&certificates, self.clock.wall_now()) {
            log::warn!("{warning}");
        }
    }

    fn follow_folders(&mut self) {
        if let Some(folders) = &mut self.folders {
            folders.follow(self.reloader.sources().flat_map(|source| source.paths()));
        }
    }
}

/// How long changes may go on before the files are looked at.
const SETTLE_MS: u64 = 250;
/// How often the age of the secrets of tickets is looked at.
const ROTATE_MS: u64 = 60_000;
