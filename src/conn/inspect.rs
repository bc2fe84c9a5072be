//! What operators see of the connections of a loop. Nothing here changes anything but the account of
//! work.

use std::net::SocketAddr;
use std::sync::Arc;

use super::cold::ColdRecords;
use super::compact_address::Naming;
use super::flags::Flags;
use super::receive::Input;
use super::send::Output;
use super::services::Services;
use super::slot::{Conn, Protocol};
use super::state::Phase;
use super::table::Table;
use super::traces::Traces;
use super::turn::Turn;
use crate::effects::{Identity, Peer};
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

/// What tells about one connection.
#[derive(Debug)]
pub(super) struct Viewer<'c> {
    cold: &'c ColdRecords,
    services: &'c Services,
    turn: &'c mut Turn,
}

/// The owners that are looked at.
#[derive(Debug)]
pub(super) struct Inspector<'c, S> {
    table: &'c Table<S>,
    input: &'c Input,
    output: &'c Output,
    viewer: Viewer<'c>,
}

impl<'c, S: Transport> Inspector<'c, S> {
    pub(super) fn new(
        table: &'c Table<S>,
        input: &'c Input,
        output: &'c Output,
        viewer: Viewer<'c>,
    ) -> Self {
        Self { table, input, output, viewer }
    }

    /// The connections from slot `from` on that fit: at most `count_max`, though at least one is looked
    /// for, and no more than [`SLICE_WORK`] lasts for.
    pub(super) fn list(
        &mut self,
        filter: &ConnectionFilter,
        from: u32,
        count_max: usize,
    ) -> ConnectionSlice {
        let end = self.viewer.turn.work.used() + SLICE_WORK;
        let mut connections = Vec::new();
        for index in from..self.table.slots_end() {
            if connections.len() >= count_max.max(1) || self.viewer.turn.work.used() >= end {
                return ConnectionSlice { connections, next: Some(index) };
            }
            let found = self.find(filter, index);
            connections.extend(found.and_then(|(key, conn)| self.viewer.summary(key, conn)));
        }
        ConnectionSlice { connections, next: None }
    }

    /// The connection in a slot, if there is one and it fits.
    pub(super) fn find(
        &mut self,
        filter: &ConnectionFilter,
        index: u32,
    ) -> Option<(ConnKey, &'c Conn<S>)> {
        self.viewer.turn.work.charge(prices::SLOT);
        let key = self.table.key_of(index)?;
        let conn = self.table.get(key)?;
        self.viewer.fits(filter, key, conn).then_some((key, conn))
    }

    /// Everything about one connection; `None` if there is none, or it is over.
    pub(super) fn detail(&mut self, key: ConnKey) -> Option<ConnectionDetail> {
        let conn = self.table.get(key)?;
        let summary = self.viewer.summary(key, conn)?;
        let contexts = [self.input.inflated().contexts(), self.output.compressor().contexts()];
        let context_bytes: usize = contexts.map(|own| own.bytes_of(key.index)).iter().sum();
        let cold = self.viewer.cold;
        let is_named = cold.naming(conn.cold) != Naming::Socket;
        Some(ConnectionDetail {
            proxy: is_named.then(|| stream::peer_address(&conn.socket)).flatten(),
            held_bytes: self.input.partial_bytes(conn.partial)
                + conn.queue.bytes()
                + context_bytes
                + cold.held_bytes(conn.cold),
            partial_bytes: self.input.begun(conn.partial).map_or(0, |(_, bytes)| bytes),
            paused_by: conn.flags.pauses().collect(),
            is_pinged: conn.flags.has(Flags::PINGED),
            deflate_window_bits: conn.flags.deflate_window_bits(),
            tls: cold.suite(conn.cold).map(Suite::name),
            identity: cold.identity(conn.cold).map(|own| Arc::clone(own.name())),
            identity_expires_unix_ms: cold
                .identity(conn.cold)
                .and_then(Identity::expires_at)
                .map(|date| date.0),
            summary,
        })
    }
}

impl<'c> Viewer<'c> {
    pub(super) fn new(cold: &'c ColdRecords, services: &'c Services, turn: &'c mut Turn) -> Self {
        Self { cold, services, turn }
    }

    /// Has an open connection followed by the traces that it fits.
    pub(super) fn consider<S: Transport>(
        &mut self,
        traces: &mut Traces,
        key: ConnKey,
        conn: &Conn<S>,
    ) {
        if conn.state.is_open() && !conn.protocol.is_backend() {
            let unix_ms = self.turn.unix_ms();
            traces.consider(key, unix_ms, |filter| {
                if self.fits(filter, key, conn) { self.summary(key, conn) } else { None }
            });
        }
    }

    /// A row of the list; `None` if the connection is over.
    pub(super) fn summary<S: Transport>(
        &mut self,
        key: ConnKey,
        conn: &Conn<S>,
    ) -> Option<ConnectionSummary> {
        self.turn.work.charge(prices::ROW);
        let description = self.description(key, conn).unwrap_or_default();
        Some(ConnectionSummary {
            peer: self.peer(key),
            phase: phase(conn)?,
            protocol: protocol(conn),
            is_tls: self.cold.has_cipher(conn.cold),
            route: self.route(conn).map(|route| Arc::clone(&route.label)),
            user: self.user(conn, description).map(str::to_owned),
            room: description.room.map(str::to_owned),
            silent_ms: u64::from(self.turn.tick.0.saturating_sub(conn.seen.0)) * TICK_MS,
            backlog_bytes: conn.queue.bytes(),
            address: self.address(conn),
        })
    }

    /// Whether a connection is not over and fits. The cheap conditions come first.
    pub(super) fn fits<S: Transport>(
        &mut self,
        filter: &ConnectionFilter,
        key: ConnKey,
        conn: &Conn<S>,
    ) -> bool {
        let ConnectionFilter { peer, user, address, route, room, phase: wanted_phase } = filter;
        if peer.is_some_and(|wanted| wanted != self.peer(key)) {
            return false;
        }
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
            let own_user = self.user(conn, description);
            let other = is_other(user, own_user) || is_other(room, description.room);
            self.turn.work.charge(prices::MESSAGE);
            if other {
                return false;
            }
        }
        // A listener on `::` shows addresses of version 4 within ones of version 6 (RFC 4291 §2.5.5.2).
        address.is_none_or(|wanted| {
            let own = self.address(conn).map(|own| own.ip().to_canonical());
            own == Some(wanted.to_canonical())
        })
    }

    /// The address of the peer: from the record where there is one, and otherwise from the socket, so
    /// that no connection at rest holds it for this.
    fn address<S: Transport>(&mut self, conn: &Conn<S>) -> Option<SocketAddr> {
        self.cold.address(conn.cold).or_else(|| {
            self.turn.work.charge(prices::ADDRESS);
            stream::peer_address(&conn.socket)
        })
    }

    /// The route, once the request has named one. Before that its number is that of the listener.
    fn route<S>(&self, conn: &Conn<S>) -> Option<&'c SocketRoute> {
        let has_route = match conn.protocol {
            Protocol::Http => conn.flags.has(Flags::UNDECIDED),
            Protocol::Exchange
            | Protocol::FrameRelay
            | Protocol::Line
            | Protocol::Relay
            | Protocol::WebSocket => true,
            Protocol::Backend
            | Protocol::ExchangeBackend
            | Protocol::FrameBackend
            | Protocol::HttpNext
            | Protocol::Proxied(_) => false,
        };
        self.services.socket(conn.route).filter(|_| has_route)
    }

    /// What the service says of a connection. It forgets those that close.
    fn description<S>(&self, key: ConnKey, conn: &Conn<S>) -> Option<Description<'c>> {
        let is_known = conn.state.is_open() || conn.flags.has(Flags::UNDECIDED);
        self.route(conn).filter(|_| is_known)?.service.describe(self.peer(key))
    }

    /// Who has proven to be there, or the name that the service knows.
    fn user<S>(&self, conn: &Conn<S>, description: Description<'c>) -> Option<&'c str> {
        let identity = self.cold.identity(conn.cold);
        identity.map(|own| &**own.user()).or(description.user)
    }

    fn peer(&self, key: ConnKey) -> Peer {
        Peer { loop_index: self.services.loop_index(), key }
    }
}

/// The part of its life; `None` once it only waits to be reaped.
fn phase<S>(conn: &Conn<S>) -> Option<ConnectionPhase> {
    match conn.state.phase() {
        Phase::Handshake | Phase::Reaching | Phase::Refusing => Some(ConnectionPhase::Handshake),
        Phase::Exchanging | Phase::Open => Some(ConnectionPhase::Open),
        Phase::Closing | Phase::Lingering => Some(ConnectionPhase::Closing),
        Phase::Dead => None,
    }
}

fn protocol<S>(conn: &Conn<S>) -> ConnectionProtocol {
    let own = match conn.protocol {
        Protocol::Proxied(awaited) => awaited.next(),
        own @ (Protocol::Backend
        | Protocol::Exchange
        | Protocol::ExchangeBackend
        | Protocol::FrameBackend
        | Protocol::FrameRelay
        | Protocol::Http
        | Protocol::HttpNext
        | Protocol::Line
        | Protocol::Relay
        | Protocol::WebSocket) => own,
    };
    match own {
        Protocol::Exchange | Protocol::Http | Protocol::HttpNext | Protocol::Proxied(_) => {
            ConnectionProtocol::Http
        }
        Protocol::Line => ConnectionProtocol::Line,
        Protocol::Backend | Protocol::ExchangeBackend | Protocol::FrameBackend => {
            ConnectionProtocol::Backend
        }
        Protocol::FrameRelay | Protocol::Relay => ConnectionProtocol::Relay,
        Protocol::WebSocket => ConnectionProtocol::WebSocket,
    }
}

/// What one question or order may cost: a quarter of a millisecond, for some 300 rows or 50,000 slots
/// that do not fit. What is left of a turn bounds how many are dealt with in it.
pub(super) const SLICE_WORK: u64 = 250_000;
