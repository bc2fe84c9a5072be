//! From settings and routes to running loops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::certificates::{CertificateFileError, Certificates};
use super::handle::Handle;
use super::loop_thread::{LoopParts, RunningLoop};
use super::settings::{conn_settings, loop_settings, mail_limits};
use crate::access::AccessSink;
use crate::config::{Listener, ListenerKind, ResolvedConfig};
use crate::display::debug_as_display;
use crate::mail::{LoopEvents, Wake, mesh};
use crate::os::{BindError, KeepAlive, SystemClock, bind_listeners};
use crate::pool::SharedBudget;
use crate::reactor::{ConnectionPermits, DrainTerms, ListenerProtocol, MioPoller};
use crate::services::{Route, Router};

/// The server could not start. Nothing was served.
#[derive(thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no event queue or no thread.
    #[error("cannot start an event loop: {0}")]
    Loop(#[from] io::Error),
    /// A file of certificates, keys or authorities cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateFileError),
    /// Line clients are to join a route that is not served.
    #[error("no WebSocket route has the path {0}, which line clients are to join")]
    Route(String),
}

debug_as_display!(StartError);

impl Handle {
    /// Binds the listeners and starts the loops, which serve `routes`.
    ///
    /// # Errors
    /// If a certificate cannot be used, if an address is taken, if line clients are to join a route that is not among `routes`, or
    /// if the system has no resources for the loops.
    pub fn start(settings: &ResolvedConfig, routes: Vec<Route>) -> Result<Self, StartError> {
        Self::start_logging(settings, routes, None)
    }

    /// As [`Handle::start`], and tells `access` of each connection when it ends.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub fn start_logging(
        settings: &ResolvedConfig,
        routes: Vec<Route>,
        access: Option<AccessSink>,
    ) -> Result<Self, StartError> {
        let protocols =
            settings.listeners.iter().map(|listener| listener_protocol(listener, &routes));
        let protocols = protocols.collect::<Result<Vec<_>, _>>()?;
        let clock = SystemClock::start();
        // Before an address is bound: what is wrong is then said although the port is taken.
        let certificates = Certificates::load(settings, clock)?;
        let (addresses, listeners) = bind_all(settings)?;
        let pollers = listeners.into_iter().map(MioPoller::new).collect::<io::Result<Vec<_>>>()?;
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
        let server = Self::new(addresses, loops, events, clock);
        match certificates.watch(clock) {
            Ok(certificates) => Ok(server.with_certificates(certificates)),
            Err(error) => {
                server.drain(DrainTerms::within_ms(0));
                Err(error.into())
            }
        }
    }
}

/// Binds every address, for each loop by its own listeners, and gives the addresses with the ports
/// that were found for port 0.
fn bind_all(
    settings: &ResolvedConfig,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), StartError> {
    let ResolvedConfig { loops, share_port, socket, .. } = settings;
    let mut addresses = Vec::new();
    let mut by_loop: Vec<Vec<_>> = (0..*loops).map(|_| Vec::new()).collect();
    for Listener { address, kind, .. } in &settings.listeners {
        let keep_alive = match kind {
            ListenerKind::Http => KeepAlive::Gateway,
            ListenerKind::Line => KeepAlive::Kernel,
        };
        let bound =
            bind_listeners(*address, *loops, *share_port, &socket.listen_options(), keep_alive)?;
        addresses.extend(bound.first().map(TcpListener::local_addr).transpose()?);
        for (own, listener) in by_loop.iter_mut().zip(bound) {
            own.push(listener);
        }
    }
    Ok((addresses, by_loop))
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
