//! The client processes, from the side of the study that commands them.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

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
        let mut group = Self { processes: Vec::new(), interrupt: interrupt.clone() };
        for share in shares {
            group.processes.push(ClientProcess::start(program, share, logs)?);
        }
        Ok(group)
    }

    /// Sends a command to all processes and waits until all have executed it. Calls `watch` while
    /// it waits. Returns the sum of what they have done since they began.
    pub(super) fn execute(
        &mut self,
        command: WorkerCommand,
        mut watch: impl FnMut(),
    ) -> Result<WorkerProgress, CommandError> {
        for client in &mut self.processes {
            client.send(command)?;
        }
        let deadline = clock::now() + COMMAND_MAX;
        let mut achieved = vec![None; self.processes.len()];
        while achieved.iter().any(Option::is_none) {
            if self.interrupt.is_raised() {
                return Err(CommandError::Interrupted);
            }
            if clock::now() >= deadline {
                let reason = format!(
                    "a client process has not executed `{}` within {} s",
                    command.as_str(),
                    COMMAND_MAX.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason).into());
            }
            for (client, achieved) in self.processes.iter().zip(&mut achieved) {
                if achieved.is_none() {
                    *achieved = client.answer()?;
                }
            }
            watch();
            clock::pause(WATCH_INTERVAL);
        }
        Ok(sum(achieved.into_iter().flatten()))
    }
}

fn sum(progresses: impl Iterator<Item = WorkerProgress>) -> WorkerProgress {
    progresses.fold(WorkerProgress::default(), |mut sum, one| {
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
        Ok(Self { child, commands, answers, log })
    }

    fn send(&mut self, command: WorkerCommand) -> io::Result<()> {
        match &mut self.commands {
            Some(commands) => writeln!(commands, "{}", command.as_str()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The answer to the last command, if it has arrived.
    fn answer(&self) -> io::Result<Option<WorkerProgress>> {
        match self.answers.try_recv() {
            Ok(line) => Ok(Some(serde_json::from_str(&line)?)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                let lines = self.log.last_lines().join("\n  ");
                Err(io::Error::other(format!(
                    "a client process ended early; its log ends with\n  {lines}"
                )))
            }
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

/// Enough for the slowest command with the largest share.
const COMMAND_MAX: Duration = Duration::from_secs(180);
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
const END_MAX: Duration = Duration::from_secs(5);
