//! The client processes, from the side of the study that commands them.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::worker::{WorkerArguments, WorkerCommand, WorkerProgress};
use crate::commands::study::process_log::ProcessLog;
use crate::error::CommandError;
use crate::system::clock;
use crate::system::interrupt::Interrupt;

/// All client processes. Dropping them ends them.
#[derive(Debug)]
pub(super) struct ClientProcesses {
    processes: Vec<ClientProcess>,
    /// The longest time that a command may take.
    command_max: Duration,
    interrupt: Interrupt,
}

impl ClientProcesses {
    /// Starts a process for each of the shares.
    pub(super) fn start(
        program: &Path,
        shares: &[WorkerArguments],
        logs: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let connections = shares.iter().map(|share| share.connections).sum();
        let mut group = Self {
            processes: Vec::new(),
            command_max: command_max(connections),
            interrupt: interrupt.clone(),
        };
        for share in shares {
            group.processes.push(ClientProcess::start(program, share, logs)?);
        }
        Ok(group)
    }

    /// Sends a command to all processes and waits until all have executed it. Calls `watch` with the
    /// sum of what they have done since they began while it waits, and returns it in the end.
    ///
    /// An error if a process gets no further for a while, or all take longer than is in proportion to
    /// the connections.
    pub(super) fn execute(
        &mut self,
        command: WorkerCommand,
        mut watch: impl FnMut(&WorkerProgress),
    ) -> Result<WorkerProgress, CommandError> {
        let began = clock::now();
        for client in &mut self.processes {
            client.progress.is_done = false;
            client.changed = began;
            client.send(command)?;
        }
        loop {
            if self.interrupt.is_raised() {
                return Err(CommandError::Interrupted);
            }
            let now = clock::now();
            for (number, client) in self.processes.iter_mut().enumerate() {
                client.read_answers(now)?;
                if !client.progress.is_done && client.changed + STALL_MAX <= now {
                    let reason = format!(
                        "client process {number} has got no further with `{}` for {} s",
                        command.as_str(),
                        STALL_MAX.as_secs()
                    );
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason).into());
                }
            }
            if began + self.command_max <= now {
                let reason = format!(
                    "the client processes have not executed `{}` within {} s",
                    command.as_str(),
                    self.command_max.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason).into());
            }
            let achieved = sum(self.processes.iter().map(|client| client.progress.clone()));
            if achieved.is_done {
                return Ok(achieved);
            }
            watch(&achieved);
            clock::pause(WATCH_INTERVAL);
        }
    }
}

/// A hundred times as long as a command takes on an idle machine, and a constant for few connections.
fn command_max(connections: usize) -> Duration {
    let millis = MILLIS_PER_CONNECTION.saturating_mul(connections as u64);
    STALL_MAX + Duration::from_millis(millis)
}

/// The sum is done when all of its parts are.
fn sum(progresses: impl Iterator<Item = WorkerProgress>) -> WorkerProgress {
    let nothing = WorkerProgress { is_done: true, ..WorkerProgress::default() };
    progresses.fold(nothing, |mut sum, one| {
        sum.is_done &= one.is_done;
        sum.opened += one.opened;
        sum.echoes += one.echoes;
        sum.closed += one.closed;
        sum.failures.add(one.failures);
        sum
    })
}

/// A client process. Dropping it ends it.
#[derive(Debug)]
struct ClientProcess {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    progress: WorkerProgress,
    /// When the progress was last another than before.
    changed: Instant,
    log: ProcessLog,
}

impl ClientProcess {
    fn start(program: &Path, share: &WorkerArguments, logs: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(share.to_command_line()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = format!("client-{}", share.process);
        let log = ProcessLog::attach_errors(&mut command, logs, &name)?;
        let mut child = command.spawn()?;
        let commands = child.stdin.take();
        let (sender, answers) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let (progress, changed) = (WorkerProgress::default(), clock::now());
        Ok(Self { child, commands, answers, progress, changed, log })
    }

    fn send(&mut self, command: WorkerCommand) -> io::Result<()> {
        match &mut self.commands {
            Some(commands) => writeln!(commands, "{}", command.as_str()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Reads the answers that have arrived.
    fn read_answers(&mut self, now: Instant) -> io::Result<()> {
        loop {
            let progress: WorkerProgress = match self.answers.try_recv() {
                Ok(line) => serde_json::from_str(&line)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    let lines = self.log.last_lines().join("\n  ");
                    return Err(io::Error::other(format!(
                        "a client process ended early; its log ends with\n  {lines}"
                    )));
                }
            };
            if progress.steps() != self.progress.steps() {
                self.changed = now;
            }
            self.progress = progress;
        }
    }
}

impl Drop for ClientProcesses {
    /// Signals all before it waits for any, because each may take a moment.
    fn drop(&mut self) {
        for client in &self.processes {
            let _ = kill_process(Pid::from_child(&client.child), Signal::TERM);
        }
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        let deadline = clock::now() + END_MAX;
        while clock::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            clock::pause(WATCH_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Several times as long as a server may take for an answer: a process that waits for answers of a
/// server gets on when they are overdue.
const STALL_MAX: Duration = Duration::from_secs(180);
const MILLIS_PER_CONNECTION: u64 = 5;
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
const END_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_may_take_longer() {
        assert_eq!(command_max(0), STALL_MAX);
        assert_eq!(command_max(1_000_000), STALL_MAX + Duration::from_secs(5_000));
    }

    #[test]
    fn a_sum_is_done_when_all_of_its_parts_are() {
        let part =
            |opened, is_done| WorkerProgress { is_done, opened, ..WorkerProgress::default() };
        let total = sum([part(3, true), part(4, false)].into_iter());
        assert_eq!((total.opened, total.is_done), (7, false));
        assert!(sum([part(3, true), part(4, true)].into_iter()).is_done);
    }
}
