//! The process of a server: the one that `--pid` names, or one that this program starts and ends.

use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use super::log::ServerLog;
use crate::error::CommandError;
use crate::stats::proc_stats;
use crate::system::interrupt::Interrupt;
use crate::system::{affinity, clock};

/// The options that name the server's process, for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArguments {
    /// Process id of the server, to read its memory and CPU time
    #[arg(long)]
    pid: Option<NonZeroU32>,

    /// Start the server with this shell command, and end it when done
    #[arg(long, value_name = "COMMAND", conflicts_with = "pid")]
    spawn: Option<String>,

    /// Run the started server on this core alone
    #[arg(long, value_name = "CORE", requires = "spawn")]
    pin_server: Option<usize>,
}

impl ServerArguments {
    /// Whether the server is started here.
    pub(crate) fn is_spawned(&self) -> bool {
        self.spawn.is_some()
    }

    /// Adds options to the command that starts the server, if there is one.
    pub(crate) fn add_options(&mut self, options: &str) {
        if let Some(command) = &mut self.spawn {
            command.push(' ');
            command.push_str(options);
        }
    }
}

/// The process of the server under test.
#[derive(Debug)]
pub(crate) enum ServerProcess {
    Spawned(LoggedServer),
    Running(NonZeroU32),
    /// The process is not known: it is not measured.
    Unknown,
}

impl ServerProcess {
    /// Starts the server if `--spawn` asks for it, and waits until it accepts connections.
    pub(crate) fn prepare(
        arguments: &ServerArguments,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        if let Some(command) = &arguments.spawn {
            // `exec` replaces the shell, so that the pid of the child is that of the server.
            let script = format!("exec {command}");
            return Self::start(&mut shell(&script), arguments.pin_server, address, interrupt);
        }
        let Some(pid) = arguments.pid else {
            return Ok(Self::Unknown);
        };
        proc_stats::read_process(pid).map_err(|error| {
            CommandError::Usage(format!("--pid {pid}: its figures cannot be read: {error}"))
        })?;
        Ok(Self::Running(pid))
    }

    /// Starts the server under a limit on open files that it cannot raise. An error without
    /// `--spawn`.
    pub(crate) fn prepare_limited(
        arguments: &ServerArguments,
        descriptors: NonZeroU32,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let Some(command) = &arguments.spawn else {
            let reason = "--descriptors limits a server that is started here: name its command \
                          with --spawn";
            return Err(CommandError::Usage(reason.to_owned()));
        };
        let script = format!("ulimit -n {descriptors} && exec {command}");
        Self::start(&mut shell(&script), arguments.pin_server, address, interrupt)
    }

    /// Starts a server that listens on `address`, on one core if one is given, and waits until it
    /// accepts connections.
    pub(crate) fn start(
        command: &mut Command,
        core: Option<usize>,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        LoggedServer::start(command, core, address, interrupt).map(Self::Spawned)
    }

    /// An error with its last lines of output if this program started the server and it has ended.
    pub(crate) fn require_alive(&mut self) -> Result<(), CommandError> {
        match self {
            Self::Spawned(server) => server.require_alive(UNDER_LOAD),
            Self::Running(_) | Self::Unknown => Ok(()),
        }
    }

    /// Checks the same for a moment longer, for use after failures: a process that crashes loses
    /// its connections first and can be waited for only afterwards.
    pub(crate) fn require_alive_after_failure(&mut self) -> Result<(), CommandError> {
        let Self::Spawned(server) = self else {
            return Ok(());
        };
        let deadline = clock::now() + DEATH_MAX;
        while clock::now() < deadline {
            server.require_alive(UNDER_LOAD)?;
            clock::pause(PROBE_INTERVAL);
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<NonZeroU32> {
        match self {
            Self::Spawned(logged) => logged.server.pid(),
            Self::Running(pid) => Some(*pid),
            Self::Unknown => None,
        }
    }
}

/// A server that this program started, with its output.
#[derive(Debug)]
pub(crate) struct LoggedServer {
    server: SpawnedServer,
    log: ServerLog,
}

impl LoggedServer {
    fn start(
        command: &mut Command,
        core: Option<usize>,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        if accepts(address) {
            return Err(CommandError::Usage(format!(
                "--spawn: another server accepts on {address} already: end it, or choose another \
                 --address"
            )));
        }
        let log = ServerLog::new()?;
        // Both go to the log: our standard output is for the report alone, our standard error for
        // the progress.
        command.stdout(log.stdio()?).stderr(log.stdio()?);
        let server = SpawnedServer::spawn_on(core, command)?;
        let mut own = Self { server, log };
        let waited = own.server.wait_until("accept", interrupt, || accepts(address));
        waited.map_err(|error| own.with_last_lines(error))?;
        Ok(own)
    }

    fn require_alive(&mut self, when: &str) -> Result<(), CommandError> {
        match self.server.exit_status() {
            Some(status) => {
                let error = CommandError::Server(format!("ended {when}: {status}"));
                Err(self.with_last_lines(error))
            }
            None => Ok(()),
        }
    }

    fn with_last_lines(&self, error: CommandError) -> CommandError {
        match error {
            CommandError::Server(reason) => {
                CommandError::Server(format!("{reason}{}", self.log.tail()))
            }
            CommandError::Interrupted | CommandError::Io(_) | CommandError::Usage(_) => error,
        }
    }
}

/// A server process. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct SpawnedServer {
    child: Child,
}

impl SpawnedServer {
    /// Starts a server that listens on `address`, and waits until it accepts connections.
    pub(crate) fn start(
        command: &mut Command,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let mut server = Self::spawn(command)?;
        server.wait_until("accept", interrupt, || accepts(address))?;
        Ok(server)
    }

    /// Starts the server behind a proxy in the same way, on one core if one is given. What it writes is
    /// dropped.
    pub(crate) fn start_behind(
        command: &mut Command,
        core: Option<usize>,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self::spawn_on(core, command)?;
        server.wait_until("accept", interrupt, || accepts(address))?;
        Ok(server)
    }

    /// Starts a server without waiting for it.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, CommandError> {
        Self::spawn_on(None, command)
    }

    fn spawn_on(core: Option<usize>, command: &mut Command) -> Result<Self, CommandError> {
        command.stdin(Stdio::null());
        let child = affinity::start_on(core, || command.spawn())
            .map_err(|error| CommandError::Server(format!("could not be started: {error}")))?;
        Ok(Self { child })
    }

    /// Waits until `is_ready`. `what` is the verb for the error message.
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

    /// The exit status of the server, if it has ended.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGTERM to the server, and does not wait for its end.
    pub(crate) fn ask_to_end(&mut self) {
        // Before the child is waited for, no other process can have its pid.
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
    /// Sends SIGTERM, waits, and sends SIGKILL if the server does not end in time.
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

/// The command that runs a script in the shell.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok()
}

const UNDER_LOAD: &str = "while it was under load";
const DEATH_MAX: Duration = Duration::from_millis(500);
const START_MAX: Duration = Duration::from_secs(15);
const END_MAX: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const CONNECT_MAX: Duration = Duration::from_millis(500);
