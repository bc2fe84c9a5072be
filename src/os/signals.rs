//! Signals as requests to the server.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals as SignalQueue};

/// What a signal asks the server to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGUSR1: log the counters.
    Report,
    /// SIGHUP: read files again.
    Reload,
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
    queue: SignalQueue,
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
        let requests = [SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGHUP];
        let ignored = IGNORED.iter().map(|(signal, _)| *signal);
        Ok(Self { queue: SignalQueue::new(requests.into_iter().chain(ignored))? })
    }

    /// A handle that ends the wait.
    #[must_use]
    pub fn stop_listening(&self) -> StopListening {
        StopListening { handle: self.queue.handle() }
    }

    /// Waits for the next request; `None` after [`StopListening::stop`].
    pub fn wait(&mut self) -> Option<Request> {
        self.queue.forever().next().map(|signal| match signal {
            SIGUSR1 => Request::Report,
            SIGHUP => Request::Reload,
            SIGINT => Request::Stop { is_paced: !io::stdin().is_terminal(), exit_code: 130 },
            SIGQUIT => Request::Stop { is_paced: true, exit_code: 131 },
            signal => match IGNORED.iter().find(|(ignored, _)| *ignored == signal) {
                Some((_, name)) => Request::Ignore { name },
                None => Request::Stop { is_paced: true, exit_code: 143 },
            },
        })
    }
}

/// Signals without a meaning here whose default action would end the process.
const IGNORED: [(i32, &str); 5] = [
    (SIGUSR2, "SIGUSR2"),
    (SIGALRM, "SIGALRM"),
    (SIGVTALRM, "SIGVTALRM"),
    (SIGPROF, "SIGPROF"),
    (SIGIO, "SIGIO"),
];
