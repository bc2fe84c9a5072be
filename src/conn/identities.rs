//! Who the connections of a loop are, and those whose credentials are being checked.

use std::fmt;
use std::sync::Arc;

use slab::Slab;

use crate::effects::{Identity, IdentityCheck};
use crate::http::ResponseHeader;
use crate::key::slot_number;
use crate::pool::{Buffers, Need, OverBudget};
use crate::timer::{Tick, WallTime};

/// The records of one loop. Each is charged to the pool.
#[derive(Debug, Default)]
pub(super) struct IdentityRecords {
    records: Slab<IdentityRecord>,
}

/// What there is of one connection.
enum IdentityRecord {
    /// This check was asked, and has not answered, about a connection of this listener.
    Asked(Arc<dyn IdentityCheck>, u8),
    /// The peer has proven who it is. The clock on the wall is looked at next at this tick.
    Known(Identity, Tick),
}

impl IdentityRecords {
    /// Notes what was asked about a connection, and gives the number of the record.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(super) fn add_asked(
        &mut self,
        check: Arc<dyn IdentityCheck>,
        listener: u8,
        memory: &mut Buffers,
    ) -> Result<u32, OverBudget> {
        self.add(IdentityRecord::Asked(check, listener), memory)
    }

    /// Notes who a connection is, and gives the number of the record.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(super) fn add_known(
        &mut self,
        identity: Identity,
        now: (Tick, WallTime),
        memory: &mut Buffers,
    ) -> Result<u32, OverBudget> {
        let checked = next_look(&identity, now);
        self.add(IdentityRecord::Known(identity, checked), memory)
    }

    fn add(&mut self, record: IdentityRecord, memory: &mut Buffers) -> Result<u32, OverBudget> {
        memory.charge_for(Need::Head, record.charged_bytes())?;
        Ok(slot_number(self.records.insert(record)))
    }

    /// What was asked has answered who the connection is.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(super) fn set_known(
        &mut self,
        number: u32,
        identity: Identity,
        now: (Tick, WallTime),
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        let Some(own) = self.records.get_mut(number as usize) else { return Ok(()) };
        let checked = next_look(&identity, now);
        let record = IdentityRecord::Known(identity, checked);
        memory.charge_for(Need::Head, record.charged_bytes())?;
        memory.discharge(own.charged_bytes());
        *own = record;
        Ok(())
    }

    /// Forgets a connection.
    pub(super) fn release(&mut self, number: u32, memory: &mut Buffers) {
        let Some(record) = self.records.try_remove(number as usize) else { return };
        memory.discharge(record.charged_bytes());
        if self.records.is_empty() {
            // A slab keeps its peak otherwise.
            self.records = Slab::new();
        }
    }

    /// Who the connection is, once that is known.
    pub(super) fn known(&self, number: u32) -> Option<&Identity> {
        match self.records.get(number as usize)? {
            IdentityRecord::Known(identity, _) => Some(identity),
            IdentityRecord::Asked(..) => None,
        }
    }

    /// What was asked and has not answered.
    pub(super) fn asked(&self, number: u32) -> Option<&Arc<dyn IdentityCheck>> {
        match self.records.get(number as usize)? {
            IdentityRecord::Asked(check, _) => Some(check),
            IdentityRecord::Known(..) => None,
        }
    }

    /// The listener of the connection about which something was asked.
    pub(super) fn asked_listener(&self, number: u32) -> Option<u8> {
        match self.records.get(number as usize)? {
            IdentityRecord::Asked(_, listener) => Some(*listener),
            IdentityRecord::Known(..) => None,
        }
    }

    /// Takes the headers for the reply 101, which are needed once.
    pub(super) fn take_headers(
        &mut self,
        number: u32,
        memory: &mut Buffers,
    ) -> Vec<ResponseHeader> {
        let Some(own) = self.records.get_mut(number as usize) else { return Vec::new() };
        let before = own.charged_bytes();
        let headers = match own {
            IdentityRecord::Known(identity, _) => identity.take_headers(),
            IdentityRecord::Asked(..) => Vec::new(),
        };
        memory.discharge(before - own.charged_bytes());
        headers
    }

    /// Bytes that are held for a record.
    pub(super) fn held_bytes(&self, number: u32) -> usize {
        self.records.get(number as usize).map_or(0, IdentityRecord::charged_bytes)
    }

    /// When the clock on the wall is to be looked at next.
    #[inline]
    pub(super) fn looked_at(&self, number: u32) -> Option<Tick> {
        match self.records.get(number as usize)? {
            IdentityRecord::Known(identity, tick) => identity.expires_at().map(|_| *tick),
            IdentityRecord::Asked(..) => None,
        }
    }

    /// Looks at the clock on the wall; whether the identity no longer holds.
    pub(super) fn has_expired(&mut self, number: u32, now: (Tick, WallTime)) -> bool {
        let Some(IdentityRecord::Known(identity, tick)) = self.records.get_mut(number as usize)
        else {
            return false;
        };
        *tick = next_look(identity, now);
        identity.expires_at().is_some_and(|expires_at| expires_at <= now.1)
    }

    /// From now on the identity holds until this date; whether there is one.
    pub(super) fn refresh(
        &mut self,
        number: u32,
        expires_at: WallTime,
        now: (Tick, WallTime),
    ) -> bool {
        let Some(IdentityRecord::Known(identity, tick)) = self.records.get_mut(number as usize)
        else {
            return false;
        };
        identity.set_expiry(expires_at);
        *tick = next_look(identity, now);
        true
    }

    /// How many there are.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn count(&self) -> usize {
        self.records.len()
    }

    /// Bytes charged to the pool for all records, counted anew.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn bytes(&self) -> usize {
        self.records.iter().map(|(_, record)| record.charged_bytes()).sum()
    }
}

impl IdentityRecord {
    fn charged_bytes(&self) -> usize {
        match self {
            Self::Asked(..) => RECORD_BYTES,
            Self::Known(identity, _) => RECORD_BYTES + identity.held_bytes(),
        }
    }
}

impl fmt::Debug for IdentityRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(..) => formatter.write_str("Asked"),
            Self::Known(identity, _) => formatter.debug_tuple("Known").field(identity).finish(),
        }
    }
}

/// When to compare the date of expiry with the clock on the wall next. That clock may be set, so what it
/// says now bounds the wait only: it is looked at again after [`LOOK_MS`] at the latest.
fn next_look(identity: &Identity, (tick, wall_now): (Tick, WallTime)) -> Tick {
    let left = identity.expires_at().map_or(LOOK_MS, |at| at.0.saturating_sub(wall_now.0));
    tick.after_ms(left.min(LOOK_MS))
}

/// Bytes that a record takes in the slab, and twice that while the slab grows by doubling.
const RECORD_BYTES: usize = 2 * size_of::<IdentityRecord>();
/// A date that was set forward is noticed after half a minute. Most connections are pinged as often.
const LOOK_MS: u64 = 30_000;

/// As `docs/memory.md` says.
const _: () = assert!(size_of::<IdentityRecord>() == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{Checked, Inquiry, Presented};
    use crate::pool::SharedBudget;
    use crate::timer::Millis;

    struct Never;

    impl IdentityCheck for Never {
        fn check(&self, _: &Presented<'_>, _: &mut Inquiry<'_>) -> Checked {
            Checked::Later
        }
    }

    fn identity() -> Identity {
        Identity::new(&"users".into(), "ann").unwrap()
    }

    fn at(ms: u64, wall_ms: u64) -> (Tick, WallTime) {
        (Millis(ms).tick(), WallTime(wall_ms))
    }

    #[test]
    fn records_are_charged_while_they_are_there() {
        let mut memory = Buffers::new(SharedBudget::new(1 << 20));
        let mut records = IdentityRecords::default();
        let number = records.add_asked(Arc::new(Never), 0, &mut memory).unwrap();
        assert!(records.asked(number).is_some() && records.known(number).is_none());
        assert_eq!(memory.allocated_bytes(), RECORD_BYTES);
        records.set_known(number, identity(), at(0, 0), &mut memory).unwrap();
        assert!(records.asked(number).is_none());
        assert_eq!(&**records.known(number).unwrap().user(), "ann");
        let charged = RECORD_BYTES + identity().held_bytes();
        assert_eq!((memory.allocated_bytes(), records.bytes()), (charged, charged));
        records.release(number, &mut memory);
        records.release(number, &mut memory);
        assert_eq!((memory.allocated_bytes(), records.count()), (0, 0));
    }

    #[test]
    fn nothing_is_kept_where_the_pool_has_no_room() {
        let mut memory = Buffers::new(SharedBudget::new(RECORD_BYTES));
        let mut records = IdentityRecords::default();
        assert_eq!(records.add_known(identity(), at(0, 0), &mut memory), Err(OverBudget));
        let number = records.add_asked(Arc::new(Never), 0, &mut memory).unwrap();
        assert_eq!(records.set_known(number, identity(), at(0, 0), &mut memory), Err(OverBudget));
        assert!(records.asked(number).is_some());
        records.release(number, &mut memory);
        assert_eq!(memory.allocated_bytes(), 0);
    }

    #[test]
    fn the_clock_on_the_wall_decides_even_if_it_is_set() {
        let mut memory = Buffers::new(SharedBudget::new(1 << 20));
        let mut records = IdentityRecords::default();
        let identity = identity().until(WallTime(1_000_000));
        let number = records.add_known(identity, at(0, 0), &mut memory).unwrap();
        let looked_at = records.looked_at(number).unwrap();
        assert!(looked_at <= Tick(0).after_ms(LOOK_MS), "long before the expiry");
        assert!(!records.has_expired(number, at(LOOK_MS, LOOK_MS)));
        assert!(records.looked_at(number).unwrap() > looked_at);
        assert!(records.has_expired(number, at(2 * LOOK_MS, 1_000_000)), "it was set forward");
        assert!(records.refresh(number, WallTime(1_000_500), at(2 * LOOK_MS, 1_000_000)));
        assert!(!records.has_expired(number, at(2 * LOOK_MS + 400, 1_000_400)));
        assert!(records.has_expired(number, at(2 * LOOK_MS + 500, 1_000_500)));
    }
}
