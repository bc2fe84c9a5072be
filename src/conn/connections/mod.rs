//! The connections of one loop, and how an event loop drives them.
//!
//! [`lifecycle`] opens, closes and times connections; [`effects`] carries out what services and other
//! loops ask for.

mod effects;
#[cfg(any(test, feature = "sim"))]
mod invariants;
mod lifecycle;

#[cfg(any(test, feature = "sim"))]
pub use invariants::check_invariants;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::access::AccessSink;
use crate::admission::{SharedAddresses, SharedUserRates};
use crate::certificates::ListenerConfig;
use crate::conn::active::Active;
use crate::conn::addresses::{AddressVerdict, Addresses};
use crate::conn::cold::ColdRecords;
use crate::conn::deadline::Deadlines;
use crate::conn::fanout::{Membership, Walks};
use crate::conn::flags::Flags;
use crate::conn::outbox::Outbox;
use crate::conn::population::Population;
use crate::conn::proxies::Opening;
use crate::conn::receive::{Input, Next, Outcome, Unfinished};
use crate::conn::relay::{self, ConnectOrder, Lost, MaskKeys};
use crate::conn::room_lists::RoomLists;
use crate::conn::schedule::Schedule;
use crate::conn::send::Output;
use crate::conn::services::Services;
use crate::conn::settings::ConnSettings;
#[cfg(any(test, feature = "sim"))]
use crate::conn::simulated::Simulated;
use crate::conn::slot::{AwaitedHeader, Conn, Protocol};
use crate::conn::state::{Phase as ConnPhase, State};
use crate::conn::table::Table;
use crate::conn::traces::Traces;
use crate::conn::turn::Turn;
use crate::conn::under_way::WriteMeter;
use crate::effects::{CloseReason, LoopSite, Peer};
use crate::http::HttpDate;
use crate::key::ConnKey;
use crate::mail::{LoopMessage, LoopSender};
use crate::metrics::{Counters, Entry, Labelled, ListenerCounters, RouteCounters};
use crate::pool::{Buffers, OverBudget, SharedBudget};
use crate::proxy_protocol::HeaderPolicy;
use crate::services::{Route, RouteNumbers, Router};
use crate::timer::{Millis, Tick, WallTime, earliest};
use crate::tls::RECORD_BYTES_MAX;
use crate::transport::{ConnectError, Transport};
use crate::work::{Phase, Work, prices};
use crate::ws::CloseCode;

/// What a part of a walk through the table came to, which tells connections to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosesSent {
    /// The slot to go on from; `None` at the end of the table.
    pub next: Option<u32>,
    /// Connections that were told.
    pub told: usize,
    /// Whether connections were passed over that are in their handshake.
    pub has_skipped: bool,
}

/// The connections of one loop, their buffers, timers and services.
///
/// It does no waiting and accepts nothing by itself: an event loop tells it what happened and asks
/// it what is needed. There are three kinds of methods:
///
/// - `handle_*` for what happened: [`handle_accepted`](Self::handle_accepted),
///   [`handle_readable`](Self::handle_readable), [`handle_writable`](Self::handle_writable),
///   [`handle_connecting`](Self::handle_connecting), [`handle_unconnected`](Self::handle_unconnected),
///   [`handle_message`](Self::handle_message), [`handle_query`](Self::handle_query),
///   [`handle_timers`](Self::handle_timers), [`handle_ticks`](Self::handle_ticks);
/// - those that do work which is left over: [`run`](Self::run),
///   [`apply_effects`](Self::apply_effects), [`flush_dirty`](Self::flush_dirty),
///   [`send_closes`](Self::send_closes), [`reap`](Self::reap), [`relieve`](Self::relieve),
///   [`trim`](Self::trim);
/// - `poll_*` for what is needed: [`poll_connect`](Self::poll_connect) and
///   [`poll_write_interest`](Self::poll_write_interest) from the kernel, [`poll_messages`](Self::poll_messages) from other loops,
///   [`poll_timer`](Self::poll_timer) and [`poll_tick`](Self::poll_tick) from the clock.
///
/// A loop calls them in this order in each turn: [`set_now`](Self::set_now); `handle_readable` and
/// `handle_writable` for each event; `run`; `handle_message` or `handle_query` for each message;
/// `handle_timers`, `handle_ticks`; `apply_effects`, `flush_dirty`, `apply_effects`; `poll_connect`,
/// `poll_write_interest`, `poll_messages`; `handle_accepted` for each new connection; `reap`; `relieve`. Accepting and reaping
/// come last, so that no slot changes its connection while events of the turn may mean the one before.
/// While [`has_work`](Self::has_work), the loop does not wait.
#[derive(Debug)]
pub struct Connections<S> {
    table: Table<S>,
    cold: ColdRecords,
    input: Input,
    output: Output,
    membership: Membership,
    walks: Walks,
    services: Services,
    schedule: Schedule,
    population: Population,
    mail: Outbox,
    room_lists: RoomLists,
    /// For frames to backends.
    mask_keys: MaskKeys,
    turn: Turn,
    /// More are to go because the pool is short.
    is_evicting: bool,
    /// When other loops were last asked to make room.
    asked: Tick,
    /// Effects are being carried out: what comes of them waits for its round.
    is_applying_effects: bool,
    /// The connection that waits for another to relay to.
    #[cfg(any(test, feature = "sim"))]
    unpaired: Option<ConnKey>,
    #[cfg(any(test, feature = "sim"))]
    has_fake_cipher: bool,
}

/// What becomes of a connection that was just accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is served, and counts against `connections_max`.
    Admit,
    /// Every request is refused: with 503, or with 429 if that is what its address has led to.
    Refuse,
    /// The same, because of overload.
    Shed,
}

impl<S: Transport> Connections<S> {
    /// No connections. `pool` is the process's budget for buffers, in bytes.
    #[must_use]
    pub fn new(
        site: LoopSite,
        settings: Arc<ConnSettings>,
        router: Router,
        counters: Arc<Counters>,
        pool: SharedBudget,
        now: Millis,
    ) -> Self {
        let work = Work::new(settings.work);
        let (table, mut schedule) = (Table::new(), Schedule::new(now.tick()));
        schedule.ages.configure(settings.age_ms, table.last_generation(), now.tick());
        Self {
            table,
            cold: ColdRecords::default(),
            input: Input::new(settings.receive_buffer_bytes),
            output: Output::new(pool.clone()),
            membership: Membership::new(router.socket_count()),
            walks: Walks::default(),
            services: Services::new(site, router, now),
            schedule,
            population: Population::default(),
            mail: Outbox::default(),
            room_lists: RoomLists::default(),
            mask_keys: MaskKeys::default(),
            turn: Turn {
                now,
                tick: now.tick(),
                wall_time: WallTime(0),
                dated: now,
                date: HttpDate::from_unix_seconds(0),
                settings,
                counters,
                work,
                written: WriteMeter::default(),
                memory: Buffers::new(pool),
                traces: Traces::default(),
                addresses: Addresses::default(),
            },
            is_evicting: false,
            asked: Tick::default(),
            is_applying_effects: false,
            #[cfg(any(test, feature = "sim"))]
            unpaired: None,
            #[cfg(any(test, feature = "sim"))]
            has_fake_cipher: false,
        }
    }

    /// From now on the bytes of accepted connections go in the records of a
    /// [`FakeCipher`](crate::stream::cipher::FakeCipher).
    #[cfg(any(test, feature = "sim"))]
    pub fn use_fake_cipher(&mut self) {
        self.has_fake_cipher = true;
    }

    /// Services begin. Messages to them from other threads go by `sender`.
    pub fn start(&mut self, sender: &LoopSender) {
        self.services.start(sender);
    }

    /// A turn begins: nothing is charged to it yet.
    pub fn begin_turn(&mut self) {
        self.turn.work.begin_turn();
        if self.services.has_ticks() {
            self.services.hasten_ticks(self.turn.now);
        }
    }

    /// Whether a phase of this turn is to begin nothing more.
    #[must_use]
    #[inline]
    pub fn is_over(&self, phase: Phase) -> bool {
        self.turn.work.is_over(phase)
    }

    /// What the turn was charged with so far.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn work_used(&self) -> u64 {
        self.turn.work.used()
    }

    /// Charges a turn for what the event loop did itself.
    #[inline]
    pub fn charge(&mut self, units: u64) {
        self.turn.work.charge(units);
    }

    /// Whether more mail is to be handled in this turn, after `handled` messages. What waits here for
    /// its delivery is bounded by that: the rest waits in mailboxes, which are. When it is delivered
    /// depends on nothing but this loop, so mail is always handled in the end.
    #[must_use]
    #[inline]
    pub fn takes_mail(&self, handled: usize) -> bool {
        // One at least, or events could keep it waiting for ever.
        !self.walks.is_full() && (handled == 0 || !self.turn.work.is_over(Phase::Leftovers))
    }

    /// The time of this turn.
    pub fn set_now(&mut self, now: Millis) {
        self.turn.now = now;
        self.turn.tick = now.tick();
        self.services.set_now(now);
        self.output.set_now(now);
    }

    /// The date that replies bear from now on.
    pub fn set_date(&mut self, date: WallTime) {
        (self.turn.wall_time, self.turn.dated) = (date, self.turn.now);
        self.turn.date = HttpDate::from_unix_seconds(date.0 / 1000);
        self.services.set_date(date);
    }

    /// From now on these settings hold, for connections that are open too. The size of the receive
    /// buffer stays as it is.
    pub fn set_settings(&mut self, settings: Arc<ConnSettings>) {
        self.turn.work = Work::new(settings.work);
        let (latest, now) = (self.table.last_generation(), self.turn.tick);
        self.schedule.ages.configure(settings.age_ms, latest, now);
        self.turn.settings = settings;
        self.settings_changed();
    }

    /// From now on all of this holds, for connections that are open too, as far as it was not settled
    /// when they were let in. Those on a route that is gone stay with its service. What happens on
    /// each route is counted in `counted`, by its id.
    #[cold]
    pub fn reload(
        &mut self,
        settings: Arc<ConnSettings>,
        routes: &[Route],
        numbers: RouteNumbers,
        tls: &[Option<ListenerConfig>],
        counted: &Labelled<RouteCounters>,
    ) {
        self.services.reload(routes, numbers, counted);
        self.membership.make_room(self.services.router().socket_count());
        self.configure_tls(tls);
        self.set_settings(settings);
    }

    /// The numbers of the routes that connections are on, or wait to be let in to, in order. Looks at
    /// every connection.
    #[must_use]
    pub fn routes_in_use(&self) -> Vec<u8> {
        let mut is_in_use = [false; 1 << u8::BITS];
        let keys = (0..self.table.slots_end()).filter_map(|index| self.table.key_of(index));
        // Before its request a connection has the number of its listener, which may count as well:
        // it holds up a number that is free, and for a moment.
        for conn in keys.filter_map(|key| self.table.get(key)) {
            is_in_use[usize::from(conn.route)] = true;
        }
        (0..=u8::MAX).filter(|number| is_in_use[usize::from(*number)]).collect()
    }

    /// Adds an accepted socket of a peer at `address`. If the half-open table is full, its oldest
    /// goes.
    pub fn handle_accepted(&mut self, socket: S, address: SocketAddr, verdict: Verdict) -> ConnKey {
        let is_refused = verdict != Verdict::Admit;
        if !is_refused
            && self.schedule.half_open.count() >= self.turn.settings.half_open_max
            && let Some(oldest) = self.schedule.half_open.oldest(&mut self.table)
        {
            self.turn.counters.half_open_dropped.add(1);
            // Dropped without a reply: it has sent no whole request that could be answered.
            self.abort(oldest, CloseReason::Gone);
        }
        let state = State::accepted(is_refused);
        let key = self.table.insert(socket, state, Protocol::Http, self.turn.tick);
        self.schedule.ages.note(key.generation, self.turn.tick);
        if is_refused {
            self.population.refused_one();
            if let Some(conn) = self.table.get_mut(key) {
                conn.flags.set(Flags::REFUSED);
                if verdict == Verdict::Shed {
                    conn.flags.set(Flags::SHED);
                }
            }
        } else {
            self.schedule.half_open.add(&mut self.table, key);
        }
        self.remember(key, address, is_refused);
        self.arm(key);
        let loop_index = self.services.loop_index();
        log::debug!(connection:% = Peer { loop_index, key }; "accepted from {address}");
        key
    }

    /// From now on the listeners, each by its number, do their TLS handshakes so; `None` where one is
    /// plain.
    pub fn configure_tls(&mut self, configs: &[Option<ListenerConfig>]) {
        self.cold.tls().configure(configs);
        if configs.iter().any(Option::is_some) {
            // It belongs to no connection, so it cannot grow when the first long record comes.
            self.input.make_shared_room(RECORD_BYTES_MAX);
        }
    }

    /// From now on handshakes of the listeners, each by its number, are counted in these.
    pub fn count_listeners(&mut self, counters: Vec<Arc<Entry<ListenerCounters>>>) {
        self.cold.tls().count(counters);
    }

    /// From now on connections that are accepted are told to `sink` when they end. Until then they cost
    /// a record more than others.
    pub fn log_access(&mut self, sink: AccessSink) {
        self.cold.log_access(sink);
    }

    /// From now on connections are counted by their addresses in `shared`.
    pub fn count_addresses(&mut self, shared: SharedAddresses) {
        self.turn.addresses.count_in(shared);
    }

    /// From now on what users send is counted in `shared`, where their routes limit it.
    pub fn count_users(&mut self, shared: SharedUserRates) {
        self.cold.count_users_in(shared);
    }

    /// Says what becomes of a client by its address, before its connection is added.
    pub fn judge_address(&mut self, address: SocketAddr) -> AddressVerdict {
        self.turn.judge_address(address.ip())
    }

    /// A connection that was just accepted has this verdict by its address.
    pub fn mark_address(&mut self, key: ConnKey, verdict: AddressVerdict) {
        self.turn.addresses.mark(key.index, verdict);
    }

    /// Whether connections of this listener speak TLS.
    #[must_use]
    #[inline]
    pub fn has_tls(&self, listener: usize) -> bool {
        self.cold.has_tls(listener)
    }

    /// Whether more TLS handshakes wait than is good, so that no more are to be accepted: a client that
    /// waits in the kernel's queue costs nothing, and is not thrown out.
    #[must_use]
    pub fn is_full_of_handshakes(&self) -> bool {
        self.schedule.handshakes.len() >= HANDSHAKES_WAITING_MAX
    }

    /// A connection that was just accepted came by the TLS listener with this number.
    pub fn enter_tls(&mut self, key: ConnKey, listener: usize, address: SocketAddr) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let entered = self.cold.enter_tls(&mut conn.cold, listener, address, &mut self.turn);
        if entered == Err(OverBudget) {
            self.turn.counters.tls_failed_memory.add(1);
            // It could not be told so in any way that it understands.
            self.abort(key, CloseReason::Overload);
        }
    }

    /// Keeps what the access log and some route may want to know of a connection.
    fn remember(&mut self, key: ConnKey, address: SocketAddr, is_refused: bool) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let (link, memory) = (&mut conn.cold, &mut self.turn.memory);
        #[cfg(any(test, feature = "sim"))]
        if self.has_fake_cipher {
            let cipher = Simulated::Cipher(Box::default(), self.turn.tick);
            if self.cold.simulate(link, cipher, memory) == Err(OverBudget) {
                return self.abort(key, CloseReason::Overload);
            }
        }
        if self.cold.remember(link, address, self.turn.now, memory) == Err(OverBudget) {
            self.turn.counters.access_unlogged.add(1);
        }
        if !is_refused && self.services.router().wants_addresses() {
            // Without room for it, a service that wants the address finds none.
            let _ = self.cold.set_address(link, address, memory);
        }
    }

    /// A connection that was just accepted came by the listener with this number, which decides what
    /// hosts its request may name. Without this call it is number 0.
    pub fn enter_http(&mut self, key: ConnKey, listener: u8) {
        if let Some(conn) = self.table.get_mut(key) {
            conn.route = listener;
        }
    }

    /// What a connection of `peer` begins with, by a listener with this policy.
    #[must_use]
    pub fn opening(&self, policy: HeaderPolicy, peer: IpAddr) -> Opening {
        self.turn.settings.proxies.opening(policy, peer)
    }

    /// A connection that was just accepted begins with a header of the PROXY protocol, which may be
    /// left out if it `is_optional`. Behind it comes HTTP, unless [`await_line`](Self::await_line) is
    /// called next.
    pub fn await_header(&mut self, key: ConnKey, is_optional: bool) {
        if let Some(conn) = self.table.get_mut(key) {
            conn.protocol = Protocol::Proxied(AwaitedHeader::before_http(is_optional));
        }
    }

    /// A connection that was just accepted came by a line listener of this route.
    pub fn enter_line(&mut self, key: ConnKey, route: u8) {
        let Some(mut at) = self.at(key) else { return };
        at.conn.protocol = Protocol::Line;
        let outcome = at.enter_line(route);
        self.proceed(key, outcome);
        self.apply_effects();
    }

    /// As [`Connections::enter_line`], once what comes before its first line is over: a header of the
    /// PROXY protocol, a TLS handshake, or one after the other.
    pub fn await_line(&mut self, key: ConnKey, route: u8) {
        if let Some(conn) = self.table.get_mut(key) {
            conn.protocol = match conn.protocol {
                Protocol::Proxied(awaited) => Protocol::Proxied(awaited.before_lines()),
                Protocol::Backend
                | Protocol::Exchange
                | Protocol::ExchangeBackend
                | Protocol::FrameBackend
                | Protocol::FrameRelay
                | Protocol::Http
                | Protocol::HttpNext
                | Protocol::Line
                | Protocol::Relay
                | Protocol::WebSocket => Protocol::Line,
            };
            conn.route = route;
        }
    }

    /// A connection that was just accepted relays to the next one that comes here, or to the one
    /// that waits for it.
    #[cfg(any(test, feature = "sim"))]
    pub fn enter_relay(&mut self, key: ConnKey) {
        let Some(at) = self.at(key) else { return };
        // Neither has a route.
        at.conn.protocol = Protocol::Backend;
        at.schedule.half_open.leave(&mut at.conn.flags);
        if !at.conn.state.open() {
            return;
        }
        at.population.opened();
        at.conn.flags.set(Flags::PAUSED_BY_PARTNER);
        // Whatever was kept for a request, of which there is none.
        at.cold.release(&mut at.conn.cold, at.turn.stream());
        let partner = self.unpaired.take();
        // Filed by `arm` for a handshake that does not take place; a relay has no deadline at rest.
        self.schedule.wheel.remove(&mut self.table, key.index);
        let Some(partner) = partner else { return self.unpaired = Some(key) };
        match self.cold.relays_mut().pair(partner, Some(key), &mut self.turn.memory) {
            Ok(link) => {
                for own in [partner, key] {
                    if let Some(conn) = self.table.get_mut(own) {
                        conn.link = link;
                    }
                    self.relay().resume(own);
                }
            }
            Err(OverBudget) => [partner, key].into_iter().for_each(|own| {
                self.abort(own, CloseReason::Overload);
            }),
        }
    }

    /// Whether connections to servers are to be begun, or relays have left something to be done.
    #[inline]
    #[must_use]
    pub fn wants_connects(&self) -> bool {
        self.cold.relays().has_work()
    }

    /// A connection to a server that is to be begun for a client, if there is one: the answer is
    /// [`handle_connecting`](Self::handle_connecting) or
    /// [`handle_unconnected`](Self::handle_unconnected). Requests that no server can answer are refused
    /// meanwhile, and what relays leave to be done for one of their ends is done.
    pub fn poll_connect(&mut self) -> Option<ConnectOrder> {
        if !self.wants_connects() {
            return None;
        }
        self.end_parted();
        loop {
            let client = self.cold.relays_mut().next_wanted()?;
            let waits = |conn: &&Conn<S>| {
                conn.state.is_handshake() || conn.state.phase() == ConnPhase::Exchanging
            };
            let Some(conn) = self.table.get(client).filter(waits) else { continue };
            let link = conn.link;
            self.turn.work.charge(prices::EFFECT);
            let next = self.cold.relays_mut().next(link, self.turn.now, &self.turn.counters);
            match next {
                relay::Next::Connect(route) => {
                    let (server, local, tls) = route.into_parts();
                    return Some(ConnectOrder { client, server, local, tls });
                }
                relay::Next::Refuse(failure) => {
                    let Some(mut at) = self.at(client) else { continue };
                    let outcome = at.refuse_relay(failure);
                    self.act(client, outcome);
                    self.arm_if_asked(client);
                    self.end_parted();
                }
                relay::Next::Nothing => {}
            }
        }
    }

    /// A connection to the server of this order is under way over `socket`, which counts against
    /// `connections_max`. Gives its key, for the poller.
    pub fn handle_connecting(&mut self, order: ConnectOrder, socket: S) -> ConnKey {
        let ConnectOrder { client, tls, .. } = order;
        let (state, tick) = (State::outbound(), self.turn.tick);
        let of_client = self.table.get(client).map(|conn| (conn.link, conn.route));
        let (link, route) = of_client.unwrap_or_default();
        let protocol = match self.cold.relays().exchange(link) {
            Some(_) => Protocol::ExchangeBackend,
            None => Protocol::Backend,
        };
        let key = self.table.insert(socket, state, protocol, tick);
        self.cold.relays_mut().set_backend(link, key);
        let Some(conn) = self.table.get_mut(key) else { return key };
        (conn.link, conn.route) = (link, route);
        // The poller reports room from the beginning, as that says that the connection stands.
        conn.flags.set(Flags::WRITE_BLOCKED);
        conn.flags.set(Flags::WRITE_INTEREST);
        let entered = match tls {
            Some(tls) => {
                self.input.make_shared_room(RECORD_BYTES_MAX);
                self.cold.enter_outbound_tls(&mut conn.cold, tls, &mut self.turn)
            }
            None => Ok(()),
        };
        let head = self.cold.relays().head(link);
        let pushed = self.output.queue_bytes(conn, key, head, &mut self.turn);
        self.turn.counters.relay_connects.add(1);
        let overload = entered.is_err().then_some(CloseReason::Overload);
        if let Some(reason) = pushed.abort_reason().or(overload) {
            self.cold.relays_mut().note_lost(link, Lost::Exhausted);
            self.abort(key, reason);
        }
        self.arm(key);
        key
    }

    /// No connection to the server of a [`ConnectOrder`] is under way.
    pub fn handle_unconnected(&mut self, client: ConnKey, error: ConnectError) {
        let Some(link) = self.table.get(client).map(|conn| conn.link) else { return };
        let lost = match error {
            ConnectError::Exhausted => Lost::Exhausted,
            ConnectError::NoPort => Lost::NoPort,
            ConnectError::Failed => Lost::Failed,
        };
        let relays = self.cold.relays_mut();
        if let (ConnectError::NoPort, Some(server)) = (error, relays.server(link)) {
            log::warn!("backend {}: no source port is left for it", server.address());
        }
        relays.note_lost(link, lost);
        relays.want(client);
    }

    /// How many may be accepted in one turn. More would push each other out of the half-open table
    /// before the requests that they came with could be read.
    pub fn accepts_max(&self) -> usize {
        self.turn.settings.half_open_max.max(1)
    }

    /// The socket of a connection, to register it.
    pub fn socket_mut(&mut self, key: ConnKey) -> Option<&mut S> {
        self.table.get_mut(key).map(|conn| &mut conn.socket)
    }

    /// The kernel cannot watch this socket.
    pub fn handle_unwatched(&mut self, key: ConnKey) {
        self.abort(key, CloseReason::Reset);
    }

    /// An event said that there may be something to read, or that the peer has ended its half.
    pub fn handle_readable(&mut self, key: ConnKey, ending: bool) {
        let mut reads_left = self.turn.settings.reads_per_turn;
        let must_wait = self.turn.work.is_over(Phase::Events);
        self.turn.work.begin_share();
        if !must_wait {
            self.catch_up_unless_queued(key);
        }
        let Some(mut at) = self.at(key) else {
            self.turn.counters.events_stale.add(1);
            return;
        };
        // Set before anything can put the read off: the kernel has given the edge and gives no
        // other for these bytes (epoll(7), edge-triggered), so from here on the flag is all that
        // remembers them.
        at.conn.flags.set(Flags::INPUT_PENDING);
        if ending {
            at.conn.flags.set(Flags::INPUT_ENDING);
            // Of line clients the lines before the end count, and a client that has said all of its request
            // may wait for the reply.
            let may_end = matches!(at.conn.protocol, Protocol::Exchange | Protocol::Line);
            if at.conn.flags.has(Flags::UNDECIDED) && !may_end {
                // The client that was to be let in is gone.
                self.turn.counters.handshakes_abandoned.add(1);
                return self.abort(key, CloseReason::Gone);
            }
        }
        if !at.conn.cold.is_none() && at.cold.is_handshaking(at.conn.cold) {
            at.schedule.handshakes.push(at.conn, key, at.turn.tick);
            return;
        }
        // Who has used up a share goes on when its turn in the queue comes, and not with each event.
        if must_wait || at.conn.flags.has(Flags::QUEUED) {
            at.run_later();
            return self.arm_if_asked(key);
        }
        let next = at.receive(&mut reads_left);
        // The usual echo leaves nothing to act on and no deadline to file, so `follow` stays out of
        // its way.
        if at.conn.flags.has(Flags::REARM) || !matches!(next, Next::Done) {
            self.follow(key, next, reads_left);
        }
    }

    /// An event said that there may be room.
    pub fn handle_writable(&mut self, key: ConnKey) {
        if self.turn.work.is_over(Phase::Events)
            && let Some(conn) = self.table.get_mut(key)
        {
            if conn.flags.take(Flags::WRITE_BLOCKED) && conn.state.is_open() {
                // Room has come, so the peer has taken bytes: a sign of life, which the write at the
                // end of the turn could not tell from that to any other socket with room.
                conn.note_seen(self.turn.tick);
            }
            if !conn.is_flushed() {
                self.output.mark_dirty(conn, key);
            }
            return self.arm_if_asked(key);
        }
        self.flush(key, Flags::WRITE_BLOCKED);
    }

    /// Does what another loop, or another thread, asked for.
    pub fn handle_message(&mut self, message: LoopMessage) {
        self.turn.counters.mail_in.add(1);
        self.turn.work.begin_share();
        self.turn.work.charge(prices::MAIL);
        self.do_message(message.0);
        self.settle_work();
    }

    /// Acts on connections whose time has come, at most `limit` of them.
    #[inline]
    pub fn handle_timers(&mut self, limit: usize) {
        // Most turns begin in the tick of the one before.
        if self.schedule.wheel.may_be_due(self.turn.tick) {
            self.fire_timers(limit);
        }
    }

    #[inline(never)]
    fn fire_timers(&mut self, limit: usize) {
        self.schedule.wheel.advance(&mut self.table, self.turn.tick);
        for number in 0..limit {
            if number > 0 && self.turn.work.is_over(Phase::Leftovers) {
                return;
            }
            let Some(index) = self.schedule.wheel.next_overdue(&mut self.table) else { break };
            self.turn.work.begin_share();
            self.turn.work.charge(prices::TIMER);
            if let Some(key) = self.table.key_of(index) {
                self.timer_fired(key);
            }
        }
    }

    /// Calls the services whose time has come.
    #[inline]
    pub fn handle_ticks(&mut self) {
        // The services of most routes have none.
        if self.services.has_ticks() {
            self.call_ticks();
        }
    }

    fn call_ticks(&mut self) {
        let now = self.turn.now;
        while let Some(route) = self.services.router().take_tick(now) {
            self.services.call(route, |own, effects| own.service.on_tick(effects));
            self.settle_work();
        }
    }

    /// The number of the loop.
    #[must_use]
    pub fn loop_index(&self) -> u16 {
        self.services.loop_index()
    }

    /// From now on every request is answered 503.
    pub fn start_draining(&mut self) {
        self.population.start_draining();
    }

    /// Gives the publications that are on their way, and the connections that had work left, one
    /// more share each, as far as the turn lasts.
    #[inline]
    pub fn run(&mut self) {
        // Most turns leave nothing over.
        if !self.walks.is_empty() {
            self.run_walks();
        }
        if !self.schedule.run_queue.is_empty() {
            self.run_all();
        }
        if !self.schedule.handshakes.is_empty() {
            self.run_handshakes();
        }
        if !self.room_lists.is_empty() {
            self.run_room_lists();
        }
        if self.turn.traces.is_on() {
            self.begin_traces();
        }
    }

    /// Goes on with TLS handshakes for a part of the turn.
    fn run_handshakes(&mut self) {
        let end = self.turn.work.used() + self.turn.settings.work.turn / HANDSHAKES_PART;
        for number in 0..self.schedule.handshakes.len() {
            // One at least, or others could keep them waiting for ever.
            if number > 0 && self.turn.work.used() >= end {
                return;
            }
            let tick = self.turn.tick;
            match self.schedule.handshakes.next(&mut self.table, tick) {
                Some(Some((key, waited))) => {
                    self.credit(key, waited);
                    self.turn.work.begin_share();
                    self.receive(key);
                }
                Some(None) => {}
                None => return,
            }
        }
    }

    fn run_all(&mut self) {
        // Who asks for more stands behind all these, and is not run again.
        for number in 0..self.schedule.run_queue.len() {
            // One at least, or events could keep it waiting for ever.
            if number > 0 && self.turn.work.is_over(Phase::Leftovers) {
                return;
            }
            let Some(key) = self.schedule.run_queue.next(&mut self.table) else { continue };
            if let Some(conn) = self.table.get_mut(key)
                && !conn.cold.is_none()
                && self.cold.is_handshaking(conn.cold)
            {
                self.schedule.handshakes.push(conn, key, self.turn.tick);
                continue;
            }
            self.turn.work.begin_share();
            self.receive(key);
        }
    }

    /// The time that a handshake waited for its part of a turn is not the peer's: it is added to what it
    /// has, up to as much again.
    fn credit(&mut self, key: ConnKey, waited: u32) {
        let max = Tick::default().after_ms(self.turn.settings.handshake_ms).0;
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.state.is_handshake() {
            conn.seen = Tick(conn.seen.0 + self.cold.credit(conn.cold, waited, max));
        }
    }

    /// Writes to at most `limit` connections that were pushed to; the rest waits a turn, and what
    /// is pushed to them until then goes out in the same write.
    #[inline]
    pub fn flush_dirty(&mut self, limit: usize) {
        if self.output.has_dirty() {
            self.flush_some(limit);
        }
    }

    fn flush_some(&mut self, limit: usize) {
        let mut left = limit;
        while left > 0 {
            // Now and then suffices to see whether the turn's work is done.
            let count = left.min(FLUSHES_MIN);
            left -= count;
            if !self.flush_count(count) || self.turn.work.is_over(Phase::End) {
                return;
            }
        }
    }

    /// Writes to `count` connections that were pushed to; whether there were as many.
    #[inline]
    fn flush_count(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let Some(key) = self.output.next_dirty() else { return false };
            // `flush` may put it back at the end of the list when its share is used up; the limit
            // still ends this.
            self.flush(key, Flags::DIRTY);
        }
        true
    }

    /// A connection that the poller must report room for from now on.
    pub fn poll_write_interest(&mut self) -> Option<ConnKey> {
        self.output.next_write_interest()
    }

    /// Whether there are messages for other loops, or room for many that is to be given back.
    #[must_use]
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.mail.count() > 0 || self.mail.has_grown()
    }

    /// Messages for other loops, with the loop that each is for.
    pub fn poll_messages(&mut self) -> std::vec::Drain<'_, (u16, LoopMessage)> {
        self.mail.take()
    }

    /// When a timer may be due next.
    #[must_use]
    pub fn poll_timer(&self) -> Option<Millis> {
        self.schedule.wheel.next_due()
    }

    /// When a service wants to be called next.
    #[must_use]
    #[inline]
    pub fn poll_tick(&self) -> Option<Millis> {
        self.services.next_tick(self.turn.now)
    }

    /// Says whether messages for other loops pile up. Connections that make more of them are not
    /// read until they no longer do.
    #[inline]
    pub fn set_mail_full(&mut self, is_full: bool) {
        // Most turns change nothing.
        if self.mail.is_full() || is_full {
            self.change_mail_full(is_full);
        }
    }

    fn change_mail_full(&mut self, is_full: bool) {
        for key in self.mail.set_full(is_full) {
            if let Some(conn) = self.table.get_mut(key) {
                // What arrived during the pause gave its edge then.
                conn.flags.clear(Flags::PAUSED_BY_MAIL);
                self.schedule.run_queue.push(conn, key);
                // The deadline of a message that it has begun no longer stands still.
                self.arm(key);
            }
        }
    }

    /// Whether there is work that no event will announce.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.schedule.run_queue.is_empty()
            || !self.schedule.handshakes.is_empty()
            || !self.walks.is_empty()
            || !self.room_lists.is_empty()
            || self.turn.traces.is_on() && self.turn.traces.beginning().is_some()
            || self.output.has_dirty()
            || !self.schedule.dead.is_empty()
            || self.services.has_effects()
            || self.output.has_write_interest()
            || self.cold.relays().has_work()
            || self.is_evicting
            // Accepting comes after the mail of a turn is sent; what an admission or an abort there
            // has led to goes out in the next turn, which must not wait.
            || self.mail.count() > 0
    }

    /// Connections in the table, in any phase.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Open connections.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.population.open()
    }

    /// Connections over the limit, which wait for their 503.
    #[must_use]
    pub fn refused_count(&self) -> usize {
        self.population.refused()
    }

    /// Releases buffers, compressors and contexts that lie unused. Gives the moment to ask again.
    #[inline]
    pub fn trim(&mut self) -> Option<Millis> {
        // Most loops hold nothing whenever they come to rest, and have said so.
        let holds_nothing = self.turn.memory.allocated_bytes() == 0
            && self.output.compressor().bytes() == 0
            && self.output.backlog().is_bare()
            && self.input.is_bare()
            && self.cold.is_bare()
            && self.turn.counters.context_bytes_now.value() == 0;
        let due = if holds_nothing { None } else { self.trim_all() };
        let addresses_due = self.turn.addresses.trim(self.turn.now);
        earliest([due, addresses_due, self.cold.trim_users(self.turn.now)])
    }

    /// Whether much memory may lie free between blocks in use, since this was last asked.
    #[inline]
    pub fn poll_scattered_memory(&mut self) -> bool {
        self.cold.tls().take_scattered()
    }

    #[inline(never)]
    fn trim_all(&mut self) -> Option<Millis> {
        let (now, idle_ms) = (self.turn.now, self.turn.settings.pool_idle_ms);
        let memory = &mut self.turn.memory;
        let due = [
            memory.trim(now, idle_ms),
            self.input.trim(now, idle_ms, memory),
            self.output.trim(now, idle_ms),
            self.cold.trim(now, idle_ms, memory),
        ];
        let due = earliest(due);
        // What was freed is no longer charged.
        let _ = self.input.settle(&mut self.turn.memory);
        let _ = self.output.settle(&mut self.turn.memory);
        // A loop at rest takes no turn that would bring the gauges up to date.
        self.turn.counters.pool_bytes_now.set(self.pool_bytes());
        self.sample_contexts();
        due
    }

    /// Charges the pool for what the turn has left to be held, and returns what is no longer held.
    #[inline]
    pub fn relieve(&mut self) {
        let memory = &mut self.turn.memory;
        // Where the pool has no room, what is held stays uncharged until it has: it was bounded when
        // it was queued.
        let _ = self.input.settle(memory);
        let _ = self.output.settle(memory);
        self.evict_if_scarce();
    }

    /// Brings the gauges up to date.
    pub fn sample(&self) {
        let counters = &self.turn.counters;
        counters.connections_now.set(self.table.len() as u64);
        counters.half_open_now.set(self.schedule.half_open.count() as u64);
        counters.open_now.set(self.population.open() as u64);
        counters.tls_waiting_now.set(self.schedule.handshakes.len() as u64);
        counters.relays_now.set(self.cold.relays().count() as u64);
        counters.pool_bytes_now.set(self.pool_bytes());
        self.sample_compression();
    }

    /// Most turns have none, so whether there was any is asked first.
    fn sample_compression(&self) {
        let counters = &self.turn.counters;
        self.input.inflated().sample(counters);
        let compressor = self.output.compressor();
        let compressors = compressor.compressors();
        if counters.deflated_messages.value() != compressors.messages {
            counters.deflated_messages.set(compressors.messages);
            counters.deflated_bytes_before.set(compressors.bytes_in);
            counters.deflated_bytes_after.set(compressors.bytes_out);
        }
        counters.deflate_out_of_room.set(compressor.out_of_room());
        counters.deflate_given_up.set(compressors.given_up);
    }

    /// Most loops have none at any time.
    #[inline]
    fn sample_contexts(&self) {
        let counters = &self.turn.counters;
        let incoming = self.input.inflated().contexts();
        let outgoing = self.output.compressor().contexts();
        let bytes = (incoming.bytes() + outgoing.bytes()) as u64;
        if bytes > 0 || counters.context_bytes_now.value() > 0 {
            counters.contexts_in_now.set(incoming.count() as u64);
            counters.contexts_out_now.set(outgoing.count() as u64);
            counters.context_bytes_now.set(bytes);
        }
    }

    /// Bytes that this loop has of the process's pool.
    fn pool_bytes(&self) -> u64 {
        (self.turn.memory.allocated_bytes() + self.output.compressor().bytes()) as u64
    }

    /// The connection of `key`, if it is still there, with the owners that a step may use.
    #[inline]
    pub(super) fn at(&mut self, key: ConnKey) -> Option<Active<'_, S>> {
        Some(Active {
            key,
            conn: self.table.get_mut(key)?,
            cold: &mut self.cold,
            input: &mut self.input,
            output: &mut self.output,
            services: &mut self.services,
            schedule: &mut self.schedule,
            population: &mut self.population,
            turn: &mut self.turn,
        })
    }

    /// Reads until nothing is left or the share is used up.
    fn receive(&mut self, key: ConnKey) {
        let mut reads_left = self.turn.settings.reads_per_turn;
        self.catch_up(key);
        let Some(mut at) = self.at(key) else { return };
        let next = at.receive(&mut reads_left);
        self.follow(key, next, reads_left);
    }

    /// Goes on with what is unfinished, then reads at most `reads_left` times.
    pub(super) fn resume(&mut self, key: ConnKey, unfinished: Unfinished, mut reads_left: usize) {
        let Some(mut at) = self.at(key) else { return };
        let next = at.resume(unfinished, &mut reads_left);
        self.follow(key, next, reads_left);
    }

    /// Carries out what a connection's reads came to, until it has nothing left to do in this turn.
    #[inline(never)]
    fn follow(&mut self, key: ConnKey, mut next: Next, mut reads_left: usize) {
        loop {
            // Before anything else: the deadline that a step asked for is filed, whether the
            // connection goes on or waits for its next event.
            self.arm_if_asked(key);
            let unfinished = match next {
                Next::Done => return,
                // No edge will come for what is left in the socket or in the partial-read buffer.
                Next::Later => return self.run_later(key),
                Next::Act(Some(mut unfinished), Outcome::Forward) => {
                    self.forward(key, unfinished.buffer_mut());
                    Some(unfinished)
                }
                Next::Act(unfinished, outcome) => {
                    self.act(key, outcome);
                    unfinished
                }
            };
            // Only the reaper takes connections out of the table, at the end of a turn. So the
            // connection is still here, dead perhaps, and the buffer that `unfinished` holds always
            // gets back to `Input`: a shared buffer that was dropped here would leave the loop
            // without one.
            let Some(mut at) = self.at(key) else { return };
            next = match unfinished {
                Some(unfinished) => at.resume(unfinished, &mut reads_left),
                None => at.receive(&mut reads_left),
            };
        }
    }

    /// Carries out what a step came to, and before it the effects that services noted in it.
    pub(super) fn act(&mut self, key: ConnKey, outcome: Outcome) {
        // Taken whatever the outcome is: a request left behind would close the next connection that
        // is handled.
        let close_request = self.output.outgoing().take_close();
        // An answer to a request is written first; what admitting it led to waits for the turn's end.
        if !matches!(outcome, Outcome::Finish(_)) {
            // Applying effects may end this connection, or let others in whose partial-read buffers
            // are then decoded. It never reads from a socket, so the shared buffer may be lent
            // meanwhile.
            let before = self.mail.count();
            self.walks.set_publisher(Some(key));
            self.apply_effects();
            self.walks.set_publisher(None);
            if let Some(conn) = self.table.get_mut(key) {
                self.mail.pause_if_full(conn, key, before);
                // Who publishes is not read until it is delivered, so that no client has more waiting
                // than one share of messages led to.
                if self.walks.waits_for(key) {
                    conn.flags.set(Flags::PAUSED_BY_FANOUT);
                }
            }
        }
        match outcome {
            Outcome::Abort(reason) => self.abort(key, reason),
            Outcome::Broken(violation) => {
                let reason = CloseReason::Violation(violation);
                self.fail(key, violation.close_code(), &violation.to_string(), reason);
            }
            Outcome::Close => {
                if let Some(request) = close_request {
                    self.close_for_service(key, &request);
                }
            }
            Outcome::Closed(code) => self.answer_close(key, code),
            Outcome::EndAfterClose => self.end_after_close(key),
            Outcome::Finish(reason) => self.finish(key, reason),
            Outcome::Fragments => {
                let text = "message of too many fragments";
                self.fail(key, CloseCode::POLICY, text, CloseReason::Fragments);
            }
            Outcome::InputEnded => self.input_ended(key),
            // The relay's bytes are the caller's to pass on.
            Outcome::Forward | Outcome::NeedMore => {}
            Outcome::NoRoom => self.overloaded(key),
            Outcome::OverRate => {
                let text = "more than the rate allows";
                self.fail(key, CloseCode::POLICY, text, CloseReason::OverRate);
            }
            Outcome::LinesBegin => {
                let Some(mut at) = self.at(key) else { return };
                let outcome = at.enter_line(at.conn.route);
                self.proceed(key, outcome);
                self.apply_effects();
            }
            Outcome::OutputFull | Outcome::ShareUsed => {
                // The effects may have ended the connection, whose input is thrown away then.
                if let Some(conn) = self.table.get_mut(key).filter(|conn| conn.state.is_open())
                    // No edge comes for what stays undecoded: the flag has it decoded when the
                    // pause ends. Without a pause decoding goes on at once.
                    && (outcome == Outcome::ShareUsed || conn.flags.is_paused())
                {
                    conn.flags.set(Flags::UNDECODED);
                }
            }
        }
    }
}

impl<S> Connections<S> {
    /// What deadlines are computed from.
    #[inline]
    fn deadlines(&self) -> Deadlines<'_> {
        Deadlines {
            input: &self.input,
            backlog: self.output.backlog(),
            cold: &self.cold,
            services: &self.services,
            ages: &self.schedule.ages,
            settings: &self.turn.settings,
            now: self.turn.now,
        }
    }
}

/// Connections that are written to even in a turn whose work is done, so that what was pushed gets on
/// its way.
const FLUSHES_MIN: usize = 16;
/// What part of a turn TLS handshakes get, though one in each turn: a quarter.
const HANDSHAKES_PART: u64 = 4;
/// TLS handshakes that wait before accepting pauses.
const HANDSHAKES_WAITING_MAX: usize = 1024;
