//! Signals as requests to the server.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::iterator::backend::{Handle, SignalDelivery};
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal asks the server to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGUSR1: log the counters.
    Report,
    /// SIGHUP: read files again.
    Reload,
    /// SIGUSR2: start the program anew, and let it take over.
    HandOver,
    /// A signal that would end the process by its default action, and means nothing here.
    Ignore {
        /// Its name.
        name: &'static str,
    },
    /// SIGTERM, SIGQUIT or SIGINT.
    Stop {
        /// Whether to drain: Ctrl-C at a terminal stops at once.
        is_paced: bool,
        /// The exit code by which a shell reports a process that this signal ended: 128 plus its
        /// number.
        exit_code: u8,
    },
}

/// The signals of the process as a blocking queue, from [`Signals::listen`] on.
#[derive(Debug)]
pub struct Signals {
    queue: SignalDelivery<UnixStream, SignalOnly>,
    /// Those that arrived together with the last.
    arrived: VecDeque<i32>,
}

/// What [`Signals::wait_for`] has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A signal.
    Signal(Request),
    /// The descriptor can be read, or its other end is closed.
    Readable,
    /// The time is over.
    TimedOut,
    /// [`StopListening::stop`] was called.
    Ended,
}

/// Ends [`Signals::wait`] from another thread.
#[derive(Clone, Debug)]
pub struct StopListening {
    handle: Handle,
}

impl StopListening {
    /// Makes [`Signals::wait`] return `None` from now on.
    pub fn stop(&self) {
        self.handle.close();
    }
}

impl Signals {
    /// Installs handlers for every signal that others send on purpose and whose default action would
    /// end the process (signal(7)). Rust's runtime ignores SIGPIPE.
    ///
    /// Call it before anything is served, and before an address is told to others: until then a SIGTERM
    /// ends the process without a close frame to any client. Signals that arrive before [`Signals::wait`]
    /// is called are kept, each kind once.
    ///
    /// # Errors
    /// Those of sigaction(2) and socketpair(2).
    pub fn listen() -> io::Result<Self> {
        // A log file that has reached `ulimit -f` fails the write instead (setrlimit(2)). Nothing is
        // logged about it: that write would raise the signal again.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let requests = [SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP];
        let ignored = IGNORED.iter().map(|(signal, _)| *signal);
        let (read, write) = UnixStream::pair()?;
        // Signal handlers write to it, and must never wait.
        write.set_nonblocking(true)?;
        let signals = requests.into_iter().chain(ignored);
        let queue = SignalDelivery::with_pipe(read, write, SignalOnly, signals)?;
        Ok(Self { queue, arrived: VecDeque::new() })
    }

    /// A handle that ends the wait.
    #[must_use]
    pub fn stop_listening(&self) -> StopListening {
        StopListening { handle: self.queue.handle() }
    }

    /// Waits for the next request; `None` after [`StopListening::stop`].
    pub fn wait(&mut self) -> Option<Request> {
        loop {
            match self.wait_for(None, None) {
                Wake::Signal(request) => return Some(request),
                Wake::Ended => return None,
                Wake::Readable | Wake::TimedOut => {}
            }
        }
    }

    /// Waits for the next request, for `other` to be readable, or for the end of `timeout`; for ever
    /// without one. Signals come first.
    pub fn wait_for(&mut self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Wake {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        loop {
            // Before and after each wait: a signal may have come between the two.
            self.arrived.extend(self.queue.pending());
            if let Some(signal) = self.arrived.pop_front() {
                return Wake::Signal(request(signal));
            }
            if self.queue.handle().is_closed() {
                return Wake::Ended;
            }
            let own = self.queue.get_read().as_fd();
            let mut polled: Vec<PollFd<'_>> =
                [Some(own), other].iter().flatten().map(readable).collect();
            match poll(&mut polled, timeout.as_ref()) {
                Ok(0) => return Wake::TimedOut,
                // A signal, or one of the last wait whose byte is still there.
                Err(Errno::INTR) => {}
                Ok(_) if polled[0].revents().is_empty() => return Wake::Readable,
                Ok(_) => {}
                // Out of memory; the caller comes back.
                Err(_) => return Wake::TimedOut,
            }
        }
    }
}

fn readable<'fd>(descriptor: &BorrowedFd<'fd>) -> PollFd<'fd> {
    PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)
}

fn request(signal: i32) -> Request {
    match signal {
        SIGUSR1 => Request::Report,
        SIGUSR2 => Request::HandOver,
        SIGHUP => Request::Reload,
        SIGINT => Request::Stop { is_paced: !io::stdin().is_terminal(), exit_code: 130 },
        SIGQUIT => Request::Stop { is_paced: true, exit_code: 131 },
        signal => match IGNORED.iter().find(|(ignored, _)| *ignored == signal) {
            Some((_, name)) => Request::Ignore { name },
            None => Request::Stop { is_paced: true, exit_code: 143 },
        },
    }
}

/// Signals without a meaning here whose default action would end the process.
const IGNORED: [(i32, &str); 6] = [
    (SIGALRM, "SIGALRM"),
    (SIGVTALRM, "SIGVTALRM"),
    (SIGPROF, "SIGPROF"),
    (SIGIO, "SIGIO"),
    (Signal::POWER.as_raw(), "SIGPWR"),
    (Signal::STKFLT.as_raw(), "SIGSTKFLT"),
];
