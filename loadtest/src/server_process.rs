//! The server's process: the one named by `--pid`, or one that is started and ended here.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::commands::CommandError;
use crate::interrupt::Interrupt;
use crate::proc_stats;

/// The options that name the server's process, for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArguments {
    /// Process id of the server, to read its memory and CPU time
    #[arg(long)]
    pid: Option<NonZeroU32>,

    /// Start the server with this shell command, and end it when done
    #[arg(long, value_name = "COMMAND", conflicts_with = "pid")]
    spawn: Option<String>,
}

/// The process that is measured.
#[derive(Debug)]
pub(crate) enum ServerProcess {
    Spawned(SpawnedServer),
    Running(NonZeroU32),
    /// Not known: nothing is measured.
    Unknown,
}

impl ServerProcess {
    /// Starts the server if that was asked for, and waits until it accepts.
    pub(crate) fn prepare(
        arguments: &ServerArguments,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        if let Some(command) = &arguments.spawn {
            return start_shell(command, address, interrupt).map(Self::Spawned);
        }
        let Some(pid) = arguments.pid else {
            return Ok(Self::Unknown);
        };
        proc_stats::read_process(pid).map_err(|error| {
            CommandError::Usage(format!("--pid {pid}: its figures cannot be read: {error}"))
        })?;
        Ok(Self::Running(pid))
    }

    pub(crate) fn pid(&self) -> Option<NonZeroU32> {
        match self {
            Self::Spawned(server) => server.pid(),
            Self::Running(pid) => Some(*pid),
            Self::Unknown => None,
        }
    }
}

/// A server that lives no longer than this value.
#[derive(Debug)]
pub(crate) struct SpawnedServer {
    child: Child,
}

impl SpawnedServer {
    /// Starts a server that is to accept on `address`, and waits until it does.
    pub(crate) fn start(
        command: &mut Command,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let mut server = Self::spawn(command)?;
        server.wait_until("accept", interrupt, || accepts(address))?;
        Ok(server)
    }

    /// Starts a server.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, CommandError> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| CommandError::Server(format!("could not be started: {error}")))?;
        Ok(Self { child })
    }

    /// Waits until the server does what `is_ready` sees, and `what` says.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        interrupt: &Interrupt,
        mut is_ready: impl FnMut() -> bool,
    ) -> Result<(), CommandError> {
        let deadline = clock::now() + START_MAX;
        while !is_ready() {
            if interrupt.is_raised() {
                return Err(CommandError::Interrupted);
            }
            if let Some(status) = self.exit_status() {
                let reason = format!("ended before it could {what}: {status}");
                return Err(CommandError::Server(reason));
            }
            if clock::now() >= deadline {
                let reason = format!("does not {what} within {} s", START_MAX.as_secs());
                return Err(CommandError::Server(reason));
            }
            clock::pause(PROBE_INTERVAL);
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.child.id())
    }

    /// How the server ended, if it did.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks the server to end, and does not wait for it.
    pub(crate) fn ask_to_end(&mut self) {
        // Until it was waited for, the pid cannot belong to another process.
        if !self.has_ended() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }

    fn has_ended(&mut self) -> bool {
        // An error means that there is no such child any more.
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for SpawnedServer {
    /// Asks the server to end, and ends it if it does not.
    fn drop(&mut self) {
        self.ask_to_end();
        let deadline = clock::now() + END_MAX;
        while clock::now() < deadline {
            if self.has_ended() {
                return;
            }
            clock::pause(PROBE_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server that a shell command starts.
fn start_shell(
    command: &str,
    address: SocketAddr,
    interrupt: &Interrupt,
) -> Result<SpawnedServer, CommandError> {
    if accepts(address) {
        return Err(CommandError::Usage(format!(
            "--spawn: another server already accepts on {address}"
        )));
    }
    let mut shell = Command::new("sh");
    // The shell makes way for the server: the child's pid is the server's. Our standard output
    // is for the report alone.
    shell.args(["-c", &format!("exec {command}")]).stdout(io::stderr());
    SpawnedServer::start(&mut shell, address, interrupt)
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok()
}

const START_MAX: Duration = Duration::from_secs(15);
const END_MAX: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const CONNECT_MAX: Duration = Duration::from_millis(500);
