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
    /// No members, for so many routes.
    pub(crate) fn new(route_count: usize) -> Self {
        Self { hubs: (0..route_count).map(|_| Hub::default()).collect() }
    }

    /// Makes a connection a member of a topic of its route.
    pub(crate) fn subscribe<S>(&mut self, conn: &mut Conn<S>, key: ConnKey, topic: &str) {
        if let Some(hub) = self.hubs.get_mut(usize::from(conn.route)) {
            hub.subscribe(topic, key, &mut conn.subscriptions);
        }
    }

    /// Takes a connection out of a topic.
    pub(crate) fn unsubscribe<S>(&mut self, conn: &mut Conn<S>, topic: &str) {
        if let Some(hub) = self.hubs.get_mut(usize::from(conn.route)) {
            hub.unsubscribe(topic, &mut conn.subscriptions);
        }
    }

    /// Takes a connection out of all its topics.
    pub(crate) fn leave_all<S>(&mut self, conn: &mut Conn<S>) {
        if let Some(hub) = self.hubs.get_mut(usize::from(conn.route)) {
            hub.unsubscribe_all(&mut conn.subscriptions);
        }
    }

    /// The members of a topic.
    pub(crate) fn members(&self, route: u8, topic: &str) -> &[Member] {
        self.hubs.get(usize::from(route)).map_or(&[], |hub| hub.members(topic))
    }

    /// Subscriptions in all topics.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn subscription_count(&self) -> usize {
        self.hubs.iter().map(|hub| hub.counts().1).sum()
    }
}
