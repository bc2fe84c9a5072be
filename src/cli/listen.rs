//! The addresses that `--listen` takes, as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// What one `--listen` stands for.
///
/// | written | listens on |
/// |---|---|
/// | `192.0.2.1:8080`, `[::1]:8080` | that address |
/// | `8080`, `:8080`, `localhost:8080` | `127.0.0.1:8080`: nothing is open to the network unasked |
/// | `*:8080` | `0.0.0.0:8080` and `[::]:8080` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddresses(Vec<SocketAddr>);

/// Why a text is none.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ListenError {
    /// There is no port.
    #[error("a port is missing: write ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:8080")]
    Port,
    /// The host is a name, or nothing at all.
    #[error(
        "write a port, or an IP address and a port, such as 8080, 127.0.0.1:8080, [::1]:8080, or \
         *:8080 for all addresses; host names other than localhost are not looked up"
    )]
    Form,
}

impl ListenAddresses {
    /// The addresses, one or two.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl FromStr for ListenAddresses {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Ok(address) = text.parse() {
            return Ok(Self(vec![address]));
        }
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = matches!(text, "*" | "localhost");
        if is_host || address.unwrap_or(text).parse::<IpAddr>().is_ok() {
            return Err(ListenError::Port);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        // `parse` alone would also accept a plus sign.
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number).ok_or(ListenError::Form)?;
        let hosts: &[IpAddr] = if host.is_empty() || host.eq_ignore_ascii_case("localhost") {
            &[IpAddr::V4(Ipv4Addr::LOCALHOST)]
        } else if host == "*" {
            &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
        } else {
            return Err(ListenError::Form);
        };
        Ok(Self(hosts.iter().map(|&host| SocketAddr::new(host, port)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, ListenError> {
        let parsed: ListenAddresses = text.parse()?;
        Ok(parsed.addresses().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_people_write_is_understood() {
        for (text, addresses) in [
            ("127.0.0.1:8080", &["127.0.0.1:8080"][..]),
            ("[::1]:80", &["[::1]:80"]),
            ("8080", &["127.0.0.1:8080"]),
            (":8080", &["127.0.0.1:8080"]),
            ("localhost:0", &["127.0.0.1:0"]),
            ("LocalHost:8080", &["127.0.0.1:8080"]),
            ("*:8080", &["0.0.0.0:8080", "[::]:8080"]),
        ] {
            assert_eq!(parse(text).unwrap(), addresses, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_says_what_to_write() {
        for text in ["localhost", "*", "127.0.0.1", "::1", "[::1]"] {
            assert_eq!(parse(text), Err(ListenError::Port), "{text}");
        }
        for text in [
            "",
            ":",
            "+80",
            ":+80",
            "65536",
            "example.com:80",
            "localhost:",
            "*:http",
            "http://*:80",
        ] {
            assert_eq!(parse(text), Err(ListenError::Form), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_stands_for_itself(address: SocketAddr) {
            prop_assert_eq!(parse(&address.to_string()), Ok(vec![address.to_string()]));
        }
    }
}
