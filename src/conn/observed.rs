//! What observers of routes are told of connections.

use super::cold::ColdRecords;
use super::services::Services;
use super::slot::Conn;
use super::turn::Turn;
use crate::effects::{ObservedClient, Peer, SharedRouteObserver};
use crate::services::Description;
use crate::timer::WallTime;

/// Tells the observer of an open connection's route, if there is one.
#[inline]
pub(super) fn tell_observer<S>(
    (peer, conn): (Peer, &Conn<S>),
    (cold, services, turn): (&ColdRecords, &Services, &Turn),
    tell: impl FnOnce(&SharedRouteObserver, &ObservedClient<'_>),
) {
    let Some(route) = services.socket(conn.route) else { return };
    let Some(observer) = &route.options.observer else { return };
    let described = route.service.describe(peer).and_then(|Description { user, .. }| user);
    let proven = cold.identity(conn.cold).map(|own| &**own.user());
    let address = cold.address(conn.cold).map(|own| own.ip().to_canonical());
    let at = WallTime(turn.unix_ms());
    tell(observer, &ObservedClient { peer, user: proven.or(described), address, at });
}
