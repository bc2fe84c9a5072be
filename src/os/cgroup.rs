//! The memory of the group of processes that this one is in (cgroups(7)): what it may have, and what it has.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory of a group of processes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMemory {
    /// What it has, without pages of files that the kernel gives back when memory is wanted.
    pub used: u64,
    /// What it may have.
    pub limit: u64,
}

impl GroupMemory {
    /// The memory of the group of this process, or of one around it, whichever is nearest to its limit; of
    /// version 2 of cgroups or of version 1. `None` where there is no limit.
    #[must_use]
    pub fn of_this_process(root: &Path) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(root, &own)
    }

    /// As [`GroupMemory::of_this_process`], with the text of `/proc/self/cgroup`.
    fn of(root: &Path, own: &str) -> Option<Self> {
        let folders = folders(root, own);
        let groups = folders.iter().filter_map(|folder| Self::read(folder));
        // Compared without division: the share that is used.
        groups.max_by(|one, other| {
            let share = |own: &Self, other: &Self| u128::from(own.used) * u128::from(other.limit);
            share(one, other).cmp(&share(other, one))
        })
    }

    fn read(folder: &Path) -> Option<Self> {
        for Names { limit, used, inactive } in [V2, V1] {
            let number = |name: &str| -> Option<u64> {
                fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
            };
            // `max` of version 2 is no number, and version 1 has one that no machine reaches.
            let Some(limit) = number(limit).filter(|limit| (1..UNLIMITED).contains(limit)) else {
                continue;
            };
            let Some(used) = number(used) else { continue };
            let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
            let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
            let of_files = lines.find(|(name, _)| *name == inactive);
            let of_files = of_files.and_then(|(_, bytes)| bytes.trim().parse().ok()).unwrap_or(0);
            return Some(Self { used: used.saturating_sub(of_files), limit });
        }
        None
    }
}

/// The names of the files of a version.
struct Names {
    limit: &'static str,
    used: &'static str,
    inactive: &'static str,
}

const V2: Names = Names { limit: "memory.max", used: "memory.current", inactive: "inactive_file" };
const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};

/// The folders of the group of this process and of those around it. In a container its own group is the
/// root, whatever its path says.
fn folders(root: &Path, own: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // `0::/path` of version 2, and `4:memory:/path` of version 1.
    let mut groups: Vec<(PathBuf, &str)> = vec![(root.to_owned(), ""), (root.join("memory"), "")];
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        match controllers {
            "" => groups.extend([(root.to_owned(), path), (root.join("unified"), path)]),
            of_v1 if of_v1.split(',').any(|own| own == "memory") => {
                groups.push((root.join("memory"), path));
            }
            _ => {}
        }
    }
    for (base, path) in groups {
        let mut folder = base.join(path.trim_start_matches('/'));
        loop {
            if !folders.contains(&folder) {
                folders.push(folder.clone());
            }
            if folder == base || !folder.pop() || !folder.starts_with(&base) {
                break;
            }
        }
    }
    folders
}

/// What is at least as much is no limit: version 1 has the largest multiple of a page below 2⁶³.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn version_2_counts_the_group_that_is_nearest_to_its_limit() {
        let root = tempfile::tempdir().unwrap();
        let own = "0::/a/b\n";
        assert_eq!(GroupMemory::of(root.path(), own), None);
        write(&root.path().join("a/b"), &[("memory.max", "max\n"), ("memory.current", "50\n")]);
        assert_eq!(GroupMemory::of(root.path(), own), None);
        let stat = ("memory.stat", "anon 10\ninactive_file 20\nactive_file 5\n");
        write(&root.path().join("a"), &[("memory.max", "100\n"), ("memory.current", "60\n"), stat]);
        let around = GroupMemory { used: 40, limit: 100 };
        assert_eq!(GroupMemory::of(root.path(), own), Some(around));
        write(&root.path().join("a/b"), &[("memory.max", "1000\n"), ("memory.current", "500\n")]);
        let nearest = GroupMemory { used: 500, limit: 1000 };
        assert_eq!(GroupMemory::of(root.path(), own), Some(nearest));
        // As in a container, whose own group is the root.
        let container = GroupMemory::of(root.path(), "0::/../elsewhere\n");
        assert_eq!(container, None);
        write(root.path(), &[("memory.max", "70\n"), ("memory.current", "7\n")]);
        let container = GroupMemory::of(root.path(), "0::/gone\n");
        assert_eq!(container, Some(GroupMemory { used: 7, limit: 70 }));
    }

    #[test]
    fn version_1_has_a_folder_for_memory() {
        let root = tempfile::tempdir().unwrap();
        let own = "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n";
        let files = |limit| {
            [
                ("memory.limit_in_bytes", limit),
                ("memory.usage_in_bytes", "300\n"),
                ("memory.stat", "inactive_file 1\ntotal_inactive_file 100\n"),
            ]
        };
        write(&root.path().join("memory/docker/1"), &files("9223372036854771712\n"));
        assert_eq!(GroupMemory::of(root.path(), own), None);
        write(&root.path().join("memory/docker"), &files("400\n"));
        let around = GroupMemory { used: 200, limit: 400 };
        assert_eq!(GroupMemory::of(root.path(), own), Some(around));
    }

    #[test]
    fn what_is_damaged_is_as_none() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("memory.max", "many\n"), ("memory.current", "\n")]);
        for own in ["", ":", "0:", "0::", "x", "0::/\n0::/"] {
            assert_eq!(GroupMemory::of(root.path(), own), None);
        }
    }
}
