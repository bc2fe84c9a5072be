//! When newcomers are refused so that those who are there are served on.

use std::path::Path;

use super::declare::keys;
use super::file_path::FilePath;
use super::rule::{Rule, integer};

keys! {
    /// When newcomers get 503 with `Retry-After` although `limits.connections_max` is not reached, so that
    /// those who are there are served on. It ends by itself.
    "overload." pub struct OverloadOptions {
        /// Percent of the memory of the group of processes (cgroup), of overload.memory_bytes_max, or of
        /// limits.pool_bytes_max, from which newcomers are refused; 0 for none.
        pub memory_percent: u64 {
            default: 90,
            rule: integer(0, 100),
            reload: true,
            reached: "Newcomers get 503. Half way from there to the limit, the connections that hold most \
                      memory are closed with code 1013, a few each second.",
        }
        /// Memory that the process itself may have in RAM, in bytes; 0 for any.
        pub memory_bytes_max: u64 {
            default: 0,
            rule: integer(0, 1 << 50),
            reload: true,
            reached: "As `overload.memory_percent` says.",
        }
        /// Descriptors that must be left to the process, but not more than a 64th of all, or newcomers are
        /// refused; 0 for none.
        pub descriptors_left_min: u64 {
            default: 16,
            rule: integer(0, 1 << 20),
            reload: true,
            reached: "Newcomers get 503.",
        }
        /// How late a turn of a loop begins, or how long it lasts, when newcomers of that loop are refused
        /// for a second; 0 for none.
        pub lag_ms: u64 {
            default: 1000,
            rule: integer(0, 60_000),
            reload: true,
            reached: "Newcomers get 503.",
        }
        /// Connections that are accepted in a second, of all loops together; 0 for any number.
        pub accepts_per_s: u32 {
            default: 0,
            rule: integer(0, 10_000_000),
            reload: true,
            reached: "Newcomers get 503.",
        }
        /// Where the files of cgroups are (cgroups(7)).
        pub cgroup_root: FilePath {
            default: FilePath::new(Path::new("/sys/fs/cgroup")),
            rule: Rule::Folder,
            reload: true,
        }
    }
}
