//! The logger of the process, and the thread that writes its lines to standard error.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use env_filter::{Builder, Filter};
use log::{Level, LevelFilter, Metadata, Record};

use super::filter::LogFilter;
use super::limit::{LineLimit, Verdict};
use super::line::LogLine;
use super::queue::LineQueue;
use super::settings::{LogFormat, LogSettings};
use crate::os::{SystemClock, write_stderr};
use crate::timer::Clock as _;

/// The log of the process. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    queue: LineQueue,
    clock: SystemClock,
    /// What is written, and how. Read for each line, and replaced as a whole.
    rules: ArcSwap<Rules>,
    limit: Mutex<LineLimit>,
    /// Modules whose lines are always written.
    unlimited: &'static [&'static str],
    has_colours: bool,
    /// The value of `RUST_LOG`, which wins over the configuration.
    rust_log: String,
}

#[derive(Debug)]
struct Rules {
    filter: Filter,
    format: LogFormat,
}

impl Log {
    /// Installs the logger of the process, and says what is wrong with `RUST_LOG`. Lines of the modules
    /// `unlimited` are written whatever their number, as errors are.
    ///
    /// # Errors
    /// If another logger is installed, or no thread can be started.
    pub fn start(settings: &LogSettings, unlimited: &'static [&'static str]) -> io::Result<Self> {
        let rust_log = std::env::var("RUST_LOG").unwrap_or_default();
        let mistakes = LogFilter::parse(&rust_log, settings.level).mistakes;
        let own = Self::new(settings, unlimited, rust_log);
        log::set_boxed_logger(Box::new(own.clone())).map_err(io::Error::other)?;
        log::set_max_level(own.level());
        let _ = STARTED.set(own.clone());
        let writer = own.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all_lines())?;
        for mistake in mistakes {
            log::warn!("{mistake}");
        }
        Ok(own)
    }

    /// A log that nothing is written to.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self::new(&LogSettings::default(), &[], String::new())
    }

    fn new(settings: &LogSettings, unlimited: &'static [&'static str], rust_log: String) -> Self {
        let filter = LogFilter::parse(&rust_log, settings.level);
        let shared = Shared {
            queue: LineQueue::new(QUEUED_BYTES_MAX),
            clock: SystemClock::start(),
            rules: ArcSwap::from_pointee(Rules::new(&filter.directives, settings.format)),
            limit: Mutex::new(LineLimit::new(settings.lines_per_s)),
            unlimited,
            has_colours: has_colours(),
            rust_log,
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on lines of this level and graver ones are written, whatever `RUST_LOG` and the
    /// configuration say, until [`Log::set`].
    pub fn set_level(&self, level: LevelFilter) {
        let format = self.shared.rules.load().format;
        self.set_rules(Rules::new(&level.as_str().to_ascii_lowercase(), format));
    }

    /// How lines are written at present.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.shared.rules.load().format
    }

    /// The gravest level that nothing is written below: the level of the module that says most.
    #[must_use]
    pub fn level(&self) -> LevelFilter {
        self.shared.rules.load().filter.filter()
    }

    /// From now on these settings hold. The level stays that of `RUST_LOG` if that says one.
    pub fn set(&self, settings: &LogSettings) {
        self.limit().set_lines_per_s(settings.lines_per_s);
        let filter = LogFilter::parse(&self.shared.rust_log, settings.level);
        self.set_rules(Rules::new(&filter.directives, settings.format));
    }

    /// Lines that were dropped so far because standard error was not read.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.queue.dropped()
    }

    /// Waits until the lines so far are written, but at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let now = self.shared.clock.now();
        let sums = self.limit().take_sums(now);
        sums.iter().for_each(|sum| self.push(sum));
        self.shared.queue.flush(patience);
    }

    fn set_rules(&self, rules: Rules) {
        // Raised before lines of the new level are let through, and lowered after.
        let level = rules.filter.filter();
        self.shared.rules.store(Arc::new(rules));
        log::set_max_level(level);
    }

    /// Writes a line unless there are too many of its kind.
    fn take(&self, record: &Record<'_>) {
        if record.level() == Level::Error || self.shared.unlimited.contains(&record.target()) {
            return self.push(&line_of(record));
        }
        let kind = (record.file_static().unwrap_or_default(), record.line().unwrap_or_default());
        let now = self.shared.clock.now();
        let (sums, verdict) = {
            let mut limit = self.limit();
            (limit.sum_up(now), limit.judge(kind))
        };
        // What is said in a line, which may be anything, is not asked for under the lock.
        sums.iter().for_each(|sum| self.push(sum));
        match verdict {
            Verdict::Write => self.push(&line_of(record)),
            Verdict::Hold { is_first: true } => {
                let line = line_of(record);
                self.limit().keep(kind, line);
                // The writer waits for the end of the second from now on.
                self.shared.queue.poke();
            }
            Verdict::Hold { is_first: false } => {}
        }
    }

    fn push(&self, line: &LogLine) {
        let mut bytes = Vec::with_capacity(128);
        let (format, time) = (self.shared.rules.load().format, self.shared.clock.wall_now());
        line.push(format, self.shared.has_colours, time, &mut bytes);
        self.shared.queue.push(bytes);
    }

    /// The thread of the writer.
    fn write_all_lines(&self) {
        let queue = &self.shared.queue;
        let mut said = 0;
        loop {
            let due = self.limit().due();
            let patience = due.map(|due| due.since(self.shared.clock.now()));
            // One after the other, so that what was dropped is said where it is missing.
            for line in queue.next(0, patience.map(Duration::from_millis)) {
                if write_stderr(&line, None).is_err() {
                    // There is no reader, or no room in the file system.
                    queue.add_dropped(1);
                    said += 1;
                }
            }
            let sums = {
                let now = self.shared.clock.now();
                self.limit().sum_up(now)
            };
            sums.iter().for_each(|sum| self.push(sum));
            // Said as soon as a line could be written, and before those that came later.
            let dropped = queue.dropped();
            if dropped > said && queue.has_room_for(NOTE_BYTES_MAX) {
                log::error!(
                    "{} lines of the log were dropped: standard error was not read",
                    dropped - said
                );
                said = dropped;
            }
            queue.written();
        }
    }

    fn limit(&self) -> MutexGuard<'_, LineLimit> {
        self.shared.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shared.rules.load().filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.shared.rules.load().filter.matches(record) {
            self.take(record);
        }
    }

    fn flush(&self) {}
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Log").field("queue", &self.shared.queue).finish_non_exhaustive()
    }
}

impl Rules {
    fn new(directives: &str, format: LogFormat) -> Self {
        Self { filter: Builder::new().parse(directives).build(), format }
    }
}

/// Waits until the log of the process is written, but at most `patience`.
pub fn flush_log(patience: Duration) {
    if let Some(log) = STARTED.get() {
        log.flush(patience);
    }
}

fn line_of(record: &Record<'_>) -> LogLine {
    let connection = record.key_values().get(CONNECTION.into());
    LogLine {
        level: record.level(),
        target: record.target().to_owned(),
        connection: connection.map(|own| own.to_string()),
        message: record.args().to_string(),
        more: 0,
    }
}

/// The logger does not see that the queue ends at a terminal.
fn has_colours() -> bool {
    match std::env::var("RUST_LOG_STYLE").as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
        _ => io::stderr().is_terminal(),
    }
}

static STARTED: OnceLock<Log> = OnceLock::new();
/// The key of a record's connection.
const CONNECTION: &str = "connection";
/// Some thousand lines: a burst passes, and a log that is not read costs no more.
const QUEUED_BYTES_MAX: usize = 256 << 10;
/// Room that the note about dropped lines needs.
const NOTE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use log::Log as _;

    use super::*;

    fn log(rust_log: &str) -> Log {
        Log::new(&LogSettings::default(), &["always"], rust_log.to_owned())
    }

    fn takes(log: &Log, level: Level) -> bool {
        log.enabled(&Metadata::builder().level(level).target("tidegate::conn").build())
    }

    /// Logs the same line `count` times, and gives what is queued.
    fn said(log: &Log, level: Level, target: &str, count: usize) -> String {
        for _ in 0..count {
            let mut record = Record::builder();
            record.level(level).target(target).line(Some(7)).args(format_args!("text"));
            log.log(&record.build());
        }
        let lines = log.shared.queue.next(usize::MAX, Some(Duration::ZERO));
        String::from_utf8(lines.concat()).unwrap()
    }

    #[test]
    fn the_level_can_be_set_and_goes_back_to_what_is_configured() {
        let log = log("");
        assert_eq!((takes(&log, Level::Info), takes(&log, Level::Debug)), (true, false));
        log.set_level(LevelFilter::Debug);
        assert_eq!((log.level(), takes(&log, Level::Debug)), (LevelFilter::Debug, true));
        let level = LevelFilter::Warn;
        log.set(&LogSettings { level, ..LogSettings::default() });
        assert_eq!((takes(&log, Level::Warn), takes(&log, Level::Info)), (true, false));
    }

    #[test]
    fn the_variable_wins_over_what_is_configured_and_an_order_over_both() {
        let log = log("warn,tidegate::conn=debug");
        log.set(&LogSettings { level: LevelFilter::Off, ..LogSettings::default() });
        assert!(takes(&log, Level::Debug));
        log.set_level(LevelFilter::Error);
        assert!(!takes(&log, Level::Warn));
    }

    #[test]
    fn errors_and_modules_without_a_limit_are_always_written() {
        let log = log("");
        log.set(&LogSettings { lines_per_s: 1, ..LogSettings::default() });
        assert_eq!(said(&log, Level::Error, "tidegate", 100).lines().count(), 100);
        assert_eq!(said(&log, Level::Info, "always", 100).lines().count(), 100);
        let limited = said(&log, Level::Info, "tidegate", 100);
        assert!(limited.lines().count() < 100, "{limited}");
        log.flush(Duration::ZERO);
        let sums = said(&log, Level::Info, "tidegate", 0);
        assert!(sums.contains("more in the last second"), "{sums}");
    }

    #[test]
    fn the_format_changes_with_the_next_line() {
        let log = log("");
        assert!(said(&log, Level::Info, "tidegate", 1).starts_with('['));
        log.set(&LogSettings { format: LogFormat::Json, ..LogSettings::default() });
        assert!(said(&log, Level::Warn, "tidegate", 1).starts_with('{'));
    }
}
