//! A whole server on the fake kernel: its loops, their mailboxes, and turns taken only when a real
//! loop would wake, so that an event or a deadline that the loop forgets shows as a hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ServerConfig;

use super::clock::SimClock;
use super::network::Network;
use super::poller::{SimListener, SimPoller, SimSocket};
use crate::access::AccessSink;
use crate::admission::{SharedAddresses, SharedUserRates};
use crate::certificates::ListenerConfig;
use crate::conn::{ConnSettings, Connections, check_invariants};
use crate::mail::{Envelope, LoopMailboxes, MailLimits, Mailbox, Reply, Wake, mesh};
use crate::metrics::{Counters, LoopMetrics};
use crate::pool::SharedBudget;
use crate::proxy_protocol::HeaderPolicy;
use crate::reactor::{
    ConnectionPermits, DrainProgress, DrainTerms, EventLoop, ListenerProtocol, ListenerSettings,
    LoopCommand, LoopEnvelope, LoopReload, LoopSettings, LoopState, OverloadSettings, Turn,
};
use crate::services::{LoopSite, Route, RouteHistory, RouteNumbers, Router, TooManyRoutes};
use crate::timer::{Clock, Millis};

/// Sizes of a simulated server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Event loops.
    pub loops: usize,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections over the limit that each loop holds to tell them so.
    pub refusals_max: usize,
    /// Bytes for partial reads and backlogs in all.
    pub pool_bytes_max: usize,
    /// Messages in one lane of a mailbox, and in all outboxes of a loop.
    pub items_max: usize,
    /// Bytes of the same.
    pub mail_bytes_max: usize,
    /// Messages that a loop handles in one turn.
    pub mail_per_turn: usize,
    /// The route that a second listener of each loop, for lines, leads to.
    pub line_route: Option<&'static str>,
    /// Whether the connections of each listener begin with a header of the PROXY protocol, by its number;
    /// where there is none, they do not.
    pub headers: Vec<HeaderPolicy>,
    /// Whether each loop has one more listener, whose connections relay to each other in pairs.
    pub has_relay: bool,
    /// Whether the bytes of all connections go in the records of a fake cipher.
    pub has_fake_cipher: bool,
    /// For each listener, by its number, how it does its TLS handshakes. Where there is none, or none
    /// for that listener, it is plain.
    pub tls: Vec<Option<Arc<ServerConfig>>>,
    /// What connections are told to when they end.
    pub access: Option<AccessSink>,
    /// When newcomers are refused because of overload.
    pub overload: OverloadSettings,
    /// Rules of the connections.
    pub connections: ConnSettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            loops: 1,
            connections_max: 1000,
            refusals_max: 16,
            pool_bytes_max: 64 << 20,
            items_max: 64,
            mail_bytes_max: 1 << 20,
            mail_per_turn: 256,
            line_route: None,
            headers: Vec::new(),
            has_relay: false,
            has_fake_cipher: false,
            tls: Vec::new(),
            access: None,
            overload: OverloadSettings::default(),
            connections: ConnSettings { half_open_max: 250, ..ConnSettings::default() },
        }
    }
}

/// A server whose loops take their turns when told.
#[derive(Debug)]
pub struct SimServer {
    network: Network,
    clock: SimClock,
    loops: Vec<Option<SimLoop>>,
    metrics: Vec<LoopMetrics>,
    routes: RouteHistory,
    /// The process's connection budget.
    pub connections: SharedBudget,
    /// The process's buffer budget.
    pub pool: SharedBudget,
    /// Where the process counts clients by their addresses.
    pub addresses: SharedAddresses,
}

#[derive(Debug)]
struct SimLoop {
    event_loop: EventLoop<SimPoller, SimClock>,
    mail: Arc<Mailbox<LoopEnvelope<SimListener>>>,
    woken: Arc<AtomicBool>,
    /// When it would wake without an event.
    wakes_at: Option<Millis>,
}

/// The connections of one loop, over TLS or a fake cipher if the settings say so.
fn connections_of(
    settings: &ServerSettings,
    site: LoopSite,
    router: Router,
    counters: &Arc<Counters>,
    pool: SharedBudget,
    now: Millis,
) -> Connections<SimSocket> {
    let own = Arc::new(settings.connections.clone());
    let mut connections = Connections::new(site, own, router, Arc::clone(counters), pool, now);
    if settings.has_fake_cipher {
        connections.use_fake_cipher();
    }
    connections.configure_tls(&listener_configs(settings));
    if let Some(sink) = &settings.access {
        connections.log_access(sink.clone());
    }
    connections
}

impl SimServer {
    /// Starts a server with these routes on `network`.
    #[must_use]
    pub fn new(network: &Network, settings: &ServerSettings, routes: &[Route]) -> Self {
        let count = settings.loops;
        let connections = SharedBudget::new(settings.connections_max);
        let pool = SharedBudget::for_pool(settings.pool_bytes_max);
        let woken: Vec<Arc<AtomicBool>> = (0..count).map(|_| Arc::default()).collect();
        let wakes: Vec<Wake> = woken
            .iter()
            .map(|woken| {
                let woken = Arc::clone(woken);
                Arc::new(move || woken.store(true, Ordering::Relaxed)) as Wake
            })
            .collect();
        let limits =
            MailLimits { items_max: settings.items_max, bytes_max: settings.mail_bytes_max };
        let metrics: Vec<LoopMetrics> = (0..count).map(|_| LoopMetrics::default()).collect();
        let addresses = SharedAddresses::default();
        let users = SharedUserRates::default();
        let counted = (&addresses, &users);
        let parts = SharedParts { network, settings, routes, pool: &pool, counted };
        let permits = ConnectionPermits::for_loops(&connections, &wakes);
        let each = mesh(&wakes, limits).into_iter().zip(permits).enumerate();
        let loops = each.map(|(index, (mailboxes, permits))| {
            let mail = Arc::clone(&mailboxes.external);
            let event_loop = parts.event_loop(index, metrics[index].clone(), mailboxes, permits);
            let woken = Arc::clone(&woken[index]);
            let wakes_at = Some(network.clock().now());
            Some(SimLoop { event_loop, mail, woken, wakes_at })
        });
        Self {
            loops: loops.collect(),
            metrics,
            routes: RouteHistory::new(Router::first_numbers(routes)),
            network: network.clone(),
            clock: network.clock(),
            connections,
            pool,
            addresses,
        }
    }

    /// Takes turns until every loop would wait; `turns_max` bounds how many. Gives how many it
    /// took.
    ///
    /// # Errors
    /// An invariant that does not hold after a turn, or a loop that does not come to rest.
    pub fn settle(&mut self, turns_max: usize) -> Result<usize, String> {
        for turns in 0..turns_max {
            if !self.step()? {
                return Ok(turns);
            }
        }
        Err(format!("no rest after {turns_max} turns"))
    }

    /// Lets each loop that would be awake take one turn; whether any was.
    ///
    /// # Errors
    /// An invariant that does not hold after a turn.
    pub fn step(&mut self) -> Result<bool, String> {
        let mut any = false;
        for index in 0..self.loops.len() {
            any |= self.step_loop(index)?;
        }
        Ok(any)
    }

    /// Lets one loop take a turn if it would be awake, so that loops can run ahead of each other;
    /// whether it was.
    ///
    /// # Errors
    /// An invariant that does not hold after the turn.
    pub fn step_loop(&mut self, index: usize) -> Result<bool, String> {
        let Some(own) = &mut self.loops[index] else { return Ok(false) };
        if own.woken.swap(false, Ordering::Relaxed) {
            self.network.wake(index);
        }
        let is_due = own.wakes_at.is_some_and(|at| at <= self.clock.now());
        if !is_due && !self.network.has_events(index) {
            return Ok(false);
        }
        let turn = own.event_loop.turn(None).map_err(|error| error.to_string())?;
        check_invariants(own.event_loop.connections())
            .map_err(|broken| format!("loop {index}: {broken}"))?;
        match turn {
            Turn::GoesOn => {
                let now = self.clock.now();
                let timeout = own.event_loop.timeout();
                own.wakes_at = timeout
                    .map(|timeout| now.plus(u64::try_from(timeout.as_millis()).unwrap_or(0)));
            }
            Turn::Finished => self.loops[index] = None,
        }
        Ok(true)
    }

    /// When the first loop wakes by its own timeout if nothing happens before; `None` if all wait
    /// for events.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        self.loops.iter().flatten().filter_map(|own| own.wakes_at).min()
    }

    /// Has every loop go by these settings and routes from its next turn on, as a reload of the
    /// configuration does. Sizes that a loop or its mailboxes are made with stay.
    ///
    /// # Errors
    /// If the routes, with former ones that are in use, have no numbers left.
    pub fn reload(
        &mut self,
        settings: &ServerSettings,
        routes: &[Route],
    ) -> Result<(), TooManyRoutes> {
        let loops = self.loops.iter().flatten();
        let in_use: Vec<u8> =
            loops.flat_map(|own| own.event_loop.connections().routes_in_use()).collect();
        let sockets = routes.iter().filter(|route| route.is_socket());
        let ids = sockets.map(|route| &route.id);
        self.routes = self.routes.next(ids, &in_use, self.clock.now())?;
        self.connections.set_total(settings.connections_max);
        self.pool.set_total(settings.pool_bytes_max);
        let numbers = self.routes.numbers();
        let next = Arc::new(LoopReload {
            conn_settings: Arc::new(settings.connections.clone()),
            loop_settings: loop_settings(settings, protocols(settings, routes, numbers)),
            routes: routes.to_vec(),
            numbers: numbers.clone(),
            tls: listener_configs(settings),
        });
        for index in 0..self.loops.len() {
            let (reply, _) = Reply::channel();
            self.command(index, LoopCommand::Reload { next: Arc::clone(&next), reply });
        }
        Ok(())
    }

    /// Begins a drain on all loops.
    pub fn drain(&self, drain_ms: u64, is_paced: bool) {
        let _ = self.drain_on(DrainTerms { is_paced, ..DrainTerms::within_ms(drain_ms) });
    }

    /// Begins a drain on all loops, and gives what they share.
    pub fn drain_on(&self, terms: DrainTerms) -> Arc<DrainProgress> {
        let progress = Arc::new(DrainProgress::new());
        for index in 0..self.loops.len() {
            let progress = Arc::clone(&progress);
            self.command(index, LoopCommand::Drain { terms, progress });
        }
        progress
    }

    /// Sends a command to a loop, unless that has ended.
    pub fn command(&self, index: usize, command: LoopCommand<SimListener>) {
        if let Some(own) = &self.loops[index] {
            own.mail.send_reserved(Envelope::Command(command));
        }
    }

    /// How a loop is doing; `None` if it has ended.
    #[must_use]
    pub fn state(&self, index: usize) -> Option<LoopState> {
        self.loops[index].as_ref().map(|own| own.event_loop.state())
    }

    /// What the last turn of a loop was charged with, in units of work; `None` if it has ended.
    #[must_use]
    pub fn work_used(&self, index: usize) -> Option<u64> {
        self.loops[index].as_ref().map(|own| own.event_loop.connections().work_used())
    }

    /// Whether all loops have ended.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.loops.iter().all(Option::is_none)
    }

    /// Connections in the tables of all loops.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        let loops = self.loops.iter().flatten();
        loops.map(|own| own.event_loop.connections().count()).sum()
    }

    /// What each loop counts, also those that have ended.
    #[must_use]
    pub fn metrics(&self) -> &[LoopMetrics] {
        &self.metrics
    }

    /// A counter, summed over all loops, also those that have ended, and over all routes.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let by_loop = self.metrics.iter().flat_map(|own| own.counters.values());
        let routes = self.metrics.iter().flat_map(|own| own.routes.iter());
        by_loop
            .chain(routes.flat_map(|own| own.values()))
            .filter(|(own_name, _)| *own_name == name)
            .map(|(_, value)| value)
            .sum()
    }
}

/// What all loops of a simulated server are made from.
struct SharedParts<'p> {
    network: &'p Network,
    settings: &'p ServerSettings,
    routes: &'p [Route],
    pool: &'p SharedBudget,
    /// Where clients are counted by their addresses, and what users send.
    counted: (&'p SharedAddresses, &'p SharedUserRates),
}

impl SharedParts<'_> {
    fn event_loop(
        &self,
        index: usize,
        metrics: LoopMetrics,
        mailboxes: LoopMailboxes<LoopEnvelope<SimListener>>,
        permits: ConnectionPermits,
    ) -> EventLoop<SimPoller, SimClock> {
        let Self { network, settings, routes, pool, counted: (addresses, users) } = *self;
        let number = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
        let site = LoopSite { index: number(index), count: number(settings.loops) };
        let clock = network.clock();
        let protocols = protocols(settings, routes, &Router::first_numbers(routes));
        let mut router = Router::new(routes, site);
        router.count_in(&metrics.routes);
        let counters = &metrics.counters;
        let mut own_connections =
            connections_of(settings, site, router, counters, pool.clone(), clock.now());
        own_connections.count_addresses(addresses.clone());
        own_connections.count_users(users.clone());
        EventLoop::new(
            network.poller(protocols.len()),
            clock,
            loop_settings(settings, protocols),
            own_connections,
            metrics,
            mailboxes,
            permits,
        )
    }
}

fn listener_configs(settings: &ServerSettings) -> Vec<Option<ListenerConfig>> {
    settings.tls.iter().map(|own| own.clone().map(ListenerConfig::from)).collect()
}

fn protocols(
    settings: &ServerSettings,
    routes: &[Route],
    numbers: &RouteNumbers,
) -> Vec<ListenerProtocol> {
    let line = settings.line_route.and_then(|path| Router::number_among(routes, path, numbers));
    let line = line.map(ListenerProtocol::Line);
    let relay = settings.has_relay.then_some(ListenerProtocol::Relay);
    [ListenerProtocol::Http].into_iter().chain(line).chain(relay).collect()
}

fn loop_settings(settings: &ServerSettings, protocols: Vec<ListenerProtocol>) -> LoopSettings {
    LoopSettings {
        listeners: ListenerSettings {
            protocols: protocols.into_iter().map(Some).collect(),
            headers: settings.headers.clone(),
            labels: Vec::new(),
            accepts_per_turn: 64,
            refusals_max: settings.refusals_max,
            accept_pause_ms: 50,
            overload: settings.overload.clone(),
        },
        mail_per_turn: settings.mail_per_turn,
        timers_per_turn: 256,
        flushes_per_turn: 64,
        reaps_per_turn: 32,
        outbox: MailLimits { items_max: settings.items_max, bytes_max: settings.mail_bytes_max },
    }
}
