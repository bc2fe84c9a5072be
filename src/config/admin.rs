//! The admin listener: where operators see and steer the gateway, and who may.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Value;

use super::declare::keys;
use super::rule::Rule;
use super::secret::Secrets;
use super::setting::{Broken, Setting};
use super::surroundings::Surroundings;

keys! {
    /// Where operators see and steer the gateway, and who may.
    "admin." pub struct AdminOptions {
        /// Where the API, the metrics and the dashboard for operators are: an address, the path of a
        /// Unix socket, or nowhere. By default it is 127.0.0.1:8090, or nowhere with a warning if
        /// another process has that.
        pub address: Option<AdminAddress> {
            default: None,
            shown: "derived",
            rule: Rule::AdminAddress,
            reload: false,
        }
        /// What operators prove with that they may see and change everything. Required where
        /// `admin.address` is not of this machine only; without it nothing can be changed.
        pub token: Option<Secrets> {
            default: None,
            shown: "none",
            rule: TOKEN,
            reload: false,
        }
        /// What a collector of metrics proves with that it may read `/metrics`.
        pub metrics_token: Option<Secrets> {
            default: None,
            shown: "none",
            rule: TOKEN,
            reload: false,
        }
        /// The identities, and `engine`, without whose servers the gateway says that it is not ready. By default such
        /// a server counts for nothing: where all gateways share it, all would be taken out at once.
        pub ready_needs: Vec<String> {
            default: Vec::new(),
            rule: Rule::Identities,
            reload: false,
        }
    }
}

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At a Unix socket.
    Unix(SocketPath),
}

/// The path of a Unix socket: absolute, or from the folder of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPath {
    written: String,
    path: PathBuf,
}

impl SocketPath {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AdminAddress {
    /// Where the listener is if nothing is said of it.
    pub const DEFAULT: SocketAddr =
        SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8090));

    /// Whether only programs of this machine reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Off | Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
        }
    }

    /// Whether it is a place that only one listener can have.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Tcp(address) => address.port() != 0,
            Self::Unix(_) => true,
        }
    }

    fn parse(written: &str, around: &Surroundings) -> Option<Self> {
        if written == OFF {
            return Some(Self::Off);
        }
        let path = match written.strip_prefix(UNIX) {
            Some(path) => path,
            None if written.starts_with('/') => written,
            None => return written.parse().ok().map(Self::Tcp),
        };
        let is_path = !path.is_empty() && !path.chars().any(char::is_control);
        // sun_path has 108 bytes, one of which ends it (unix(7)).
        let path = around.path(path);
        let fits = path.as_os_str().len() < SUN_PATH_BYTES;
        (is_path && fits).then(|| Self::Unix(SocketPath { written: written.to_owned(), path }))
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(SocketPath { written, .. }) => f.write_str(written),
        }
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    /// As in a file; a path starts at the working directory.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, &Surroundings::of("")).ok_or_else(|| Rule::AdminAddress.to_string())
    }
}

impl Setting for AdminAddress {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let written = value.as_str().ok_or_else(Broken::default)?;
        Self::parse(written, around).ok_or_else(Broken::default)
    }

    fn write(&self) -> Option<Value> {
        Some(Value::from(self.to_string()))
    }

    fn check(&self, _: Rule) -> Result<(), Broken> {
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        let around = Surroundings::of("");
        prop_oneof![
            Just(OFF.to_owned()),
            (1..=u16::MAX).prop_map(|port| format!("127.0.0.1:{port}")),
            "unix:[a-z./]{1,12}",
            "/[a-z./]{1,12}",
        ]
        .prop_map(move |written| Self::parse(&written, &around).unwrap())
        .boxed()
    }
}

const OFF: &str = "off";
const UNIX: &str = "unix:";
const SUN_PATH_BYTES: usize = 108;
const TOKEN: Rule = Rule::Secret { bytes_min: 16, bytes_max: 256 };

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AdminAddress, Broken> {
        AdminAddress::read(&Value::from(text), &Surroundings::of("/etc/tidegate/a.toml"))
    }

    #[test]
    fn every_form_of_an_address_is_read_and_written_back() {
        for (text, is_local) in [
            ("off", true),
            ("127.0.0.1:8090", true),
            ("[::1]:0", true),
            ("0.0.0.0:8090", false),
            ("192.0.2.1:1", false),
            ("/run/tidegate/admin.sock", true),
            ("unix:admin.sock", true),
        ] {
            let address = read(text).unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.write(), Some(Value::from(text)));
            assert_eq!(address.is_local(), is_local, "{text}");
        }
    }

    #[test]
    fn a_relative_path_starts_at_the_folder_of_the_file() {
        let AdminAddress::Unix(path) = read("unix:admin.sock").unwrap() else { panic!() };
        assert_eq!(path.path(), Path::new("/etc/tidegate/admin.sock"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("/{}", "a".repeat(107));
        for text in ["", "8090", "localhost:8090", "unix:", "unix:a\nb", &long] {
            assert_eq!(read(text), Err(Broken::default()), "{text}");
        }
    }
}
