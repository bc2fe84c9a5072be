//! The access log: its lines on their way to a file or to standard output, and the thread that writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::access_line::push_access;
use super::logger::Log;
use super::queue::LineQueue;
use crate::access::AccessSink;
use crate::os::{SystemClock, write_stdout};
use crate::timer::Clock as _;

/// Where the lines of the access log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessOutput {
    /// To the end of this file, which is made if it is not there.
    File(PathBuf),
    /// To standard output.
    Stdout,
}

/// The access log of the process. Clones are the same log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: LineQueue,
    output: AccessOutput,
    /// The file is to be opened again before the next line is written.
    must_reopen: AtomicBool,
}

impl AccessLog {
    /// Opens the output and starts the thread that writes to it.
    ///
    /// # Errors
    /// If the file cannot be opened, or no thread can be started.
    pub fn start(output: AccessOutput) -> io::Result<Self> {
        let writer = Writer::open(&output)?;
        let shared = Shared {
            queue: LineQueue::new(QUEUED_BYTES_MAX),
            output,
            must_reopen: AtomicBool::new(false),
        };
        let own = Self { shared: Arc::new(shared) };
        let thread = own.clone();
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || thread.write_all_lines(writer))?;
        Ok(own)
    }

    /// What connections are told to: it makes a line of each, in the format of `log`. Never waits.
    #[must_use]
    pub fn sink(&self, log: &Log) -> AccessSink {
        let (queue, log, clock) = (self.shared.queue.clone(), log.clone(), SystemClock::start());
        AccessSink::new(move |entry| {
            let mut line = Vec::with_capacity(LINE_BYTES);
            push_access(entry, log.format(), clock.wall_now(), &mut line);
            queue.push(line);
        })
    }

    /// Has the file opened again, as it may have been renamed or removed. Returns at once. If that fails,
    /// the log says so and the file that is open is written on.
    pub fn reopen(&self) {
        self.shared.must_reopen.store(true, Ordering::Release);
        self.shared.queue.poke();
    }

    /// Lines that were dropped so far: they came faster than they could be written, or writing failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.queue.dropped()
    }

    /// Waits until the lines so far are written, but at most `patience`.
    pub fn flush(&self, patience: Duration) {
        self.shared.queue.flush(patience);
    }

    /// The thread of the writer.
    fn write_all_lines(&self, mut writer: Writer) {
        let Shared { queue, output, must_reopen } = &*self.shared;
        let (mut said, mut has_failed) = (0, false);
        loop {
            let lines = queue.next(WRITE_BYTES, None);
            if must_reopen.swap(false, Ordering::Acquire) {
                match Writer::open(output) {
                    Ok(opened) => writer = opened,
                    Err(error) => log::error!(
                        "the access log cannot be opened again, and the file that is open is \
                         written on: {output}: {error}"
                    ),
                }
            }
            let (unwritten, result) = writer.write(&lines);
            queue.add_dropped(unwritten);
            match result {
                Ok(()) => has_failed = false,
                // Once, and again when it has worked meanwhile.
                Err(_) if has_failed => {}
                Err(error) => {
                    has_failed = true;
                    log::error!("the access log cannot be written: {output}: {error}");
                }
            }
            let dropped = queue.dropped();
            if dropped > said && !has_failed {
                log::error!("{} lines of the access log were dropped", dropped - said);
                said = dropped;
            }
            queue.written();
        }
    }
}

impl std::fmt::Display for AccessOutput {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Stdout => formatter.write_str("standard output"),
        }
    }
}

/// What is written to.
#[derive(Debug)]
struct Writer {
    /// `None` for standard output.
    file: Option<File>,
    /// A line was begun and not ended: the next begins behind a line break.
    is_torn: bool,
}

impl Writer {
    fn open(output: &AccessOutput) -> io::Result<Self> {
        let file = match output {
            AccessOutput::File(path) => Some(open(path)?),
            AccessOutput::Stdout => None,
        };
        Ok(Self { file, is_torn: false })
    }

    /// Writes lines; how many of them were not written, and why.
    fn write(&mut self, lines: &[Vec<u8>]) -> (u64, io::Result<()>) {
        let mut bytes = if self.is_torn { b"\n".to_vec() } else { Vec::new() };
        lines.iter().for_each(|line| bytes.extend_from_slice(line));
        if lines.is_empty() {
            return (0, Ok(()));
        }
        let (written, result) = self.write_bytes(&bytes);
        if written > 0 {
            self.is_torn = bytes.get(written - 1) != Some(&b'\n');
        }
        // Each line ends in the only line break that it has.
        let rest = bytes.get(written..).unwrap_or_default();
        let unwritten = memchr::memchr_iter(b'\n', rest).count();
        (unwritten.min(lines.len()) as u64, result)
    }

    /// Writes bytes; how many of them were written, and why not all.
    fn write_bytes(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let Some(file) = &mut self.file else {
            // What is read from it is not known where that fails.
            return match write_stdout(bytes, None) {
                Ok(()) => (bytes.len(), Ok(())),
                Err(error) => (0, Err(error)),
            };
        };
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match file.write(rest) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

/// Opens a file to append to. Two processes may do so at once, and no line of theirs is torn (open(2),
/// `O_APPEND`).
fn open(path: &Path) -> io::Result<File> {
    // Addresses and names are not for everyone on the machine.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Some ten thousand lines: what comes while a disk is slow for a moment.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 << 10;
/// More than most lines have.
const LINE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
        range.map(|number| format!("line {number}\n").into_bytes()).collect()
    }

    fn push_all(log: &AccessLog, range: std::ops::Range<usize>) {
        lines(range).into_iter().for_each(|line| log.shared.queue.push(line));
    }

    #[test]
    fn a_renamed_file_is_written_on_until_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, renamed) =
            (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = AccessLog::start(AccessOutput::File(path.clone())).unwrap();
        push_all(&log, 0..10);
        log.flush(Duration::from_secs(10));
        fs::rename(&path, &renamed).unwrap();
        push_all(&log, 10..20);
        log.flush(Duration::from_secs(10));
        assert!(!path.exists());
        log.reopen();
        push_all(&log, 20..30);
        log.flush(Duration::from_secs(10));
        assert_eq!(fs::read(&renamed).unwrap(), lines(0..20).concat());
        assert_eq!(fs::read(&path).unwrap(), lines(20..30).concat());
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_is_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("logs");
        fs::create_dir(&inside).unwrap();
        let path = inside.join("access.log");
        let log = AccessLog::start(AccessOutput::File(path)).unwrap();
        let moved = folder.path().join("moved");
        fs::rename(&inside, &moved).unwrap();
        log.reopen();
        push_all(&log, 0..10);
        log.flush(Duration::from_secs(10));
        assert_eq!(fs::read(moved.join("access.log")).unwrap(), lines(0..10).concat());
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        // It takes nothing (full(4)).
        let log = AccessLog::start(AccessOutput::File("/dev/full".into())).unwrap();
        push_all(&log, 0..10);
        log.flush(Duration::from_secs(10));
        assert_eq!(log.dropped(), 10);
    }

    #[test]
    fn behind_a_torn_line_the_next_begins_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut writer = Writer::open(&AccessOutput::File(path.clone())).unwrap();
        writer.is_torn = true;
        assert_eq!(writer.write(&lines(0..1)).0, 0);
        assert_eq!(writer.write(&lines(1..2)).0, 0);
        assert_eq!(fs::read(&path).unwrap(), b"\nline 0\nline 1\n");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_at_start() {
        let output = AccessOutput::File("/nonexistent/access.log".into());
        assert!(AccessLog::start(output).is_err());
    }
}
