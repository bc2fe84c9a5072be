//! What connections remember for the access log, while there is one.

use std::net::SocketAddr;

use slab::Slab;

use crate::access::{AccessEntry, AccessSink, Traffic};
use crate::effects::{CloseReason, Peer};
use crate::http::Status;
use crate::key::slot_number;
use crate::pool::{Buffers, Need, OverBudget};
use crate::timer::Millis;

/// The records of one loop, and where their contents go in the end.
#[derive(Debug, Default)]
pub(super) struct AccessRecords {
    records: Slab<AccessRecord>,
    sink: Option<AccessSink>,
}

/// What is remembered of a connection.
#[derive(Debug)]
pub(super) struct AccessRecord {
    received: Traffic,
    sent: Traffic,
    accepted: Millis,
    target: AccessTarget,
    status: Option<Status>,
    /// Its entry is told.
    is_told: bool,
}

/// What a request asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum AccessTarget {
    /// There was no request that could be looked at.
    #[default]
    Unknown,
    /// The WebSocket route with this number.
    Route(u8),
    /// A path that no WebSocket route serves, cut where it is long.
    Path(Box<str>),
}

impl AccessTarget {
    /// The path of a request.
    pub(super) fn path(path: &[u8]) -> Self {
        let path = path.get(..PATH_BYTES_MAX).unwrap_or(path);
        Self::Path(String::from_utf8_lossy(path).into())
    }
}

/// The rest of an entry, which others know.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccessEnd<'e> {
    pub(crate) peer: Peer,
    pub(crate) user: Option<&'e str>,
    /// The first path of the route, if there is one.
    pub(crate) route_path: Option<&'e str>,
    pub(crate) now: Millis,
    pub(crate) reason: CloseReason,
    pub(crate) was_open: bool,
}

impl AccessRecords {
    /// From now on connections are remembered, and told to `sink` when they end.
    pub(super) fn set_sink(&mut self, sink: AccessSink) {
        self.sink = Some(sink);
    }

    /// Whether connections are to be remembered.
    pub(super) fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Whether any connection is remembered.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Remembers a connection, and gives the number of its record.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(super) fn add(&mut self, now: Millis, memory: &mut Buffers) -> Result<u32, OverBudget> {
        memory.charge_for(Need::Head, RECORD_BYTES)?;
        Ok(slot_number(self.records.insert(AccessRecord {
            received: Traffic::default(),
            sent: Traffic::default(),
            accepted: now,
            target: AccessTarget::Unknown,
            status: None,
            is_told: false,
        })))
    }

    /// Forgets a connection.
    pub(super) fn release(&mut self, number: u32, memory: &mut Buffers) {
        if self.records.try_remove(number as usize).is_none() {
            return;
        }
        memory.discharge(RECORD_BYTES);
        if self.records.is_empty() {
            // A slab keeps its peak otherwise.
            self.records = Slab::new();
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&AccessRecord> {
        self.records.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut AccessRecord> {
        self.records.get_mut(number as usize)
    }

    /// Tells that the connection of a peer at `address` ends, unless that was told.
    pub(super) fn tell(&mut self, number: u32, address: SocketAddr, end: AccessEnd<'_>) {
        let Some(sink) = &self.sink else { return };
        let Some(record) = self.records.get_mut(number as usize) else { return };
        if std::mem::replace(&mut record.is_told, true) {
            return;
        }
        // It is no longer needed, and the connection may last for `close_ms`.
        let target = std::mem::take(&mut record.target);
        let path = match &target {
            _ if end.route_path.is_some() => end.route_path,
            AccessTarget::Path(path) => Some(&**path),
            AccessTarget::Route(_) | AccessTarget::Unknown => None,
        };
        sink.tell(&AccessEntry {
            peer: end.peer,
            address,
            user: end.user,
            path,
            duration_ms: end.now.since(record.accepted),
            received: record.received,
            sent: record.sent,
            status: record.status,
            reason: end.reason,
            was_open: end.was_open,
        });
    }

    /// How many are remembered.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn count(&self) -> usize {
        self.records.len()
    }

    /// Bytes charged to the pool for all records.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES
    }
}

impl AccessRecord {
    /// What it says is told, and it is about the next request from now on.
    pub(super) fn renew(&mut self, now: Millis) {
        *self = Self {
            received: Traffic::default(),
            sent: Traffic::default(),
            accepted: now,
            target: AccessTarget::Unknown,
            status: None,
            is_told: false,
        };
    }

    /// It has sent messages.
    pub(super) fn add_received(&mut self, received: Traffic) {
        self.received.add(received);
    }

    /// It is sent messages.
    pub(super) fn add_sent(&mut self, sent: Traffic) {
        self.sent.add(sent);
    }

    /// What the request asks for.
    pub(super) fn set_target(&mut self, target: AccessTarget) {
        self.target = target;
    }

    /// The number of the WebSocket route that the request asks for.
    pub(super) fn route(&self) -> Option<u8> {
        match self.target {
            AccessTarget::Route(number) => Some(number),
            AccessTarget::Path(_) | AccessTarget::Unknown => None,
        }
    }

    /// The answer to the request, which is no upgrade.
    pub(super) fn set_status(&mut self, status: Status) {
        self.status = Some(status);
    }
}

/// Bytes that a record takes in the slab, and twice that while the slab grows by doubling.
pub(super) const RECORD_BYTES: usize = 2 * size_of::<AccessRecord>();
/// More than paths have that are served. Those of scanners may be as long as a request head.
const PATH_BYTES_MAX: usize = 256;

/// As `docs/memory.md` says.
const _: () = assert!(size_of::<AccessRecord>() == 72);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::key::ConnKey;
    use crate::pool::SharedBudget;

    fn end(now: u64) -> AccessEnd<'static> {
        AccessEnd {
            peer: Peer { loop_index: 0, key: ConnKey { index: 1, generation: 2 } },
            user: None,
            route_path: None,
            now: Millis(now),
            reason: CloseReason::Gone,
            was_open: false,
        }
    }

    #[test]
    fn a_connection_is_told_once_and_charged_while_it_is_remembered() {
        let mut memory = Buffers::new(SharedBudget::new(1 << 20));
        let mut records = AccessRecords::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&told);
        records.set_sink(AccessSink::new(move |entry| {
            let entry = (entry.duration_ms, entry.path.map(str::to_owned), entry.status);
            own.lock().unwrap().push(entry);
        }));
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let number = records.add(Millis(1000), &mut memory).unwrap();
        assert_eq!(memory.allocated_bytes(), RECORD_BYTES);
        let record = records.get_mut(number).unwrap();
        record.set_target(AccessTarget::path(&[b'a'; 1000]));
        record.set_status(Status::NotFound);
        records.tell(number, address, end(1250));
        records.tell(number, address, end(1300));
        let path = "a".repeat(PATH_BYTES_MAX);
        assert_eq!(*told.lock().unwrap(), [(250, Some(path), Some(Status::NotFound))]);
        for _ in 0..2 {
            records.release(number, &mut memory);
            assert_eq!((records.is_empty(), memory.allocated_bytes()), (true, 0));
        }
    }
}
