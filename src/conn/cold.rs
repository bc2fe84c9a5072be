//! What only some connections have, reached by one link from the slot: a connection without any of
//! it pays four bytes that point nowhere.

use std::net::SocketAddr;

use slab::Slab;

use super::access::{self, AccessEnd, AccessRecord, AccessRecords, AccessTarget};
use super::turn::Turn;
use crate::access::{AccessSink, Traffic};
use crate::http::Status;
use crate::key::{SlotRef, slot_number};
use crate::pool::{Buffers, Need, OverBudget};
use crate::stream::{self, End, Received, Room, Sent, Stream, StreamError, StreamTurn, Tls};
use crate::tls::Suite;
use crate::transport::Transport;

#[cfg(any(test, feature = "sim"))]
use crate::key::ConnKey;
#[cfg(any(test, feature = "sim"))]
use crate::stream::cipher::FakeCipher;
use crate::timer::{Millis, Tick};

/// A record holds only what was asked for. Each is charged to the pool.
#[derive(Debug)]
pub(crate) enum Cold {
    /// The peer's address, for routes whose services want to know it.
    Address(SocketAddr),
    /// The number of what is remembered for the access log, which holds all else.
    Access(u32),
    /// The number of its TLS session, and the address behind it.
    Tls(u32, SocketAddr),
    /// A fake cipher, the address behind it, and since when the socket took none of the bytes that
    /// are sealed and unsent.
    #[cfg(any(test, feature = "sim"))]
    Cipher(Box<FakeCipher>, SocketAddr, Tick),
    /// The connection that the bytes of this one go on to, once there is one.
    #[cfg(any(test, feature = "sim"))]
    Relay(Option<ConnKey>),
}

/// The cold records of one loop.
#[derive(Debug, Default)]
pub(crate) struct ColdRecords {
    records: Slab<Cold>,
    tls: Tls,
    access: AccessRecords,
}

impl ColdRecords {
    /// Adds a record and gives the link to it.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn add(
        &mut self,
        record: Cold,
        memory: &mut Buffers,
    ) -> Result<SlotRef, OverBudget> {
        // Charged before it is inserted, so that a flood of connections meets `pool_bytes_max` and
        // not the allocator.
        if let Err(OverBudget) = memory.charge_for(Need::Head, RECORD_BYTES) {
            if let Cold::Access(number) = record {
                self.access.release(number, memory);
            }
            return Err(OverBudget);
        }
        Ok(SlotRef::to(slot_number(self.records.insert(record))))
    }

    /// The TLS of the loop's listeners and connections.
    pub(crate) fn tls(&mut self) -> &mut Tls {
        &mut self.tls
    }

    /// Whether connections of this listener speak TLS.
    #[inline]
    pub(crate) fn has_tls(&self, listener: usize) -> bool {
        self.tls.has(listener)
    }

    /// Whether no room for TLS lies unused.
    pub(crate) fn is_bare(&self) -> bool {
        self.tls.is_bare()
    }

    /// From now on the connection speaks TLS, as its listener does.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(crate) fn enter_tls(
        &mut self,
        link: &mut SlotRef,
        listener: usize,
        address: SocketAddr,
        turn: &mut Turn,
    ) -> Result<(), OverBudget> {
        let number = self.tls.add(listener, &mut turn.memory)?;
        if let Some(record) = self.access_record(*link) {
            record.set_session(number);
            return Ok(());
        }
        let record = Cold::Tls(number, address);
        if let Some(own) = link.index().and_then(|index| self.records.get_mut(index as usize)) {
            *own = record;
            return Ok(());
        }
        match self.add(record, &mut turn.memory) {
            Ok(own) => *link = own,
            Err(OverBudget) => {
                self.tls.release(number, turn.stream());
                return Err(OverBudget);
            }
        }
        Ok(())
    }

    /// Drops the record, if there is one.
    pub(crate) fn release(&mut self, link: &mut SlotRef, mut turn: StreamTurn<'_>) {
        let Some(index) = std::mem::take(link).index() else { return };
        let session = match self.records.remove(index as usize) {
            Cold::Tls(number, _) => Some(number),
            Cold::Access(number) => self.access.release(number, turn.memory),
            Cold::Address(_) => None,
            #[cfg(any(test, feature = "sim"))]
            Cold::Cipher(..) | Cold::Relay(_) => None,
        };
        if let Some(number) = session {
            self.tls.release(number, turn.again());
        }
        turn.memory.discharge(RECORD_BYTES);
        if self.records.is_empty() {
            // A slab keeps its peak otherwise.
            self.records = Slab::new();
        }
    }

    /// Drops the address of a connection whose service does not want it.
    pub(crate) fn release_address(&mut self, link: &mut SlotRef, turn: StreamTurn<'_>) {
        if matches!(self.get(*link), Some(Cold::Address(_))) {
            self.release(link, turn);
        }
    }

    /// The record.
    #[inline]
    pub(crate) fn get(&self, link: SlotRef) -> Option<&Cold> {
        self.records.get(link.index()? as usize)
    }

    /// As [`ColdRecords::get`], to change it.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn get_mut(&mut self, link: SlotRef) -> Option<&mut Cold> {
        self.records.get_mut(link.index()? as usize)
    }

    /// The peer's address, if it was kept.
    pub(crate) fn address(&self, link: SlotRef) -> Option<SocketAddr> {
        match self.get(link)? {
            Cold::Address(address) | Cold::Tls(_, address) => Some(*address),
            Cold::Access(number) => self.access.get(*number).map(AccessRecord::address),
            #[cfg(any(test, feature = "sim"))]
            Cold::Cipher(_, address, _) => Some(*address),
            #[cfg(any(test, feature = "sim"))]
            Cold::Relay(_) => None,
        }
    }

    /// The version and the cipher of its TLS, once the handshake is over.
    pub(crate) fn suite(&self, link: SlotRef) -> Option<Suite> {
        self.tls.suite(self.session(link)?)
    }

    /// Bytes that are held for the record and what hangs on it.
    pub(crate) fn held_bytes(&self, link: SlotRef) -> usize {
        let record_bytes = match self.get(link) {
            None => 0,
            Some(Cold::Access(_)) => RECORD_BYTES + access::RECORD_BYTES,
            Some(Cold::Address(_) | Cold::Tls(..)) => RECORD_BYTES,
            #[cfg(any(test, feature = "sim"))]
            Some(Cold::Cipher(..) | Cold::Relay(_)) => RECORD_BYTES,
        };
        let tls_bytes = self.session(link).map_or(0, |number| self.tls.held_bytes(number));
        record_bytes + tls_bytes
    }

    /// Receives once, into `room`, on a connection with this socket and this link.
    #[inline]
    pub(crate) fn receive<S: Transport>(
        &mut self,
        socket: &mut S,
        link: SlotRef,
        room: Room<'_>,
        turn: &mut Turn,
    ) -> Received {
        // Most connections have no record, and pay for one comparison: no stream is put together
        // for them in memory.
        if link.is_none() {
            return stream::receive(Stream::Plain(socket), room);
        }
        self.receive_by_record(socket, link, room, turn)
    }

    #[inline(never)]
    fn receive_by_record<S: Transport>(
        &mut self,
        socket: &mut S,
        link: SlotRef,
        room: Room<'_>,
        turn: &mut Turn,
    ) -> Received {
        stream::receive(self.stream_of(socket, link, turn), room)
    }

    /// Sends from `bytes`, once, on a connection with this socket and this link.
    ///
    /// # Errors
    /// When the connection has failed.
    #[inline]
    pub(crate) fn send<S: Transport>(
        &mut self,
        socket: &mut S,
        link: SlotRef,
        bytes: &[u8],
        end: End,
        turn: &mut Turn,
    ) -> Result<Sent, StreamError> {
        // As in `receive`.
        if link.is_none() {
            return stream::send(Stream::Plain(socket), bytes, end);
        }
        self.send_by_record(socket, link, bytes, end, turn)
    }

    #[inline(never)]
    fn send_by_record<S: Transport>(
        &mut self,
        socket: &mut S,
        link: SlotRef,
        bytes: &[u8],
        end: End,
        turn: &mut Turn,
    ) -> Result<Sent, StreamError> {
        stream::send(self.stream_of(socket, link, turn), bytes, end)
    }

    /// The stream of a connection with this socket and this link.
    #[inline]
    pub(crate) fn stream<'c, S>(
        &'c mut self,
        socket: &'c mut S,
        link: SlotRef,
        turn: &'c mut Turn,
    ) -> Stream<'c, S> {
        if link.is_none() { Stream::Plain(socket) } else { self.stream_of(socket, link, turn) }
    }

    #[inline(never)]
    fn stream_of<'c, S>(
        &'c mut self,
        socket: &'c mut S,
        link: SlotRef,
        turn: &'c mut Turn,
    ) -> Stream<'c, S> {
        let record = link.index().and_then(|index| self.records.get_mut(index as usize));
        let tls = match record {
            Some(Cold::Tls(number, _)) => self.tls.stream(*number, turn.stream()),
            Some(Cold::Access(number)) => {
                let session = self.access.get(*number).and_then(AccessRecord::session);
                session.and_then(|number| self.tls.stream(number, turn.stream()))
            }
            #[cfg(any(test, feature = "sim"))]
            Some(Cold::Cipher(cipher, ..)) => return Stream::Cipher(socket, cipher),
            _ => None,
        };
        match tls {
            Some(tls) => Stream::Tls(socket, tls),
            None => Stream::Plain(socket),
        }
    }

    /// Whether there are records between the socket and the plaintext.
    #[inline]
    pub(crate) fn has_cipher(&self, link: SlotRef) -> bool {
        match self.get(link) {
            Some(Cold::Tls(..)) => true,
            Some(Cold::Access(number)) => {
                self.access.get(*number).is_some_and(|record| record.session().is_some())
            }
            #[cfg(any(test, feature = "sim"))]
            Some(Cold::Cipher(..)) => true,
            _ => false,
        }
    }

    /// The number of its TLS session, if it has one.
    #[inline]
    fn session(&self, link: SlotRef) -> Option<u32> {
        match self.get(link)? {
            Cold::Tls(number, _) => Some(*number),
            Cold::Access(number) => self.access.get(*number)?.session(),
            Cold::Address(_) => None,
            #[cfg(any(test, feature = "sim"))]
            Cold::Cipher(..) | Cold::Relay(_) => None,
        }
    }

    /// Whether a TLS handshake is not over.
    #[inline]
    pub(crate) fn is_handshaking(&self, link: SlotRef) -> bool {
        self.session(link).is_some_and(|number| self.tls.is_handshaking(number))
    }

    /// Whether it speaks TLS, and nothing has come yet.
    pub(crate) fn is_silent(&self, link: SlotRef) -> bool {
        self.session(link).is_some_and(|number| self.tls.is_silent(number))
    }

    /// Since when a record waits that has come in part, and how many bytes of it have come.
    pub(crate) fn unopened(&self, link: SlotRef) -> Option<(Tick, usize)> {
        self.tls.unopened(self.session(link)?)
    }

    /// How much of a handshake's wait for its part of a turn it is given back, of at most `max` ticks in
    /// all.
    pub(crate) fn credit(&mut self, link: SlotRef, waited: u32, max: u32) -> u32 {
        self.session(link).map_or(0, |number| self.tls.credit(number, waited, max))
    }

    /// Whether TLS holds sealed bytes back.
    #[inline]
    pub(crate) fn has_unsent(&self, link: SlotRef) -> bool {
        self.session(link).is_some_and(|number| self.tls.has_unsent(number))
    }

    /// Bytes of records that TLS holds, in either direction.
    pub(crate) fn waiting_bytes(&self, link: SlotRef) -> usize {
        self.session(link).map_or(0, |number| self.tls.waiting_bytes(number))
    }

    /// Whether a whole record has come and waits to be opened.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_whole_unopened(&self, link: SlotRef) -> bool {
        self.session(link).is_some_and(|number| self.tls.has_whole_unopened(number))
    }

    /// The subject of the client's certificate, if it has shown one.
    pub(crate) fn subject(&self, link: SlotRef) -> Option<&str> {
        self.tls.subject(self.session(link)?)
    }

    /// Notes that the socket took some of what is sealed, or that it had no room for the first time.
    pub(crate) fn touch_unsent(&mut self, link: SlotRef, now: Tick) {
        if let Some(number) = self.session(link) {
            self.tls.touch_unsent(number, now);
        }
        #[cfg(any(test, feature = "sim"))]
        if let Some(Cold::Cipher(_, _, since)) = self.get_mut(link) {
            *since = now;
        }
    }

    /// Since when the socket took none of the bytes that are sealed and unsent.
    pub(crate) fn unsent_since(&self, link: SlotRef) -> Option<Tick> {
        #[cfg(any(test, feature = "sim"))]
        if let Some(Cold::Cipher(_, _, since)) = self.get(link) {
            return Some(*since);
        }
        self.tls.unsent_since(self.session(link)?)
    }

    /// From now on connections that are accepted are told to `sink` when they end.
    pub(crate) fn log_access(&mut self, sink: AccessSink) {
        self.access.set_sink(sink);
    }

    /// What is kept of a connection that was just accepted, as far as the access log is on.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn for_access(
        &mut self,
        address: SocketAddr,
        now: Millis,
        memory: &mut Buffers,
    ) -> Result<Option<Cold>, OverBudget> {
        if !self.access.is_on() {
            return Ok(None);
        }
        self.access.add(address, now, memory).map(|number| Some(Cold::Access(number)))
    }

    /// Whether there is an access log.
    pub(crate) fn logs_access(&self) -> bool {
        self.access.is_on()
    }

    /// Whether anything is remembered for the access log. Asked before all that follows, so that a gateway
    /// without such a log pays one comparison.
    #[inline]
    pub(crate) fn has_access(&self) -> bool {
        !self.access.is_empty()
    }

    /// The connection has sent messages.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_received(&mut self, link: SlotRef, received: Traffic) {
        if let Some(record) = self.access_record(link) {
            record.add_received(received);
        }
    }

    /// The connection is sent messages.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_sent(&mut self, link: SlotRef, sent: Traffic) {
        if let Some(record) = self.access_record(link) {
            record.add_sent(sent);
        }
    }

    /// What the request of the connection asks for.
    pub(crate) fn note_target(&mut self, link: SlotRef, target: impl FnOnce() -> AccessTarget) {
        if let Some(record) = self.access_record(link) {
            record.set_target(target());
        }
    }

    /// The answer to the request of the connection, which is no upgrade.
    pub(crate) fn note_status(&mut self, link: SlotRef, status: Status) {
        if let Some(record) = self.access_record(link) {
            record.set_status(status);
        }
    }

    /// The number of the WebSocket route that was asked for.
    pub(crate) fn target_route(&self, link: SlotRef) -> Option<u8> {
        let Cold::Access(number) = self.get(link)? else { return None };
        self.access.get(*number)?.route()
    }

    /// Tells the access log, once, that the connection ends.
    pub(crate) fn tell_access(&mut self, link: SlotRef, end: AccessEnd<'_>) {
        if let Some(Cold::Access(number)) = self.get(link) {
            let number = *number;
            self.access.tell(number, end);
        }
    }

    fn access_record(&mut self, link: SlotRef) -> Option<&mut AccessRecord> {
        match self.records.get(link.index()? as usize)? {
            Cold::Access(number) => self.access.get_mut(*number),
            Cold::Address(_) | Cold::Tls(..) => None,
            #[cfg(any(test, feature = "sim"))]
            Cold::Cipher(..) | Cold::Relay(_) => None,
        }
    }

    /// Frees what lies unused. Gives the moment to ask again.
    pub(crate) fn trim(
        &mut self,
        now: Millis,
        idle_ms: u64,
        memory: &mut Buffers,
    ) -> Option<Millis> {
        self.tls.trim(now, idle_ms, memory)
    }

    /// How many there are.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// Bytes charged to the pool for all records.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES + self.tls.recount() + self.access.bytes()
    }
}

/// Bytes that a record takes in the slab, and twice that while the slab grows by doubling.
const RECORD_BYTES: usize = 2 * size_of::<Cold>();
/// As `docs/memory.md` says.
#[cfg(not(any(test, feature = "sim")))]
const _: () = assert!(size_of::<Cold>() == 36);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counters;
    use crate::pool::SharedBudget;
    use crate::timer::WallTime;
    use crate::work::{Work, WorkLimits};

    #[test]
    fn a_record_is_charged_while_it_is_there() {
        let mut memory = Buffers::new(SharedBudget::new(1 << 20));
        let mut records = ColdRecords::default();
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let mut link = records.add(Cold::Address(address), &mut memory).unwrap();
        assert_eq!(records.address(link), Some(address));
        assert_eq!(memory.allocated_bytes(), RECORD_BYTES);
        let (mut work, counters) = (Work::new(WorkLimits::default()), Counters::default());
        for _ in 0..2 {
            let memory = &mut memory;
            let turn = StreamTurn {
                now: Millis(0),
                date: WallTime(0),
                memory,
                work: &mut work,
                counters: &counters,
            };
            records.release(&mut link, turn);
        }
        assert_eq!((link, records.count(), memory.allocated_bytes()), (SlotRef::NONE, 0, 0));
    }
}
