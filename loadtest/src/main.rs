//! Load generator for WebSocket servers.
//!
//! Follow one connection through the modules: a command opens it through the [`driver`], which
//! dials from a [`source_address`] to the [`target`], feeds the bytes to the [`client`] and hands
//! its events back to the command; [`meter`] and [`proc_stats`] read what that costs the server.
//!
//! Exit codes: 0 all went well, 1 a connection failed or the run could not be finished, 2 usage.

mod client;
mod clock;
mod commands;
mod driver;
mod file_limit;
mod fleet;
mod interrupt;
mod meter;
mod output;
mod peers;
mod proc_stats;
mod random;
mod server_process;
mod source_address;
mod tally;
mod target;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{CommandError, Verdict, idle, study};
use interrupt::Interrupt;
use peers::PeerArguments;

/// Puts load on a WebSocket server and reports what it costs
#[derive(Debug, Parser)]
// Scripts set defaults that their callers override.
#[command(version, args_override_self = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Idle(idle::IdleArguments),
    Peer(PeerArguments),
    Study(study::StudyArguments),
    #[command(hide = true)]
    StudyWorker(study::WorkerArguments),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Failures) => ExitCode::from(FAILURE),
        Err(error) => {
            output::note(format_args!("loadtest: {error}"));
            ExitCode::from(match error {
                CommandError::Usage(_) => USAGE,
                CommandError::Interrupted | CommandError::Io(_) | CommandError::Server(_) => {
                    FAILURE
                }
            })
        }
    }
}

fn run(command: &Command) -> Result<Verdict, CommandError> {
    match command {
        Command::Idle(arguments) => idle::run(arguments, &Interrupt::install()?),
        // Signals keep their own effect: nothing else ends a server on blocking calls.
        Command::Peer(arguments) => Ok(peers::run(arguments).map(|()| Verdict::Fine)?),
        Command::Study(arguments) => study::run(arguments, &Interrupt::install()?),
        Command::StudyWorker(arguments) => study::run_worker(arguments, &Interrupt::install()?),
    }
}

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
