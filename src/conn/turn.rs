//! What every step of a turn may look at and charge to.

use std::sync::Arc;

use super::settings::ConnSettings;
use super::traces::Traces;
use super::under_way::WriteMeter;
use crate::http::HttpDate;
use crate::metrics::Counters;
use crate::pool::Buffers;
use crate::stream::StreamTurn;
use crate::timer::{Millis, Tick, WallTime};
use crate::work::Work;

/// The time of the turn, the settings that hold in it, and where work and memory are accounted.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Millis,
    pub(crate) tick: Tick,
    /// The date, as it was at `dated`.
    pub(crate) wall_time: WallTime,
    pub(crate) dated: Millis,
    /// The same, as replies bear it.
    pub(crate) date: HttpDate,
    pub(crate) settings: Arc<ConnSettings>,
    pub(crate) counters: Arc<Counters>,
    /// What the turn has done so far.
    pub(crate) work: Work,
    /// What the kernel has taken, for the estimates of what is under way.
    pub(crate) written: WriteMeter,
    /// The loop's share of the process's pool.
    pub(crate) memory: Buffers,
    /// What operators follow.
    pub(crate) traces: Traces,
}

impl Turn {
    /// The time of the turn in milliseconds of the Unix clock.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.wall_time.0 + self.now.since(self.dated)
    }

    /// The part of it that streams use.
    #[inline]
    pub(crate) fn stream(&mut self) -> StreamTurn<'_> {
        let Self { now, wall_time, memory, work, counters, .. } = self;
        StreamTurn { now: *now, date: *wall_time, memory, work, counters }
    }
}
