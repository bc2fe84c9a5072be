//! A connection before its admission, as a service sees it.

use std::net::{IpAddr, SocketAddr};

use crate::effects::Identity;
use crate::http::UpgradeRequest;

/// A connection that asks for its admission.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    request: Option<&'a UpgradeRequest<'a, 'a>>,
    address: Option<SocketAddr>,
    subject: Option<&'a str>,
    identity: Option<&'a Identity>,
    is_tls: bool,
    proxy: Option<IpAddr>,
}

impl<'a> ConnectRequest<'a> {
    pub(crate) fn new(
        request: Option<&'a UpgradeRequest<'a, 'a>>,
        address: Option<SocketAddr>,
    ) -> Self {
        Self { request, address, subject: None, identity: None, is_tls: false, proxy: None }
    }

    /// As this one, of a client that has shown a certificate with this subject.
    pub(crate) fn with_subject(self, subject: Option<&'a str>) -> Self {
        Self { subject, ..self }
    }

    /// As this one, of a client that has proven this identity.
    pub(crate) fn with_identity(self, identity: Option<&'a Identity>) -> Self {
        Self { identity, ..self }
    }

    /// As this one, of a client that speaks TLS or does not.
    pub(crate) fn with_tls(self, is_tls: bool) -> Self {
        Self { is_tls, ..self }
    }

    /// As this one, of a client whose request has come by this trusted proxy.
    pub(crate) fn with_proxy(self, proxy: Option<IpAddr>) -> Self {
        Self { proxy, ..self }
    }

    /// The trusted proxy that has written the head of the request. `None` where none has, and where the
    /// service does not [want addresses](crate::services::Service::wants_addresses).
    #[must_use]
    pub fn proxy(&self) -> Option<IpAddr> {
        self.proxy
    }

    /// Whether the client speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The upgrade request; `None` for a client of a line listener.
    #[must_use]
    pub fn request(&self) -> Option<&'a UpgradeRequest<'a, 'a>> {
        self.request
    }

    /// The peer's address, from when the connection was accepted. `None` if the service does not
    /// [want addresses](crate::services::Service::wants_addresses), or if memory ran out.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The subject of the certificate that the client has shown and proved to have, as text (RFC
    /// 4514). `None` where its listener asks for none, or it has shown none.
    #[must_use]
    pub fn subject(&self) -> Option<&'a str> {
        self.subject
    }

    /// Who the client has proven to be to one of the route's
    /// [identities](crate::services::RouteOptions::identities). `None` where the route has none, and where
    /// a credential is optional and the client has shown none.
    #[must_use]
    pub fn identity(&self) -> Option<&'a Identity> {
        self.identity
    }
}
