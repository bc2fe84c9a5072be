//! More connections than one process can have: several servers share the port, several client
//! processes connect to them.
//!
//! The limit on open files bounds the connections of a process. With `SO_REUSEPORT` any number of
//! processes listens on the same port, and the kernel distributes the connections by the hash of
//! their addresses. The shares are not exactly equal, so each process needs some room.

mod client_processes;
mod server_processes;
mod worker;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use super::document::{ScalePart, ScaledServer};
use super::runner::{PATH, Runner};
use crate::commands::idle::{Check, IdleWorkload};
use crate::error::CommandError;
use crate::load::clients::{Clients, Pace};
use crate::servers::Launch;
use crate::stats::machine::Machine;
use crate::stats::proc_stats;
use crate::stats::proc_stats::{KernelStats, ProcessStats};
use crate::system::clock;
use crate::system::interrupt::Interrupt;
use crate::target::Target;
use client_processes::ClientProcesses;
use server_processes::ServerProcesses;
use worker::WorkerCommand;
pub(crate) use worker::{WorkerArguments, run as run_worker};

/// The plan of the measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScalePlan {
    pub(super) connections: NonZeroUsize,
    pub(super) hold: Duration,
    pub(super) in_flight: NonZeroUsize,
    pub(super) quiet: Duration,
    pub(super) seed: u64,
}

/// Measures tidegate in as many processes as the connections take.
pub(super) fn measure(
    runner: &mut Runner<'_>,
    launch: &Launch,
    client_program: &Path,
    plan: &ScalePlan,
) -> Result<ScalePart, CommandError> {
    let machine = Machine::read();
    let files_max = usize::try_from(machine.open_files_max).unwrap_or(usize::MAX);
    let (server_count, client_count) = processes(plan.connections.get(), files_max);
    let address = runner.ports.next()?;
    let ping_idle = ping_idle(plan.connections.get());
    let mut servers = ServerProcesses::start(runner, launch, address, server_count, ping_idle)?;
    warm_up(runner, address, server_count * WARM_UP_PER_SERVER, plan.seed)?;
    let before = ScaleSnapshot::stable(&mut servers, plan.quiet)?;

    let shares = shares(runner, plan, address, client_count);
    let mut clients =
        ClientProcesses::start(client_program, &shares, runner.logs, runner.interrupt)?;
    let opening = open(runner, &mut clients, plan.connections)?;
    let opened = servers.stats()?;
    pause(plan.hold, runner.interrupt)?;
    let held = ScaleSnapshot::now(&mut servers)?;
    let step = runner.output.of_part(PART).begin("checking and closing", 0);
    clients.execute(WorkerCommand::Check, |_| {})?;
    let progress = clients.execute(WorkerCommand::Close, |_| {})?;
    drop(step);
    let left = ScaleSnapshot::stable(&mut servers, plan.quiet)?;

    Ok(ScalePart {
        machine,
        version: launch.version.clone(),
        connections: plan.connections.get(),
        client_processes: client_count,
        opening_seconds: opening.as_secs_f64(),
        hold_seconds: plan.hold.as_secs_f64(),
        connections_opened: progress.opened,
        echoes_verified: progress.echoes,
        connections_closed: progress.closed,
        ping_idle_seconds: Some(ping_idle.as_secs_f64()),
        memory_available_bytes: held.memory_available_bytes,
        servers: (0..server_count)
            .map(|server| ScaledServer {
                connections: held.files[server].saturating_sub(before.files[server]),
                baseline: before.stats[server],
                opened: Some(opened[server]),
                held: held.stats[server],
                left: left.stats[server],
            })
            .collect(),
        kernel_baseline: before.kernel,
        kernel_held: held.kernel,
        failures: progress.failures,
    })
}

/// The figures of all servers, and of the kernel, at one time.
#[derive(Debug)]
struct ScaleSnapshot {
    stats: Vec<ProcessStats>,
    files: Vec<usize>,
    kernel: KernelStats,
    memory_available_bytes: Option<u64>,
}

impl ScaleSnapshot {
    fn now(servers: &mut ServerProcesses) -> Result<Self, CommandError> {
        Self::with(servers.stats()?, servers)
    }

    /// The figures once the memory of the servers is stable.
    fn stable(servers: &mut ServerProcesses, quiet: Duration) -> Result<Self, CommandError> {
        Self::with(servers.wait_until_stable(quiet)?, servers)
    }

    fn with(stats: Vec<ProcessStats>, servers: &mut ServerProcesses) -> Result<Self, CommandError> {
        Ok(Self {
            stats,
            files: servers.open_files()?,
            kernel: proc_stats::read_kernel()?,
            memory_available_bytes: proc_stats::read_available_memory().ok(),
        })
    }
}

/// The silence after which the servers ping. With more connections it is longer than the default:
/// otherwise the pings would take more of this machine than the connections that are opened, and
/// what they cost would count as the cost of opening.
fn ping_idle(connections: usize) -> Duration {
    let seconds = connections.div_ceil(PINGS_PER_SECOND_MAX);
    DEFAULT_PING_IDLE.max(Duration::from_secs(seconds as u64))
}

/// The number of servers and of client processes that the connections take.
fn processes(connections: usize, files_max: usize) -> (usize, usize) {
    // The hash gives some servers more than their share.
    let per_server = files_max.saturating_sub(RESERVED_FILES) * 7 / 8;
    let per_client = files_max.saturating_sub(RESERVED_FILES);
    (connections.div_ceil(per_server.max(1)), connections.div_ceil(per_client.max(1)))
}

/// Opens and closes connections that echo one message each: enough for every loop of every server
/// to serve some.
fn warm_up(
    runner: &Runner<'_>,
    address: SocketAddr,
    connections: usize,
    seed: u64,
) -> Result<(), CommandError> {
    let target = Target::at(address, PATH);
    let mut clients = Clients::new(runner.driver_options(target, seed)?, runner.interrupt.clone())?;
    let mut workload = IdleWorkload::new(seed, Check::Echo);
    let one_by_one = Pace { in_flight_max: NonZeroUsize::MIN, connects_per_second: None };
    let step = runner.output.of_part(PART).begin("warming up", connections);
    clients.open(connections, one_by_one, &step, &mut workload)?;
    match workload.tally().first_reason() {
        None => Ok(()),
        Some(reason) => Err(CommandError::Server(format!("fails the warm-up: {reason}"))),
    }
}

fn shares(
    runner: &Runner<'_>,
    plan: &ScalePlan,
    address: SocketAddr,
    clients: usize,
) -> Vec<WorkerArguments> {
    let largest = plan.connections.get().div_ceil(clients.max(1));
    (0..clients)
        .map(|process| WorkerArguments {
            address,
            connections: largest.min(plan.connections.get().saturating_sub(process * largest)),
            process,
            connections_per_process: largest,
            in_flight: plan.in_flight,
            answer_seconds_max: runner.answer_max.as_secs(),
            seed: plan.seed,
        })
        .collect()
}

/// Opens the connections of all client processes; returns how long that took.
fn open(
    runner: &Runner<'_>,
    clients: &mut ClientProcesses,
    connections: NonZeroUsize,
) -> Result<Duration, CommandError> {
    let step = runner.output.of_part(PART).begin("opening", connections.get());
    let began = clock::now();
    clients.execute(WorkerCommand::Open, |progress| step.reach(progress.opened))?;
    Ok(clock::now().saturating_duration_since(began))
}

fn pause(duration: Duration, interrupt: &Interrupt) -> Result<(), CommandError> {
    let end = clock::now() + duration;
    while clock::now() < end {
        if interrupt.is_raised() {
            return Err(CommandError::Interrupted);
        }
        clock::pause(PAUSE_INTERVAL.min(duration));
    }
    Ok(())
}

const PART: &str = "scale";
/// Enough that each of the two loops of a server on two cores very probably serves one.
const WARM_UP_PER_SERVER: usize = 32;
/// More than tidegate reserves, and more than a client process needs.
const RESERVED_FILES: usize = 256;
const DEFAULT_PING_IDLE: Duration = Duration::from_secs(25);
const PINGS_PER_SECOND_MAX: usize = 4_000;
const PAUSE_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_are_pinged_less_often() {
        assert_eq!(ping_idle(100_000), Duration::from_secs(25));
        assert_eq!(ping_idle(1_000_000), Duration::from_secs(250));
    }

    #[test]
    fn the_number_of_servers_leaves_room() {
        assert_eq!(processes(100_000, 20_000), (6, 6));
        assert_eq!(processes(1_000, 20_000), (1, 1));
        assert_eq!(processes(17_400, 20_000), (2, 1));
        assert_eq!(processes(10, 0), (10, 10));
    }
}
