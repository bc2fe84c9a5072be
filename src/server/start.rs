//! From settings and routes to running loops.

use std::io;
use std::sync::Arc;

use super::certificates::Certificates;
use super::handle::Handle;
use super::listeners::Listeners;
use super::loop_thread::{LoopParts, RunningLoop};
use super::settings::{conn_settings, loop_settings, mail_limits};
use super::start_error::StartError;
use crate::access::AccessSink;
use crate::config::{Listener, ListenerKind, ResolvedConfig};
use crate::mail::{LoopEvents, Wake, mesh};
use crate::os::{PassedSockets, SystemClock};
use crate::pool::SharedBudget;
use crate::reactor::{ConnectionPermits, DrainTerms, ListenerProtocol, MioPoller};
use crate::services::{Route, Router};

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
        let protocols =
            settings.listeners.iter().map(|listener| listener_protocol(listener, &routes));
        let protocols = protocols.collect::<Result<Vec<_>, _>>()?;
        let clock = SystemClock::start();
        // Before an address is bound: what is wrong is then said although the port is taken.
        let certificates = Certificates::load(settings, clock)?;
        let Listeners { addresses, by_loop, are_held } = Listeners::open(settings, passed)?;
        let pollers = by_loop.into_iter().map(MioPoller::new).collect::<io::Result<Vec<_>>>()?;
        let (pollers, wakes): (Vec<_>, Vec<Wake>) = pollers.into_iter().unzip();
        let mailboxes = mesh(&wakes, mail_limits(settings));
        let connections = SharedBudget::new(settings.limits.connections_max);
        let permits = ConnectionPermits::for_loops(&connections, &wakes);
        let (events, event_senders) = LoopEvents::new(settings.loops);
        let parts = Arc::new(LoopParts {
            pool: SharedBudget::for_pool(settings.limits.pool_bytes_max),
            clock,
            routes,
            loops: settings.loops,
            pin_loops: settings.pin_loops,
            conn_settings: Arc::new(conn_settings(settings)),
            loop_settings: loop_settings(settings, protocols, &addresses),
            tls: certificates.listener_configs(),
            access,
        });
        let mut loops = Vec::with_capacity(settings.loops);
        let each = pollers.into_iter().zip(mailboxes).zip(permits).zip(event_senders);
        for (index, (((poller, mailboxes), permits), own_events)) in each.enumerate() {
            match RunningLoop::spawn(index, &parts, poller, mailboxes, permits, own_events) {
                Ok(own) => loops.push(own),
                Err(error) => {
                    // A part of the loops would get a part of the connections.
                    Self::new(addresses, loops, events, clock).drain(DrainTerms::within_ms(0));
                    return Err(error.into());
                }
            }
        }
        let server = Self::new(addresses, loops, events, clock).on_held_sockets(are_held);
        match certificates.watch(clock) {
            Ok(certificates) => Ok(server.with_certificates(certificates)),
            Err(error) => {
                server.drain(DrainTerms::within_ms(0));
                Err(error.into())
            }
        }
    }
}

/// What the clients of a listener speak, and with whom.
fn listener_protocol(
    listener: &Listener,
    routes: &[Route],
) -> Result<ListenerProtocol, StartError> {
    let path = match listener.kind {
        ListenerKind::Http => return Ok(ListenerProtocol::Http),
        ListenerKind::Line => listener.route.as_deref().unwrap_or_default(),
    };
    let number = Router::number_of(routes, path);
    number.map(ListenerProtocol::Line).ok_or_else(|| StartError::Route(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{Config, MachineLimits};
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
