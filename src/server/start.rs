//! From settings and routes to running loops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::certificates::{CertificateOptions, Certificates};
use super::handle::Handle;
use super::listener_numbers::ListenerNumbers;
use super::listeners::Listeners;
use super::loop_thread::{LoopParts, RunningLoop};
use super::request_rules::RequestRules;
use super::serving::{Served, Serving, listener_labels, loop_reload};
use super::settings::{conn_settings, mail_limits};
use super::start_error::StartError;
use crate::access::AccessSink;
use crate::admission::{SharedAddresses, SharedUserRates};
use crate::config::ResolvedConfig;
use crate::mail::{LoopEvents, Wake, mesh};
use crate::os::{PassedSockets, SystemClock};
use crate::pool::SharedBudget;
use crate::reactor::{ConnectionPermits, DrainTerms, LoopReload, MioPoller, OverloadMarks};
use crate::services::{Route, RouteHistory, Router};
use crate::timer::Clock as _;

impl Handle {
    /// Binds the listeners and starts the loops, which serve `routes`.
    ///
    /// # Errors
    /// As [`Handle::start_on`].
    pub fn start(settings: &ResolvedConfig, routes: Vec<Route>) -> Result<Self, StartError> {
        Self::start_on(settings, routes, PassedSockets::default(), None)
    }

    /// As [`Handle::start`], on the sockets that were passed to the process as far as there are any:
    /// [`PassedSockets::take`] takes them over. Each serves the listener with its address, or that with the
    /// number N where its name is `listener-N`. `access` is told of each connection when it ends.
    ///
    /// # Errors
    /// If a certificate cannot be used, if an address is taken, if line clients are to join a route that is not among `routes`, or
    /// if the system has no resources for the loops.
    pub fn start_on(
        settings: &ResolvedConfig,
        routes: Vec<Route>,
        passed: PassedSockets,
        access: Option<AccessSink>,
    ) -> Result<Self, StartError> {
        let clock = SystemClock::start();
        let addresses: Vec<SocketAddr> = settings.listeners.iter().map(|own| own.address).collect();
        let mut numbers = ListenerNumbers::default().next(&addresses, 0, clock.now())?;
        let history = RouteHistory::new(Router::first_numbers(&routes));
        // Before an address is bound: what is wrong is then said although the port is taken.
        let none = Vec::new();
        let (rules, marks) = (RequestRules::default(), OverloadMarks::default());
        let both = (&rules, &marks);
        let reload = loop_reload(settings, routes, &numbers, history.numbers(), both, &[], none);
        let mut reload = reload.map_err(StartError::Route)?;
        let certificates = Certificates::load(settings, clock)?;
        let tls = certificates.listener_configs();
        let Listeners { addresses, by_loop, are_held } = Listeners::open(settings, passed)?;
        for (position, address) in addresses.into_iter().enumerate() {
            numbers.bind(position, address);
        }
        let labels = listener_labels(&numbers, &[]);
        reload.loop_settings.listeners.labels.clone_from(&labels);
        let rules = rules.next(settings, &numbers);
        reload.conn_settings = Arc::new(conn_settings(settings, &rules));
        let pollers = by_loop.into_iter().map(MioPoller::new).collect::<io::Result<Vec<_>>>()?;
        let (pollers, wakes): (Vec<_>, Vec<Wake>) = pollers.into_iter().unzip();
        let mailboxes = mesh(&wakes, mail_limits(settings));
        let connections = SharedBudget::new(settings.limits.connections_max);
        let permits = ConnectionPermits::for_loops(&connections, &wakes);
        let (events, event_senders) = LoopEvents::new(settings.loops);
        let pool = SharedBudget::for_pool(settings.limits.pool_bytes_max);
        let client_addresses = SharedAddresses::default();
        let served = Served {
            listeners: numbers,
            routes: history,
            rules,
            labels,
            listener_configs: tls.clone(),
            tls: tls.clone(),
            certificate_options: CertificateOptions::of(settings),
        };
        let parts = Arc::new(LoopParts {
            pool: pool.clone(),
            clock,
            loops: settings.loops,
            pin_loops: settings.pin_loops,
            settings: LoopReload { tls, ..reload },
            access,
            addresses: client_addresses.clone(),
            users: SharedUserRates::default(),
        });
        let mut loops = Vec::with_capacity(settings.loops);
        let each = pollers.into_iter().zip(mailboxes).zip(permits).zip(event_senders);
        let mut spawned = Ok(());
        for (index, (((poller, mailboxes), permits), own_events)) in each.enumerate() {
            match RunningLoop::spawn(index, &parts, poller, mailboxes, permits, own_events) {
                Ok(own) => loops.push(own),
                // A part of the loops would get a part of the connections.
                Err(error) => {
                    spawned = Err(error);
                    break;
                }
            }
        }
        let serving = Serving::new(clock, connections, pool, client_addresses, marks, served);
        let server = Self::new(loops, events, serving).on_held_sockets(are_held);
        match spawned.and_then(|()| certificates.watch(clock)) {
            Ok(certificates) => {
                server.serving().state().certificates = certificates;
                Ok(server)
            }
            Err(error) => {
                server.drain(DrainTerms::within_ms(0));
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{Config, Listener, MachineLimits};
    use crate::services::{BuiltInPage, Handler};

    #[test]
    fn line_clients_need_a_route_that_is_served() {
        let listener = Listener::line(SocketAddr::from(([127, 0, 0, 1], 0)), "/ws");
        let config = Config { listeners: vec![listener], ..Config::default() };
        let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
        let page = Route::new("/ws", Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat()))));
        let error = Handle::start(&settings, vec![page]).unwrap_err();
        assert!(matches!(error, StartError::Route(path) if path == "/ws"));
    }
}
