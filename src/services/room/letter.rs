//! What the loops of members write to the home of a room.

use std::sync::Arc;

use super::place::{Form, Place};
use crate::services::Peer;

/// Something that a connection did in a room.
#[derive(Debug)]
pub(super) struct ToHome {
    pub(super) place: Arc<Place>,
    pub(super) peer: Peer,
    pub(super) deed: Deed,
}

/// What it did. `Enter` comes first and `Leave` last.
#[derive(Debug)]
pub(super) enum Deed {
    /// Its connection is open.
    Enter { name: Option<Arc<str>>, form: Form },
    /// It said its name.
    Name(Arc<str>),
    /// It said something to all.
    Say(Box<str>),
    /// Its connection is open no longer.
    Leave,
}
