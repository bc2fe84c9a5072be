//! Limits of the process and the kernel.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors the process may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit as the process was started.
    pub inherited: u64,
    /// The soft limit now: as high as the hard one.
    pub granted: u64,
}

/// Raises the soft limit on descriptors to the hard one; what cannot be raised stays.
#[must_use]
pub fn raise_descriptor_limit() -> Descriptors {
    let before = getrlimit(Resource::Nofile);
    let inherited = before.current.unwrap_or(u64::MAX);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum.unwrap_or(u64::MAX),
        Err(_) => inherited,
    };
    Descriptors { inherited, granted }
}

/// Settings of the kernel that stand below what the configuration asks for, a line for each.
#[must_use]
pub fn kernel_warnings(accept_backlog: u64, connections_max: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(somaxconn) = read_number("/proc/sys/net/core/somaxconn")
        && somaxconn < accept_backlog
    {
        warnings.push(format!(
            "net.core.somaxconn = {somaxconn} holds socket.accept_backlog below {accept_backlog}"
        ));
    }
    if let Some(watches) = read_number("/proc/sys/fs/epoll/max_user_watches")
        && watches < connections_max
    {
        warnings.push(format!(
            "fs.epoll.max_user_watches = {watches} is below connections_max = {connections_max}"
        ));
    }
    warnings
}

fn read_number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
