//! Whether the machine has room for the connections of a run: ports, and open files.

use crate::driver::SourceAddresses;
use crate::error::CommandError;
use crate::system::file_limit;
use crate::target::Target;

/// Every connection takes a port of its source address, and an open file.
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

/// Every connection takes an open file. `option` is the one that asks for the connections.
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
