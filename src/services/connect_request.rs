//! What a service may know of a connection before it lets it in.

use std::net::SocketAddr;

use crate::http::UpgradeRequest;

/// A connection that asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    request: Option<&'a UpgradeRequest<'a, 'a>>,
    address: Option<SocketAddr>,
}

impl<'a> ConnectRequest<'a> {
    pub(crate) fn new(
        request: Option<&'a UpgradeRequest<'a, 'a>>,
        address: Option<SocketAddr>,
    ) -> Self {
        Self { request, address }
    }

    /// The upgrade request; a client of a line listener has none.
    #[must_use]
    pub fn request(&self) -> Option<&'a UpgradeRequest<'a, 'a>> {
        self.request
    }

    /// The peer's address, as it was when the connection was accepted. `None` unless the service
    /// [wants addresses](crate::services::Service::wants_addresses), or where memory ran out.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}
