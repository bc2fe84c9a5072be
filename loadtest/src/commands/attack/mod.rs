//! `loadtest attack`: what an attack costs the server, and what its other clients notice of it.
//!
//! Bystanders use the server all the time: they exchange small messages, and new clients connect.
//! The attackers run on a thread of their own, with a driver of their own, so that the load generator
//! does not delay the bystanders that it measures. A run has three stages: before, during and after
//! the attack.

mod arguments;
mod attackers;
mod attacks;
mod bystanders;
mod ends;
mod frames;
mod options;
mod report;
mod resident;
mod server_config;
mod signals;
mod silent_backend;
mod stages;

use std::fs;
use std::io::Write as _;

use crate::commands::options::Requirements;
use crate::commands::session::Session;
use crate::driver::{DriverOptions, SourceAddresses};
use crate::error::{CommandError, Verdict};
use crate::stats::proc_stats;
use crate::system::interrupt::Interrupt;
use crate::target::{ECHO_PATH, Target};
use crate::tls::ServerCertificate;
pub(crate) use arguments::AttackArguments;
use arguments::Choice;
use attacks::Attack;
use bystanders::Bystanders;
use report::AttackReport;
use server_config::ServerConfig;
use silent_backend::SilentBackend;
use stages::Stages;

/// Runs the command.
pub(crate) fn run(
    arguments: &AttackArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    let attack = match arguments.attack {
        Choice::List => {
            write_out(&attacks::list())?;
            return Ok(Verdict::Fine);
        }
        Choice::Attack(attack) => attack,
    };
    if attack.needs_tls && !arguments.session.address.is_encrypted() {
        return Err(CommandError::Usage(format!("attack {}: needs --tls", attack.name)));
    }
    let mut session_arguments = arguments.session.clone();
    let is_spawned = session_arguments.server.is_spawned();
    let certificate = (is_spawned && session_arguments.address.is_encrypted())
        .then(ServerCertificate::make)
        .transpose()
        .map_err(|error| CommandError::Usage(error.to_string()))?;
    if let Some(certificate) = &certificate {
        session_arguments.address.trust(certificate.certificate_path());
    }
    // It is there until the run is over.
    let backend = attack.needs_backend.then(SilentBackend::start).transpose()?;
    let backend_address = backend.as_ref().map(SilentBackend::address).transpose()?;
    let config = ServerConfig::new(attack, arguments, certificate.as_ref(), backend_address)?;
    if arguments.print_config {
        write_out(config.as_str())?;
        return Ok(Verdict::Fine);
    }
    // The file is needed until the server has read it, and vanishes with this variable.
    let file = tempfile::Builder::new().prefix("attack-").suffix(".toml").tempfile()?;
    fs::write(file.path(), config.as_str())?;
    session_arguments.server.add_options(&format!("--config '{}'", file.path().display()));
    let options = arguments.attack_options(attack);
    let requirements = Requirements {
        path: ECHO_PATH,
        connections: options.connections + arguments.bystanders.get() + PROBES_MAX,
        has_turnover: true,
        ..Requirements::default()
    };
    let mut session = Session::prepare(&session_arguments, requirements, interrupt)?;
    let bystanders = Bystanders::new(arguments.bystander_options(attack.are_messages_split));
    let driver_options = attacker_driver(&session, attack, arguments)?;
    let stages = Stages { attack, arguments, options, interrupt };
    let report: AttackReport = stages.run(&mut session, bystanders, driver_options)?;
    session.report(&report, report.has_failures())
}

/// The driver options of the attackers. Their addresses follow those of the bystanders.
fn attacker_driver(
    session: &Session,
    attack: &Attack,
    arguments: &AttackArguments,
) -> Result<DriverOptions, CommandError> {
    let target = Target { deflate: attack.is_deflated, ..session.target().clone() };
    let ports = proc_stats::read_ephemeral_ports()?;
    let sources = SourceAddresses::new(target.address, &ports).of_process(1, ATTACKERS_MAX);
    let sources = attack.addresses.map_or(sources, |addresses| sources.going_round(addresses));
    // Longer than the run: the attackers are not to be cut off by their own side.
    let answer_max = arguments.session.timeout + arguments.total();
    Ok(DriverOptions { target, sources, answer_max, seed: session.seed() })
}

fn write_out(text: &str) -> Result<(), CommandError> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// More handshakes than are ever under way at a time.
const PROBES_MAX: usize = 256;
/// The most connections of the attackers.
const ATTACKERS_MAX: usize = 10_000;
