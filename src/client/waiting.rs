//! Waiting for a few descriptors at once with poll(2), standard input among them, in a thread that
//! runs no event loop.

use std::io::{self, IsTerminal as _, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;

/// A descriptor and the readiness to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'fd> {
    descriptor: BorrowedFd<'fd>,
    flags: PollFlags,
}

impl<'fd> Watched<'fd> {
    /// Waits for bytes to read or the end of the stream.
    pub(crate) fn readable(descriptor: BorrowedFd<'fd>) -> Self {
        Self { descriptor, flags: PollFlags::IN }
    }

    /// Waits for room to write as well if `is_wanted`.
    pub(crate) fn or_writable(self, is_wanted: bool) -> Self {
        let flags = if is_wanted { self.flags | PollFlags::OUT } else { self.flags };
        Self { flags, ..self }
    }
}

/// Waits until a descriptor is ready, but at most `timeout_ms` if that is given. Returns for each
/// whether it is ready; `None` is never ready. A signal may end the wait early with none ready.
///
/// # Errors
/// Those of poll(2), except `EINTR`.
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
    // `revents` may hold `POLLHUP` or `POLLERR` although only reading was asked for. Both count as
    // ready, because a read will then report the end or the error.
    let mut answers = polled.iter().map(|polled| !polled.revents().is_empty());
    Ok(watched.map(|watched| watched.is_some() && answers.next().unwrap_or(false)))
}

fn timespec(ms: u64) -> Timespec {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    // Less than 10⁹, so it always fits.
    let nanoseconds = i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
}

/// The standard input of the process, without the buffer of [`std::io::Stdin`]: bytes in that
/// buffer would be invisible to poll.
///
/// It stays in blocking mode, because O_NONBLOCK belongs to the open file, which other processes
/// may share (open(2)). Read it only when it is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandardInput;

impl StandardInput {
    /// Whether it is a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        io::stdin().is_terminal()
    }
}

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(stdin(), buffer)?)
    }
}

impl AsFd for StandardInput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        stdin()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn each_descriptor_is_reported_by_itself() {
        let (quiet, _quiet_writer) = io::pipe().unwrap();
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
    fn the_end_of_a_stream_is_readable() {
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
