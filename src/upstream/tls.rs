//! How connections to the servers of an upstream speak TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::transport::ServerAddress;

/// What holds for all servers of an upstream that are reached with TLS.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    /// The name that each server must prove to have, in place of its own.
    name: Option<ServerName<'static>>,
}

/// How one connection speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What its handshake goes by.
    pub config: Arc<ClientConfig>,
    /// The name that the server is asked for (SNI, RFC 6066 §3) and that its certificate must have.
    pub name: ServerName<'static>,
}

impl UpstreamTls {
    /// Handshakes by `config`, with servers that must have this name; without one each must have its own.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>, name: Option<ServerName<'static>>) -> Self {
        Self { config, name }
    }

    /// How a connection to a server speaks TLS: the server at this address, which is that of `host` if it
    /// was found by a name.
    #[must_use]
    pub fn of_server(&self, address: &ServerAddress, host: Option<&str>) -> ServerTls {
        let own = || host.and_then(tls_name);
        // A certificate for this is of no server, so that a socket without a name fails: loading the
        // configuration has asked for one.
        let none = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let of_address = || ServerName::from(address.tcp().map_or(none, |own| own.ip()));
        let name = self.name.clone().or_else(own).unwrap_or_else(of_address);
        ServerTls { config: Arc::clone(&self.config), name }
    }
}

/// Equal are those that were made together: a reload reads the files anew.
impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}

impl Eq for UpstreamTls {}

/// A name or an IP address as certificates have it; `None` for what can be neither. The dot at the end of a
/// name is of the name service only (RFC 6066 §3).
#[must_use]
pub fn tls_name(text: &str) -> Option<ServerName<'static>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    ServerName::try_from(text).ok().map(|name| name.to_owned())
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::crypto::ring::default_provider;

    use super::*;

    fn name(own: Option<&str>, address: &str, host: Option<&str>) -> String {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let tls = UpstreamTls::new(Arc::new(config), own.and_then(tls_name));
        let address = match address.strip_prefix("unix:") {
            Some(path) => ServerAddress::Unix(std::path::Path::new(path).into()),
            None => ServerAddress::Tcp(address.parse().unwrap()),
        };
        tls.of_server(&address, host).name.to_str().into_owned()
    }

    #[test]
    fn a_server_must_have_the_name_that_is_configured_or_its_own() {
        assert_eq!(name(Some("app.test"), "10.0.0.1:1", Some("other")), "app.test");
        assert_eq!(name(Some("10.9.9.9"), "10.0.0.1:1", None), "10.9.9.9");
        assert_eq!(name(None, "10.0.0.1:1", Some("app_1.internal.")), "app_1.internal");
        assert_eq!(name(None, "10.0.0.1:1", None), "10.0.0.1");
        assert_eq!(name(None, "[::1]:1", None), "::1");
        assert_eq!(name(None, "unix:/a", None), "0.0.0.0");
    }
}
