//! The backend as loops ask it.

use std::sync::Arc;

use super::exchange;
use super::settings::ProxySettings;
use super::state::{Backend, now};
use crate::centrifugo::ProxyReply;
use crate::control::tasks::Job;
use crate::metrics::ControlCounters;
use crate::services::{
    ChannelProxy, Peer, ProxyAnswer, ProxyRequest, ServiceMessage, ServiceSender,
};

/// Asks a backend over HTTP. Every question is answered once, unless its client leaves: with nothing if
/// the thread fails meanwhile, pauses after a failure, or has stopped. It goes on over reloads.
#[derive(Debug)]
pub struct HttpProxy(Arc<Backend>);

impl HttpProxy {
    /// The proxy, and the job that lets it ask in every run of the thread.
    pub(in crate::control) fn new(
        settings: ProxySettings,
        counters: Arc<ControlCounters>,
    ) -> (Arc<Self>, Arc<dyn Job>) {
        let backend = Backend::new(settings, counters);
        (Arc::new(Self(Arc::clone(&backend))), backend)
    }

    /// Goes on with other settings. Questions under way end with those that they were begun with.
    pub fn set(&self, settings: ProxySettings) {
        self.0.set(settings);
    }
}

impl ChannelProxy for HttpProxy {
    fn ask(&self, request: ProxyRequest) {
        let own = &self.0;
        let settings = own.settings();
        let (peer, serial) = (request.peer, request.serial);
        let mut state = own.state();
        let now = now();
        state.loop_time = (request.now, now);
        let is_left_alone = !state.breaker.is_closed() && !state.breaker.is_due(now);
        let current = state.current.clone().filter(|_| !is_left_alone);
        let current = current.filter(|_| state.waiting.count() < settings.waiting_max);
        let Some(current) = current else {
            drop(state);
            own.counters.proxy_refusals.add(1);
            return post(&request.answer_to, ProxyAnswer { peer, serial, reply: None });
        };
        state.waiting.begin(peer, serial);
        drop(state);
        let backend = Arc::clone(own);
        let question = OpenQuestion { backend, peer, serial, answer_to: request.answer_to.clone() };
        let tasks = current.tasks.clone();
        let task = tasks.spawn(async move {
            let reply = exchange::run(&question.backend, &settings, &current, &request).await;
            question.close(reply);
        });
        let ended = own.state().waiting.started(peer, serial, task);
        if let Some(task) = ended {
            task.abort();
        }
    }

    fn cancel(&self, peer: Peer) {
        let (count, tasks) = self.0.state().waiting.cancel(peer);
        self.0.counters.proxy_cancelled.add(count as u64);
        // Outside the lock: the end of a task takes it.
        for task in tasks {
            task.abort();
        }
    }
}

/// A question that is not answered yet. To drop it is to answer it with nothing: when its task panics, or when
/// a run ends with its tasks.
struct OpenQuestion {
    backend: Arc<Backend>,
    peer: Peer,
    serial: u32,
    answer_to: ServiceSender,
}

impl OpenQuestion {
    fn close(self, reply: Option<ProxyReply>) {
        self.answer(reply);
    }

    /// Answers, unless that was done or nothing waits for it.
    fn answer(&self, reply: Option<ProxyReply>) {
        let Self { backend, peer, serial, answer_to } = self;
        if backend.state().waiting.end(*peer, *serial) {
            backend.counters.proxy_failures.add(u64::from(reply.is_none()));
            post(answer_to, ProxyAnswer { peer: *peer, serial: *serial, reply });
        }
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.answer(None);
    }
}

fn post(answer_to: &ServiceSender, answer: ProxyAnswer) {
    let held_bytes = answer.held_bytes();
    answer_to.post(ServiceMessage::holding(answer, held_bytes));
}
