//! The facts about the machine that a report needs beside its figures.

use std::fs;
use std::thread;

use rustix::process::{Resource, getrlimit};
use rustix::system::uname;
use serde::{Deserialize, Serialize};

use crate::system::{clock, file_limit};

/// The machine and the build of a measurement, and its time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) measured_at: String,
    pub(crate) kernel: String,
    pub(crate) system: Option<String>,
    pub(crate) processor: Option<String>,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) page_bytes: u64,
    pub(crate) transparent_huge_pages: Option<String>,
    /// The average over one minute, before the measurement began.
    pub(crate) load_average: Option<f64>,
    pub(crate) open_files_max: u64,
    pub(crate) processes_max: Option<String>,
    pub(crate) threads_max: Option<String>,
    pub(crate) map_count_max: Option<String>,
    pub(crate) accept_queue_max: Option<String>,
    pub(crate) ephemeral_ports: Option<String>,
    pub(crate) loadtest: String,
    /// The build of loadtest and of the Rust servers in it.
    pub(crate) build: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let uname = uname();
        let name = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Self {
            measured_at: clock::date_and_time(),
            kernel: [uname.sysname(), uname.release(), uname.machine()].map(name).join(" "),
            system: value("/etc/os-release", "PRETTY_NAME=").map(|name| name.replace('"', "")),
            processor: value("/proc/cpuinfo", "model name\t: "),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: value("/proc/meminfo", "MemTotal:").and_then(|text| kib(&text)),
            page_bytes: rustix::param::page_size() as u64,
            transparent_huge_pages: line("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|choices| chosen(&choices)),
            load_average: line("/proc/loadavg")
                .and_then(|averages| averages.split(' ').next()?.parse().ok()),
            open_files_max: file_limit::raise() as u64,
            processes_max: Some(match getrlimit(Resource::Nproc).current {
                Some(limit) => limit.to_string(),
                None => "unlimited".to_owned(),
            }),
            threads_max: line("/proc/sys/kernel/threads-max"),
            map_count_max: line("/proc/sys/vm/max_map_count"),
            accept_queue_max: line("/proc/sys/net/core/somaxconn"),
            ephemeral_ports: line("/proc/sys/net/ipv4/ip_local_port_range")
                .map(|range| range.replace('\t', " to ")),
            loadtest: env!("CARGO_PKG_VERSION").to_owned(),
            build: if cfg!(debug_assertions) { DEBUG_BUILD } else { "release" }.to_owned(),
        }
    }

    /// Whether `other` is the same machine with the same build, at whatever time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let other = other.clone();
        let (measured_at, load_average) = (self.measured_at.clone(), self.load_average);
        *self == Self { measured_at, load_average, ..other }
    }

    /// Whether this is a debug build, whose figures serve for tests only.
    pub(crate) fn is_debug_build(&self) -> bool {
        self.build == DEBUG_BUILD
    }
}

fn line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The rest of the line that begins with `name`.
fn value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

fn kib(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The choice that stands in brackets.
fn chosen(choices: &str) -> Option<String> {
    let (_, rest) = choices.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

const DEBUG_BUILD: &str = "debug";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_this_machine_are_read() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(kib("24683620 kB"), Some(24_683_620 << 10));
        let machine = Machine::read();
        assert!(machine.memory_bytes.is_some_and(|bytes| bytes > 0));
        assert!(machine.measured_at.ends_with('Z'), "{}", machine.measured_at);
    }
}
