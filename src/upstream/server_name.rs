//! A server as it is configured: an address, or a name that a name server knows, with its weight.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use crate::transport::ServerAddress;

/// Where a server is, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName {
    /// Where it listens.
    pub place: ServerPlace,
    /// Its part of the connections, in proportion to the others.
    pub weight: u32,
}

/// Where a server listens, as far as that is known without asking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerPlace {
    /// At an address.
    Address(ServerAddress),
    /// At each address that a name server gives for a name, on this port.
    Name(Box<str>, u16),
}

/// A text is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be HOST:PORT or unix:/PATH, and may end in \" weight=N\" with N from 1 to {WEIGHT_MAX}"
)]
pub struct InvalidServerName;

impl ServerName {
    /// Parses `HOST:PORT` with a name, an IPv4 address or an IPv6 address in brackets, or `unix:/PATH`,
    /// each perhaps with ` weight=N` behind it.
    ///
    /// # Errors
    /// [`InvalidServerName`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidServerName> {
        let (place, weight) = match text.split_once(" weight=") {
            None => (text, 1),
            Some((place, digits)) => {
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let weight = digits.parse().ok().filter(|weight| *weight >= 1 && is_number);
                (place, weight.filter(|own| *own <= WEIGHT_MAX).ok_or(InvalidServerName)?)
            }
        };
        Ok(Self { place: ServerPlace::parse(place).ok_or(InvalidServerName)?, weight })
    }
}

impl ServerPlace {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/')
                && path.len() <= UNIX_PATH_BYTES_MAX
                && !path.chars().any(char::is_control);
            return is_path.then(|| Self::Address(ServerAddress::Unix(Path::new(path).into())));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() > 0).then_some(Self::Address(ServerAddress::Tcp(address)));
        }
        let (name, port) = text.rsplit_once(':')?;
        let port: u16 =
            Some(port).filter(|own| own.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
        (is_name(name) && port > 0).then(|| Self::Name(name.into(), port))
    }
}

impl fmt::Display for ServerPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name, port) => write!(formatter, "{name}:{port}"),
        }
    }
}

/// A name of a host (RFC 1123 §2.1), also with underscores. What is made of digits alone would be an
/// address in an old spelling.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let labels = name.strip_suffix('.').unwrap_or(name);
    let last = labels.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && labels.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The largest weight.
pub(super) const WEIGHT_MAX: u32 = 1000;
/// That of unix(7), without the NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_names_and_paths() {
        for (text, place, weight) in [
            ("10.0.0.1:9001", "10.0.0.1:9001", 1),
            ("[::1]:9001 weight=3", "[::1]:9001", 3),
            ("unix:/run/app.sock", "unix:/run/app.sock", 1),
            ("unix:/run/a b.sock weight=1000", "unix:/run/a b.sock", 1000),
            ("app.internal:9001", "app.internal:9001", 1),
            ("app_1:80 weight=2", "app_1:80", 2),
        ] {
            let name = ServerName::parse(text).unwrap();
            assert_eq!((name.place.to_string().as_str(), name.weight), (place, weight), "{text}");
        }
        let name = ServerName::parse("localhost:1").unwrap().place;
        assert_eq!(name, ServerPlace::Name("localhost".into(), 1));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "app",
            "app:",
            ":80",
            "app:0",
            "app:65536",
            "app:+80",
            "10.0.0.1",
            "10.0.0:80",
            "1:80",
            "::1:80",
            "[::1]",
            "http://app:80",
            "app:80/",
            "unix:",
            "unix:run",
            "unix:/a\nb",
            "app:80 weight=0",
            "app:80 weight=1001",
            "app:80 weight=+1",
            "app:80 weight=",
            "app:80  ",
            "a..b:80",
            "app:80 weight=1 weight=2",
        ] {
            assert_eq!(ServerName::parse(text), Err(InvalidServerName), "{text}");
        }
    }
}
