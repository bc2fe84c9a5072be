//! Waiting for a handful of descriptors at once, for a thread that runs no event loop.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A descriptor, and what to wait for on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'fd> {
    descriptor: BorrowedFd<'fd>,
    flags: PollFlags,
}

impl<'fd> Watched<'fd> {
    /// Bytes to read, or the end.
    pub(crate) fn readable(descriptor: BorrowedFd<'fd>) -> Self {
        Self { descriptor, flags: PollFlags::IN }
    }

    /// The same, and room to write if `is_wanted`.
    pub(crate) fn or_writable(self, is_wanted: bool) -> Self {
        let flags = if is_wanted { self.flags | PollFlags::OUT } else { self.flags };
        Self { flags, ..self }
    }
}

/// Waits for at most `timeout_ms`, without it for as long as it takes, and says of each whether
/// there is something to do. What is not watched is never ready. May return early, with nothing.
///
/// # Errors
/// When the system cannot wait.
pub(crate) fn wait_ready<const N: usize>(
    watched: [Option<Watched<'_>>; N],
    timeout_ms: Option<u64>,
) -> io::Result<[bool; N]> {
    let mut polled: Vec<PollFd<'_>> = watched
        .iter()
        .flatten()
        .map(|watched| PollFd::from_borrowed_fd(watched.descriptor, watched.flags))
        .collect();
    match poll(&mut polled, timeout_ms.map(timespec).as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut answers = polled.iter().map(|polled| !polled.revents().is_empty());
    Ok(watched.map(|watched| watched.is_some() && answers.next().unwrap_or(false)))
}

fn timespec(ms: u64) -> Timespec {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    // Below a thousand million, whatever `ms` is.
    let nanoseconds = i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn says_of_each_whether_it_is_ready() {
        let (quiet, _keeps_it_open) = io::pipe().unwrap();
        let (loud, mut writer) = io::pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let watched = [&quiet, &loud].map(|pipe| Some(Watched::readable(pipe.as_fd())));
        let [quiet, loud] = watched;
        assert_eq!(wait_ready([quiet, None, loud], None).unwrap(), [false, false, true]);
        assert_eq!(wait_ready([None, loud, quiet], None).unwrap(), [false, true, false]);
        assert_eq!(wait_ready([quiet, None], Some(0)).unwrap(), [false, false]);
        let writable = Watched::readable(writer.as_fd()).or_writable(true);
        assert_eq!(wait_ready([Some(writable)], None).unwrap(), [true]);
    }

    #[test]
    fn the_end_is_something_to_read() {
        let (reader, writer) = io::pipe().unwrap();
        drop(writer);
        let watched = Watched::readable(reader.as_fd());
        assert_eq!(wait_ready([Some(watched)], None).unwrap(), [true]);
    }

    #[test]
    fn milliseconds_become_seconds_and_nanoseconds() {
        assert_eq!(timespec(61_234), Timespec { tv_sec: 61, tv_nsec: 234_000_000 });
    }
}
