//! A client process: opens, checks and closes its share of the connections on command.
//!
//! Commands arrive as lines on standard input. The worker answers with lines of JSON on standard
//! output: now and then how far it is, and at last that it has executed the command. It serves the
//! connections in between. It ends at the
//! end of the input, which the end of the study causes as well.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::commands::idle::{Check, IdleWorkload, Stage};
use crate::commands::study::runner::PATH;
use crate::driver::{ConnHandle, DriverOptions, Failure, SourceAddresses, Workload};
use crate::error::{CommandError, Verdict};
use crate::load::clients::{Clients, Pace};
use crate::output::Step;
use crate::stats::proc_stats;
use crate::stats::tally::Tally;
use crate::system::clock;
use crate::system::file_limit;
use crate::system::interrupt::Interrupt;
use crate::target::Target;
use crate::websocket::Event;

/// Opens a share of the study's connections, on commands from standard input
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkerArguments {
    #[arg(long)]
    pub(super) address: SocketAddr,

    #[arg(long)]
    pub(super) connections: usize,

    /// Which of the processes this is, counted from 0; they share no source address
    #[arg(long)]
    pub(super) process: usize,

    /// The largest share of any process
    #[arg(long)]
    pub(super) connections_per_process: usize,

    #[arg(long)]
    pub(super) in_flight: NonZeroUsize,

    #[arg(long)]
    pub(super) answer_seconds_max: u64,

    #[arg(long)]
    pub(super) seed: u64,
}

impl WorkerArguments {
    /// The command line that [`WorkerArguments`] is parsed from.
    pub(super) fn to_command_line(&self) -> Vec<String> {
        let Self { address, connections, process, connections_per_process, .. } = self;
        let Self { in_flight, answer_seconds_max, seed, .. } = self;
        vec![
            "study-worker".to_owned(),
            format!("--address={address}"),
            format!("--connections={connections}"),
            format!("--process={process}"),
            format!("--connections-per-process={connections_per_process}"),
            format!("--in-flight={in_flight}"),
            format!("--answer-seconds-max={answer_seconds_max}"),
            format!("--seed={seed}"),
        ]
    }
}

/// A command to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WorkerCommand {
    Check,
    Close,
    Open,
}

impl WorkerCommand {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Close => "close",
            Self::Open => "open",
        }
    }
}

/// What a worker has done since it began.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct WorkerProgress {
    /// The command is executed.
    pub(super) is_done: bool,
    pub(super) opened: usize,
    pub(super) echoes: usize,
    pub(super) closed: usize,
    pub(super) failures: Tally,
}

impl WorkerProgress {
    /// A number that grows with each step.
    pub(super) fn steps(&self) -> usize {
        self.opened + self.echoes + self.closed + self.failures.count()
    }

    fn of(workload: &mut IdleWorkload, is_done: bool) -> Self {
        let counts = workload.counts();
        Self {
            is_done,
            opened: counts.opened,
            echoes: counts.echoes,
            closed: counts.closed,
            failures: workload.tally().clone(),
        }
    }

    fn write(&self) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", serde_json::to_string(self)?)
    }
}

/// The workload of a command under way, which writes its progress at most once a second.
struct Reporting<'a> {
    workload: &'a mut IdleWorkload,
    next_report: Instant,
}

impl<'a> Reporting<'a> {
    fn new(workload: &'a mut IdleWorkload) -> Self {
        Self { workload, next_report: clock::now() + REPORT_INTERVAL }
    }

    fn report(&mut self, now: Instant) {
        if self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            // The study has ended, and its end ends this process too.
            let _ = WorkerProgress::of(self.workload, false).write();
        }
    }
}

impl Workload for Reporting<'_> {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let outcome = self.workload.on_event(connection, event);
        self.report(connection.now());
        outcome
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.workload.on_end(serial, outcome);
        self.report(clock::now());
    }

    fn failures(&self) -> usize {
        self.workload.failures()
    }
}

/// Runs the command.
pub(crate) fn run(
    arguments: &WorkerArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    file_limit::raise();
    let mut worker = Worker::new(arguments, interrupt)?;
    let commands = read_commands();
    while let Some(command) = worker.next_command(&commands)? {
        worker.execute(&command)?;
        WorkerProgress::of(&mut worker.workload, true).write()?;
    }
    Ok(if worker.workload.failures() > 0 { Verdict::Failures } else { Verdict::Fine })
}

struct Worker<'a> {
    arguments: &'a WorkerArguments,
    clients: Clients,
    workload: IdleWorkload,
    /// Hidden, because the study shows the progress of all workers.
    step: Step,
}

impl<'a> Worker<'a> {
    fn new(arguments: &'a WorkerArguments, interrupt: &Interrupt) -> Result<Self, CommandError> {
        let WorkerArguments { address, process, connections_per_process, seed, .. } = *arguments;
        let sources = SourceAddresses::new(address, &proc_stats::read_ephemeral_ports()?);
        let options = DriverOptions {
            target: Target::at(address, PATH),
            sources: sources.of_process(process, connections_per_process),
            answer_max: Duration::from_secs(arguments.answer_seconds_max),
            seed,
        };
        Ok(Self {
            arguments,
            clients: Clients::new(options, interrupt.clone())?,
            workload: IdleWorkload::new(seed, Check::Echo),
            step: Step::hidden(),
        })
    }

    /// Serves the connections until a command arrives; `None` at the end of the input.
    fn next_command(
        &mut self,
        commands: &Receiver<String>,
    ) -> Result<Option<String>, CommandError> {
        self.workload.enter(Stage::Hold);
        loop {
            match commands.try_recv() {
                Ok(command) => return Ok(Some(command)),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) => {
                    self.clients.serve_for(COMMAND_INTERVAL, &mut self.workload)?
                }
            }
        }
    }

    fn execute(&mut self, command: &str) -> Result<(), CommandError> {
        let Self { arguments, clients, workload, step } = self;
        let in_flight = arguments.in_flight;
        match WorkerCommand::from_str(command, false) {
            Ok(WorkerCommand::Open) => {
                workload.enter(Stage::Open);
                let pace = Pace { in_flight_max: in_flight, connects_per_second: None };
                clients.open(arguments.connections, pace, step, &mut Reporting::new(workload))
            }
            Ok(WorkerCommand::Check) => {
                workload.enter(Stage::Check);
                let mut workload = Reporting::new(workload);
                clients.request_all(in_flight, step, &mut workload, IdleWorkload::send_echo_text)
            }
            Ok(WorkerCommand::Close) => {
                workload.enter(Stage::Close);
                clients.close(in_flight, step, &mut Reporting::new(workload))
            }
            Err(error) => Err(CommandError::Usage(error)),
        }
    }
}

/// Reads on a thread of its own, because the connections have to be served meanwhile.
fn read_commands() -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else {
                return;
            };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The longest delay until a command is noticed.
const COMMAND_INTERVAL: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        worker: WorkerArguments,
    }

    #[test]
    fn the_command_line_parses_to_the_same_arguments() {
        let arguments = WorkerArguments {
            address: "127.0.0.1:1".parse().unwrap(),
            connections: 2,
            process: 3,
            connections_per_process: 7,
            in_flight: NonZeroUsize::new(4).unwrap(),
            answer_seconds_max: 5,
            seed: 6,
        };
        let parsed = CommandLine::parse_from(arguments.to_command_line()).worker;
        assert_eq!(format!("{parsed:?}"), format!("{arguments:?}"));
    }

    #[test]
    fn commands_parse_from_their_names() {
        for command in WorkerCommand::value_variants() {
            assert_eq!(WorkerCommand::from_str(command.as_str(), false).as_ref(), Ok(command));
        }
    }
}
