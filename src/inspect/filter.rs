//! Which connections are meant.

use std::net::IpAddr;

use super::connection::ConnectionPhase;
use crate::effects::Peer;

/// The connections that fit all conditions that are given. Without any it means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// This connection alone.
    pub peer: Option<Peer>,
    /// Who it has proven to be, or else the name that the service knows it by.
    pub user: Option<String>,
    /// The address of the peer, with any port.
    pub address: Option<IpAddr>,
    /// The id of the route, such as `room /chat`, or its first path.
    pub route: Option<String>,
    /// The room or topic.
    pub room: Option<String>,
    /// The part of its life.
    pub phase: Option<ConnectionPhase>,
}

impl ConnectionFilter {
    /// Bytes of memory that its texts hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let texts = [&self.user, &self.route, &self.room];
        texts.into_iter().flatten().map(String::len).sum()
    }

    /// Whether every connection fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
