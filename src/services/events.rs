//! Connections whose backend speaks plain HTTP: requests tell it of their events, and says what becomes of
//! them.

mod channels;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{
    Admission, CloseReason, ConnectRequest, Order, Service, ServiceMessage, ServiceSender,
};
use crate::effects::{
    Effects, EventAnswer, EventOpening, EventRoom, Message, Peer, SharedEventBackend,
};
use crate::events::grip::Control;
use crate::events::publish::{ChannelAction, ChannelItem};
use crate::events::{Action, ClientEvent, End, EventHead};
use crate::http::{ClientFacts, ForwardRules, Rejection, UpgradeRequest};
use crate::ws::{CloseCode, EncodedFrame, MessageKind};

use self::channels::Channels;
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
    channels: Channels,
}

impl Events {
    /// A service with these settings.
    #[must_use]
    pub fn new(settings: Arc<EventsSettings>) -> Self {
        Self { settings, sender: None, channels: Channels::default() }
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

    /// Does what a backend wants of the gateway. For a client that has just left this may come too late: the
    /// last answer about it takes it out of its channels again.
    fn obey(&mut self, peer: Peer, control: &Control, effects: &mut Effects<'_>) {
        match control {
            Control::Subscribe(channel) => {
                if let Some(name) = self.channels.subscribe(peer, channel) {
                    effects.subscribe(peer, &name);
                }
            }
            Control::Unsubscribe(channel) => {
                if let Some(name) = self.channels.unsubscribe(peer, channel) {
                    effects.unsubscribe(peer, &name);
                }
            }
            // Detaching is the conversation's own, and the others change nothing yet.
            Control::Detach | Control::KeepAlive(_) | Control::SetMeta(..) => {}
        }
    }

    fn take(&mut self, answer: EventAnswer, effects: &mut Effects<'_>) {
        let EventAnswer { peer, decision, actions, released_bytes, resumes, is_over } = answer;
        if let Some(decision) = decision {
            effects.decide(peer, decision);
        }
        for action in actions {
            match action {
                Action::Open | Action::Detach => {}
                Action::Control(control) => self.obey(peer, &control, effects),
                Action::Send(ClientEvent::Text, content) => {
                    effects.send(peer, EncodedFrame::new(MessageKind::Text, &content));
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
        if is_over {
            self.channels.remove(peer);
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
        self.channels.remove(peer);
        self.settings.backend.end(peer, end, effects.now());
    }

    fn publish(&mut self, room: &str, text: &str, effects: &mut Effects<'_>) -> bool {
        effects.publish(&room.into(), EncodedFrame::text(text), Order::Topic);
        true
    }

    fn on_channel_item(
        &mut self,
        item: &ChannelItem,
        publishes: bool,
        effects: &mut Effects<'_>,
    ) -> usize {
        let members = self.channels.get(&item.channel).map_or(&[][..], |(_, members)| members);
        match &item.action {
            ChannelAction::Send(event, content) if publishes => {
                let frame = match event {
                    ClientEvent::Text => EncodedFrame::new(MessageKind::Text, content),
                    ClientEvent::Binary => EncodedFrame::binary(content),
                };
                effects.publish(&item.channel, frame, Order::Topic);
            }
            ChannelAction::Send(..) => {}
            ChannelAction::Close(code, reason) => {
                for peer in members {
                    effects.close(*peer, *code, reason.clone());
                }
            }
        }
        members.len()
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
