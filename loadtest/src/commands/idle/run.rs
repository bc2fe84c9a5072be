//! The steps of a measurement: warm-up, baseline, then cycles of open, hold, check, close.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::plan::{Check, Plan};
use super::record::{CycleReport, Record, StableSnapshot};
use super::workload::{IdleWorkload, Stage};
use crate::driver::Workload as _;
use crate::error::CommandError;
use crate::load::clients::{Clients, Pace};
use crate::output::Output;
use crate::output::units::Seconds;
use crate::stats::meter::{Meter, Snapshot};
use crate::stats::proc_stats::ProcessStats;
use crate::system::clock;

/// A running measurement.
#[derive(Debug)]
pub(crate) struct IdleRun<'a> {
    plan: &'a Plan,
    output: Output,
    meter: Meter,
    clients: Clients,
    workload: IdleWorkload,
}

impl<'a> IdleRun<'a> {
    pub(crate) fn new(plan: &'a Plan, output: Output, meter: Meter, clients: Clients) -> Self {
        let workload = IdleWorkload::new(plan.seed, plan.check);
        Self { plan, output, meter, clients, workload }
    }

    /// Runs all steps. Calls `while_held` with the number of each cycle after its figures were
    /// taken, while all its connections are open.
    pub(crate) fn run(mut self, mut while_held: impl FnMut(usize)) -> Result<Record, CommandError> {
        let mut record = Record::default();
        self.warm_up()?;
        if self.workload.failures() == 0 {
            let baseline = self.wait_until_stable("baseline")?.snapshot;
            record.baseline = Some(baseline);
            for cycle in 1..=self.plan.cycles.get() {
                record.cycles.push(self.cycle(cycle, &baseline, &mut while_held)?);
                // The remains of a failed connection would look like growth.
                if self.workload.failures() > 0 {
                    break;
                }
            }
        }
        record.tls = self.clients.driver().tls_summary();
        record.failures = self.workload.tally().clone();
        Ok(record)
    }

    /// Opens and closes connections one by one, enough for each loop of the server to serve one, so
    /// that the baseline contains all that a server allocates once. Only one is open at a time:
    /// memory that is reserved for later connections must not hide in the baseline.
    fn warm_up(&mut self) -> Result<(), CommandError> {
        let step = self.output.begin("warming up", self.plan.warm_up);
        let one_by_one = Pace { in_flight_max: NonZeroUsize::MIN, connects_per_second: None };
        self.clients.open(self.plan.warm_up, one_by_one, &step, &mut self.workload)?;
        let counts = self.workload.take_counts();
        step.end(format_args!("warm-up: {} connections came, echoed and left", counts.closed));
        Ok(())
    }

    fn cycle(
        &mut self,
        cycle: usize,
        baseline: &Snapshot,
        while_held: &mut impl FnMut(usize),
    ) -> Result<CycleReport, CommandError> {
        let before = self.server_stats();
        let opening = self.open(cycle)?;
        let opened = self.server_stats();
        let connections = self.hold(cycle)?;
        let held = self.snapshot()?;
        while_held(cycle);
        self.check(cycle)?;
        self.close(cycle)?;
        let left = self.wait_until_stable(&format!("cycle {cycle}: after all left"))?;
        let counts = self.workload.take_counts();
        Ok(CycleReport {
            cycle,
            connections_opened: counts.opened,
            opening: Seconds(opening),
            connects_per_second: counts.opened as f64 / opening.as_secs_f64(),
            opening_server_cpu: cpu_between(before, opened),
            holding_server_cpu: cpu_between(opened, held.server),
            connections_held: connections,
            server_pings_answered: counts.server_pings,
            pongs_verified: counts.pongs,
            echoes_verified: counts.echoes,
            connections_closed: counts.closed,
            held,
            per_connection: held.per_connection(baseline, connections),
            left_growth_bytes: left.snapshot.anonymous_growth_bytes(baseline),
            left,
        })
    }

    /// Opens the connections; returns how long that took.
    fn open(&mut self, cycle: usize) -> Result<Duration, CommandError> {
        self.workload.enter(Stage::Open);
        let connections = self.plan.connections.get();
        let step = self.output.begin(&format!("cycle {cycle}: opening"), connections);
        let began = clock::now();
        self.clients.open(connections, self.plan.pace(), &step, &mut self.workload)?;
        let opening = since(began);
        let opened = self.workload.counts().opened;
        step.end(format_args!("cycle {cycle}: opened {opened} in {}", Seconds(opening)));
        Ok(opening)
    }

    /// Holds the connections; returns how many are left at the end.
    fn hold(&mut self, cycle: usize) -> Result<usize, CommandError> {
        self.workload.enter(Stage::Hold);
        let hold = self.plan.hold;
        let seconds = hold.as_secs().try_into().unwrap_or(usize::MAX);
        let step = self.output.begin(&format!("cycle {cycle}: holding (s)"), seconds);
        let began = clock::now();
        while let Some(left) = hold.checked_sub(since(began)).filter(|left| !left.is_zero()) {
            self.clients.serve_for(left.min(SAMPLE_INTERVAL), &mut self.workload)?;
            step.reach(since(began).as_secs().try_into().unwrap_or(usize::MAX));
        }
        // Input that has arrived by now belongs to the hold, even if that took no time.
        self.clients.serve_for(Duration::ZERO, &mut self.workload)?;
        let connections = self.clients.len();
        step.end(format_args!("cycle {cycle}: held {connections} for {}", Seconds(since(began))));
        Ok(connections)
    }

    fn check(&mut self, cycle: usize) -> Result<(), CommandError> {
        self.workload.enter(Stage::Check);
        let step = self.output.begin(&format!("cycle {cycle}: checking"), self.clients.len());
        let Plan { in_flight, seed, check, .. } = *self.plan;
        self.clients.request_all(
            in_flight,
            &step,
            &mut self.workload,
            |connection| match check {
                Check::Echo => IdleWorkload::send_echo_text(connection),
                Check::Ping => IdleWorkload::ping(seed, connection),
            },
        )?;
        let counts = self.workload.counts();
        let (answers, request) = match check {
            Check::Echo => (counts.echoes, "message"),
            Check::Ping => (counts.pongs, "ping"),
        };
        step.end(format_args!("cycle {cycle}: {answers} answered their {request}"));
        Ok(())
    }

    fn close(&mut self, cycle: usize) -> Result<(), CommandError> {
        self.workload.enter(Stage::Close);
        let step = self.output.begin(&format!("cycle {cycle}: closing"), self.clients.len());
        self.clients.close(self.plan.in_flight, &step, &mut self.workload)?;
        let closed = self.workload.counts().closed;
        step.end(format_args!("cycle {cycle}: {closed} closed properly"));
        self.workload.enter(Stage::Leave);
        Ok(())
    }

    /// Waits until the server's anonymous memory has not changed for the quiet time, but not for
    /// ever.
    fn wait_until_stable(&mut self, name: &str) -> Result<StableSnapshot, CommandError> {
        let step = self.output.begin(name, 0);
        let began = clock::now();
        let mut stats = self.server_stats();
        let mut changed = began;
        let is_settled = loop {
            if since(changed) >= self.plan.quiet {
                break true;
            }
            if since(began) >= STABLE_WAIT_MAX {
                break false;
            }
            self.clients.serve_for(SAMPLE_INTERVAL.min(self.plan.quiet), &mut self.workload)?;
            let sample = self.server_stats();
            if anonymous(sample) != anonymous(stats) {
                changed = clock::now();
            }
            stats = sample;
        };
        let settling = Seconds(changed.saturating_duration_since(began));
        let state = if is_settled { "settled" } else { "still changing" };
        step.end(format_args!("{name}: memory {state} after {settling}"));
        Ok(StableSnapshot { snapshot: self.snapshot()?, is_settled, settling })
    }

    fn snapshot(&mut self) -> Result<Snapshot, CommandError> {
        Ok(Meter::snapshot(self.server_stats())?)
    }

    /// The server's figures, or `None` if they cannot be read. The end of the server is a failure
    /// of the server, and does not end the run.
    fn server_stats(&mut self) -> Option<ProcessStats> {
        self.meter.server().unwrap_or_else(|error| {
            let reason = || format!("the server's figures can no longer be read: {error}");
            self.workload.tally().record(reason);
            self.meter.forget_server();
            None
        })
    }
}

fn cpu_between(before: Option<ProcessStats>, after: Option<ProcessStats>) -> Option<Seconds> {
    let (before, after) = before.zip(after)?;
    Some(Seconds(after.cpu.0.saturating_sub(before.cpu.0)))
}

fn anonymous(stats: Option<ProcessStats>) -> Option<u64> {
    stats.map(|stats| stats.anonymous_bytes)
}

fn since(instant: Instant) -> Duration {
    clock::now().saturating_duration_since(instant)
}

const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
const STABLE_WAIT_MAX: Duration = Duration::from_secs(15);
