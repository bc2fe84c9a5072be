//! The limit on open files: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one and returns what is granted.
pub(crate) fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A refusal is no failure: what counts is the limit in force, which is read again.
    let _ = setrlimit(Resource::Nofile, raised);
    // `None` stands for "unlimited".
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(granted).unwrap_or(usize::MAX)
}

/// Descriptors that are no connection: standard streams, epoll, /proc files, the spawned server.
pub(crate) const RESERVED_FILES: usize = 32;
