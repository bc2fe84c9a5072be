//! A running server, as its owner sees it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::certificates::CertificateWatch;
use super::drain_state::{BegunDrain, DrainStage, DrainState};
use super::loop_thread::{LoopFailure, RunningLoop};
use super::serving::Serving;
use crate::admission::SharedAddresses;
use crate::certificates::{CertificateView, HttpChallenges};
use crate::conn::ConnSettings;
use crate::inspect::Query;
use crate::mail::{Envelope, LoopEvents, NoReply, Reply, ReplyReceiver};
use crate::metrics::{CertificateCounters, Entry, LoopMetrics, ProcessCounters};
use crate::reactor::{
    DrainTerms, LoopCommand, LoopState, OverloadMarks, QueuePolicy, SharedListeners,
};
use crate::timer::{Clock as _, Millis};

/// A running server. Dropping it does not stop it: call [`Handle::drain`], then [`Handle::join`].
///
/// A loop that fails, by a panic in a service or by an error of its event queue, ends with its
/// connections; the other loops go on, and [`Handle::events`] tells of it. What follows is for the
/// caller to decide: the program ends at once, as a process that serves a part of its clients looks
/// healthy from outside.
#[derive(Debug)]
pub struct Handle {
    loops: Vec<RunningLoop>,
    events: LoopEvents,
    /// Whether a supervisor holds the listening sockets as well.
    are_sockets_held: bool,
    process_counters: Arc<ProcessCounters>,
    serving: Serving,
    drain: Mutex<Option<BegunDrain>>,
}

impl Handle {
    pub(super) fn new(loops: Vec<RunningLoop>, events: LoopEvents, serving: Serving) -> Self {
        let process_counters = Arc::default();
        let drain = Mutex::new(None);
        Self { loops, events, are_sockets_held: false, process_counters, serving, drain }
    }

    pub(super) fn loops(&self) -> &[RunningLoop] {
        &self.loops
    }

    /// The server, all of whose sockets a supervisor may hold as well.
    pub(super) fn on_held_sockets(self, are_held: bool) -> Self {
        Self { are_sockets_held: are_held, ..self }
    }

    pub(super) fn serving(&self) -> &Serving {
        &self.serving
    }

    /// The addresses listened on, in the order of the configuration, with the ports that were found for
    /// port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.serving.state().served.addresses()
    }

    /// What each loop counts.
    pub fn metrics(&self) -> impl Iterator<Item = &LoopMetrics> + Clone {
        self.loops.iter().map(|own| &own.metrics)
    }

    /// The labels of the counters of WebSocket routes: their ids, such as `room /chat`, also of those
    /// that are served no more. A route is there once the first loop serves it.
    #[must_use]
    pub fn route_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for label in self.metrics().flat_map(|own| own.routes.iter()).map(Entry::label) {
            if !names.contains(label) {
                names.push(Arc::clone(label));
            }
        }
        names
    }

    /// What happens to the loops. It may be cloned and waited for on another thread.
    #[must_use]
    pub fn events(&self) -> &LoopEvents {
        &self.events
    }

    /// Has the files of certificates, of clients' authorities and of ticket keys looked at again, as
    /// happens by itself when they change; what is wrong with them is logged. Returns at once, and whether
    /// any listener speaks TLS.
    pub fn reload_certificates(&self) -> bool {
        self.serving.state().certificates.as_ref().inspect(|own| own.reload()).is_some()
    }

    /// The certificates that are served; `None` if no listener speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<CertificateView> {
        self.serving.state().certificates.as_ref().map(|own| own.certificates().clone())
    }

    /// What there is too little of in the process: newcomers are refused while anything is marked.
    #[must_use]
    pub fn overload_marks(&self) -> OverloadMarks {
        self.serving.marks.clone()
    }

    /// Bytes of the pool that loops have taken, and how many there are.
    #[must_use]
    pub fn pool_use(&self) -> (u64, u64) {
        let pool = &self.serving.pool;
        let total = pool.total();
        (total.saturating_sub(pool.available()) as u64, total as u64)
    }

    /// What answers challenges by HTTP on listeners that redirect, for a client of ACME.
    #[must_use]
    pub fn challenges(&self) -> HttpChallenges {
        self.serving.state().served.rules.challenges.clone()
    }

    /// What became of changed certificates; `None` if no listener speaks TLS.
    #[must_use]
    pub fn certificate_counters(&self) -> Option<Arc<CertificateCounters>> {
        self.serving.state().certificates.as_ref().map(|own| Arc::clone(own.counters()))
    }

    /// What the process counts that serves by this handle.
    #[must_use]
    pub fn process_counters(&self) -> &Arc<ProcessCounters> {
        self.process_counters.addresses_now.set(self.client_addresses().len() as u64);
        &self.process_counters
    }

    /// The clients that are counted by their addresses.
    #[must_use]
    pub fn client_addresses(&self) -> &SharedAddresses {
        &self.serving.addresses
    }

    /// Begins to shut down on these terms, without waiting. May be called again with other terms, which
    /// then hold; a server that has stopped accepting does not begin again. Where a supervisor holds the
    /// listening sockets, their queues are left to the next process in any case.
    pub fn drain(&self, terms: DrainTerms) {
        let queue = if self.are_sockets_held { QueuePolicy::LeaveToOther } else { terms.queue };
        let terms = DrainTerms { queue, ..terms };
        let (begun, progress) = BegunDrain::new(self.serving.clock.now(), terms);
        // Held until all loops have the command, so that of two callers one is the later for all loops.
        let mut drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner);
        for own in &self.loops {
            let progress = Arc::clone(&progress);
            let command = LoopCommand::Drain { terms, progress };
            // A drain must not be lost in a loop that is behind; it is asked for a few times at most.
            own.mail.send_reserved(Envelope::Command(command));
        }
        *drain = Some(begun);
    }

    /// Calls a drain off that is in its grace, and returns whether the server goes on: it does unless a
    /// loop has stopped accepting.
    pub fn cancel_drain(&self) -> bool {
        self.begun_drain().is_none_or(|drain| drain.cancel())
    }

    /// The time of the loops' clock.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.serving.clock.now()
    }

    /// How far the server is with its drain. Does not wait.
    #[must_use]
    pub fn drain_state(&self) -> DrainState {
        let connections = self.metrics().map(|own| own.counters.connections_now.value());
        let connections = usize::try_from(connections.sum::<u64>()).unwrap_or(usize::MAX);
        let serving =
            DrainState { stage: DrainStage::Serving, connections, told: 0, seconds_left: None };
        let state = match self.begun_drain() {
            Some(drain) => drain.state(self.serving.clock.now(), connections),
            None => serving,
        };
        if self.loops.iter().all(RunningLoop::has_ended) {
            let told = state.told;
            return DrainState {
                stage: DrainStage::Ended,
                told,
                connections: 0,
                seconds_left: None,
            };
        }
        state
    }

    /// Whether balancers should send clients here: no drain is under way, and no loop has ended.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.drain_state().stage == DrainStage::Serving
            && !self.loops.iter().any(RunningLoop::has_ended)
    }

    fn begun_drain(&self) -> Option<BegunDrain> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a command to one loop, without waiting. Its [`Reply`] tells when it is obeyed.
    ///
    /// # Errors
    /// [`NoReply::Busy`] if the loop's mailbox is full, [`NoReply::Ended`] if there is no such loop
    /// any more.
    pub fn command(&self, loop_index: usize, command: LoopCommand) -> Result<(), NoReply> {
        let own = self.loops.get(loop_index).filter(|own| !own.has_ended());
        let own = own.ok_or(NoReply::Ended)?;
        // A loop closes its mailbox a moment before its end is told.
        let refused = |_| if own.mail.is_closed() { NoReply::Ended } else { NoReply::Busy };
        own.mail.try_send(Envelope::Command(command)).map_err(refused)
    }

    /// Asks one loop something, or has it do something, without waiting. The reply in the query tells
    /// the answer.
    ///
    /// # Errors
    /// As [`Handle::command`].
    pub fn query(&self, loop_index: usize, query: Query) -> Result<(), NoReply> {
        self.command(loop_index, LoopCommand::Query(query))
    }

    /// As [`Handle::query`], over the limits of the loop's mailbox. For questions of which there are few in the
    /// life of a process, and that must not be refused because others ask much.
    ///
    /// # Errors
    /// [`NoReply::Ended`] if there is no such loop any more.
    pub fn query_reserved(&self, loop_index: usize, query: Query) -> Result<(), NoReply> {
        let own = self.loops.get(loop_index).filter(|own| !own.has_ended());
        let own = own.ok_or(NoReply::Ended)?;
        own.mail.send_reserved(Envelope::Command(LoopCommand::Query(query)));
        Ok(())
    }

    /// How each loop is doing, or why it does not say so within `patience`. Waits, so it must not be
    /// called by a service.
    #[must_use]
    pub fn inspect(&self, patience: Duration) -> Vec<Result<LoopState, NoReply>> {
        self.ask_all(patience, |reply| LoopCommand::Inspect { reply })
    }

    /// The listening sockets once more, each with the place of its listener in the configuration, for a process
    /// that is to take them over; several loops may give the same socket. Waits for each loop up to `patience`.
    ///
    /// # Errors
    /// When descriptors run out, or a loop does not answer.
    pub fn share_listeners(&self, patience: Duration) -> io::Result<SharedListeners> {
        let served = self.serving.state().served.listeners.served().to_vec();
        let mut all = Vec::new();
        for shared in self.ask_all(patience, |reply| LoopCommand::ShareListeners { reply }) {
            for (number, listener) in shared.map_err(io::Error::other)?? {
                let place = served.iter().position(|own| own.number == number);
                // One that a reload has closed may still have connections in its queue.
                all.extend(place.map(|place| (place, listener)));
            }
        }
        Ok(all)
    }

    /// Whether a supervisor holds the listening sockets as well.
    #[must_use]
    pub fn are_sockets_held(&self) -> bool {
        self.are_sockets_held
    }

    /// Has all loops go by other rules from now on, and waits until they do, for each of them up to
    /// `patience`. Connections stay.
    ///
    /// # Errors
    /// Why a loop does not say that it does. The others do by then.
    pub fn set_conn_settings(
        &self,
        settings: &Arc<ConnSettings>,
        patience: Duration,
    ) -> Result<(), NoReply> {
        let command = |reply| {
            let settings = Arc::clone(settings);
            LoopCommand::SetSettings { settings, reply }
        };
        self.ask_all(patience, command).into_iter().collect()
    }

    fn ask_all<T: Send + 'static>(
        &self,
        patience: Duration,
        command: impl Fn(Reply<T>) -> LoopCommand,
    ) -> Vec<Result<T, NoReply>> {
        let ask = |loop_index| -> Result<ReplyReceiver<T>, NoReply> {
            let (reply, receiver) = Reply::channel();
            self.command(loop_index, command(reply))?;
            Ok(receiver)
        };
        let asked: Vec<_> = (0..self.loops.len()).map(ask).collect();
        asked.into_iter().map(|receiver| receiver?.wait(patience)).collect()
    }

    /// Waits for the loops whose end was told. While one of several has failed, the others go on.
    ///
    /// # Errors
    /// The first loop that failed.
    pub fn join_ended(&self) -> Result<(), LoopFailure> {
        self.join_some(self.loops.iter().filter(|own| own.has_ended()))
    }

    /// Waits until all loops have ended.
    ///
    /// # Errors
    /// The first loop that failed.
    pub fn join(&self) -> Result<(), LoopFailure> {
        self.join_some(self.loops.iter())
    }

    fn join_some<'l>(
        &self,
        loops: impl Iterator<Item = &'l RunningLoop>,
    ) -> Result<(), LoopFailure> {
        let joined = loops.map(RunningLoop::join).fold(Ok(()), Result::and);
        let certificates = self.serving.state().certificates.take();
        certificates.into_iter().for_each(CertificateWatch::stop);
        joined
    }
}
