//! Load generator for WebSocket servers.
//!
//! Follow one connection through the modules: a command opens it through the [`driver`], which
//! dials the [`target`] from a source address, feeds the bytes to the [`websocket`] state machine
//! and hands its events back to the command; [`stats`] reads what that costs the server.
//!
//! Follow one message: a [`message`] pattern writes it, and [`load`] says what has to come back.
//!
//! The modules import downwards only: commands, then load and servers, then driver and peers, then
//! message, websocket, and what all of them use.
//!
//! Exit codes: 0 all went well, 1 a connection failed or the run could not be finished, 2 usage.

mod commands;
mod driver;
mod error;
mod load;
mod message;
mod output;
mod peers;
mod random;
mod servers;
mod stats;
mod system;
mod target;
mod tls;
mod url_argument;
mod websocket;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use commands::{
    attack, channels, churn, compare, echo, fanout, idle, rate, slow, storm, study, ulimit,
};
use error::{CommandError, Verdict};
use peers::PeerArguments;
use system::interrupt::Interrupt;

/// Puts load on a WebSocket server and reports what it costs
#[derive(Debug, Parser)]
// A script sets defaults, and its caller overrides them with the same options.
#[command(version, args_override_self = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Attack(attack::AttackArguments),
    Channels(channels::ChannelsArguments),
    Churn(churn::ChurnArguments),
    Compare(compare::CompareArguments),
    Echo(echo::EchoArguments),
    Fanout(fanout::FanoutArguments),
    Idle(idle::IdleArguments),
    Peer(PeerArguments),
    Rate(rate::RateArguments),
    Slow(slow::SlowArguments),
    Storm(storm::StormArguments),
    Study(study::StudyArguments),
    #[command(hide = true)]
    StudyWorker(study::WorkerArguments),
    Ulimit(ulimit::UlimitArguments),
}

fn main() -> ExitCode {
    let arguments = match url_argument::expand(std::env::args_os(), path_options) {
        Ok(arguments) => arguments,
        Err(why) => {
            output::note(format_args!("loadtest: {why}"));
            return ExitCode::from(USAGE);
        }
    };
    match run(&Arguments::parse_from(arguments).command) {
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

/// The options of the command named in `arguments` that a path of a URL is for.
fn path_options(arguments: &[OsString]) -> Vec<&'static str> {
    let commands = Arguments::command();
    let command = arguments.get(1).and_then(|name| commands.find_subcommand(name));
    let has = |option: &str| {
        command.is_some_and(|own| own.get_arguments().any(|each| each.get_long() == Some(option)))
    };
    PATH_OPTIONS.into_iter().filter(|option| has(option)).collect()
}

fn run(command: &Command) -> Result<Verdict, CommandError> {
    match command {
        Command::Attack(arguments) => attack::run(arguments, &Interrupt::install()?),
        Command::Channels(arguments) => channels::run(arguments, &Interrupt::install()?),
        Command::Churn(arguments) => churn::run(arguments, &Interrupt::install()?),
        Command::Compare(arguments) => compare::run(arguments, &Interrupt::install()?),
        Command::Echo(arguments) => echo::run(arguments, &Interrupt::install()?),
        Command::Fanout(arguments) => fanout::run(arguments, &Interrupt::install()?),
        Command::Idle(arguments) => idle::run(arguments, &Interrupt::install()?),
        // Signals keep their default action: the server waits in blocking calls, which nothing else
        // ends.
        Command::Peer(arguments) => Ok(peers::run(arguments).map(|()| Verdict::Fine)?),
        Command::Rate(arguments) => rate::run(arguments, &Interrupt::install()?),
        Command::Slow(arguments) => slow::run(arguments, &Interrupt::install()?),
        Command::Storm(arguments) => storm::run(arguments, &Interrupt::install()?),
        Command::Study(arguments) => study::run(arguments, &Interrupt::install()?),
        Command::StudyWorker(arguments) => study::run_worker(arguments, &Interrupt::install()?),
        Command::Ulimit(arguments) => ulimit::run(arguments, &Interrupt::install()?),
    }
}

const PATH_OPTIONS: [&str; 3] = ["path", "publish-path", "subscribe-path"];
const FAILURE: u8 = 1;
const USAGE: u8 = 2;
