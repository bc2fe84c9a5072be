//! What only some connections have, reached by one link from the slot: a connection without any of
//! it pays four bytes that point nowhere.
//!
//! The link leads to a [`Cold`] record with further links. Of a connection that has nothing but a rate it
//! leads to the record of its rate at once, and says so by its highest bit: no table comes near 2³¹
//! records.

use std::net::SocketAddr;
use std::sync::Arc;

use slab::Slab;

use super::access::{self, AccessEnd, AccessRecord, AccessRecords, AccessTarget};
use super::compact_address::{CompactAddress, Naming};
use super::identities::IdentityRecords;
use super::rates::{self, Allowance, LimitedUser, Rates};
use super::relay::RelayRecords;
use super::turn::Turn;
use crate::access::{AccessSink, Traffic};
use crate::admission::SharedUserRates;
use crate::certificates::subject_in;
use crate::effects::{Identity, IdentityCheck, MessageLimits};
use crate::http::{ResponseHeader, Status};
use crate::key::{ConnKey, SlotRef, slot_number};
use crate::pool::{Buffers, Need, OverBudget};
use crate::stream::{
    self, End, Received, Room, Sent, ServerFault, Stream, StreamError, StreamTurn, Tls,
};
use crate::timer::{Millis, Tick, WallTime};
use crate::tls::Suite;
use crate::transport::Transport;
use crate::upstream::ServerTls;

#[cfg(any(test, feature = "sim"))]
use super::simulated::{Simulated, SimulatedParts};

/// The parts that a connection has beside its slot, any of them together. Each link leads to a table of
/// its own, whose owner charges for what it holds; the record is charged to the pool, and is there while
/// the connection has at least one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cold {
    /// The peer's address, where it is kept.
    address: CompactAddress,
    /// Its TLS session.
    tls: SlotRef,
    /// What is remembered for the access log.
    access: SlotRef,
    /// Who the peer has proven to be.
    identity: SlotRef,
    /// How much it may send for now.
    rate: SlotRef,
    #[cfg(any(test, feature = "sim"))]
    simulated: SlotRef,
}

/// The cold records of one loop.
#[derive(Debug, Default)]
pub(crate) struct ColdRecords {
    records: Slab<Cold>,
    tls: Tls,
    access: AccessRecords,
    identities: IdentityRecords,
    rates: Rates,
    relays: RelayRecords,
    #[cfg(any(test, feature = "sim"))]
    simulated: SimulatedParts,
}

impl ColdRecords {
    /// The TLS of the loop's listeners and connections.
    pub(crate) fn tls(&mut self) -> &mut Tls {
        &mut self.tls
    }

    /// Who belongs to whom of the loop's relays.
    #[inline]
    pub(crate) fn relays(&self) -> &RelayRecords {
        &self.relays
    }

    /// As [`ColdRecords::relays`], to change it.
    #[inline]
    pub(crate) fn relays_mut(&mut self) -> &mut RelayRecords {
        &mut self.relays
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

    /// Changes the record of a connection, which gets one if it has none.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    fn change(
        &mut self,
        link: &mut SlotRef,
        memory: &mut Buffers,
        change: impl FnOnce(&mut Cold),
    ) -> Result<(), OverBudget> {
        let rate = lone_rate(*link);
        if link.is_none() || rate.is_some() {
            // Charged before it is inserted, so that a flood of connections meets `pool_bytes_max` and
            // not the allocator.
            memory.charge_for(Need::Head, RECORD_BYTES)?;
            let rate = rate.map_or(SlotRef::NONE, SlotRef::to);
            let record = Cold { rate, ..Cold::default() };
            *link = SlotRef::to(slot_number(self.records.insert(record)));
        }
        if let Some(record) = link.index().and_then(|index| self.records.get_mut(index as usize)) {
            change(record);
        }
        Ok(())
    }

    /// Keeps the peer's address.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn set_address(
        &mut self,
        link: &mut SlotRef,
        address: SocketAddr,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        self.change(link, memory, |record| record.address = address.into())
    }

    /// Keeps the address of the client for whom the peer, a proxy, speaks.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn set_client(
        &mut self,
        link: &mut SlotRef,
        client: SocketAddr,
        naming: Naming,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        self.change(link, memory, |record| record.address = CompactAddress::named(client, naming))
    }

    /// Who has said that [`ColdRecords::address`] is the peer's.
    pub(crate) fn naming(&self, link: SlotRef) -> Naming {
        self.get(link).map_or(Naming::Socket, |record| record.address.naming())
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
        let session = SlotRef::to(number);
        let changed = self.change(link, &mut turn.memory, |record| {
            (record.tls, record.address) = (session, address.into());
        });
        if changed.is_err() {
            self.tls.release(number, turn.stream());
        }
        changed
    }

    /// From now on the connection, which is to a server, speaks TLS.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(crate) fn enter_outbound_tls(
        &mut self,
        link: &mut SlotRef,
        tls: ServerTls,
        turn: &mut Turn,
    ) -> Result<(), OverBudget> {
        let number = self.tls.add_outbound(tls, &mut turn.memory)?;
        let session = SlotRef::to(number);
        let changed = self.change(link, &mut turn.memory, |record| record.tls = session);
        if changed.is_err() {
            self.tls.release(number, turn.stream());
        }
        changed
    }

    /// Why TLS with a server came to nothing, if it did.
    pub(crate) fn server_fault(&self, link: SlotRef) -> Option<ServerFault> {
        self.tls.server_fault(self.session(link)?)
    }

    /// Drops the record with all its parts, if there is one.
    pub(crate) fn release(&mut self, link: &mut SlotRef, mut turn: StreamTurn<'_>) {
        self.release_rate(link, turn.memory);
        let Some(index) = std::mem::take(link).index() else { return };
        let Some(record) = self.records.try_remove(index as usize) else { return };
        if let Some(number) = record.tls.index() {
            self.tls.release(number, turn.again());
        }
        if let Some(number) = record.access.index() {
            self.access.release(number, turn.memory);
        }
        if let Some(number) = record.identity.index() {
            self.identities.release(number, turn.memory);
        }
        #[cfg(any(test, feature = "sim"))]
        self.simulated.release(record.simulated);
        turn.memory.discharge(RECORD_BYTES);
        if self.records.is_empty() {
            // A slab keeps its peak otherwise.
            self.records = Slab::new();
        }
    }

    /// Drops the address of a connection whose service does not want it. Where the record has other
    /// parts the address costs nothing, and stays for them.
    pub(crate) fn release_address(&mut self, link: &mut SlotRef, turn: StreamTurn<'_>) {
        let Some(record) = self.get(*link) else { return };
        // That of a proxy's client is known from here alone.
        if record.address.naming() == Naming::Socket
            && *record == (Cold { address: record.address, ..Cold::default() })
        {
            self.release(link, turn);
        }
    }

    /// The record.
    #[inline]
    fn get(&self, link: SlotRef) -> Option<&Cold> {
        self.records.get(link.index()? as usize)
    }

    /// The peer's address, if it was kept.
    pub(crate) fn address(&self, link: SlotRef) -> Option<SocketAddr> {
        self.get(link)?.address.get()
    }

    /// The version and the cipher of its TLS, once the handshake is over.
    pub(crate) fn suite(&self, link: SlotRef) -> Option<Suite> {
        self.tls.suite(self.session(link)?)
    }

    /// The number of what is remembered of its rate.
    #[inline]
    fn rate(&self, link: SlotRef) -> Option<u32> {
        lone_rate(link).or_else(|| self.get(link)?.rate.index())
    }

    /// From now on it is remembered what the connection has sent. If it is already, nothing changes.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(crate) fn remember_rate(
        &mut self,
        link: &mut SlotRef,
        now: Millis,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        if self.rate(*link).is_some() {
            return Ok(());
        }
        let number = self.rates.add(now, memory)?;
        match link.index().and_then(|index| self.records.get_mut(index as usize)) {
            Some(record) => record.rate = SlotRef::to(number),
            None => *link = SlotRef::to(number | LONE_RATE),
        }
        Ok(())
    }

    /// What the connection has sent is no longer limited.
    pub(crate) fn release_rate(&mut self, link: &mut SlotRef, memory: &mut Buffers) {
        let Some(number) = self.rate(*link) else { return };
        self.rates.release(number, memory);
        match link.index().and_then(|index| self.records.get_mut(index as usize)) {
            Some(record) => record.rate = SlotRef::NONE,
            None => *link = SlotRef::NONE,
        }
    }

    /// What the connection may send at once on the route with this number, and its user with it.
    pub(crate) fn allowance(
        &self,
        link: SlotRef,
        (route, limits): (u8, &MessageLimits),
        now: Millis,
    ) -> Allowance {
        let own = self.rates.allowance(self.rate(link), limits, now);
        let Some(user) = self.limited_user(link, route, limits) else { return own };
        let [messages, bytes] = self.rates.user_room(user, now);
        let (messages, bytes) = (own.messages.min(messages), own.bytes.min(bytes));
        Allowance { messages, bytes, ..own }
    }

    /// The user of the connection, if there is one whose messages are limited.
    fn limited_user<'u>(
        &'u self,
        link: SlotRef,
        route: u8,
        limits: &MessageLimits,
    ) -> Option<LimitedUser<'u>> {
        let limits = limits.user_limits()?;
        Some(LimitedUser { identity: self.identity(link)?, route, limits })
    }

    /// The user of the connection has sent this many messages and bytes, if what the user sends is limited.
    /// Whether that is remembered.
    pub(crate) fn charge_user(
        &mut self,
        link: SlotRef,
        (route, limits): (u8, &MessageLimits),
        sent: (u64, u64),
        now: Millis,
    ) -> bool {
        let Some(user) = self.limited_user(link, route, limits) else { return true };
        let (key, limits) = (self.rates.user_key(user), user.limits);
        self.rates.charge_user(key, limits, sent, now)
    }

    /// From now on what users send is counted in `shared`.
    pub(crate) fn count_users_in(&mut self, shared: SharedUserRates) {
        self.rates.count_users_in(shared);
    }

    /// Forgets what users have sent, as far as it has drained. Gives the moment to ask again.
    #[inline]
    pub(crate) fn trim_users(&mut self, now: Millis) -> Option<Millis> {
        self.rates.trim_users(now)
    }

    /// The rates of the loop's connections, and the number of this connection's, if it has any.
    pub(crate) fn rates(&mut self, link: SlotRef) -> (&mut Rates, Option<u32>) {
        let number = self.rate(link);
        (&mut self.rates, number)
    }

    /// When the connection last sent a message, if that is remembered.
    pub(crate) fn message_at(&self, link: SlotRef) -> Option<Tick> {
        self.rates.message_at(self.rate(link)?)
    }

    /// The first moment from `now` on at which the connection may send something of everything.
    pub(crate) fn room_at(
        &self,
        link: SlotRef,
        key: ConnKey,
        (route, limits): (u8, &MessageLimits),
        now: Millis,
    ) -> Millis {
        let own = self.rates.room_at(self.rate(link), key, limits, now);
        let user = self.limited_user(link, route, limits);
        user.map_or(own, |user| own.max(self.rates.user_room_at(user, now)))
    }

    /// Bytes that are held for the record and what hangs on it.
    pub(crate) fn held_bytes(&self, link: SlotRef) -> usize {
        let rate_bytes = self.rate(link).map_or(0, |_| rates::RECORD_BYTES);
        let Some(record) = self.get(link) else { return rate_bytes };
        let access_bytes = if record.access.is_none() { 0 } else { access::RECORD_BYTES };
        let tls_bytes = record.tls.index().map_or(0, |number| self.tls.held_bytes(number));
        let identity_bytes =
            record.identity.index().map_or(0, |number| self.identities.held_bytes(number));
        RECORD_BYTES + rate_bytes + access_bytes + tls_bytes + identity_bytes
    }

    /// Gives bytes that were read from the socket to its stream, to be opened first.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for them.
    pub(crate) fn keep_unopened(
        &mut self,
        link: SlotRef,
        bytes: &[u8],
        turn: &mut Turn,
    ) -> Result<(), OverBudget> {
        #[cfg(any(test, feature = "sim"))]
        if let Some(Simulated::Cipher(cipher, _)) = self.simulated_mut(link) {
            cipher.feed(bytes);
            return Ok(());
        }
        match self.session(link) {
            Some(number) => self.tls.keep_unopened(number, bytes, turn.stream()),
            None => Ok(()),
        }
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
        let session = self.session(link);
        #[cfg(any(test, feature = "sim"))]
        let own = self.get(link).map(|record| record.simulated).unwrap_or_default();
        #[cfg(any(test, feature = "sim"))]
        if let Some(Simulated::Cipher(cipher, _)) = self.simulated.get_mut(own) {
            return Stream::Cipher(socket, cipher);
        }
        let tls = session.and_then(|number| self.tls.stream(number, turn.stream()));
        match tls {
            Some(tls) => Stream::Tls(socket, tls),
            None => Stream::Plain(socket),
        }
    }

    /// Whether there are records between the socket and the plaintext.
    #[inline]
    pub(crate) fn has_cipher(&self, link: SlotRef) -> bool {
        #[cfg(any(test, feature = "sim"))]
        if matches!(self.simulated(link), Some(Simulated::Cipher(..))) {
            return true;
        }
        self.session(link).is_some()
    }

    /// The number of its TLS session, if it has one.
    #[inline]
    fn session(&self, link: SlotRef) -> Option<u32> {
        self.get(link)?.tls.index()
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

    /// Whom the client's certificate names, as [`names_of`](crate::certificates::names_of) says, if it has
    /// shown one.
    pub(crate) fn certificate_names(&self, link: SlotRef) -> Option<&str> {
        self.tls.names(self.session(link)?)
    }

    /// The subject of the client's certificate, if it has shown one.
    pub(crate) fn subject(&self, link: SlotRef) -> Option<&str> {
        subject_in(self.certificate_names(link)?)
    }

    /// Notes that the socket took some of what is sealed, or that it had no room for the first time.
    pub(crate) fn touch_unsent(&mut self, link: SlotRef, now: Tick) {
        if let Some(number) = self.session(link) {
            self.tls.touch_unsent(number, now);
        }
        #[cfg(any(test, feature = "sim"))]
        if let Some(Simulated::Cipher(_, since)) = self.simulated_mut(link) {
            *since = now;
        }
    }

    /// Since when the socket took none of the bytes that are sealed and unsent.
    pub(crate) fn unsent_since(&self, link: SlotRef) -> Option<Tick> {
        #[cfg(any(test, feature = "sim"))]
        if let Some(Simulated::Cipher(_, since)) = self.simulated(link) {
            return Some(*since);
        }
        self.tls.unsent_since(self.session(link)?)
    }

    /// A check was asked who the connection is, and answers later. The connection came by the listener
    /// with this number.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(crate) fn ask_identity(
        &mut self,
        link: &mut SlotRef,
        (check, listener): (Arc<dyn IdentityCheck>, u8),
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        let number = self.identities.add_asked(check, listener, memory)?;
        self.link_identity(link, number, memory)
    }

    /// Keeps who the connection is.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(crate) fn set_identity(
        &mut self,
        link: &mut SlotRef,
        identity: Identity,
        now: (Tick, WallTime),
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        if let Some(number) = self.identity_number(*link) {
            return self.identities.set_known(number, identity, now, memory);
        }
        let number = self.identities.add_known(identity, now, memory)?;
        self.link_identity(link, number, memory)
    }

    fn link_identity(
        &mut self,
        link: &mut SlotRef,
        number: u32,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        let changed = self.change(link, memory, |record| record.identity = SlotRef::to(number));
        if changed.is_err() {
            self.identities.release(number, memory);
        }
        changed
    }

    #[inline]
    fn identity_number(&self, link: SlotRef) -> Option<u32> {
        self.get(link)?.identity.index()
    }

    /// Who the connection is, as far as it has proven that.
    pub(crate) fn identity(&self, link: SlotRef) -> Option<&Identity> {
        self.identities.known(self.identity_number(link)?)
    }

    /// What was asked who the connection is, and has not answered.
    pub(crate) fn asked_identity(&self, link: SlotRef) -> Option<&Arc<dyn IdentityCheck>> {
        self.identities.asked(self.identity_number(link)?)
    }

    /// The listener of a connection about which something was asked that has not answered.
    pub(crate) fn asked_listener(&self, link: SlotRef) -> Option<u8> {
        self.identities.asked_listener(self.identity_number(link)?)
    }

    /// Forgets who the connection is: its next request says so anew.
    pub(crate) fn release_identity(&mut self, link: &mut SlotRef, turn: StreamTurn<'_>) {
        let Some(record) = link.index().and_then(|own| self.records.get_mut(own as usize)) else {
            return;
        };
        let identity = std::mem::take(&mut record.identity);
        let is_empty = *record == Cold::default();
        if let Some(number) = identity.index() {
            self.identities.release(number, turn.memory);
        }
        if is_empty {
            self.release(link, turn);
        }
    }

    /// A further request follows on the connection, with a line of the access log of its own.
    pub(crate) fn renew_access(&mut self, link: SlotRef, now: Millis) {
        if let Some(record) = self.access_record(link) {
            record.renew(now);
        }
    }

    /// The headers for the reply 101 that came with its identity.
    pub(crate) fn take_identity_headers(
        &mut self,
        link: SlotRef,
        memory: &mut Buffers,
    ) -> Vec<ResponseHeader> {
        let number = self.identity_number(link);
        number.map_or_else(Vec::new, |number| self.identities.take_headers(number, memory))
    }

    /// When the clock on the wall is to be compared with the expiry of its identity.
    #[inline]
    pub(crate) fn identity_looked_at(&self, link: SlotRef) -> Option<Tick> {
        self.identities.looked_at(self.identity_number(link)?)
    }

    /// Looks at the clock on the wall; whether its identity no longer holds.
    pub(crate) fn has_expired(&mut self, link: SlotRef, now: (Tick, WallTime)) -> bool {
        let number = self.identity_number(link);
        number.is_some_and(|number| self.identities.has_expired(number, now))
    }

    /// From now on its identity holds until this date; whether it has one.
    pub(crate) fn refresh_identity(
        &mut self,
        link: SlotRef,
        expires_at: WallTime,
        now: (Tick, WallTime),
    ) -> bool {
        let number = self.identity_number(link);
        number.is_some_and(|number| self.identities.refresh(number, expires_at, now))
    }

    /// From now on connections that are accepted are told to `sink` when they end.
    pub(crate) fn log_access(&mut self, sink: AccessSink) {
        self.access.set_sink(sink);
    }

    /// Remembers a connection that was just accepted for the access log, if there is one.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn remember(
        &mut self,
        link: &mut SlotRef,
        address: SocketAddr,
        now: Millis,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        if !self.access.is_on() {
            return Ok(());
        }
        let number = self.access.add(now, memory)?;
        let changed = self.change(link, memory, |record| {
            (record.access, record.address) = (SlotRef::to(number), address.into());
        });
        if changed.is_err() {
            self.access.release(number, memory);
        }
        changed
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
        self.access.get(self.get(link)?.access.index()?)?.route()
    }

    /// Tells the access log, once, that the connection ends.
    pub(crate) fn tell_access(&mut self, link: SlotRef, end: AccessEnd<'_>) {
        if let Some(Cold { access, address, .. }) = self.get(link)
            && let (Some(number), Some(address)) = (access.index(), address.get())
        {
            self.access.tell(number, address, end);
        }
    }

    fn access_record(&mut self, link: SlotRef) -> Option<&mut AccessRecord> {
        let number = self.get(link)?.access.index()?;
        self.access.get_mut(number)
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

    /// The connection is given these parts.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for the record.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn simulate(
        &mut self,
        link: &mut SlotRef,
        parts: Simulated,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        let own = self.simulated.add(parts);
        let changed = self.change(link, memory, |record| record.simulated = own);
        if changed.is_err() {
            self.simulated.release(own);
        }
        changed
    }

    /// What the connection has in the simulation only.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn simulated(&self, link: SlotRef) -> Option<&Simulated> {
        self.simulated.get(self.get(link)?.simulated)
    }

    /// As [`ColdRecords::simulated`], to change it.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn simulated_mut(&mut self, link: SlotRef) -> Option<&mut Simulated> {
        let own = self.get(link)?.simulated;
        self.simulated.get_mut(own)
    }

    /// How many connections have any of this.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn count(&self) -> usize {
        let linked = self.records.iter().filter(|(_, record)| !record.rate.is_none()).count();
        self.records.len() + self.rates.count() - linked
    }

    /// Bytes charged to the pool for all records and parts.
    ///
    /// # Errors
    /// Says so if a record has no part, or a part no record.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn recount(&self) -> Result<usize, String> {
        let parts_of = |part: fn(&Cold) -> SlotRef| {
            self.records.iter().filter(|(_, record)| !part(record).is_none()).count()
        };
        let linked = [
            parts_of(|own| own.tls),
            parts_of(|own| own.access),
            parts_of(|own| own.identity),
            parts_of(|own| own.simulated),
        ];
        let held = [
            self.tls.session_count(),
            self.access.count(),
            self.identities.count(),
            self.simulated.count(),
        ];
        if linked != held {
            return Err(format!("{held:?} parts of records, and links to {linked:?}"));
        }
        if self.records.iter().any(|(_, record)| *record == Cold::default()) {
            return Err("a record without parts".into());
        }
        let records_bytes = self.records.len() * RECORD_BYTES + self.rates.bytes();
        let parts_bytes = self.tls.recount() + self.access.bytes() + self.identities.bytes();
        Ok(records_bytes + parts_bytes + self.relays.bytes())
    }
}

/// The number in a link that leads to the record of a rate.
#[inline]
fn lone_rate(link: SlotRef) -> Option<u32> {
    let index = link.index().filter(|index| index & LONE_RATE != 0)?;
    Some(index & !LONE_RATE)
}

/// What tells a link to the record of a rate from one to a cold record.
const LONE_RATE: u32 = 1 << 31;
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

    fn memory() -> Buffers {
        Buffers::new(SharedBudget::new(1 << 20))
    }

    /// Calls with a turn of which only the memory matters.
    fn in_turn(memory: &mut Buffers, call: impl FnOnce(StreamTurn<'_>)) {
        let (mut work, counters) = (Work::new(WorkLimits::default()), Counters::default());
        let (now, date) = (Millis(0), WallTime(0));
        call(StreamTurn { now, date, memory, work: &mut work, counters: &counters });
    }

    #[test]
    fn a_record_is_charged_while_it_is_there() {
        let (mut memory, mut records) = (memory(), ColdRecords::default());
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let mut link = SlotRef::NONE;
        records.set_address(&mut link, address, &mut memory).unwrap();
        assert_eq!(records.address(link), Some(address));
        assert_eq!(memory.allocated_bytes(), RECORD_BYTES);
        for _ in 0..2 {
            in_turn(&mut memory, |turn| records.release(&mut link, turn));
        }
        assert_eq!((link, records.count(), memory.allocated_bytes()), (SlotRef::NONE, 0, 0));
    }

    #[test]
    fn parts_share_one_record_and_each_is_given_back() {
        let (mut memory, mut records) = (memory(), ColdRecords::default());
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        records.log_access(AccessSink::new(|_| {}));
        let mut link = SlotRef::NONE;
        records.remember(&mut link, address, Millis(0), &mut memory).unwrap();
        let parts = Simulated::Cipher(Box::default(), Tick(0));
        records.simulate(&mut link, parts, &mut memory).unwrap();
        assert_eq!((records.count(), records.address(link)), (1, Some(address)));
        assert!(records.has_cipher(link) && records.has_access());
        let charged = RECORD_BYTES + access::RECORD_BYTES;
        assert_eq!((memory.allocated_bytes(), records.recount()), (charged, Ok(charged)));
        assert_eq!(records.held_bytes(link), charged);
        // The access log wants it in the end, whatever the service wants.
        in_turn(&mut memory, |turn| records.release_address(&mut link, turn));
        assert_eq!(records.address(link), Some(address));
        in_turn(&mut memory, |turn| records.release(&mut link, turn));
        assert_eq!((memory.allocated_bytes(), records.recount()), (0, Ok(0)));
        assert!(!records.has_access());
    }

    #[test]
    fn a_connection_is_left_without_a_record_where_the_pool_has_no_room() {
        let mut memory = Buffers::new(SharedBudget::new(access::RECORD_BYTES));
        let mut records = ColdRecords::default();
        records.log_access(AccessSink::new(|_| {}));
        let (mut link, address) = (SlotRef::NONE, SocketAddr::from(([192, 0, 2, 1], 443)));
        let remembered = records.remember(&mut link, address, Millis(0), &mut memory);
        assert_eq!((remembered, link), (Err(OverBudget), SlotRef::NONE));
        assert_eq!((memory.allocated_bytes(), records.recount()), (0, Ok(0)));
    }

    #[test]
    fn a_rate_alone_needs_no_record_and_stays_when_one_is_added() {
        let (mut memory, mut records) = (memory(), ColdRecords::default());
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let mut link = SlotRef::NONE;
        for _ in 0..2 {
            records.remember_rate(&mut link, Millis(640), &mut memory).unwrap();
            assert_eq!((memory.allocated_bytes(), records.count()), (rates::RECORD_BYTES, 1));
        }
        assert_eq!((records.address(link), records.message_at(link)), (None, Some(Tick(10))));
        assert!(!records.has_cipher(link));
        records.set_address(&mut link, address, &mut memory).unwrap();
        let charged = RECORD_BYTES + rates::RECORD_BYTES;
        assert_eq!((memory.allocated_bytes(), records.recount()), (charged, Ok(charged)));
        assert_eq!((records.count(), records.held_bytes(link)), (1, charged));
        let known = (records.address(link), records.message_at(link));
        assert_eq!(known, (Some(address), Some(Tick(10))));
        in_turn(&mut memory, |turn| records.release(&mut link, turn));
        assert_eq!((link, records.count(), memory.allocated_bytes()), (SlotRef::NONE, 0, 0));

        records.remember_rate(&mut link, Millis(0), &mut memory).unwrap();
        records.release_rate(&mut link, &mut memory);
        assert_eq!((link, records.count(), memory.allocated_bytes()), (SlotRef::NONE, 0, 0));
        records.set_address(&mut link, address, &mut memory).unwrap();
        records.remember_rate(&mut link, Millis(0), &mut memory).unwrap();
        records.release_rate(&mut link, &mut memory);
        assert_eq!((records.address(link), records.recount()), (Some(address), Ok(RECORD_BYTES)));
    }

    #[test]
    fn an_address_alone_goes_where_no_service_wants_it() {
        let (mut memory, mut records) = (memory(), ColdRecords::default());
        let mut link = SlotRef::NONE;
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        records.set_address(&mut link, address, &mut memory).unwrap();
        in_turn(&mut memory, |turn| records.release_address(&mut link, turn));
        assert_eq!((link, memory.allocated_bytes()), (SlotRef::NONE, 0));
    }
}
