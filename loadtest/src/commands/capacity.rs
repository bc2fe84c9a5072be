//! Checks that the machine has ports and open files for the connections of a run.

use crate::driver::SourceAddresses;
use crate::error::CommandError;
use crate::system::file_limit;
use crate::target::Target;

/// An error unless there is a port and an open file for each connection.
pub(super) fn require_capacity(
    connections: usize,
    target: &Target,
    sources: &SourceAddresses,
) -> Result<(), CommandError> {
    let connections_max = sources.connections_max();
    if connections > connections_max {
        return Err(CommandError::Usage(format!(
            "--connections {connections} does not fit: this machine's ports allow \
             {connections_max} to {} (net.ipv4.ip_local_port_range)",
            target.address
        )));
    }
    require_files("--connections", connections)
}

/// An error unless there is an open file for each connection. `option` is the one that sets their
/// number.
pub(super) fn require_files(option: &str, connections: usize) -> Result<(), CommandError> {
    let granted = file_limit::raise();
    let connections_max = granted.saturating_sub(file_limit::RESERVED_FILES);
    if connections > connections_max {
        return Err(CommandError::Usage(format!(
            "{option} {connections} does not fit: the limit on open files (ulimit -Hn) is \
             {granted}, which allows {connections_max}"
        )));
    }
    Ok(())
}
