//! Somebody at the door: what a service may know before it lets a connection in.

use std::fmt;
use std::net::SocketAddr;

use crate::http::UpgradeRequest;

/// A connection that wants to be let in.
#[derive(Clone, Copy)]
pub struct ConnectRequest<'a> {
    request: Option<&'a UpgradeRequest<'a, 'a>>,
    address: &'a dyn Fn() -> Option<SocketAddr>,
}

impl<'a> ConnectRequest<'a> {
    pub(crate) fn new(
        request: Option<&'a UpgradeRequest<'a, 'a>>,
        address: &'a dyn Fn() -> Option<SocketAddr>,
    ) -> Self {
        Self { request, address }
    }

    /// The upgrade request; a client of a line listener has none.
    #[must_use]
    pub fn request(&self) -> Option<&'a UpgradeRequest<'a, 'a>> {
        self.request
    }

    /// The peer's address, unless it has gone already. Asks the kernel.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        (self.address)()
    }
}

impl fmt::Debug for ConnectRequest<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectRequest")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
