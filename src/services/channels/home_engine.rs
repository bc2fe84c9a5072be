//! The engine of a home: inside the process, or shared by several gateways.

use std::fmt;
use std::sync::Arc;

use crate::channels::remote::{Port, PortEvent, RemoteEngine};
use crate::channels::{
    Engine, EngineEvent, JoinRequest, MemoryEngine, MemoryLimits, PageRequest, PublishRequest,
    StreamCopy,
};
use crate::services::{ServiceSender, SharedEngineLink};
use crate::timer::Millis;

/// Decides the order of publications, as the configuration has it.
#[derive(Debug)]
pub(super) enum HomeEngine<C> {
    /// In this process. It answers at once.
    Memory(MemoryEngine),
    /// Elsewhere. It answers by mail.
    Shared(Box<Shared<C>>),
}

/// The engine of several gateways, as one home sees it.
pub(super) struct Shared<C> {
    remote: RemoteEngine<C>,
    link: SharedEngineLink,
    /// As what it is attached; `None` before the start.
    port: Option<Port>,
}

impl<C> HomeEngine<C> {
    /// The shared engine if there is one, or an engine in memory whose first stream has this epoch.
    pub(super) fn new(
        link: Option<&SharedEngineLink>,
        limits: MemoryLimits,
        first_epoch: u32,
    ) -> Self {
        match link {
            None => Self::Memory(MemoryEngine::new(limits, first_epoch)),
            Some(link) => {
                let remote = RemoteEngine::new(Port::default(), WAITING_MAX, link.room());
                Self::Shared(Box::new(Shared { remote, link: Arc::clone(link), port: None }))
            }
        }
    }

    /// Answers can be taken here from now on.
    pub(super) fn on_start(&mut self, sender: &ServiceSender) {
        if let Self::Shared(own) = self {
            let port = own.link.attach(sender.clone());
            own.remote.set_port(port);
            own.port = Some(port);
        }
    }

    /// Whether answers come later.
    pub(super) fn answers_later(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// The shared engine.
    pub(super) fn shared(&mut self) -> Option<&mut RemoteEngine<C>> {
        match self {
            Self::Memory(_) => None,
            Self::Shared(own) => Some(&mut own.remote),
        }
    }

    /// Takes what the shared engine says.
    pub(super) fn on_event(&mut self, news: PortEvent, events: &mut Vec<EngineEvent<C>>) {
        if let Self::Shared(own) = self {
            own.remote.on_event(news, events);
        }
    }

    /// Asks the shared engine what has gathered.
    pub(super) fn send_questions(&mut self) {
        if let Self::Shared(own) = self {
            for question in own.remote.take_questions() {
                own.link.ask(question);
            }
            own.link.refused(own.remote.take_refused());
        }
    }

    pub(super) fn set_limits(&mut self, limits: MemoryLimits) {
        if let Self::Memory(own) = self {
            own.set_limits(limits);
        }
    }

    /// Whether nothing is kept that time changes.
    pub(super) fn is_at_rest(&self) -> bool {
        match self {
            Self::Memory(own) => own.stream_count() == 0,
            Self::Shared(own) => own.remote.is_idle(),
        }
    }

    pub(super) fn tick(&mut self, now: Millis) {
        match self {
            Self::Memory(own) => Engine::<C>::tick(own, now),
            Self::Shared(own) => own.remote.tick(now),
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Memory(own) => Engine::<C>::held_bytes(own),
            Self::Shared(own) => own.remote.held_bytes(),
        }
    }

    pub(super) fn publish(
        &mut self,
        request: PublishRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        match self {
            Self::Memory(own) => own.publish(request, context, now, events),
            Self::Shared(own) => own.remote.publish(request, context, now, events),
        }
    }

    pub(super) fn join(
        &mut self,
        request: JoinRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        match self {
            Self::Memory(own) => own.join(request, context, now, events),
            Self::Shared(own) => own.remote.join(request, context, now, events),
        }
    }

    pub(super) fn leave(&mut self, channel: &Arc<str>) {
        match self {
            Self::Memory(own) => Engine::<C>::leave(own, channel),
            Self::Shared(own) => own.remote.leave(channel),
        }
    }

    pub(super) fn page(
        &mut self,
        request: PageRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        match self {
            Self::Memory(own) => own.page(request, context, now, events),
            Self::Shared(own) => own.remote.page(request, context, now, events),
        }
    }

    pub(super) fn remove(
        &mut self,
        channel: &Arc<str>,
        context: C,
        events: &mut Vec<EngineEvent<C>>,
    ) {
        match self {
            Self::Memory(own) => own.remove(channel, context, events),
            Self::Shared(own) => own.remote.remove(channel, context, events),
        }
    }

    /// As [`MemoryEngine::restore`]. What is shared outlives this process.
    pub(super) fn restore(&mut self, stream: StreamCopy, now: Millis) -> bool {
        match self {
            Self::Memory(own) => own.restore(stream, now),
            Self::Shared(_) => true,
        }
    }

    /// As [`MemoryEngine::freeze`].
    pub(super) fn freeze(&mut self) {
        if let Self::Memory(own) = self {
            own.freeze();
        }
    }

    /// As [`MemoryEngine::thaw`].
    pub(super) fn thaw(&mut self, are_new: bool) {
        if let Self::Memory(own) = self {
            own.thaw(are_new);
        }
    }

    /// As [`MemoryEngine::copies`].
    pub(super) fn copies(
        &self,
        cursor: usize,
        entries_max: usize,
        now: Millis,
    ) -> (Vec<StreamCopy>, Option<usize>) {
        match self {
            Self::Memory(own) => own.copies(cursor, entries_max, now),
            Self::Shared(_) => (Vec::new(), None),
        }
    }
}

impl<C> Drop for Shared<C> {
    fn drop(&mut self) {
        if let Some(port) = self.port {
            self.link.detach(port);
        }
    }
}

impl<C> fmt::Debug for Shared<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Questions of one loop that are under way at most.
const WAITING_MAX: usize = 65_536;
