//! Signals, as requests to the process.

use std::io::{self, IsTerminal};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGUSR1: log the counters.
    Report,
    /// SIGTERM or SIGINT.
    Stop {
        /// Whether to take the time that a drain may take: not for Ctrl-C at a terminal.
        is_paced: bool,
        /// What a shell would report for a process that this signal ended.
        exit_code: u8,
    },
}

/// The process's signals, one after the other.
#[derive(Debug)]
pub struct Requests {
    signals: Signals,
}

/// Ends the wait for signals from another thread.
#[derive(Clone, Debug)]
pub struct StopListening {
    handle: Handle,
}

impl StopListening {
    /// From now on [`Requests::wait`] gives `None`.
    pub fn stop(&self) {
        self.handle.close();
    }
}

impl Requests {
    /// Takes these signals over from their defaults.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { signals: Signals::new([SIGINT, SIGTERM, SIGUSR1])? })
    }

    /// What ends the wait.
    #[must_use]
    pub fn stop_listening(&self) -> StopListening {
        StopListening { handle: self.signals.handle() }
    }

    /// Waits for the next request; `None` once the wait was ended.
    pub fn wait(&mut self) -> Option<Request> {
        self.signals.forever().next().map(|signal| match signal {
            SIGUSR1 => Request::Report,
            SIGINT => Request::Stop { is_paced: !io::stdin().is_terminal(), exit_code: 130 },
            _ => Request::Stop { is_paced: true, exit_code: 143 },
        })
    }
}
