//! Standard output and standard error, written without the risk of waiting for their readers.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::stdio::{stderr, stdout};

/// Writes all `bytes` to standard error, past Rust's buffer and its lock: a thread that waits here
/// must not make another one wait that has a last line to say. Each time that nothing can be written
/// it waits up to `patience`, or for ever without one.
///
/// # Errors
/// Those of write(2), and [`io::ErrorKind::TimedOut`].
pub fn write_stderr(bytes: &[u8], patience: Option<Duration>) -> io::Result<()> {
    write(stderr(), bytes, patience)
}

/// As [`write_stderr`], to standard output.
///
/// # Errors
/// Those of write(2), and [`io::ErrorKind::TimedOut`].
pub fn write_stdout(bytes: &[u8], patience: Option<Duration>) -> io::Result<()> {
    write(stdout(), bytes, patience)
}

fn write(stream: BorrowedFd<'_>, mut bytes: &[u8], patience: Option<Duration>) -> io::Result<()> {
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    while !bytes.is_empty() {
        let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
        match poll(&mut polled, patience.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // A pipe that poll(2) finds writable has room for PIPE_BUF bytes (pipe(7)), so this write does
        // not block, whether or not the pipe is in blocking mode.
        let part = &bytes[..bytes.len().min(PIPE_BUF)];
        match rustix::io::write(stream, part) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

const PIPE_BUF: usize = 4096;
