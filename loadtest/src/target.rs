//! The target of the load: the server's address and the path of the upgrade request.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use thiserror::Error;

use crate::tls::{Resumption, TlsArguments, TlsClient, TlsSetupError};

/// The option that names the server, for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct AddressArguments {
    /// Host and port of the server, or its URL, such as ws://HOST:PORT/PATH
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    address: String,

    /// Offer permessage-deflate, insist on it, and compress the messages
    #[arg(long)]
    pub(crate) deflate: bool,

    #[command(flatten)]
    tls: TlsArguments,
}

/// The option that names the path, for the commands that connect to one.
#[derive(Args, Clone, Debug)]
pub(crate) struct PathArguments {
    /// Path of the upgrade request
    #[arg(long, default_value = ECHO_PATH, value_parser = parse_path)]
    pub(crate) path: String,
}

/// The options that name the server and one path of it.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArguments {
    #[command(flatten)]
    address: AddressArguments,

    #[command(flatten)]
    path: PathArguments,
}

/// A resolved target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The value of the `Host` header: the address as it was given.
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Clients offer compression, and the server must agree to it.
    pub(crate) deflate: bool,
    /// Connections are encrypted.
    pub(crate) tls: Option<TlsClient>,
}

impl Target {
    /// The URL of the target, without a path.
    pub(crate) fn origin(&self) -> Origin {
        Origin { authority: self.authority.clone(), is_encrypted: self.tls.is_some() }
    }

    /// The target at an address that needs no name lookup.
    pub(crate) fn at(address: SocketAddr, path: &str) -> Self {
        let authority = address.to_string();
        Self { address, authority, path: path.to_owned(), deflate: false, tls: None }
    }
}

impl AddressArguments {
    /// Resolves the host and takes its first address, so that all connections go to the same one.
    pub(crate) fn look_up(&self) -> Result<SocketAddr, TargetError> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let addresses = self.address.to_socket_addrs();
        addresses
            .and_then(|mut addresses| addresses.next().ok_or_else(none))
            .map_err(|error| TargetError::Address { address: self.address.clone(), error })
    }

    /// The target, with the configuration of TLS if that is asked for.
    ///
    /// # Errors
    /// Those of the look-up, and what is wrong with the options of TLS.
    pub(crate) fn resolve(
        &self,
        path: &str,
        resumption: Resumption,
    ) -> Result<Target, TargetError> {
        Ok(Target {
            address: self.look_up()?,
            authority: self.address.clone(),
            path: path.to_owned(),
            deflate: self.deflate,
            tls: TlsClient::from_arguments(&self.tls, &self.address, resumption)?,
        })
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.tls
    }

    /// Trusts the certificate in this PEM file, unless any is taken anyway.
    pub(crate) fn trust(&mut self, certificate: PathBuf) {
        self.tls.ca = Some(certificate);
    }

    /// The URL of the target, without a path.
    pub(crate) fn origin(&self) -> Origin {
        Origin { authority: self.address.clone(), is_encrypted: self.tls.tls }
    }
}

impl TargetArguments {
    pub(crate) fn address(&self) -> &AddressArguments {
        &self.address
    }

    pub(crate) fn path(&self) -> &str {
        &self.path.path
    }
}

/// Why there is no target.
#[derive(Debug, Error)]
pub(crate) enum TargetError {
    #[error("--address {address}: {error}")]
    Address { address: String, error: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

/// Scheme and authority of a URL. A report in JSON has the authority alone: the address as it was
/// given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Origin {
    authority: String,
    #[serde(skip)]
    is_encrypted: bool,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "wss" } else { "ws" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// Checks the path of a request line: no byte of it may end the line.
pub(crate) fn parse_path(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("must begin with `/`".to_owned());
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be printable ASCII without spaces (percent-encode the rest)".to_owned());
    }
    Ok(path.to_owned())
}

/// The path at which servers echo.
pub(crate) const ECHO_PATH: &str = "/echo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_would_break_the_request_line_are_refused() {
        assert_eq!(parse_path("/chat?user=%E5"), Ok("/chat?user=%E5".to_owned()));
        for path in ["", "echo", "/a b", "/a\r\nX: y", "/é"] {
            assert!(parse_path(path).is_err(), "{path:?}");
        }
    }
}
