//! What a server serves: what a reload changes of it, and needs to know of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::certificates::{CertificateOptions, CertificateWatch};
use super::listener_numbers::{ListenerNumbers, Numbered};
use super::request_rules::RequestRules;
use super::settings::{conn_settings, loop_settings};
use crate::admission::SharedAddresses;
use crate::certificates::ListenerConfig;
use crate::config::{Listener, ListenerKind, ResolvedConfig};
use crate::os::{BindError, KeepAlive, SystemClock, bind_listeners};
use crate::pool::SharedBudget;
use crate::proxy_protocol::HeaderPolicy;
use crate::reactor::{ListenerProtocol, LoopReload, OverloadMarks};
use crate::services::{Route, RouteHistory, RouteNumbers, Router};

/// What a server serves, and the limits that its loops share.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) clock: SystemClock,
    pub(super) connections: SharedBudget,
    pub(super) pool: SharedBudget,
    pub(super) addresses: SharedAddresses,
    /// What there is too little of in the process.
    pub(super) marks: OverloadMarks,
    /// Held by a reload all the while.
    turn: Mutex<()>,
    /// Held for a moment only, so that callers who ask do not wait for a reload.
    state: Mutex<State>,
}

/// What a reload replaces.
#[derive(Debug)]
pub(super) struct State {
    pub(super) served: Served,
    pub(super) certificates: Option<CertificateWatch>,
}

/// What is served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) listeners: ListenerNumbers,
    pub(super) routes: RouteHistory,
    /// What requests are held to.
    pub(super) rules: RequestRules,
    /// What is counted of listeners bears these labels, by the number of the listener.
    pub(super) labels: Vec<Arc<str>>,
    /// How handshakes are done, by the number of the listener.
    pub(super) tls: Vec<Option<ListenerConfig>>,
    /// The same by the place of the listener in the configuration.
    pub(super) listener_configs: Vec<Option<ListenerConfig>>,
    /// What that was made from.
    pub(super) certificate_options: CertificateOptions,
}

impl Serving {
    /// What a server serves that starts.
    pub(super) fn new(
        clock: SystemClock,
        connections: SharedBudget,
        pool: SharedBudget,
        addresses: SharedAddresses,
        marks: OverloadMarks,
        served: Served,
    ) -> Self {
        let state = Mutex::new(State { served, certificates: None });
        Self { clock, connections, pool, addresses, marks, turn: Mutex::default(), state }
    }

    /// Waits until no reload is under way, and keeps others waiting.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to be held for a moment.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // What a panic may leave is whole: it is replaced in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// The addresses listened on, in the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.served().iter().filter_map(|own| own.bound).collect()
    }
}

/// The labels of the counters of listeners, by the number of the listener: the addresses listened on.
/// Those of listeners that are closed keep what they have in `before`.
pub(super) fn listener_labels(listeners: &ListenerNumbers, before: &[Arc<str>]) -> Vec<Arc<str>> {
    let label = |own: &Numbered| own.address().to_string().into();
    let labels: Vec<Arc<str>> = listeners.served().iter().map(label).collect();
    listeners.by_number(&labels, before, &"".into())
}

/// What the loops go by with these listeners and routes. `tls` and `labels` are by the number of the
/// listener.
///
/// # Errors
/// The path of a route that line clients are to join and that has no number.
pub(super) fn loop_reload(
    settings: &ResolvedConfig,
    routes: Vec<Route>,
    listeners: &ListenerNumbers,
    numbers: &RouteNumbers,
    (rules, marks): (&RequestRules, &OverloadMarks),
    tls: &[Option<ListenerConfig>],
    labels: Vec<Arc<str>>,
) -> Result<LoopReload, String> {
    let protocol = |own| listener_protocol(own, &routes, numbers).map(Some);
    let protocols = settings.listeners.iter().map(protocol).collect::<Result<Vec<_>, _>>()?;
    let protocols = listeners.by_number(&protocols, &[], &None);
    let headers: Vec<_> = settings.listeners.iter().map(|own| own.proxy_protocol).collect();
    let headers = listeners.by_number(&headers, &[], &HeaderPolicy::Off);
    Ok(LoopReload {
        conn_settings: Arc::new(conn_settings(settings, rules)),
        loop_settings: loop_settings(settings, protocols, headers, labels, marks.clone()),
        routes,
        numbers: numbers.clone(),
        tls: tls.to_vec(),
    })
}

/// Binds the address of a listener, for each loop by a socket of its own.
///
/// # Errors
/// Those of [`bind_listeners`].
pub(super) fn bind(
    listener: &Listener,
    settings: &ResolvedConfig,
) -> Result<Vec<TcpListener>, BindError> {
    let ResolvedConfig { loops, share_port, socket, .. } = settings;
    let keep_alive = match listener.kind {
        ListenerKind::Http => KeepAlive::Gateway,
        ListenerKind::Line => KeepAlive::Kernel,
    };
    bind_listeners(listener.address, *loops, *share_port, &socket.listen_options(), keep_alive)
}

/// What the clients of a listener speak, and with whom.
fn listener_protocol(
    listener: &Listener,
    routes: &[Route],
    numbers: &RouteNumbers,
) -> Result<ListenerProtocol, String> {
    let path = match listener.kind {
        ListenerKind::Http => return Ok(ListenerProtocol::Http),
        ListenerKind::Line => listener.route.as_deref().unwrap_or_default(),
    };
    let number = Router::number_among(routes, path, numbers);
    number.map(ListenerProtocol::Line).ok_or_else(|| path.to_owned())
}
