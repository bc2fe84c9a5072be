//! What every step of a turn may look at and charge to.

use std::net::IpAddr;
use std::sync::Arc;

use super::addresses::{AddressVerdict, Addresses};
use super::settings::ConnSettings;
use super::traces::Traces;
use super::under_way::WriteMeter;
use crate::http::HttpDate;
use crate::key::ConnKey;
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
    /// Where connections are counted by their addresses.
    pub(crate) addresses: Addresses,
}

impl Turn {
    /// The time of the turn in milliseconds of the Unix clock.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.wall_time.0 + self.now.since(self.dated)
    }

    /// Says what becomes of a client by its address.
    pub(crate) fn judge_address(&mut self, address: IpAddr) -> AddressVerdict {
        let Self { addresses, settings, counters, now, .. } = self;
        addresses.judge(address, &settings.addresses, counters, *now)
    }

    /// The handshake of a connection has failed by what its client did, or did not do.
    pub(crate) fn note_failed_handshake(&mut self, key: ConnKey) {
        let Self { addresses, settings, now, .. } = self;
        addresses.note_failure(key.index, &settings.addresses, *now);
    }

    /// The part of it that streams use.
    #[inline]
    pub(crate) fn stream(&mut self) -> StreamTurn<'_> {
        let Self { now, wall_time, memory, work, counters, .. } = self;
        StreamTurn { now: *now, date: *wall_time, memory, work, counters }
    }
}
