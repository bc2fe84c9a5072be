//! CPU time of the server and of this program over an interval of the run.
//!
//! The kernel keeps a clock for every process: the nanoseconds that all its threads ran, including
//! those that have ended. Where that clock cannot be read, `/proc/PID/stat` has the time in ticks,
//! usually 100 per second.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde::Serialize;

use crate::output::units::Seconds;
use crate::stats::proc_stats;
use crate::system::clock;

/// Reads the CPU clocks of the server and of this program.
#[derive(Debug)]
pub(crate) struct CpuClocks {
    server: Option<ServerClock>,
}

impl CpuClocks {
    /// Without the server's process id, only this program is measured.
    pub(crate) fn new(server_pid: Option<NonZeroU32>) -> Self {
        Self { server: server_pid.map(ServerClock::new) }
    }

    /// Reads all clocks. `waited` is the time that this program has waited since it began. A server
    /// that has ended has no CPU time.
    pub(crate) fn sample(&self, waited: Duration) -> CpuSample {
        CpuSample {
            time: clock::now(),
            server: self.server.as_ref().and_then(|server| server.read().ok()),
            client: read_clock(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default(),
            waited,
            sleeps: read_sleeps(),
        }
    }
}

/// The readings of the clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuSample {
    pub(crate) time: Instant,
    server: Option<Duration>,
    client: Duration,
    waited: Duration,
    sleeps: Option<u64>,
}

impl CpuSample {
    /// The CPU time since an earlier sample, in which `units` units of work were done. `unit` is
    /// their name.
    pub(crate) fn since(&self, before: &Self, unit: &'static str, units: u64) -> CpuUse {
        let server = self.server.zip(before.server);
        let interval = Interval {
            wall: self.time.saturating_duration_since(before.time),
            server: server.map(|(after, before)| after.saturating_sub(before)),
            client: self.client.saturating_sub(before.client),
            waited: self.waited.saturating_sub(before.waited),
            sleeps: self
                .sleeps
                .zip(before.sleeps)
                .map(|(after, before)| after.saturating_sub(before)),
        };
        CpuUse::new(interval, unit, units)
    }
}

/// The CPU time of server and load generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CpuUse {
    #[serde(rename = "wall_seconds")]
    pub(crate) wall: Seconds,
    /// The name of the unit in `per_unit`.
    unit: &'static str,
    #[serde(rename = "server_cpu_seconds")]
    server: Option<Seconds>,
    #[serde(rename = "server_cpu_us_per_unit")]
    pub(crate) server_micros_per_unit: Option<f64>,
    /// CPU time over wall time: 1 is a whole core.
    pub(crate) server_cores: Option<f64>,
    #[serde(rename = "client_cpu_seconds")]
    client: Seconds,
    #[serde(rename = "client_cpu_us_per_unit")]
    client_micros_per_unit: Option<f64>,
    client_cores: f64,
    /// The share of the time in which the load generator did not wait for the server. It exceeds
    /// its CPU time if other processes use the same core.
    pub(crate) client_busy_share: f64,
    /// How often this program went to sleep. What wakes it is charged to the server that writes to it.
    pub(crate) client_sleeps_per_unit: Option<f64>,
    /// The load generator hardly waited: its own limit may be what was measured.
    is_client_saturated: bool,
}

/// The differences between two samples.
#[derive(Clone, Copy, Debug)]
struct Interval {
    wall: Duration,
    server: Option<Duration>,
    client: Duration,
    waited: Duration,
    sleeps: Option<u64>,
}

impl CpuUse {
    fn new(interval: Interval, unit: &'static str, units: u64) -> Self {
        let Interval { wall, server, client, waited, sleeps } = interval;
        let per_unit = |cpu: Duration| (units > 0).then(|| cpu.as_secs_f64() * 1e6 / units as f64);
        let cores = |cpu: Duration| cpu.as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE);
        let client_busy_share = cores(wall.saturating_sub(waited));
        Self {
            wall: Seconds(wall),
            unit,
            server: server.map(Seconds),
            server_micros_per_unit: server.and_then(per_unit),
            server_cores: server.map(cores),
            client: Seconds(client),
            client_micros_per_unit: per_unit(client),
            client_cores: cores(client),
            client_busy_share,
            client_sleeps_per_unit: sleeps
                .filter(|_| units > 0)
                .map(|sleeps| sleeps as f64 / units as f64),
            is_client_saturated: client_busy_share > SATURATED_SHARE,
        }
    }
}

impl CpuUse {
    /// The rate of something that happened `count` times.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.wall.0.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for CpuUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name, micros: Option<f64>, cores| {
            write!(f, "{name} CPU: ")?;
            if let Some(micros) = micros {
                write!(f, "{micros:.2} µs per {}, ", self.unit)?;
            }
            writeln!(f, "{cores:.2} of a core")
        };
        if let Some(cores) = self.server_cores {
            line("server", self.server_micros_per_unit, cores)?;
        }
        line("load generator", self.client_micros_per_unit, self.client_cores)?;
        writeln!(f, "load generator busy: {:.0} % of the time", self.client_busy_share * 100.0)?;
        if self.is_client_saturated {
            writeln!(f, "NOTE: the load generator was saturated; the server may do better")?;
        }
        Ok(())
    }
}

/// The source of the server's CPU time.
#[derive(Debug)]
enum ServerClock {
    Clock(ClockId),
    Ticks(NonZeroU32),
}

impl ServerClock {
    fn new(pid: NonZeroU32) -> Self {
        i32::try_from(pid.get())
            .ok()
            .and_then(|raw_pid| clock_getcpuclockid(Pid::from_raw(raw_pid)).ok())
            .filter(|clock| read_clock(*clock).is_ok())
            .map_or(Self::Ticks(pid), Self::Clock)
    }

    fn read(&self) -> io::Result<Duration> {
        match self {
            Self::Clock(clock) => read_clock(*clock),
            Self::Ticks(pid) => proc_stats::read_cpu(*pid),
        }
    }
}

/// How often a thread of this program has slept, which is less often than it has waited: what is ready at once
/// takes no sleep.
fn read_sleeps() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.voluntary_context_switches()).ok()
}

fn read_clock(clock: ClockId) -> io::Result<Duration> {
    Ok(clock.now()?.into())
}

/// Above this busy share, the load generator counts as saturated.
pub(crate) const SATURATED_SHARE: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_per_unit_and_per_second() {
        let second = Duration::from_secs(1);
        let busy = Interval {
            wall: 2 * second,
            server: Some(second),
            client: 2 * second,
            waited: Duration::ZERO,
            sleeps: Some(500),
        };
        let cpu_use = CpuUse::new(busy, "message", 1000);
        assert_eq!(cpu_use.server_micros_per_unit, Some(1000.0));
        assert_eq!((cpu_use.server_cores, cpu_use.client_cores), (Some(0.5), 1.0));
        assert_eq!(cpu_use.client_sleeps_per_unit, Some(0.5));
        assert!(cpu_use.is_client_saturated);
        let idle = Interval {
            wall: second,
            server: None,
            client: Duration::ZERO,
            waited: second / 2,
            sleeps: None,
        };
        let nothing = CpuUse::new(idle, "message", 0);
        assert_eq!((nothing.server_cores, nothing.client_micros_per_unit), (None, None));
        assert_eq!((nothing.client_busy_share, nothing.is_client_saturated), (0.5, false));
    }

    #[test]
    fn both_clocks_of_a_process_agree() {
        let pid = NonZeroU32::new(std::process::id()).unwrap();
        let clock = ServerClock::new(pid);
        assert!(matches!(clock, ServerClock::Clock(_)));
        let ticks = ServerClock::Ticks(pid);
        // Long enough for several ticks of 10 ms.
        while clock.read().unwrap() < Duration::from_millis(100) {}
        let (exact, counted) = (clock.read().unwrap(), ticks.read().unwrap());
        assert!(counted.abs_diff(exact) < Duration::from_millis(200), "{exact:?}, {counted:?}");
    }
}
