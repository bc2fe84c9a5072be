//! The configuration of the server that an attack starts.

use std::fmt::Write as _;

use super::arguments::AttackArguments;
use super::attacks::Attack;
use crate::error::CommandError;

/// A configuration file of tidegate.
#[derive(Clone, Debug)]
pub(super) struct ServerConfig {
    toml: String,
}

impl ServerConfig {
    /// The listener at the address of the run, the limits, and the routes of the attack. The route
    /// of the bystanders is always there.
    pub(super) fn new(attack: &Attack, arguments: &AttackArguments) -> Result<Self, CommandError> {
        let address = arguments.session.address.look_up();
        let address = address.map_err(|error| CommandError::Usage(error.to_string()))?;
        let loops = arguments.loops.map_or(attack.loops, u16::from);
        let mut toml = format!("# For `loadtest attack {}`.\nloops = {loops}\n", attack.name);
        let _ = write!(toml, "\n[[listener]]\naddress = \"{}\"\n", address);
        let _ = write!(toml, "\n[limits]\npool_bytes_max = {}\n", arguments.pool_bytes_max);
        toml += attack.limits;
        toml += TIMEOUTS;
        toml += attack.routes;
        Ok(Self { toml })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.toml
    }
}

/// Short times, so that what a server does after them falls into the run.
const TIMEOUTS: &str = "\n[timeouts]\nping_idle_ms = 1000\npong_ms = 8000\npool_idle_ms = 1000\n";
