//! The server processes that share the port.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::commands::study::process_log::ProcessLog;
use crate::commands::study::runner::Runner;
use crate::error::CommandError;
use crate::servers::Launch;
use crate::servers::process::SpawnedServer;
use crate::stats::proc_stats;
use crate::stats::proc_stats::ProcessStats;
use crate::system::clock;
use crate::system::interrupt::Interrupt;

/// All server processes. Dropping them ends them.
#[derive(Debug)]
pub(super) struct ServerProcesses {
    processes: Vec<ServerProcess>,
    interrupt: Interrupt,
}

#[derive(Debug)]
struct ServerProcess {
    process: SpawnedServer,
    pid: NonZeroU32,
    log: ProcessLog,
}

impl ServerProcesses {
    /// Starts `count` servers, and waits until each of them listens.
    pub(super) fn start(
        runner: &Runner<'_>,
        launch: &Launch,
        address: SocketAddr,
        count: usize,
        ping_idle: Duration,
    ) -> Result<Self, CommandError> {
        let config = runner.logs.join("shared-port.toml");
        fs::write(
            &config,
            format!(
                "share_port = true\n[[listener]]\naddress = \"{address}\"\n\
                 [timeouts]\nping_idle_ms = {}\nhandshake_ms = {PATIENCE_MS}\npong_ms = {PATIENCE_MS}\n",
                ping_idle.as_millis()
            ),
        )?;
        let mut group = Self { processes: Vec::new(), interrupt: runner.interrupt.clone() };
        for number in 1..=count {
            let mut command = launch.program();
            command.arg("--config").arg(&config);
            let name = format!("server-{number}");
            let log = ProcessLog::attach(&mut command, runner.logs, &name)?;
            let mut process = SpawnedServer::spawn(&mut command)?;
            let pid = process.pid().ok_or_else(|| io::Error::other("a process without an id"))?;
            // Connecting would only show that one of them accepts, so the log tells which of them
            // listen.
            let listens = || log.contains("listening on");
            let outcome = process.wait_until("listen", runner.interrupt, listens);
            group.processes.push(ServerProcess { process, pid, log });
            outcome.map_err(|error| group.explained(error))?;
        }
        Ok(group)
    }

    /// The resources of each server.
    pub(super) fn stats(&mut self) -> Result<Vec<ProcessStats>, CommandError> {
        let stats =
            self.processes.iter().map(|server| proc_stats::read_process(server.pid)).collect();
        self.or_dead(stats)
    }

    /// The number of open files of each server.
    pub(super) fn open_files(&mut self) -> Result<Vec<usize>, CommandError> {
        let count =
            |server: &ServerProcess| Ok(fs::read_dir(format!("/proc/{}/fd", server.pid))?.count());
        let counts = self.processes.iter().map(count).collect();
        self.or_dead(counts)
    }

    /// The resources of each server once the memory has not changed for `quiet`, within bounds.
    pub(super) fn wait_until_stable(
        &mut self,
        quiet: Duration,
    ) -> Result<Vec<ProcessStats>, CommandError> {
        let began = clock::now();
        let mut changed = began;
        let mut stats = self.stats()?;
        while clock::now() < changed + quiet && clock::now() < began + STABLE_WAIT_MAX {
            if self.interrupt.is_raised() {
                return Err(CommandError::Interrupted);
            }
            clock::pause(SAMPLE_INTERVAL.min(quiet));
            let sample = self.stats()?;
            if anonymous_bytes(&sample) != anonymous_bytes(&stats) {
                changed = clock::now();
            }
            stats = sample;
        }
        Ok(stats)
    }

    /// A server that has ended is the better explanation for figures that cannot be read.
    fn or_dead<T>(&mut self, figures: io::Result<T>) -> Result<T, CommandError> {
        self.require_alive()?;
        Ok(figures?)
    }

    /// An error with its last log lines if a server has ended.
    pub(super) fn require_alive(&mut self) -> Result<(), CommandError> {
        for (number, server) in (1..).zip(&mut self.processes) {
            if let Some(status) = server.process.exit_status() {
                let reason = format!("number {number} ended while it was measured: {status}");
                let lines = server.log.last_lines().join("\n  ");
                return Err(CommandError::Server(format!(
                    "{reason}; its log ends with\n  {lines}"
                )));
            }
        }
        Ok(())
    }

    /// Adds the last log lines of the server that was started last.
    fn explained(&self, error: CommandError) -> CommandError {
        match (error, self.processes.last()) {
            (CommandError::Server(reason), Some(server)) => {
                let lines = server.log.last_lines().join("\n  ");
                CommandError::Server(format!("{reason}; its log ends with\n  {lines}"))
            }
            (error, _) => error,
        }
    }
}

impl Drop for ServerProcesses {
    /// Signals all before it waits for any, because each may take a moment.
    fn drop(&mut self) {
        for server in &mut self.processes {
            server.process.ask_to_end();
        }
    }
}

fn anonymous_bytes(stats: &[ProcessStats]) -> u64 {
    stats.iter().map(|stats| stats.anonymous_bytes).sum()
}

/// With a hundred processes on a few cores, a client process may wait for its turn longer than the
/// servers usually wait for a client.
const PATIENCE_MS: u32 = 120_000;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
const STABLE_WAIT_MAX: Duration = Duration::from_secs(20);
