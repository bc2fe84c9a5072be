//! What the process uses of the machine, as proc(5) tells it.

use std::fs;

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUse {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// Addresses in use, in bytes.
    pub virtual_bytes: u64,
    /// Descriptors that are open.
    pub descriptors: u64,
    /// When it was started, in seconds of the Unix clock.
    pub started_unix_seconds: f64,
}

impl ProcessUse {
    /// What it uses now. What the system does not tell is 0.
    #[must_use]
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&stat, &system, ticks_per_second(), rustix::param::page_size())
            .unwrap_or_default()
            .with_descriptors(Self::descriptors_listed())
    }

    /// Memory of the process that is in RAM now, in bytes; 0 where the system does not tell.
    #[must_use]
    pub fn resident_bytes_now() -> u64 {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok());
        pages.map_or(0, |pages: u64| pages.saturating_mul(rustix::param::page_size() as u64))
    }

    /// Descriptors that are open now; `None` where the system tells only by listing them, as Linux did
    /// before 6.2.
    #[must_use]
    pub fn descriptors_now() -> Option<u64> {
        fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|count| *count > 0)
    }

    /// As [`ProcessUse::descriptors_now`], by listing them, which takes time in proportion to their number.
    #[must_use]
    pub fn descriptors_listed() -> u64 {
        let listed = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        // The directory that is read is one of them.
        listed.saturating_sub(1) as u64
    }

    fn with_descriptors(self, descriptors: u64) -> Self {
        Self { descriptors, ..self }
    }

    /// From the texts of `/proc/self/stat` and `/proc/stat`.
    fn parse(stat: &str, system: &str, ticks: f64, page_bytes: usize) -> Option<Self> {
        // The name of the program may hold spaces and parentheses; the numbers follow the last one.
        let (_, numbers) = stat.rsplit_once(')')?;
        let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
        // Fields are numbered from 1 in proc_pid_stat(5), and the first here is the third.
        let field = |number: usize| numbers.get(number - 3)?.parse::<f64>().ok();
        let bytes = |number: usize| numbers.get(number - 3)?.parse::<u64>().ok();
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "));
        let booted: f64 = booted.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0.0);
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            resident_bytes: bytes(24)?.saturating_mul(page_bytes as u64),
            virtual_bytes: bytes(23)?,
            descriptors: 0,
            started_unix_seconds: booted + field(22)? / ticks,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is 100")]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_does_not_shift_the_numbers() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 1000 4096 2 18";
        let read = ProcessUse::parse(stat, "cpu 1\nbtime 1700000000\n", 100.0, 4096).unwrap();
        assert_eq!(
            read,
            ProcessUse {
                cpu_seconds: 2.0,
                resident_bytes: 8192,
                virtual_bytes: 4096,
                descriptors: 0,
                started_unix_seconds: 1_700_000_010.0,
            }
        );
        assert_eq!(ProcessUse::parse("7 (a) S 1", "", 100.0, 4096), None);
    }

    #[test]
    fn this_process_uses_something() {
        let used = ProcessUse::now();
        assert!(used.resident_bytes > 100_000 && used.descriptors >= 3, "{used:?}");
        assert!(ProcessUse::resident_bytes_now() > 100_000);
        assert!(ProcessUse::descriptors_now().is_none_or(|open| open >= 3));
        assert!(used.started_unix_seconds > 1.6e9, "{used:?}");
    }
}
