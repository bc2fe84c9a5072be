//! Byte buffers whose sizes are powers of two. Released buffers are kept for reuse for a while; all
//! of them are charged to the process's budget from allocation to deallocation.

use super::budget::{Lease, Need, SharedBudget};
use super::holders::Holders;
use crate::key::ConnKey;
use crate::timer::Millis;

/// The smallest buffer, 4 KiB.
pub const BUFFER_BYTES_MIN: usize = 4096;

/// The process's limit on buffers is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

/// The buffers of one loop. Every buffer that is lent has `len == capacity`, so that sockets can
/// read into it; its contents are arbitrary.
#[derive(Debug)]
pub struct Buffers {
    free: [Vec<Vec<u8>>; CLASS_COUNT],
    free_bytes: usize,
    /// When the last buffer was taken: free buffers are deallocated when this is long ago.
    last_used: Millis,
    budget: Lease,
    holders: Holders,
    /// A connection waits for memory, or was refused it, since that was last asked.
    is_wanted: bool,
}

impl Buffers {
    /// A pool without buffers; `budget` counts bytes.
    #[must_use]
    pub fn new(budget: SharedBudget) -> Self {
        // Unused parts of a small pool must not look as if they were used.
        let block = (budget.total() / BLOCKS_LEAST).clamp(BUFFER_BYTES_MIN, BUDGET_BLOCK_BYTES);
        Self {
            free: std::array::from_fn(|_| Vec::new()),
            free_bytes: 0,
            last_used: Millis::default(),
            holders: Holders::new(budget.ranks()),
            budget: Lease::new(budget, block),
            is_wanted: false,
        }
    }

    /// Lends a buffer of at least `bytes_min` bytes.
    ///
    /// # Errors
    /// [`OverBudget`] if the process's limit on buffers is reached.
    pub fn take(&mut self, bytes_min: usize, now: Millis) -> Result<Vec<u8>, OverBudget> {
        let need = if bytes_min <= BUFFER_BYTES_MIN { Need::Small } else { Need::Message };
        self.take_for(need, bytes_min, now)
    }

    /// As [`Buffers::take`], for this need.
    ///
    /// # Errors
    /// [`OverBudget`] if the process's limit on buffers is reached.
    pub fn take_for(
        &mut self,
        need: Need,
        bytes_min: usize,
        now: Millis,
    ) -> Result<Vec<u8>, OverBudget> {
        self.last_used = now;
        let class = class_of(bytes_min);
        if let Some(buffer) = self.free.get_mut(class).and_then(Vec::pop) {
            self.free_bytes -= buffer.len();
            return Ok(buffer);
        }
        let bytes = buffer_bytes(bytes_min);
        self.charge_for(need, bytes)?;
        Ok(vec![0; bytes])
    }

    /// Doubles a lent buffer up to `bytes_max` and keeps its contents.
    ///
    /// # Errors
    /// [`OverBudget`] if the process's limit on buffers is reached or the buffer cannot grow; the
    /// buffer is then as it was.
    pub fn grow(&mut self, buffer: &mut Vec<u8>, bytes_max: usize) -> Result<(), OverBudget> {
        self.grow_for(Need::Message, buffer, bytes_max)
    }

    /// As [`Buffers::grow`], for this need.
    ///
    /// # Errors
    /// [`OverBudget`] if the process's limit on buffers is reached or the buffer cannot grow; the
    /// buffer is then as it was.
    pub fn grow_for(
        &mut self,
        need: Need,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), OverBudget> {
        let bytes = (buffer.len() * 2).min(bytes_max.max(BUFFER_BYTES_MIN));
        let added = bytes.saturating_sub(buffer.len());
        if added == 0 {
            return Err(OverBudget);
        }
        self.charge_for(need, added)?;
        buffer.reserve_exact(added);
        buffer.resize(bytes, 0);
        Ok(())
    }

    /// Takes a buffer back, for reuse or to deallocate it.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let class = class_of(bytes);
        let is_of_a_class = class < CLASS_COUNT && bytes == BUFFER_BYTES_MIN << class;
        // Free buffers are there for every need, and the last bytes of the pool are not.
        let may_keep = is_of_a_class && !self.budget.shared().is_short();
        if may_keep && self.free_bytes + bytes <= FREE_BYTES_MAX {
            // Its user may have truncated it; the bytes that are there already are not written
            // again.
            buffer.resize(bytes, 0);
            self.free_bytes += bytes;
            self.free[class].push(buffer);
        } else {
            self.budget.give(bytes);
        }
    }

    /// Deallocates all free buffers if none was taken in the last `idle_ms`. Returns when to call
    /// this again, if any buffer is free.
    pub fn trim(&mut self, now: Millis, idle_ms: u64) -> Option<Millis> {
        if self.free_bytes == 0 {
            return None;
        }
        let due = self.last_used.plus(idle_ms);
        if now < due {
            return Some(due);
        }
        self.release_free();
        None
    }

    /// Charges memory to the budget: a buffer, or memory of another kind that comes and goes with
    /// messages, which [`Buffers::discharge`] returns. Frees the pool's free buffers before it
    /// fails.
    ///
    /// # Errors
    /// [`OverBudget`] if the process's limit on buffers is reached.
    pub fn charge(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.charge_for(Need::Message, bytes)
    }

    /// As [`Buffers::charge`], for this need.
    ///
    /// # Errors
    /// [`OverBudget`] if the process's limit on buffers is reached.
    pub fn charge_for(&mut self, need: Need, bytes: usize) -> Result<(), OverBudget> {
        if self.budget.take_for(need, bytes) {
            return Ok(());
        }
        self.release_free();
        if self.budget.take_for(need, bytes) { Ok(()) } else { Err(OverBudget) }
    }

    /// Who of the loop's connections holds most.
    #[inline]
    pub fn holders(&mut self) -> &mut Holders {
        &mut self.holders
    }

    /// As [`Buffers::holders`], to look only.
    #[inline]
    #[must_use]
    pub fn large_holders(&self) -> &Holders {
        &self.holders
    }

    /// Whether a connection that was refused memory may wait for it: a larger holder, or one that has
    /// held as much for longer, is to go at the end of the turn.
    #[must_use]
    pub fn may_wait(&mut self, key: ConnKey) -> bool {
        let first = self.holders.heaviest();
        let may_wait =
            first.is_some_and(|first| first != key) || self.holders.is_heavier_elsewhere();
        self.is_wanted |= may_wait;
        may_wait
    }

    /// A connection needs memory and has not got it: a large holder is to go.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Whether so little of the pool is left that large holders are to go.
    #[inline]
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.is_wanted || self.budget.is_scarce()
    }

    /// Whether a connection needs memory and has not got it, since this was last asked.
    pub fn take_wanted(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted)
    }

    /// Returns what [`Buffers::charge`] took for memory that is no buffer.
    pub fn discharge(&mut self, bytes: usize) {
        self.budget.give(bytes);
    }

    /// Deallocates all free buffers.
    pub fn release_free(&mut self) {
        for class in &mut self.free {
            *class = Vec::new();
        }
        self.budget.give(self.free_bytes);
        self.free_bytes = 0;
    }

    /// Bytes of all buffers, lent and free, and of what else is charged.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Bytes of buffers that are free for reuse.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.free_bytes
    }
}

/// The size of a buffer that is to hold `bytes`: a power of two, or a multiple of the smallest buffer
/// beyond the sizes that are kept for reuse.
pub(super) fn buffer_bytes(bytes: usize) -> usize {
    match class_of(bytes) {
        class if class < CLASS_COUNT => BUFFER_BYTES_MIN << class,
        _ => bytes.saturating_add(BUFFER_BYTES_MIN - 1) / BUFFER_BYTES_MIN * BUFFER_BYTES_MIN,
    }
}

/// The size class for `bytes`; may lie beyond the last class.
fn class_of(bytes: usize) -> usize {
    let blocks = bytes.max(1).div_ceil(BUFFER_BYTES_MIN);
    blocks.checked_next_power_of_two().map_or(CLASS_COUNT, |own| own.trailing_zeros() as usize)
}

/// Classes of 4 KiB to 1 MiB; larger buffers are deallocated at once.
const CLASS_COUNT: usize = 9;
/// Most bytes of free buffers that one loop keeps.
const FREE_BYTES_MAX: usize = 4 << 20;
/// The block of the budget's lease: 64 of the smallest buffers.
const BUDGET_BLOCK_BYTES: usize = 256 << 10;
/// Blocks that a pool has at least. A loop keeps up to two that it does not use.
const BLOCKS_LEAST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_double_from_4_kib() {
        assert_eq!(class_of(0), 0);
        assert_eq!(class_of(4096), 0);
        assert_eq!(class_of(4097), 1);
        assert_eq!(class_of(1 << 20), CLASS_COUNT - 1);
        assert_eq!(class_of((1 << 20) + 1), CLASS_COUNT);
    }

    #[test]
    fn a_buffer_comes_back_for_the_next_user_and_goes_when_idle() {
        let shared = SharedBudget::new(1 << 20);
        let mut buffers = Buffers::new(shared.clone());
        let mut first = buffers.take(5000, Millis(0)).unwrap();
        assert_eq!(first.len(), 8192);
        first[0] = 7;
        buffers.give(first);
        assert_eq!(buffers.free_bytes(), 8192);
        let again = buffers.take(8192, Millis(10)).unwrap();
        assert_eq!((again.len(), buffers.free_bytes()), (8192, 0));
        buffers.give(again);
        assert_eq!(buffers.trim(Millis(50), 100), Some(Millis(110)));
        assert_eq!(buffers.trim(Millis(110), 100), None);
        assert_eq!((buffers.allocated_bytes(), shared.available()), (0, 1 << 20));
    }

    #[test]
    fn the_budget_bounds_what_is_allocated() {
        let shared = SharedBudget::new(12 << 10);
        let mut buffers = Buffers::new(shared.clone());
        let mut first = buffers.take(1, Millis(0)).unwrap();
        assert_eq!(buffers.take(16 << 10, Millis(0)), Err(OverBudget));
        buffers.grow(&mut first, 1 << 20).unwrap();
        assert_eq!(first.len(), 8192);
        assert_eq!(buffers.grow(&mut first, 1 << 20), Err(OverBudget));
        assert_eq!(first.len(), 8192);
        buffers.give(first);
        drop(buffers);
        assert_eq!(shared.available(), 12 << 10);
    }

    #[test]
    fn an_odd_size_is_not_kept() {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
        let mut buffer = buffers.take(4096, Millis(0)).unwrap();
        buffers.grow(&mut buffer, 5000).unwrap();
        assert_eq!(buffer.len(), 5000);
        assert_eq!(buffers.grow(&mut buffer, 5000), Err(OverBudget));
        buffers.give(buffer);
        assert_eq!((buffers.free_bytes(), buffers.allocated_bytes()), (0, 0));
    }
}
