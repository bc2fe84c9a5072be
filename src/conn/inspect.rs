//! What operators see of the connections of a loop. Nothing here changes anything but the account of
//! work.

use std::net::SocketAddr;
use std::sync::Arc;

use super::cold::ColdRecords;
use super::flags::Flags;
use super::receive::Input;
use super::send::Output;
use super::services::Services;
use super::slot::{Conn, Protocol};
use super::state::Phase;
use super::table::Table;
use super::turn::Turn;
use crate::effects::Peer;
use crate::inspect::{
    ConnectionDetail, ConnectionFilter, ConnectionPhase, ConnectionProtocol, ConnectionSlice,
    ConnectionSummary,
};
use crate::key::ConnKey;
use crate::services::{Description, SocketRoute};
use crate::stream;
use crate::timer::TICK_MS;
use crate::tls::Suite;
use crate::transport::Transport;
use crate::work::prices;

/// The owners that are looked at.
#[derive(Debug)]
pub(super) struct Inspector<'c, S> {
    table: &'c Table<S>,
    cold: &'c ColdRecords,
    input: &'c Input,
    output: &'c Output,
    services: &'c Services,
    turn: &'c mut Turn,
}

impl<'c, S: Transport> Inspector<'c, S> {
    pub(super) fn new(
        table: &'c Table<S>,
        cold: &'c ColdRecords,
        input: &'c Input,
        output: &'c Output,
        services: &'c Services,
        turn: &'c mut Turn,
    ) -> Self {
        Self { table, cold, input, output, services, turn }
    }

    /// The connections from slot `from` on that fit: at most `count_max`, though at least one is looked
    /// for, and no more than [`SLICE_WORK`] lasts for.
    pub(super) fn list(
        &mut self,
        filter: &ConnectionFilter,
        from: u32,
        count_max: usize,
    ) -> ConnectionSlice {
        let end = self.turn.work.used() + SLICE_WORK;
        let mut connections = Vec::new();
        for index in from..self.table.slots_end() {
            if connections.len() >= count_max.max(1) || self.turn.work.used() >= end {
                return ConnectionSlice { connections, next: Some(index) };
            }
            connections.extend(self.find(filter, index).and_then(|key| self.summary(key)));
        }
        ConnectionSlice { connections, next: None }
    }

    /// The connection in a slot, if there is one and it fits.
    pub(super) fn find(&mut self, filter: &ConnectionFilter, index: u32) -> Option<ConnKey> {
        self.turn.work.charge(prices::SLOT);
        let key = self.table.key_of(index)?;
        self.fits(filter, key).then_some(key)
    }

    /// Everything about one connection; `None` if there is none, or it is over.
    pub(super) fn detail(&mut self, key: ConnKey) -> Option<ConnectionDetail> {
        let conn = self.table.get(key).filter(|conn| phase(conn).is_some())?;
        let contexts = [self.input.inflated().contexts(), self.output.compressor().contexts()];
        let context_bytes: usize = contexts.map(|own| own.bytes_of(key.index)).iter().sum();
        Some(ConnectionDetail {
            held_bytes: self.input.partial_bytes(conn.partial)
                + conn.queue.bytes()
                + context_bytes
                + self.cold.held_bytes(conn.cold),
            partial_bytes: self.input.begun(conn.partial).map_or(0, |(_, bytes)| bytes),
            paused_by: conn.flags.pauses().collect(),
            is_pinged: conn.flags.has(Flags::PINGED),
            deflate_window_bits: conn.flags.deflate_window_bits(),
            tls: self.cold.suite(conn.cold).map(Suite::name),
            summary: self.summary(key)?,
        })
    }

    /// A row of the list.
    fn summary(&mut self, key: ConnKey) -> Option<ConnectionSummary> {
        self.turn.work.charge(prices::ROW);
        let conn = self.table.get(key)?;
        let description = self.description(key, conn).unwrap_or_default();
        Some(ConnectionSummary {
            peer: self.peer(key),
            phase: phase(conn)?,
            protocol: protocol(conn),
            is_tls: self.cold.has_cipher(conn.cold),
            route: self.route(conn).map(|route| Arc::clone(&route.label)),
            user: description.user.map(str::to_owned),
            room: description.room.map(str::to_owned),
            silent_ms: u64::from(self.turn.tick.0.saturating_sub(conn.seen.0)) * TICK_MS,
            backlog_bytes: conn.queue.bytes(),
            address: self.address(key),
        })
    }

    /// Whether a connection is there and fits. The cheap conditions come first.
    fn fits(&mut self, filter: &ConnectionFilter, key: ConnKey) -> bool {
        let ConnectionFilter { peer, user, address, route, room, phase: wanted_phase } = filter;
        if peer.is_some_and(|wanted| wanted != self.peer(key)) {
            return false;
        }
        let Some(conn) = self.table.get(key) else { return false };
        let Some(own_phase) = phase(conn) else { return false };
        if wanted_phase.is_some_and(|wanted| wanted != own_phase) {
            return false;
        }
        if let Some(wanted) = route
            && !self.route(conn).is_some_and(|own| own.is_called(wanted))
        {
            return false;
        }
        if user.is_some() || room.is_some() {
            let description = self.description(key, conn).unwrap_or_default();
            let is_other = |wanted: &Option<String>, own: Option<&str>| {
                wanted.as_deref().is_some_and(|wanted| own != Some(wanted))
            };
            let other = is_other(user, description.user) || is_other(room, description.room);
            self.turn.work.charge(prices::MESSAGE);
            if other {
                return false;
            }
        }
        // A listener on `::` shows addresses of version 4 within ones of version 6 (RFC 4291 §2.5.5.2).
        address.is_none_or(|wanted| {
            let own = self.address(key).map(|own| own.ip().to_canonical());
            own == Some(wanted.to_canonical())
        })
    }

    /// The address of the peer: from the record where there is one, and otherwise from the socket, so
    /// that no connection at rest holds it for this.
    fn address(&mut self, key: ConnKey) -> Option<SocketAddr> {
        let conn = self.table.get(key)?;
        self.cold.address(conn.cold).or_else(|| {
            self.turn.work.charge(prices::ADDRESS);
            stream::peer_address(&conn.socket)
        })
    }

    /// The route, once the request has named one. Before that its number is that of the listener.
    fn route(&self, conn: &Conn<S>) -> Option<&SocketRoute> {
        let has_route = match conn.protocol {
            Protocol::Http => conn.flags.has(Flags::UNDECIDED),
            Protocol::Line | Protocol::WebSocket => true,
            Protocol::Relay => false,
        };
        self.services.socket(conn.route).filter(|_| has_route)
    }

    /// What the service says of a connection. It forgets those that close.
    fn description(&self, key: ConnKey, conn: &Conn<S>) -> Option<Description<'_>> {
        let is_known = conn.state.is_open() || conn.flags.has(Flags::UNDECIDED);
        self.route(conn).filter(|_| is_known)?.service.describe(self.peer(key))
    }

    fn peer(&self, key: ConnKey) -> Peer {
        Peer { loop_index: self.services.loop_index(), key }
    }
}

/// The part of its life; `None` once it only waits to be reaped.
fn phase<S>(conn: &Conn<S>) -> Option<ConnectionPhase> {
    match conn.state.phase() {
        Phase::Handshake | Phase::Refusing => Some(ConnectionPhase::Handshake),
        Phase::Open => Some(ConnectionPhase::Open),
        Phase::Closing | Phase::Lingering => Some(ConnectionPhase::Closing),
        Phase::Dead => None,
    }
}

fn protocol<S>(conn: &Conn<S>) -> ConnectionProtocol {
    match conn.protocol {
        Protocol::Http => ConnectionProtocol::Http,
        Protocol::Line => ConnectionProtocol::Line,
        Protocol::Relay => ConnectionProtocol::Relay,
        Protocol::WebSocket => ConnectionProtocol::WebSocket,
    }
}

/// What one question or order may cost: a quarter of a millisecond, for some 300 rows or 50,000 slots
/// that do not fit. What is left of a turn bounds how many are dealt with in it.
pub(super) const SLICE_WORK: u64 = 250_000;
