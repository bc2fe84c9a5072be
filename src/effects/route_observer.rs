//! What is told of the connections of a route, without a say in what becomes of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{CloseReason, Peer};
use crate::timer::WallTime;

/// Is told of the connections of a route, and does not block the loop that tells. One instance serves all
/// loops, so what it keeps needs locks that are held for a moment only.
pub trait RouteObserver: fmt::Debug + Send + Sync {
    /// A connection is open.
    fn connected(&self, client: &ObservedClient<'_>);

    /// A connection has ended, about which [`connected`](RouteObserver::connected) was called, unless the
    /// route was not observed yet when it opened.
    fn disconnected(&self, client: &ObservedClient<'_>, reason: CloseReason);

    /// A channel of the route has a member, and had none.
    fn occupied(&self, channel: &str, at: WallTime) {
        let _ = (channel, at);
    }

    /// A channel of the route has no member any more.
    fn vacated(&self, channel: &str, at: WallTime) {
        let _ = (channel, at);
    }
}

/// An observer that all loops share.
pub type SharedRouteObserver = Arc<dyn RouteObserver>;

/// A connection, and what is known of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedClient<'c> {
    /// The connection.
    pub peer: Peer,
    /// The user that an identity has proven, or that the service knows.
    pub user: Option<&'c str>,
    /// The address; `None` if memory ran out when the connection was accepted.
    pub address: Option<IpAddr>,
    /// The time of the loop.
    pub at: WallTime,
}
