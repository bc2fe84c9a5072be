//! The people of one loop: what is kept for each of its connections.

use std::collections::HashMap;
use std::sync::Arc;

use super::place::{Form, Place, Places, shrink_if_sparse};
use crate::key::ConnKey;

/// One connection, from its admission to its end.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) place: Arc<Place>,
    /// `None` until it says its name.
    pub(super) name: Option<Arc<str>>,
    pub(super) form: Form,
    /// Whether its name is or will be what it says first.
    pub(super) is_named_by_text: bool,
    pub(super) standing: Standing,
}

/// How far somebody has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its token is being looked up.
    AskedAbout,
    /// The room's home is asked for its name.
    Claims,
    /// Its name was granted, so it may be let in.
    Granted,
    /// Another took its name before it was in.
    Replaced,
    /// It needs nobody's leave.
    Free,
}

/// All connections of one loop.
#[derive(Debug)]
pub(super) struct People {
    places: Places,
    by_key: HashMap<ConnKey, Person>,
}

/// What somebody comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newcomer<'a> {
    pub(super) room: &'a str,
    pub(super) name: Option<Arc<str>>,
    pub(super) form: Form,
    pub(super) standing: Standing,
}

impl People {
    pub(super) fn new(loop_count: u16) -> Self {
        Self { places: Places::new(loop_count), by_key: HashMap::new() }
    }

    pub(super) fn add(&mut self, key: ConnKey, newcomer: Newcomer<'_>) {
        let Newcomer { room, name, form, standing } = newcomer;
        let place = self.places.enter(room);
        let is_named_by_text = name.is_none();
        self.by_key.insert(key, Person { place, name, form, is_named_by_text, standing });
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Person> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Person> {
        let person = self.by_key.remove(&key)?;
        self.places.leave(&person.place);
        shrink_if_sparse(&mut self.by_key);
        Some(person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_at_rest_is_small() {
        assert!(size_of::<(ConnKey, Person)>() <= 40);
    }
}
