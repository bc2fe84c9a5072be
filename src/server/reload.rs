//! A running server goes over to another configuration: all of its loops, or none.
//!
//! What can fail comes first and changes nothing: certificates are read, addresses bound, loops asked to
//! watch the new listeners and to say which routes are in use. A loop that does not answer is found out
//! there. Then every loop is sent the same settings, by a message that is never lost, and takes them over
//! as a whole between two turns.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::certificates::{CertificateFileError, CertificateOptions, Certificates};
use super::handle::Handle;
use super::listener_numbers::{ListenerNumbers, TooManyListeners};
use super::loop_thread::RunningLoop;
use super::serving::{Served, bind, listener_labels, loop_reload};
use crate::config::ResolvedConfig;
use crate::display::debug_as_display;
use crate::mail::{Envelope, NoReply, Reply, ReplyReceiver};
use crate::os::BindError;
use crate::reactor::{LoopCommand, LoopReload, NotReady, ReadyForReload};
use crate::services::{Route, RouteId, TooManyRoutes};
use crate::timer::{Clock as _, Millis};

/// A reload was refused. Everything is as it was.
#[derive(thiserror::Error)]
pub enum ReloadError {
    /// A new address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file of certificates, keys or authorities cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateFileError),
    /// The system gave no thread.
    #[error("cannot keep certificates up to date: {0}")]
    Thread(#[from] io::Error),
    /// Line clients are to join a route that is not served.
    #[error("no WebSocket route has the path {0}, which line clients are to join")]
    Route(String),
    /// There are no numbers left for routes.
    #[error(transparent)]
    Routes(#[from] TooManyRoutes),
    /// There are no numbers left for listeners.
    #[error(transparent)]
    Listeners(#[from] TooManyListeners),
    /// A loop takes no other settings.
    #[error("event loop {loop_index}: {why}")]
    NotReady {
        /// Which loop, from 0.
        loop_index: usize,
        /// Why not.
        why: NotReady,
    },
    /// A loop did not answer.
    #[error("event loop {loop_index}: {why}")]
    NoReply {
        /// Which loop, from 0.
        loop_index: usize,
        /// Why not.
        why: NoReply,
    },
    /// The configuration asks for another number of loops than there are.
    #[error("a server of {running} event loops cannot go on with {wanted}")]
    Loops {
        /// How many there are.
        running: usize,
        /// How many were asked for.
        wanted: usize,
    },
}

debug_as_display!(ReloadError);

/// A reload that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The loops that have not said yet that they go by the new settings, from 0: they do so before
    /// anything else as soon as they come to it.
    pub late_loops: Vec<usize>,
}

/// What a reload is about to change, as far as it is ready.
struct Next {
    listeners: ListenerNumbers,
    certificates: Option<Certificates>,
    /// For each loop the new listeners with their numbers.
    bound: Vec<Vec<(usize, TcpListener)>>,
    new_numbers: Vec<usize>,
}

impl Handle {
    /// Goes over to these settings and routes, and waits until all loops have, for each of them up to
    /// `patience`, and as long again before that. Connections stay, those on a route that is gone with
    /// its service; listeners whose addresses are gone are closed. What the process was started with
    /// stays: loops, mailboxes, receive buffers, options of sockets.
    ///
    /// One reload is done at a time; another one waits. Must not be called by a service.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn reload(
        &self,
        settings: &ResolvedConfig,
        routes: Vec<Route>,
        patience: Duration,
    ) -> Result<Reloaded, ReloadError> {
        let _turn = self.serving().turn();
        let served = self.serving().state().served.clone();
        let now = self.serving().clock.now();
        let mut next = self.next(&served, settings, &routes, now)?;
        let new_numbers = std::mem::take(&mut next.new_numbers);
        let done = self.carry_out(&served, settings, routes, next, now, patience);
        if done.is_err() {
            for own in self.loops() {
                let command = LoopCommand::Discard { listeners: new_numbers.clone() };
                own.mail.send_reserved(Envelope::Command(command));
            }
        }
        done
    }

    /// Looks for what a reload with these settings would be refused for, without asking the loops and
    /// without binding addresses.
    ///
    /// # Errors
    /// As [`Handle::reload`].
    pub fn check_reload(
        &self,
        settings: &ResolvedConfig,
        routes: &[Route],
    ) -> Result<(), ReloadError> {
        let served = self.serving().state().served.clone();
        let now = self.serving().clock.now();
        self.check_loops(settings)?;
        next_certificates(&served, settings, self)?;
        next_listeners(&served, settings, now)?;
        check_line_routes(settings, routes)
    }

    fn check_loops(&self, settings: &ResolvedConfig) -> Result<(), ReloadError> {
        let (running, wanted) = (self.loops().len(), settings.loops);
        if running == wanted { Ok(()) } else { Err(ReloadError::Loops { running, wanted }) }
    }

    /// Gets ready whatever needs no loop.
    fn next(
        &self,
        served: &Served,
        settings: &ResolvedConfig,
        routes: &[Route],
        now: Millis,
    ) -> Result<Next, ReloadError> {
        self.check_loops(settings)?;
        let certificates = next_certificates(served, settings, self)?;
        let mut listeners = next_listeners(served, settings, now)?;
        check_line_routes(settings, routes)?;
        let mut bound: Vec<Vec<(usize, TcpListener)>> =
            self.loops().iter().map(|_| Vec::new()).collect();
        let mut new_numbers = Vec::new();
        let numbered: Vec<_> = listeners.served().to_vec();
        for (position, (own, listener)) in numbered.iter().zip(&settings.listeners).enumerate() {
            if own.bound.is_some() {
                continue;
            }
            let sockets = bind(listener, settings)?;
            if let Some(first) = sockets.first() {
                listeners.bind(position, first.local_addr()?);
            }
            new_numbers.push(own.number);
            for (of_loop, socket) in bound.iter_mut().zip(sockets) {
                of_loop.push((own.number, socket));
            }
        }
        Ok(Next { listeners, certificates, bound, new_numbers })
    }

    /// Has the loops get ready, and when all of them are, change.
    fn carry_out(
        &self,
        before: &Served,
        settings: &ResolvedConfig,
        routes: Vec<Route>,
        next: Next,
        now: Millis,
        patience: Duration,
    ) -> Result<Reloaded, ReloadError> {
        let Next { listeners, certificates, bound, new_numbers: _ } = next;
        let in_use = self.prepare(bound, before.routes.has_former(), patience)?;
        let history = before.routes.next(socket_ids(&routes), &in_use, now)?;
        let listener_configs = match &certificates {
            Some(certificates) => certificates.listener_configs(),
            None => before.listener_configs.clone(),
        };
        let rules = before.rules.next(settings, &listeners);
        let tls = listeners.by_number(&listener_configs, &before.tls, &None);
        let labels = listener_labels(&listeners, &before.labels);
        let (numbers, both) = (history.numbers(), (&rules, &self.serving().marks));
        let reload = loop_reload(settings, routes, &listeners, numbers, both, &tls, labels.clone());
        let reload = reload.map_err(ReloadError::Route)?;
        let mut state = self.serving().state();
        if let Some(certificates) = certificates {
            let former = state.certificates.take();
            state.certificates = certificates.watch_instead(former, self.serving().clock)?;
        }
        // From here on nothing fails.
        let certificate_options = CertificateOptions::of(settings);
        state.served = Served {
            listeners,
            routes: history,
            rules,
            labels,
            tls,
            listener_configs,
            certificate_options,
        };
        drop(state);
        self.serving().connections.set_total(settings.limits.connections_max);
        self.serving().pool.set_total(settings.limits.pool_bytes_max);
        Ok(self.commit(reload, patience))
    }

    /// Has each loop watch its new listeners. Gives the numbers of routes that are in use on any.
    fn prepare(
        &self,
        bound: Vec<Vec<(usize, TcpListener)>>,
        counts_routes: bool,
        patience: Duration,
    ) -> Result<Vec<u8>, ReloadError> {
        let ask = |(loop_index, listeners)| {
            let (reply, receiver) = Reply::channel();
            let command = LoopCommand::Prepare { listeners, counts_routes, reply };
            self.command(loop_index, command).map(|()| receiver)
        };
        let asked: Vec<Result<ReplyReceiver<_>, NoReply>> =
            bound.into_iter().enumerate().map(ask).collect();
        let mut in_use = Vec::new();
        let mut refused = None;
        for (loop_index, asked) in asked.into_iter().enumerate() {
            match asked.and_then(|receiver| receiver.wait(patience)) {
                Ok(Ok(ReadyForReload { routes_in_use })) => in_use.extend(routes_in_use),
                // It is the reason why others have ended.
                Ok(Err(why @ NotReady::Draining)) => {
                    return Err(ReloadError::NotReady { loop_index, why });
                }
                Ok(Err(why @ NotReady::Listener(_))) => {
                    refused.get_or_insert(ReloadError::NotReady { loop_index, why });
                }
                Err(why) => {
                    refused.get_or_insert(ReloadError::NoReply { loop_index, why });
                }
            }
        }
        refused.map_or(Ok(in_use), Err)
    }

    /// Sends every loop its settings. A loop that was ready takes them, however late.
    fn commit(&self, reload: LoopReload, patience: Duration) -> Reloaded {
        let next = Arc::new(reload);
        let send = |own: &RunningLoop| {
            let (reply, receiver) = Reply::channel();
            let command = LoopCommand::Reload { next: Arc::clone(&next), reply };
            own.mail.send_reserved(Envelope::Command(command));
            receiver
        };
        let sent: Vec<ReplyReceiver<()>> = self.loops().iter().map(send).collect();
        let answers = sent.into_iter().map(|receiver| receiver.wait(patience)).enumerate();
        let late = answers.filter(|(_, answer)| *answer == Err(NoReply::Late));
        Reloaded { late_loops: late.map(|(loop_index, _)| loop_index).collect() }
    }
}

/// New certificates, if they or what is asked of them has changed; their files are read.
fn next_certificates(
    served: &Served,
    settings: &ResolvedConfig,
    server: &Handle,
) -> Result<Option<Certificates>, CertificateFileError> {
    if served.certificate_options == CertificateOptions::of(settings) {
        return Ok(None);
    }
    Certificates::load(settings, server.serving().clock).map(Some)
}

fn next_listeners(
    served: &Served,
    settings: &ResolvedConfig,
    now: Millis,
) -> Result<ListenerNumbers, TooManyListeners> {
    let addresses: Vec<_> = settings.listeners.iter().map(|own| own.address).collect();
    // Twice: the waits of a handshake are given back up to its time. And a loop may be behind.
    let open_ms = settings.timeouts.handshake_ms.saturating_mul(2).saturating_add(BEHIND_MS);
    served.listeners.next(&addresses, open_ms, now)
}

/// Whether each route that line clients are to join is served.
fn check_line_routes(settings: &ResolvedConfig, routes: &[Route]) -> Result<(), ReloadError> {
    let is_served = |path: &str| {
        let mut sockets = routes.iter().filter(|route| route.is_socket());
        sockets.any(|route| route.paths.iter().any(|own| own == path))
    };
    let mut joined = settings.listeners.iter().filter_map(|listener| listener.route.as_deref());
    match joined.find(|path| !is_served(path)) {
        Some(path) => Err(ReloadError::Route(path.to_owned())),
        None => Ok(()),
    }
}

/// The ids of WebSocket routes, which are those that have numbers.
fn socket_ids(routes: &[Route]) -> impl Iterator<Item = &RouteId> + Clone {
    routes.iter().filter(|route| route.is_socket()).map(|route| &route.id)
}

/// How long a loop may be behind, and connections that it has accepted wait for their turn.
const BEHIND_MS: u64 = 60_000;
