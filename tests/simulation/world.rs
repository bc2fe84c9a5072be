//! A server on the fake kernel with the services of the tests. [`World::pass`] advances the clock
//! from one wake-up of a loop to the next, so that no timer fires late.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use stats_alloc::Region;
use tidegate::config::SlowPolicy;
use tidegate::reactor::{DrainProgress, DrainTerms};
use tidegate::services::{
    Broadcast, BuiltInPage, DeflateOptions, Echo, Handler, Identities, LoopSite, MessageLimits,
    Order, Page, Route, RouteOptions, Service, SharedRouteObserver,
};
use tidegate::sim::{Faults, Network, ServerSettings, SimClock, SimServer};
use tidegate::timer::Clock as _;

use crate::ALLOCATOR;
use crate::add_service::Add;
use crate::client::{Client, LineClient, Records};
use crate::services::{CloseOnOpen, Gatekeeper, Journal, Relay, SelfMessenger, Watched};
use crate::tls_end::{TlsEnd, TlsSetup};
use crate::wire::PONG;

/// The settings of a [`World`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) server: ServerSettings,
    pub(crate) faults: Faults,
    pub(crate) message_bytes_max: Option<usize>,
    /// What each client may send.
    pub(crate) limits: MessageLimits,
    pub(crate) slow_policy: SlowPolicy,
    pub(crate) backlog_messages_max: Option<usize>,
    /// The compression of every route.
    pub(crate) deflate: DeflateOptions,
    /// How clients of every route prove who they are.
    pub(crate) identities: Identities,
    /// Whether the example service is served. It wakes its loops every second.
    pub(crate) has_add: bool,
    /// The number of descriptors that the server may open, from its first turn on.
    pub(crate) descriptors_max: Option<usize>,
    /// Whether the first listener speaks TLS, and how.
    pub(crate) tls: Option<TlsSetup>,
    /// Whether every route is observed.
    pub(crate) is_observed: bool,
}

/// A simulated server, its network and its clock.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) server: SimServer,
    pub(crate) journal: Journal,
    settings: ServerSettings,
    clock: SimClock,
    has_cipher: bool,
    tls: Option<(TlsSetup, Arc<ClientConfig>)>,
    /// What the server and the kernel below it have allocated and not freed since the first turn. With other
    /// tests at the same time, theirs is in it.
    allocated_bytes: isize,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self::serving(setup, |journal| routes(setup, journal))
    }

    /// A server with the routes that `routes` returns.
    pub(crate) fn serving(setup: &Setup, routes: impl FnOnce(&Journal) -> Vec<Route>) -> Self {
        let network = Network::new(setup.seed, setup.faults);
        network.set_descriptors_max(setup.descriptors_max.unwrap_or(usize::MAX));
        let journal = Journal::default();
        let mut settings = setup.server.clone();
        let tls = setup.tls.map(|own| {
            let (server, client) = own.configs();
            settings.tls = vec![Some(server)];
            (own, client)
        });
        let server = SimServer::new(&network, &settings, &routes(&journal));
        let clock = network.clock();
        let has_cipher = setup.server.has_fake_cipher;
        let allocated_bytes = 0;
        let mut world =
            Self { network, server, journal, settings, clock, has_cipher, tls, allocated_bytes };
        world.settle();
        world
    }

    /// A server with default settings and no faults.
    pub(crate) fn calm() -> Self {
        Self::new(&Setup::default())
    }

    /// Has the loops go by other settings and routes, each from its next turn on.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut ServerSettings), routes: &[Route]) {
        let mut settings = self.settings.clone();
        change(&mut settings);
        self.server.reload(&settings, routes).unwrap();
    }

    /// Runs turns until every loop would wait. Panics after `TURNS_MAX` turns.
    pub(crate) fn settle(&mut self) {
        self.try_settle().unwrap();
    }

    /// As [`World::settle`], with the broken invariant as an error.
    pub(crate) fn try_settle(&mut self) -> Result<(), String> {
        self.run(|server| server.settle(TURNS_MAX))?;
        let entries = self.journal.entries();
        entries.violations.first().map_or(Ok(()), |broken| Err(broken.clone()))
    }

    /// Lets each loop take a turn that would be awake.
    pub(crate) fn step(&mut self) -> Result<bool, String> {
        self.run(SimServer::step)
    }

    fn run<T>(&mut self, run: impl FnOnce(&mut SimServer) -> T) -> T {
        let region = Region::new(ALLOCATOR);
        let result = run(&mut self.server);
        let change = region.change();
        let [more, less] =
            [change.bytes_allocated, change.bytes_deallocated].map(usize::cast_signed);
        self.allocated_bytes += more - less;
        result
    }

    /// What the server has allocated and not freed since the first turn. The allocator counts for the whole
    /// process, so it can only be asked by a test that has a process of its own (`--exact`).
    pub(crate) fn held_bytes(&self) -> isize {
        assert!(std::env::args().any(|argument| argument == "--exact"), "other tests are counted");
        self.allocated_bytes - self.network.send_buffer_capacity().cast_signed()
    }

    /// Advances the clock by `ms`, and runs the loops at each time they asked to be woken.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.try_pass(ms).unwrap();
    }

    /// As [`World::pass`], with the broken invariant as an error.
    pub(crate) fn try_pass(&mut self, ms: u64) -> Result<(), String> {
        let end = self.now() + ms;
        loop {
            self.try_settle()?;
            let wake = self.server.next_wake().map_or(end, |wake| wake.0.min(end));
            if wake <= self.now() {
                break;
            }
            self.clock.advance(wake - self.now());
        }
        self.clock.advance(end - self.now());
        self.try_settle()
    }

    /// Advances the clock by `ms` without a turn in between, as when the machine was suspended,
    /// then settles.
    pub(crate) fn jump(&mut self, ms: u64) {
        self.skip(ms);
        self.settle();
    }

    /// As [`World::jump`], without running a turn afterwards.
    pub(crate) fn skip(&self, ms: u64) {
        self.clock.advance(ms);
    }

    /// Sets the wall clock, and that alone, forwards or backwards.
    pub(crate) fn set_wall(&self, ms: i64) {
        self.clock.set_wall(ms);
    }

    /// Has `ms` pass before the wall clock is read the next time.
    pub(crate) fn stall(&self, ms: u64) {
        self.clock.stall(ms);
    }

    /// The date in milliseconds of the Unix clock.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.clock.wall_now().0
    }

    /// Passes `ms`, in which a client answers pings.
    pub(crate) fn answer_pings(&mut self, client: &mut Client, ms: u64) {
        let end = self.now() + ms;
        while self.now() < end {
            self.pass((end - self.now()).min(PINGS_ANSWERED_WITHIN_MS));
            let before = client.received.pings;
            self.exchange(client);
            if client.received.pings > before {
                client.send_frame(PONG, b"");
                self.settle();
            }
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now().0
    }

    /// A client that has connected and sent nothing.
    pub(crate) fn connect(&self, loop_index: usize) -> Client {
        self.connect_at(loop_index, None)
    }

    /// As [`World::connect`], from this address.
    pub(crate) fn connect_from(&self, loop_index: usize, address: IpAddr) -> Client {
        self.connect_at(loop_index, Some(SocketAddr::new(address, 50_000)))
    }

    fn connect_at(&self, loop_index: usize, address: Option<SocketAddr>) -> Client {
        let connection = self.network.connect_from(loop_index, 0, address);
        let connection = connection.expect("the loop listens");
        let records = match &self.tls {
            Some((setup, config)) => {
                Records::Tls(Box::new(TlsEnd::new(Arc::clone(config), *setup).into()))
            }
            None if self.has_cipher => Records::Cipher(Default::default()),
            None => Records::Plain,
        };
        Client::new(connection, records)
    }

    /// A client of the line listener.
    pub(crate) fn connect_line(&mut self, loop_index: usize) -> LineClient {
        let connection = self.network.connect(loop_index, 1).expect("the loop listens for lines");
        self.settle();
        LineClient::new(connection)
    }

    /// A client whose upgrade on `path` was answered with 101.
    pub(crate) fn open(&mut self, loop_index: usize, path: &str) -> Client {
        let mut client = self.connect(loop_index);
        client.ask(path);
        self.settle();
        client.read_all();
        assert_eq!(client.received.status, Some(101));
        client
    }

    /// Settles and reads in turns until the client receives nothing more.
    pub(crate) fn exchange(&mut self, client: &mut Client) {
        loop {
            self.settle();
            if client.read_all() == 0 {
                return;
            }
        }
    }

    /// The value of a counter, summed over the loops.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.server.counter(name)
    }

    /// Starts a drain on all loops.
    pub(crate) fn drain(&self, drain_ms: u64, is_paced: bool) {
        self.server.drain(drain_ms, is_paced);
    }

    /// Starts a drain on all loops, and gives what they share.
    pub(crate) fn drain_on(&self, terms: DrainTerms) -> Arc<DrainProgress> {
        self.server.drain_on(terms)
    }
}

/// The routes of a [`World`].
pub(crate) fn routes(setup: &Setup, journal: &Journal) -> Vec<Route> {
    journal.entries().is_observed = setup.is_observed;
    let observer = || Arc::new(journal.clone()) as SharedRouteObserver;
    let options = RouteOptions {
        observer: setup.is_observed.then(observer),
        message_bytes_max: setup.message_bytes_max.unwrap_or(1 << 20),
        limits: setup.limits,
        slow_policy: setup.slow_policy,
        deflate: Some(setup.deflate),
        identities: setup.identities.clone(),
        ..RouteOptions::default()
    };
    let page: Handler = Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat()) as Box<dyn Page>));
    let mut routes = vec![
        socket("/echo", &options, journal, |_, _| Echo),
        socket("/broadcast", &options, journal, |_, _| Broadcast::new(Order::Topic)),
        socket("/gate", &options, journal, |_, site| Gatekeeper::new(site)),
        socket("/self-message", &options, journal, SelfMessenger::new),
        socket("/relay", &options, journal, |journal, _| Relay::new(journal)),
        socket("/close-on-open", &options, journal, |_, _| CloseOnOpen),
        Route::new("/", page),
    ];
    if setup.has_add {
        routes.push(socket("/add", &options, journal, |_, _| Add::default()));
    }
    routes
}

/// A route whose service is wrapped in [`Watched`].
pub(crate) fn socket<S: Service + 'static>(
    path: &str,
    options: &RouteOptions,
    journal: &Journal,
    make: impl Fn(Journal, LoopSite) -> S + Send + Sync + 'static,
) -> Route {
    let journal = journal.clone();
    let make = move |site| {
        let service = make(journal.clone(), site);
        Box::new(Watched::new(service, journal.clone())) as Box<dyn Service>
    };
    Route::new(path, Handler::Socket(Arc::new(make), options.clone()))
}

const TURNS_MAX: usize = 20_000;
const PINGS_ANSWERED_WITHIN_MS: u64 = 5_000;
