//! Rooms and topics, as operators see them.

use std::sync::Arc;

/// A room or topic with members on a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// The id of the route that it belongs to.
    pub route: Arc<str>,
    /// Its name; empty for the only topic of a route.
    pub room: String,
    /// Members on the loop that was asked.
    pub members: usize,
}

/// The rooms of a loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSlice {
    /// Those with the most members, at most 1,000.
    pub rooms: Vec<RoomSummary>,
    /// How many there are.
    pub total: usize,
}
