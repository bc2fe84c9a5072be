//! The configuration of the server that an attack starts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::arguments::AttackArguments;
use super::attacks::{Attack, BACKEND};
use crate::error::CommandError;
use crate::tls::ServerCertificate;

/// A configuration file of tidegate.
#[derive(Clone, Debug)]
pub(super) struct ServerConfig {
    toml: String,
}

impl ServerConfig {
    /// The listener at the address of the run, the limits, and the routes of the attack. The route
    /// of the bystanders is always there.
    ///
    /// With TLS the listener has this certificate; without one, to print the configuration, there is
    /// a place for it. So it is with the backend.
    pub(super) fn new(
        attack: &Attack,
        arguments: &AttackArguments,
        certificate: Option<&ServerCertificate>,
        backend: Option<SocketAddr>,
    ) -> Result<Self, CommandError> {
        let address = arguments.session.address.look_up();
        let address = address.map_err(|error| CommandError::Usage(error.to_string()))?;
        let loops = arguments.loops.map_or(attack.loops, u16::from);
        let mut toml = format!("# For `loadtest attack {}`.\nloops = {loops}\n", attack.name);
        let _ = write!(toml, "\n[[listener]]\naddress = \"{}\"\n", address);
        if arguments.session.address.is_encrypted() {
            let [certificate, key] = match certificate {
                Some(made) => [made.certificate_path(), made.key_path()],
                None => ["certificate.pem", "key.pem"].map(PathBuf::from),
            };
            let (certificate, key) = (certificate.display(), key.display());
            let _ = write!(
                toml,
                "tls = true\n\n[[certificate]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"
            );
        }
        let _ = write!(toml, "\n[limits]\npool_bytes_max = {}\n", arguments.pool_bytes_max);
        toml += attack.limits;
        toml += TIMEOUTS;
        let backend = backend.map_or_else(|| BACKEND.to_owned(), |address| address.to_string());
        toml += &attack.routes.replace(BACKEND, &backend);
        Ok(Self { toml })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.toml
    }
}

/// Short times, so that what a server does after them falls into the run.
const TIMEOUTS: &str = "\n[timeouts]\nping_idle_ms = 1000\npong_ms = 8000\npool_idle_ms = 1000\n";
