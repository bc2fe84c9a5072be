//! The number of threads that one more process can have. It limits the connections of a server that
//! starts a thread for each.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit, getuid};

/// The lowest of the machine's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ThreadLimit {
    pub(super) threads_max: u64,
    /// The name and the value of that limit.
    pub(super) reason: String,
}

/// Reads the limits in force; `None` if there are none.
pub(super) fn read() -> Option<ThreadLimit> {
    let readings = Readings {
        threads_now: threads_now().unwrap_or(0),
        // The limit does not apply to the superuser.
        processes: getrlimit(Resource::Nproc).current.filter(|_| !getuid().is_root()),
        cgroup: cgroup_limit(),
        threads_max: number("/proc/sys/kernel/threads-max"),
        pid_max: number("/proc/sys/kernel/pid_max"),
        map_count_max: number("/proc/sys/vm/max_map_count"),
    };
    readings.tightest()
}

/// The limits and their use. A limit that cannot be read, or is not set, is absent.
#[derive(Clone, Copy, Debug, Default)]
struct Readings {
    /// Threads on the whole machine.
    threads_now: u64,
    processes: Option<u64>,
    cgroup: Option<u64>,
    threads_max: Option<u64>,
    pid_max: Option<u64>,
    map_count_max: Option<u64>,
}

impl Readings {
    fn tightest(&self) -> Option<ThreadLimit> {
        // The threads that exist count against all limits but the last.
        let left = |limit: u64| limit.saturating_sub(self.threads_now);
        let limits = [
            ("ulimit -u", self.processes, self.processes.map(left)),
            ("pids.max of the control group", self.cgroup, self.cgroup.map(left)),
            ("kernel.threads-max", self.threads_max, self.threads_max.map(left)),
            ("kernel.pid_max", self.pid_max, self.pid_max.map(left)),
            (
                "vm.max_map_count",
                self.map_count_max,
                self.map_count_max.map(|maps| maps / MAPS_PER_THREAD),
            ),
        ];
        let (name, limit, threads) = limits
            .into_iter()
            .filter_map(|(name, limit, threads)| Some((name, limit?, threads?)))
            .min_by_key(|(_, _, threads)| *threads)?;
        let threads_max = threads.saturating_sub(RESERVED_THREADS);
        Some(ThreadLimit {
            threads_max,
            reason: format!("{name} is {limit}, which allows some {threads_max} threads"),
        })
    }
}

/// The fourth field is `running/all`.
fn threads_now() -> Option<u64> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// The lowest `pids.max` from this process's control group up to the root.
fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (root, path) = pids_group(&groups)?;
    let ancestors = Path::new(path).ancestors();
    ancestors
        .filter_map(|group| {
            let group = group.strip_prefix("/").unwrap_or(group);
            number(Path::new(root).join(group).join("pids.max"))
        })
        .min()
}

/// The mount point of the hierarchy with the pids controller, and the group in it. Version 1 has
/// precedence over version 2.
fn pids_group(groups: &str) -> Option<(&'static str, &str)> {
    let entries = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let older = entries().find(|(controllers, _)| controllers.split(',').any(|one| one == "pids"));
    let unified = entries().find(|(controllers, _)| controllers.is_empty());
    older
        .map(|(_, path)| ("/sys/fs/cgroup/pids", path))
        .or_else(|| unified.map(|(_, path)| ("/sys/fs/cgroup", path)))
}

/// `max` does not parse, and is not a limit.
fn number(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A thread of Rust has four: its stack, its alternate signal stack, and a guard page below each.
/// The memory allocator adds its own.
const MAPS_PER_THREAD: u64 = 5;
/// For other programs that start in the meantime.
const RESERVED_THREADS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_counts_and_is_named() {
        let readings = Readings {
            threads_now: 100,
            processes: None,
            cgroup: Some(512),
            threads_max: Some(192_730),
            pid_max: Some(32_768),
            map_count_max: Some(65_530),
        };
        let limit = readings.tightest().unwrap();
        assert_eq!(limit.threads_max, 156);
        assert!(limit.reason.contains("control group is 512"), "{}", limit.reason);

        let limit = Readings { cgroup: None, ..readings }.tightest().unwrap();
        assert_eq!(limit.threads_max, 65_530 / 5 - 256);
        assert!(limit.reason.starts_with("vm.max_map_count is 65530"), "{}", limit.reason);
    }

    #[test]
    fn without_limits_there_is_no_thread_limit() {
        assert_eq!(Readings::default().tightest(), None);
    }

    #[test]
    fn both_versions_of_control_groups_are_parsed() {
        let older = "9:name=systemd:/\n8:cpu,pids:/box\n0::/\n";
        assert_eq!(pids_group(older), Some(("/sys/fs/cgroup/pids", "/box")));
        let unified = "0::/user.slice/a.scope\n";
        assert_eq!(pids_group(unified), Some(("/sys/fs/cgroup", "/user.slice/a.scope")));
        assert_eq!(pids_group(""), None);
    }
}
