//! What a stream uses of the turn in which it is called.

use crate::metrics::Counters;
use crate::pool::Buffers;
use crate::timer::{Millis, WallTime};
use crate::work::Work;

/// The accounts of a turn, for the time of one call.
#[derive(Debug)]
pub(crate) struct StreamTurn<'t> {
    pub(crate) now: Millis,
    /// The date, for what certificates say.
    pub(crate) date: WallTime,
    pub(crate) memory: &'t mut Buffers,
    pub(crate) work: &'t mut Work,
    pub(crate) counters: &'t Counters,
}

impl StreamTurn<'_> {
    /// The same, lent for a shorter time.
    pub(crate) fn again(&mut self) -> StreamTurn<'_> {
        let Self { now, date, memory, work, counters } = self;
        StreamTurn { now: *now, date: *date, memory, work, counters }
    }
}
