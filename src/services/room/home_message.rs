//! What the loops of members and the home of a room write to each other.

use std::sync::Arc;

use super::room_ref::{ClientFormat, RoomRef};
use crate::services::Peer;

/// Something that a connection did in a room.
#[derive(Debug)]
pub(super) struct ToHome {
    pub(super) place: Arc<RoomRef>,
    pub(super) peer: Peer,
    pub(super) action: RoomAction,
}

/// What it did. `Claim` and `Open`, or `Enter` alone, come first, and `Leave` last.
#[derive(Debug)]
pub(super) enum RoomAction {
    /// It asks for a name that only one may have, and waits to be let in.
    Claim { name: Arc<str>, format: ClientFormat },
    /// Its claim was granted, and now its connection is open.
    Open,
    /// Its connection is open.
    Enter { name: Option<Arc<str>>, format: ClientFormat },
    /// It said its name.
    Name(Arc<str>),
    /// It said something to all.
    Say(Box<str>),
    /// Its connection is open no longer.
    Leave,
}

/// What the home of a room writes to the loop of a connection that asked for a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToClaimant {
    /// The name is its own: it may be let in.
    Granted(Peer),
    /// Another took the name, before it was let in or after.
    Replaced(Peer),
}
