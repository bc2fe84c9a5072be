//! The target of the load: the server's address and the path of the upgrade request.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use clap::Args;

/// The option that names the server, for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct AddressArguments {
    /// Host and port of the server, or its URL, such as ws://HOST:PORT/PATH
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    address: String,

    /// Offer permessage-deflate, insist on it, and compress the messages
    #[arg(long)]
    pub(crate) deflate: bool,
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
}

impl Target {
    /// The target at an address that needs no name lookup.
    pub(crate) fn at(address: SocketAddr, path: &str) -> Self {
        Self { address, authority: address.to_string(), path: path.to_owned(), deflate: false }
    }
}

impl AddressArguments {
    /// Resolves the host and takes its first address, so that all connections go to the same one.
    pub(crate) fn resolve(&self, path: &str) -> io::Result<Target> {
        let address =
            self.address.to_socket_addrs()?.next().ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "the name has no address")
            })?;
        Ok(Target {
            address,
            authority: self.address.clone(),
            path: path.to_owned(),
            deflate: self.deflate,
        })
    }

    /// The address as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.address
    }
}

impl TargetArguments {
    pub(crate) fn resolve(&self) -> io::Result<Target> {
        self.address.resolve(self.path())
    }

    /// The address as it was given.
    pub(crate) fn address(&self) -> &str {
        self.address.as_str()
    }

    pub(crate) fn path(&self) -> &str {
        &self.path.path
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
