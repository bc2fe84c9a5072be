//! Connections whose backend speaks plain HTTP: it is told of their events, and says what becomes of
//! them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Admission, CloseReason, ConnectRequest, Service, ServiceMessage, ServiceSender};
use crate::effects::{
    Effects, EventAnswer, EventOpening, EventRoom, Message, Peer, SharedEventBackend,
};
use crate::events::{Action, ClientEvent, End, EventHead};
use crate::http::{ClientFacts, ForwardRules, Rejection, UpgradeRequest};
use crate::ws::{CloseCode, EncodedFrame};

use super::relay::rewritten_target;

/// How the events of a route's connections are told.
#[derive(Clone)]
pub struct EventsSettings {
    /// What tells them.
    pub backend: SharedEventBackend,
    /// How requests differ from those of the clients.
    pub rules: ForwardRules,
    /// The path that takes the place of the route's, as
    /// [`RelaySettings::rewrite`](super::RelaySettings::rewrite).
    pub rewrite: Option<String>,
    /// The paths of the route.
    pub paths: Vec<String>,
}

impl fmt::Debug for EventsSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("EventsSettings");
        shown.field("rules", &self.rules).field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// The service of a route with events. For a connection about which nothing waits it keeps nothing.
#[derive(Debug)]
pub struct Events {
    settings: Arc<EventsSettings>,
    /// `None` before the start.
    sender: Option<ServiceSender>,
}

impl Events {
    /// A service with these settings.
    #[must_use]
    pub fn new(settings: Arc<EventsSettings>) -> Self {
        Self { settings, sender: None }
    }

    fn head(&self, connect: &ConnectRequest<'_>, request: &UpgradeRequest<'_, '_>) -> EventHead {
        let EventsSettings { rules, rewrite, paths, .. } = &*self.settings;
        let client = ClientFacts {
            address: connect.address().map(|address| address.ip().to_canonical()),
            is_tls: connect.is_tls(),
            proxy: connect.proxy(),
            user: connect.identity().map(|identity| &**identity.user()),
        };
        let target = rewritten_target(request, rewrite.as_deref(), paths);
        EventHead::new(request.head(), &target, rules, &client)
    }

    fn take(&mut self, answer: EventAnswer, effects: &mut Effects<'_>) {
        let EventAnswer { peer, decision, actions, released_bytes, resumes } = answer;
        if let Some(decision) = decision {
            effects.decide(peer, decision);
        }
        for action in actions {
            match action {
                Action::Open | Action::Control(_) | Action::Detach => {}
                Action::Send(ClientEvent::Text, content) => {
                    effects.send(peer, EncodedFrame::new(crate::ws::MessageKind::Text, &content));
                }
                Action::Send(ClientEvent::Binary, content) => {
                    effects.send(peer, EncodedFrame::binary(&content));
                }
                Action::Ping(content) => effects.send(peer, EncodedFrame::ping(&content)),
                Action::Close(Some((code, reason))) => effects.close(peer, code, reason),
                Action::Close(None) => effects.close(peer, CloseCode::NORMAL, ""),
                Action::Drop => effects.close(peer, CloseCode::INTERNAL, "the backend has failed"),
            }
        }
        if released_bytes > 0 {
            effects.discharge(released_bytes);
        }
        if resumes {
            effects.resume(peer);
        }
    }
}

impl Service for Events {
    fn on_start(&mut self, service_sender: ServiceSender) {
        self.sender = Some(service_sender);
    }

    fn wants_addresses(&self) -> bool {
        true
    }

    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let (Some(request), Some(sender)) = (connect.request(), &self.sender) else {
            return Err(Rejection::bad_request("this route takes requests of HTTP only"));
        };
        let opening = EventOpening {
            peer,
            head: self.head(connect, request),
            answer_to: sender.clone(),
            now: effects.now(),
        };
        self.settings.backend.open(opening);
        Ok(Admission::Later)
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        self.settings.backend.end(peer, End::Gone, effects.now());
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let (kind, payload) = (message.kind(), message.payload());
        let room = self.settings.backend.message(peer, kind, payload, effects.now());
        if room != EventRoom::Untold && !payload.is_empty() {
            effects.charge(peer, payload.len());
        }
        if room == EventRoom::Full {
            effects.pause(peer);
        }
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let end = match reason {
            CloseReason::Peer(code) => End::Closed(code.map(CloseCode::number)),
            CloseReason::Aged
            | CloseReason::Backend
            | CloseReason::Drained
            | CloseReason::Evicted
            | CloseReason::Expired
            | CloseReason::Fragments
            | CloseReason::Gone
            | CloseReason::Idle
            | CloseReason::MessageIdle
            | CloseReason::Operator(_)
            | CloseReason::OverRate
            | CloseReason::Overload
            | CloseReason::ProxyHeader
            | CloseReason::Reset
            | CloseReason::Service(_)
            | CloseReason::Slow
            | CloseReason::Stalled
            | CloseReason::Tls
            | CloseReason::Unfinished
            | CloseReason::Violation(_) => End::Gone,
        };
        self.settings.backend.end(peer, end, effects.now());
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        if let Ok(answer) = message.downcast::<EventAnswer>() {
            self.take(*answer, effects);
        }
    }

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        if let Ok(next) = next.downcast::<Self>() {
            self.settings = next.settings;
        }
    }
}
