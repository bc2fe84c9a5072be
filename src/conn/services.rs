//! The services of one loop, and what they asked for.

use crate::centrifugo::ErrorCode;
use crate::effects::ServiceSender;
use crate::effects::{
    Accept, Effects, HttpOptions, IdentitySender, LoopSite, Peer, PendingEffects,
};
use crate::events::publish::ChannelItem;
use crate::http::Rejection;
use crate::inspect::{ChannelAnswer, ChannelQuestion};
use crate::key::ConnKey;
use crate::mail::{LoopMessage, LoopSender, Reply};
use crate::metrics::{Labelled, RouteCounters};
use crate::pool::Buffers;
use crate::services::{Route, RouteNumbers, Router, SocketRoute};
use crate::timer::{Millis, WallTime};
use std::fmt;
use std::sync::Arc;

/// Routes with their services, and the effects that are yet to be carried out.
#[derive(Debug)]
pub(super) struct Services {
    site: LoopSite,
    router: Router,
    pending: PendingEffects,
    /// What messages from other threads to new services go by; `None` before the start.
    sender: Option<Sender>,
    /// What outcomes of identity checks come back by; `None` before the start.
    identity_sender: Option<IdentitySender>,
    /// What was decided on the request that is being answered, if that was not at once.
    decision: Option<Decision>,
    /// Bytes that services hold for connections and that are charged to the pool.
    charged_bytes: usize,
    /// Bytes that they hold although the pool had none left.
    uncharged_bytes: usize,
}

/// What was decided on a request that waits.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is known who makes it, and its service is to be asked.
    Identified {
        /// The number of the listener that it came by.
        listener: u8,
    },
    /// Its service has decided.
    Service(Result<Accept, Rejection>),
}

impl Services {
    pub(super) fn new(site: LoopSite, router: Router, now: Millis) -> Self {
        let pending = PendingEffects { now, ..PendingEffects::default() };
        Self {
            site,
            router,
            pending,
            sender: None,
            identity_sender: None,
            decision: None,
            charged_bytes: 0,
            uncharged_bytes: 0,
        }
    }

    /// Says what time it is.
    pub(super) fn set_now(&mut self, now: Millis) {
        self.pending.now = now;
    }

    /// Says what date it is.
    pub(super) fn set_date(&mut self, date: WallTime) {
        self.pending.dated = (date, self.pending.now);
    }

    /// Services begin. Messages to them from other threads go by `sender`.
    pub(super) fn start(&mut self, sender: &LoopSender) {
        let from = self.site.index;
        self.sender = Some(Sender(Arc::clone(sender)));
        let own = Arc::clone(sender);
        self.identity_sender = Some(IdentitySender::new(Arc::new(move |peer, outcome| {
            own(LoopMessage::identify(peer.key, outcome));
        })));
        self.router.start(self.pending.now, |route| service_sender(sender, route, from));
    }

    /// Serves these routes from now on: see [`Router::reload`]. What happens on them is counted in
    /// `counted`.
    pub(super) fn reload(
        &mut self,
        routes: &[Route],
        numbers: RouteNumbers,
        counted: &Labelled<RouteCounters>,
    ) {
        let from = self.site.index;
        let unstarted = Sender(Arc::new(|_| {}));
        let sender = self.sender.as_ref().unwrap_or(&unstarted);
        let new = |route| service_sender(&sender.0, route, from);
        self.router.reload(routes, self.site, numbers, &mut self.pending, new);
        self.router.count_in(counted);
    }

    /// The loop that these services run on.
    #[inline]
    pub(super) fn loop_index(&self) -> u16 {
        self.site.index
    }

    /// How many loops there are.
    pub(super) fn loop_count(&self) -> u16 {
        self.site.count
    }

    pub(super) fn router(&mut self) -> &mut Router {
        &mut self.router
    }

    /// A route, and where the effects of its service go.
    #[inline]
    pub(super) fn route(&mut self, number: u8) -> (&mut SocketRoute, &mut PendingEffects) {
        (self.router.socket(number), &mut self.pending)
    }

    /// Whether clients of a route must show who they are.
    #[inline]
    pub(super) fn asks_identity(&self, number: u8) -> bool {
        self.router.get(number).is_some_and(|own| !own.options.identities.is_empty())
    }

    /// How a route passes on requests that upgrade nothing, if it does.
    pub(super) fn http_options(&self, number: u8) -> Option<HttpOptions> {
        self.router.get(number)?.options.http
    }

    /// A route, and what outcomes of its identity checks come back by; `None` before the start.
    pub(super) fn identities(&self, number: u8) -> Option<(&SocketRoute, &IdentitySender)> {
        Some((self.router.get(number)?, self.identity_sender.as_ref()?))
    }

    /// Has a service publish a text of an operator; whether there is such a route, and it knows how.
    pub(super) fn publish(&mut self, route: &str, room: &str, text: &str) -> bool {
        let Some(number) = self.router.number_called(route) else { return false };
        let mut is_done = false;
        self.call(number, |own, effects| is_done = own.service.publish(room, text, effects));
        is_done
    }

    /// Has all services publish to the members of a channel; how many of them are on this loop.
    pub(super) fn publish_item(&mut self, item: &ChannelItem, publishes: bool) -> usize {
        let mut count = 0;
        for number in 0..self.router.socket_count() {
            let Ok(number) = u8::try_from(number) else { break };
            self.call(number, |own, effects| {
                count += own.service.on_channel_item(item, publishes, effects);
            });
        }
        count
    }

    /// Asks the service with channels something, if there is one.
    pub(super) fn ask_channels(&mut self, question: ChannelQuestion, reply: Reply<ChannelAnswer>) {
        let mut asked = Some((question, reply));
        for number in 0..self.router.socket_count() {
            let (Ok(number), Some((question, reply))) = (u8::try_from(number), asked.take()) else {
                return;
            };
            self.call(number, |own, effects| {
                asked = own.service.on_channel_question(question, reply, effects);
            });
        }
        if let Some((_, reply)) = asked {
            reply.send(ChannelAnswer::Failed(ErrorCode::NotAvailable));
        }
    }

    /// A route, to look only.
    pub(super) fn socket(&self, number: u8) -> Option<&SocketRoute> {
        self.router.get(number)
    }

    /// Calls the service of a route about something else than an open connection.
    pub(super) fn call(
        &mut self,
        route: u8,
        call: impl FnOnce(&mut SocketRoute, &mut Effects<'_>),
    ) {
        let mut effects = Effects::detached(route, &mut self.pending);
        call(self.router.socket(route), &mut effects);
    }

    /// Tells a service that the connection which waits for its decision does so no longer.
    pub(super) fn cancel_decision(&mut self, route: u8, key: ConnKey) {
        let peer = Peer { loop_index: self.site.index, key };
        self.call(route, |own, effects| own.service.on_cancel(peer, effects));
    }

    /// What is yet to be carried out.
    #[inline]
    pub(super) fn pending(&mut self) -> &mut PendingEffects {
        &mut self.pending
    }

    /// Whether nothing is yet to be carried out.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.effects.is_empty() && self.pending.ignored == 0
    }

    /// Whether effects are yet to be carried out.
    pub(super) fn has_effects(&self) -> bool {
        !self.pending.effects.is_empty()
    }

    /// Whether a service has put work off for the next turn.
    fn wants_tick(&self) -> bool {
        !self.pending.ticks.is_empty()
    }

    /// Whether any service has ticks.
    #[inline]
    pub(super) fn has_ticks(&self) -> bool {
        self.router.has_ticks()
    }

    /// The ticks that services have asked for are due now.
    pub(super) fn hasten_ticks(&mut self, now: Millis) {
        for number in std::mem::take(&mut self.pending.ticks) {
            self.router.hasten_tick(number, now);
        }
    }

    /// Notes the decision on the request that is answered next, and forgets it with `None`.
    pub(super) fn set_decision(&mut self, decision: Option<Decision>) {
        self.decision = decision;
    }

    /// Whether the request that is answered was checked before, and decided on since.
    pub(super) fn has_decision(&self) -> bool {
        self.decision.is_some()
    }

    /// The decision, if one was noted.
    pub(super) fn take_decision(&mut self) -> Option<Decision> {
        self.decision.take()
    }

    /// A service holds so much more for connections. Whether the pool had that left.
    pub(super) fn charge(&mut self, bytes: usize, memory: &mut Buffers) -> bool {
        let is_charged = memory.charge(bytes).is_ok();
        match is_charged {
            true => self.charged_bytes += bytes,
            false => self.uncharged_bytes += bytes,
        }
        is_charged
    }

    /// A service holds so much less.
    pub(super) fn discharge(&mut self, bytes: usize, memory: &mut Buffers) {
        let uncharged = bytes.min(self.uncharged_bytes);
        self.uncharged_bytes -= uncharged;
        let charged = (bytes - uncharged).min(self.charged_bytes);
        self.charged_bytes -= charged;
        memory.discharge(charged);
    }

    /// Bytes charged to the pool for what services hold.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn charged_bytes(&self) -> usize {
        self.charged_bytes
    }

    /// When a service wants to be called next.
    #[inline]
    pub(super) fn next_tick(&self, now: Millis) -> Option<Millis> {
        if !self.has_ticks() {
            None
        } else if self.wants_tick() {
            Some(now)
        } else {
            self.router.next_tick()
        }
    }
}

struct Sender(LoopSender);

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sender")
    }
}

/// How other threads send messages to the service with this number on loop `from`.
fn service_sender(sender: &LoopSender, route: u8, from: u16) -> ServiceSender {
    let sender = Arc::clone(sender);
    ServiceSender::new(Arc::new(move |message| sender(LoopMessage::service(route, from, message))))
}
