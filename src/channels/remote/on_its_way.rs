//! Publications on their way to a shared engine, counted in bytes for all loops together.
//!
//! A number alone is no bound: 65,536 publications of a megabyte for each loop are 64 GiB, and an engine that is slow
//! for a second is enough to have them wait. So each is charged for as long as its bytes lie anywhere between the loop
//! that publishes and the connection to the engine, and one that finds no room is refused.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::pool::{Lease, SharedBudget};

/// The room that publications on their way have. Clones share it.
#[derive(Clone, Debug)]
pub struct EngineRoom(SharedBudget);

/// Bytes that are taken of an [`EngineRoom`], until the last clone is dropped.
#[derive(Clone)]
pub struct Charged(Arc<Lease>);

impl EngineRoom {
    /// Room for this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(SharedBudget::new(bytes))
    }

    /// Takes room for a publication; `None` if there is too little.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Charged> {
        let mut lease = Lease::new(self.0.clone(), 0);
        lease.take(bytes).then(|| Charged(Arc::new(lease)))
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.0.available()
    }
}

impl Default for EngineRoom {
    /// That of a process.
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl fmt::Debug for Charged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Charged").field(&self.0.used()).finish()
    }
}

/// The bytes of a publication, and what is charged for them: they go together.
#[derive(Clone, Debug)]
pub struct Payload {
    bytes: Vec<u8>,
    charged: Option<Charged>,
}

impl Payload {
    /// These bytes, for which this is charged.
    #[must_use]
    pub fn new(bytes: Vec<u8>, charged: Option<Charged>) -> Self {
        Self { bytes, charged }
    }

    /// Whether something is charged for them.
    #[must_use]
    pub fn is_charged(&self) -> bool {
        self.charged.is_some()
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes, None)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Payload {}

/// What publications of a process may take on their way: four of the largest that an engine takes.
const BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_given_back_with_the_last_clone() {
        let room = EngineRoom::new(100);
        let payload = Payload::new(vec![1; 60], room.take(60));
        assert!(payload.is_charged() && room.take(41).is_none());
        let other = payload.clone();
        assert_eq!((&*other, room.free_bytes()), (&[1; 60][..], 40));
        drop(payload);
        assert_eq!(room.free_bytes(), 40);
        drop(other);
        assert_eq!(room.free_bytes(), 100);
        assert!(room.take(101).is_none() && room.take(100).is_some());
    }
}
