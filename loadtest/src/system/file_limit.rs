//! The limit on open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one; returns the limit that is in force.
pub(crate) fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A refusal is not an error: the limit in force is read again below.
    let _ = setrlimit(Resource::Nofile, raised);
    // `None` stands for "unlimited".
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(granted).unwrap_or(usize::MAX)
}

/// Descriptors that are not connections: standard streams, epoll, /proc files, the spawned server.
pub(crate) const RESERVED_FILES: usize = 32;
