//! The log's way to standard error: a bounded queue and a thread that writes it.
//!
//! The reader of standard error may stop, and then a write to it blocks (pipe(7)). Event loops and the
//! thread that takes signals only enqueue, under a lock that is never held over a system call.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Target, WriteStyle};

use super::log_filter::LogFilter;
use super::log_format::format_record;
use crate::os::write_stderr;

/// Installs the logger of the process, and says what is wrong with `RUST_LOG`.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start_log() -> io::Result<LogQueue> {
    let filter = LogFilter::parse(&std::env::var("RUST_LOG").unwrap_or_default());
    let queue = LogQueue::default();
    let writer = queue.clone();
    let mut builder = Builder::new();
    builder.parse_filters(&filter.directives).target(Target::Pipe(Box::new(queue.clone())));
    builder.write_style(write_style()).format(format_record);
    builder.init();
    // Where the logger was installed before, it is another one, and so is its queue.
    let _ = STARTED.set(queue.clone());
    thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all_lines())?;
    for mistake in filter.mistakes {
        log::warn!("{mistake}");
    }
    Ok(queue)
}

/// Waits until the log of the process is written, but at most `patience`.
pub(super) fn flush_log(patience: Duration) {
    if let Some(queue) = STARTED.get() {
        queue.flush(patience);
    }
}

static STARTED: OnceLock<LogQueue> = OnceLock::new();

/// The logger does not see that the queue ends at a terminal.
fn write_style() -> WriteStyle {
    match std::env::var("RUST_LOG_STYLE").as_deref() {
        Ok("always") => WriteStyle::Always,
        Ok("never") => WriteStyle::Never,
        _ if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => {
            WriteStyle::Never
        }
        _ if io::stderr().is_terminal() => WriteStyle::Always,
        _ => WriteStyle::Never,
    }
}

/// Lines of the log on their way to standard error.
#[derive(Clone, Debug, Default)]
pub(super) struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    has_lines: Condvar,
    is_written: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    queued: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The writer has taken a line out that it has not written yet.
    is_writing: bool,
}

impl LogQueue {
    /// Lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, but at most `patience` in all.
    pub(super) fn flush(&self, patience: Duration) {
        let is_behind = |lines: &mut Lines| lines.is_writing || !lines.queued.is_empty();
        let waited = self.shared.is_written.wait_timeout_while(self.lines(), patience, is_behind);
        drop(waited);
    }

    /// Adds a line, or drops it if the queue is full.
    fn push(&self, line: &[u8]) {
        let mut lines = self.lines();
        if lines.bytes + line.len() > QUEUED_BYTES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.bytes += line.len();
        lines.queued.push_back(line.to_vec());
        self.shared.has_lines.notify_one();
    }

    /// Takes the next line, waiting for one.
    fn next(&self) -> Vec<u8> {
        let mut lines = self.lines();
        loop {
            if let Some(line) = lines.queued.pop_front() {
                lines.bytes -= line.len();
                lines.is_writing = true;
                return line;
            }
            lines = self.shared.has_lines.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread of the writer.
    fn write_all_lines(&self) {
        let mut said = 0;
        loop {
            let line = self.next();
            if write_stderr(&line, None).is_err() {
                // There is no reader, or no room in the file system.
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                said += 1;
            }
            // Said as soon as a line could be written, and before those that came later.
            let dropped = self.dropped();
            if dropped > said && self.has_room() {
                log::error!(
                    "{} lines of the log were dropped: standard error was not read",
                    dropped - said
                );
                said = dropped;
            }
            let mut lines = self.lines();
            lines.is_writing = false;
            if lines.queued.is_empty() {
                self.shared.is_written.notify_all();
            }
        }
    }

    fn has_room(&self) -> bool {
        self.lines().bytes + NOTE_BYTES_MAX <= QUEUED_BYTES_MAX
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The logger writes each line with one call.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Some thousand lines: a burst passes, and a log that is not read costs no more.
const QUEUED_BYTES_MAX: usize = 256 << 10;
/// Room that the note about dropped lines needs.
const NOTE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = LogQueue::default();
        let line = [b'x'; 1000];
        for _ in 0..300 {
            queue.push(&line);
        }
        let kept = QUEUED_BYTES_MAX / line.len();
        assert_eq!(queue.dropped(), 300 - kept as u64);
        assert_eq!(queue.next(), line);
        queue.push(&line);
        assert_eq!(queue.dropped(), 300 - kept as u64, "there was room again");
    }

    #[test]
    fn a_flush_without_a_writer_ends() {
        let queue = LogQueue::default();
        queue.push(b"a line\n");
        queue.flush(Duration::from_millis(10));
        assert_eq!(queue.lines().queued.len(), 1);
    }
}
