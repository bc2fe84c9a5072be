//! Where the connections of this loop are counted by their addresses: a number beside each slot, which
//! takes memory only while some connection is counted.

use std::net::IpAddr;

use crate::admission::{
    AddressReason, AddressRef, AddressSettings, Judgement, SharedAddresses, TRIM_INTERVAL_MS,
    ask_again_at,
};
use crate::metrics::{Counter, Counters};
use crate::timer::Millis;

/// What becomes of a client by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressVerdict {
    /// It is let in.
    Admit(Counted),
    /// It is told to come again.
    Refuse {
        /// In this many seconds.
        retry_after_s: u32,
    },
    /// It is closed without a word.
    Drop,
}

impl AddressVerdict {
    /// It is let in for now: whom it is for is found out later.
    pub const UNCOUNTED: Self = Self::Admit(Counted(None));
}

/// Where a client is counted that is let in, if anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted(Option<AddressRef>);

/// What the loop knows of its connections' addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    shared: Option<SharedAddresses>,
    /// By slot: the entry that counts its connection, or when it may come again; see [`Mark`].
    column: Vec<u32>,
    /// Marks in the column.
    marks: usize,
    /// When what has been remembered is next looked through.
    trim_due: Option<Millis>,
}

/// What a number of the column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Nothing,
    Counted(AddressRef),
    /// It is refused, and may come again in this many seconds.
    Refused(u32),
}

impl Mark {
    fn from_bits(bits: u32) -> Self {
        match AddressRef::from_bits(bits) {
            None => Self::Nothing,
            Some(_) if bits & REFUSED != 0 => Self::Refused(bits & !REFUSED),
            Some(entry) => Self::Counted(entry),
        }
    }

    fn to_bits(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Counted(entry) => entry.to_bits(),
            Self::Refused(retry_after_s) => REFUSED | retry_after_s.min(!REFUSED),
        }
    }
}

impl Addresses {
    /// From now on connections are counted in `shared`.
    pub(super) fn count_in(&mut self, shared: SharedAddresses) {
        self.shared = Some(shared);
    }

    /// Says what becomes of a client, and counts it if it is let in.
    #[inline]
    pub(super) fn judge(
        &mut self,
        address: IpAddr,
        settings: &AddressSettings,
        counters: &Counters,
        now: Millis,
    ) -> AddressVerdict {
        let Some(shared) = &self.shared else { return AddressVerdict::Admit(Counted(None)) };
        let Judgement { entry, refusal, is_untracked } = shared.connect(address, settings, now);
        if entry.is_some() || refusal.is_some() {
            self.expect_trim(now);
        }
        if is_untracked {
            counters.addresses_untracked.add(1);
        }
        let Some(refusal) = refusal else { return AddressVerdict::Admit(Counted(entry)) };
        if settings.is_dry_run {
            counters.addresses_dry_run.add(1);
            return AddressVerdict::Admit(Counted(entry));
        }
        counter(refusal.reason, counters).add(1);
        match refusal.is_silent {
            true => AddressVerdict::Drop,
            false => AddressVerdict::Refuse { retry_after_s: refusal.retry_after_s },
        }
    }

    /// Notes the verdict on the connection in this slot, which has no mark.
    pub(super) fn mark(&mut self, slot: u32, verdict: AddressVerdict) {
        let mark = match verdict {
            AddressVerdict::Admit(Counted(Some(entry))) => Mark::Counted(entry),
            AddressVerdict::Refuse { retry_after_s } => Mark::Refused(retry_after_s),
            AddressVerdict::Admit(Counted(None)) | AddressVerdict::Drop => return,
        };
        let slot = slot as usize;
        if slot >= self.column.len() {
            if self.column.capacity() == 0 {
                // As for slots: pages that are never touched cost nothing, a block of this size is mapped on
                // its own, and it grows and goes back without leaving holes.
                self.column.reserve(MARKS_AT_FIRST);
            }
            self.column.resize(slot + 1, Mark::Nothing.to_bits());
        }
        if let Some(own) = self.column.get_mut(slot) {
            *own = mark.to_bits();
            self.marks += 1;
        }
    }

    /// The connection in this slot has ended, or is counted elsewhere from now on.
    #[inline]
    pub(super) fn release(&mut self, slot: u32, now: Millis) {
        // Most loops have no marks.
        if self.marks > 0 {
            self.take(slot, now);
        }
    }

    #[inline(never)]
    fn take(&mut self, slot: u32, now: Millis) {
        let Some(own) = self.column.get_mut(slot as usize) else { return };
        match Mark::from_bits(std::mem::take(own)) {
            Mark::Nothing => return,
            Mark::Counted(entry) => self.uncount(entry, now),
            Mark::Refused(_) => {}
        }
        self.marks -= 1;
        if self.marks == 0 {
            // It keeps its peak otherwise.
            self.column = Vec::new();
        }
    }

    fn uncount(&mut self, entry: AddressRef, now: Millis) {
        if let Some(shared) = &self.shared {
            shared.release(entry, now);
        }
        self.expect_trim(now);
    }

    /// When the connection in this slot may come again, if it is refused for its address.
    pub(super) fn retry_after_s(&self, slot: u32) -> Option<u32> {
        match Mark::from_bits(*self.column.get(slot as usize)?) {
            Mark::Refused(retry_after_s) => Some(retry_after_s),
            Mark::Nothing | Mark::Counted(_) => None,
        }
    }

    /// The handshake of the connection in this slot has failed.
    pub(super) fn note_failure(&self, slot: u32, settings: &AddressSettings, now: Millis) {
        let mark = self.column.get(slot as usize).map(|bits| Mark::from_bits(*bits));
        if let (Some(Mark::Counted(entry)), Some(shared)) = (mark, &self.shared) {
            shared.note_failure(entry, settings, now);
        }
    }

    fn expect_trim(&mut self, now: Millis) {
        self.trim_due.get_or_insert_with(|| now.plus(TRIM_INTERVAL_MS));
    }

    /// Forgets what has nothing left to remember, now and then. Gives the moment to ask again.
    #[inline]
    pub(super) fn trim(&mut self, now: Millis) -> Option<Millis> {
        let due = self.trim_due?;
        if now >= due {
            let next = self.shared.as_ref().and_then(|shared| shared.trim(now));
            self.trim_due = next.map(|next| ask_again_at(next, now));
        }
        self.trim_due
    }

    /// The slots with marks, and how many say so.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn marked(&self) -> (Vec<u32>, usize) {
        let slots = (0..).zip(&self.column).filter(|(_, bits)| **bits != 0);
        (slots.map(|(slot, _)| slot).collect(), self.marks)
    }
}

/// What a refusal is counted by.
fn counter(reason: AddressReason, counters: &Counters) -> &Counter {
    match reason {
        AddressReason::Denied => &counters.refused_address_denied,
        AddressReason::Failures => &counters.refused_address_failures,
        AddressReason::Open => &counters.refused_address_open,
        AddressReason::Rate => &counters.refused_address_rate,
    }
}

/// The highest bit: references to entries leave it free.
const REFUSED: u32 = 1 << 31;
/// 256 KiB of addresses.
const MARKS_AT_FIRST: usize = 65_536;
