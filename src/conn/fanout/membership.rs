//! Which connections of this loop are members of which topics.

use crate::conn::slot::Conn;
use crate::hub::{Hub, Member};
use crate::key::ConnKey;

/// The topics of one loop, for each route its own.
#[derive(Debug)]
pub(crate) struct Membership {
    /// By the number of the route.
    hubs: Vec<Hub>,
}

impl Membership {
    /// No members, for `route_count` routes.
    pub(crate) fn new(route_count: usize) -> Self {
        Self { hubs: (0..route_count).map(|_| Hub::default()).collect() }
    }

    /// Makes room for `route_count` routes, if there are more than before.
    pub(crate) fn make_room(&mut self, route_count: usize) {
        let count = route_count.max(self.hubs.len());
        self.hubs.resize_with(count, Hub::default);
    }

    /// Makes a connection a member of a topic of its route.
    /// Whether it was none.
    pub(crate) fn subscribe<S>(&mut self, conn: &mut Conn<S>, key: ConnKey, topic: &str) -> bool {
        let hub = self.hubs.get_mut(usize::from(conn.route));
        // The link of a relay leads elsewhere.
        let hub = hub.filter(|_| !conn.protocol.is_relayed());
        hub.is_some_and(|hub| hub.subscribe(topic, key, &mut conn.link))
    }

    /// Takes a connection out of a topic.
    pub(crate) fn unsubscribe<S>(&mut self, conn: &mut Conn<S>, topic: &str) {
        if let Some(hub) = self.hubs.get_mut(usize::from(conn.route))
            && !conn.protocol.is_relayed()
        {
            hub.unsubscribe(topic, &mut conn.link);
        }
    }

    /// Takes a connection out of all its topics.
    pub(crate) fn leave_all<S>(&mut self, conn: &mut Conn<S>) {
        if let Some(hub) = self.hubs.get_mut(usize::from(conn.route))
            && !conn.protocol.is_relayed()
        {
            hub.unsubscribe_all(&mut conn.link);
        }
    }

    /// The members of a topic that are yet to get the publication which is on its way.
    pub(crate) fn remaining(&self, route: u8, topic: &str) -> &[Member] {
        self.hubs.get(usize::from(route)).map_or(&[], |hub| hub.remaining(topic))
    }

    /// The next `count` of [`Membership::remaining`] have it; all have it if it `is_done`.
    pub(crate) fn advance(&mut self, route: u8, topic: &str, count: usize, is_done: bool) {
        let Some(hub) = self.hubs.get_mut(usize::from(route)) else { return };
        match is_done {
            true => hub.rewind(topic),
            false => hub.advance(topic, count),
        }
    }

    /// The topics of a connection.
    pub(crate) fn topics_of<S>(&self, conn: &Conn<S>) -> impl Iterator<Item = &str> {
        let hub = self.hubs.get(usize::from(conn.route));
        let hub = hub.filter(|_| !conn.protocol.is_relayed());
        hub.into_iter().flat_map(|hub| hub.topics_of(conn.link))
    }

    /// Whether a connection is a member of a topic, and if so, whether it is one of
    /// [`Membership::remaining`].
    pub(crate) fn is_remaining<S>(&self, conn: &Conn<S>, topic: &str) -> Option<bool> {
        let hub = self.hubs.get(usize::from(conn.route))?;
        if conn.protocol.is_relayed() { None } else { hub.is_remaining(topic, conn.link) }
    }

    /// Subscriptions in all topics.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn subscription_count(&self) -> usize {
        self.hubs.iter().map(|hub| hub.counts().1).sum()
    }
}
