//! Starting the program anew, with the listening sockets of this process.

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use rustix::fs::fstat;
use rustix::io::dup;

use super::passed_sockets::{HANDOVER, LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID, handover_value};
use super::ready_pipe::{ASKS, NO_SNAPSHOT, OPENS, READY, SNAPSHOT, SNAPSHOT_KEY_BYTES};

/// A process that is to take over. Dropping it leaves it alone.
#[derive(Debug)]
pub struct NewProcess {
    child: Child,
    ready: UnixStream,
    /// Whether it has said that it opens.
    has_opened: bool,
}

/// What a new process has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewProcessState {
    /// It serves.
    Ready,
    /// It waits for [`NewProcess::answer`].
    AsksForSnapshot,
    /// It is about to accept connections, beside this process.
    Opens,
    /// It has ended, or will never say that it serves. The text tells how.
    Failed(String),
}

impl NewProcess {
    /// Starts the program at the path by which this process was started, with the same arguments, and with
    /// `sockets`, each with its name; those that are the same go once. `are_held` tells that a supervisor holds them as well.
    ///
    /// # Errors
    /// Those of socketpair(2), fstat(2), dup(2) and execve(2). Nothing runs then.
    pub fn start(sockets: &[(String, TcpListener)], are_held: bool) -> io::Result<Self> {
        let mut arguments = env::args_os();
        let Some(program) = arguments.next() else { return Err(io::ErrorKind::NotFound.into()) };
        let (ready, ready_writer) = UnixStream::pair()?;
        // Duplicates stay open in the new process, unlike the originals. They are this function's own: so
        // it alone decides how long another program that is started here could inherit them.
        let mut passed: Vec<(OwnedFd, &str)> = Vec::new();
        let mut seen = Vec::new();
        for (name, listener) in sockets {
            // Several loops may accept from one socket. One descriptor of it suffices.
            let inode = fstat(listener)?.st_ino;
            if !seen.contains(&inode) {
                seen.push(inode);
                passed.push((dup(listener)?, name));
            }
        }
        let passed_ready = dup(&ready_writer)?;
        let named = passed.iter().map(|(own, name)| (own.as_raw_fd(), (*name).to_owned()));
        let value = handover_value(named.collect(), are_held, passed_ready.as_raw_fd());
        let child = Command::new(program)
            .args(arguments)
            .env(HANDOVER, value)
            .env_remove(LISTEN_PID)
            .env_remove(LISTEN_FDS)
            .env_remove(LISTEN_FDNAMES)
            // It names this process, and the other is to serve the watchdog too (sd_watchdog_enabled(3)).
            .env_remove("WATCHDOG_PID")
            .spawn()?;
        Ok(Self { child, ready, has_opened: false })
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said. Call it when its descriptor is readable, as it may wait otherwise.
    pub fn state(&mut self) -> NewProcessState {
        let mut said = [0];
        match self.ready.read(&mut said) {
            Ok(1) if said == READY => NewProcessState::Ready,
            Ok(1) if said == ASKS => NewProcessState::AsksForSnapshot,
            Ok(1) if said == OPENS => {
                self.has_opened = true;
                NewProcessState::Opens
            }
            Ok(_) => NewProcessState::Failed(self.end()),
            Err(error) => NewProcessState::Failed(error.to_string()),
        }
    }

    /// Tells it the key of the snapshot that was made for it, or that there is none.
    ///
    /// # Errors
    /// Those of write(2): it has ended.
    pub fn answer(&mut self, key: Option<[u8; SNAPSHOT_KEY_BYTES]>) -> io::Result<()> {
        match key {
            Some(key) => self.ready.write_all(&[&SNAPSHOT[..], &key].concat()),
            None => self.ready.write_all(&NO_SNAPSHOT),
        }
    }

    /// Kills it, and waits for its end. Whether it may have accepted connections before.
    pub fn kill(mut self) -> bool {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it has said and was not read yet. Another program may hold its end, so nothing is waited for.
        let mut unread = [0; 16];
        let is_set = self.ready.set_nonblocking(true).is_ok();
        let count = if is_set { self.ready.read(&mut unread).unwrap_or(0) } else { 0 };
        self.has_opened || unread[..count].iter().any(|byte| [*byte] == OPENS)
    }

    /// How it ended. Its end closes the pipe a moment before it can be waited for, and no signal changes
    /// its status any more then. One that has closed the pipe by itself is ended here.
    fn end(&mut self) -> String {
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

impl AsFd for NewProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}
