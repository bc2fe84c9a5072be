//! Connections whose backend speaks plain HTTP: requests tell it of their events, and says what becomes of
//! them.

mod jobs;
mod members;

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{
    Admission, CloseReason, ConnectRequest, ControlFrame, Order, Service, ServiceMessage,
    ServiceSender,
};
use crate::effects::{
    Effects, EventAnswer, EventOpening, EventRoom, Message, Peer, SharedEventBackend,
};
use crate::events::filter::Published;
use crate::events::grip::{Control, Timed};
use crate::events::publish::{ChannelAction, ChannelItem};
use crate::events::{Action, ClientEvent, End, EventHead};
use crate::http::{ClientFacts, ForwardRules, Rejection, UpgradeRequest};
use crate::shrink::Shrink as _;
use crate::timer::Millis;
use crate::work::prices;
use crate::ws::{CloseCode, EncodedFrame, MessageKind};

use self::jobs::{Jobs, Task};
use self::members::{Change, Members};
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
    /// Whether pings of clients are told to the backend, and answered by it alone.
    pub passes_pings: bool,
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
    members: Members,
    /// What is left to do for members of channels.
    jobs: Jobs,
    /// What clients have said in close frames whose end is being told.
    close_reasons: HashMap<Peer, Box<str>>,
}

impl Events {
    /// A service with these settings.
    #[must_use]
    pub fn new(settings: Arc<EventsSettings>) -> Self {
        Self {
            settings,
            sender: None,
            members: Members::default(),
            jobs: Jobs::default(),
            close_reasons: HashMap::new(),
        }
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
        let now = effects.now();
        match control {
            Control::Subscribe(channel, filters) => {
                let Change { leaves, joins } = self.members.subscribe(peer, channel, filters);
                if let Some(name) = leaves {
                    effects.unsubscribe(peer, &name);
                }
                if let Some(name) = joins {
                    effects.subscribe(peer, &name);
                }
            }
            Control::Unsubscribe(channel) => {
                if let Some(name) = self.members.unsubscribe(peer, channel) {
                    effects.unsubscribe(peer, &name);
                }
            }
            Control::SetMeta(name, value) => self.members.set_meta(peer, name, value.as_deref()),
            Control::KeepAlive(message, mode) => {
                self.members.keep_alive(peer, message.clone(), *mode, now);
            }
            Control::SendDelayed(message) => {
                let before = self.members.delay(peer, message.clone(), now);
                self.send_timed(peer, before, effects);
            }
            Control::FlushDelayed => {
                let waiting = self.members.flush(peer);
                self.send_timed(peer, waiting, effects);
            }
            // Detaching is the conversation's own, and sessions are for requests of other kinds.
            Control::Detach | Control::Session(_) => {}
        }
    }

    /// Sends messages that are due.
    fn send_timed(
        &mut self,
        peer: Peer,
        due: impl IntoIterator<Item = Timed>,
        effects: &mut Effects<'_>,
    ) {
        for Timed { event, content, .. } in due {
            effects.send(peer, frame(event, &content));
            self.members.note_sent(peer, effects.now());
        }
    }

    /// Asks to be reminded of what is due next for a connection.
    fn ask_for_reminder(&mut self, peer: Peer, now: Millis) {
        if let Some(after_ms) = self.members.next_reminder(peer, now) {
            self.settings.backend.remind(peer, after_ms, now);
        }
    }

    fn take(&mut self, answer: EventAnswer, effects: &mut Effects<'_>) {
        let EventAnswer {
            peer, decision, actions, has_more, charged_bytes, released_bytes, ..
        } = answer;
        let EventAnswer { resumes, is_reminder, is_over, .. } = answer;
        let now = effects.now();
        if let Some(decision) = decision {
            effects.decide(peer, decision);
        }
        if charged_bytes > 0 {
            effects.charge(peer, charged_bytes);
        }
        self.act(peer, actions, effects);
        if has_more {
            // What was asked for is done before anything else of the backend is looked at.
            effects.charge_work(prices::WRITE);
            self.settings.backend.part_done(peer, now);
        }
        if released_bytes > 0 {
            effects.discharge(released_bytes);
        }
        if resumes {
            effects.resume(peer);
        }
        if is_reminder {
            let due = self.members.due(peer, now);
            self.send_timed(peer, due, effects);
        }
        if is_over {
            self.forget(peer, effects);
        } else {
            self.ask_for_reminder(peer, now);
            self.charge_record(peer, effects);
        }
    }

    /// Does a part of what a reply leads to.
    fn act(&mut self, peer: Peer, actions: Vec<Action>, effects: &mut Effects<'_>) {
        for action in actions {
            match action {
                Action::Open | Action::Detach => {}
                Action::Control(control) => {
                    effects.charge_work(CONTROL_WORK);
                    self.obey(peer, &control, effects);
                }
                Action::Send(event, content) => {
                    effects.send(peer, frame(event, &content));
                    self.members.note_sent(peer, effects.now());
                }
                Action::Close(Some((code, reason))) => effects.close(peer, code, reason),
                Action::Close(None) => effects.close(peer, CloseCode::NORMAL, ""),
                Action::Drop => effects.close(peer, CloseCode::INTERNAL, "the backend has failed"),
            }
        }
    }
}

impl Events {
    /// Charges the pool with what backends want to be kept of a connection.
    fn charge_record(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let (before, now) = self.members.recount(peer);
        match now.checked_sub(before) {
            Some(0) => {}
            Some(more) => effects.charge(peer, more),
            None => effects.discharge(before - now),
        }
    }

    /// A connection has ended.
    fn forget(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let charged = self.members.remove(peer);
        if charged > 0 {
            effects.discharge(charged);
        }
    }

    /// Has something done for members from the next turn on, a part of them in each.
    fn put_off(&mut self, task: Task, peers: Vec<Peer>, effects: &mut Effects<'_>) {
        self.jobs.add(task, peers);
        if !self.jobs.is_empty() {
            effects.tick_again();
        }
    }

    /// Sends a publication to the members with filters. Gives how many of them get nothing of it.
    fn send_filtered(
        &mut self,
        item: &ChannelItem,
        event: ClientEvent,
        content: &[u8],
        effects: &mut Effects<'_>,
    ) -> usize {
        let published =
            Published { channel: &item.channel, id: item.id.as_deref(), meta: &item.meta };
        let (mut dropped, mut unchanged) = (0, None);
        for (peer, content) in self.members.filtered(published, content, effects.now()) {
            match content {
                // Each of these would hold a copy until all effects are carried out.
                Some(Cow::Borrowed(content)) => {
                    let shared = unchanged.get_or_insert_with(|| frame(event, content));
                    effects.send(peer, shared.clone());
                }
                Some(Cow::Owned(content)) => effects.send(peer, frame(event, &content)),
                None => dropped += 1,
            }
        }
        dropped
    }

    /// Tells the backend what a client has sent.
    fn tell(&self, peer: Peer, event: ClientEvent, payload: &[u8], effects: &mut Effects<'_>) {
        let room = self.settings.backend.message(peer, event, payload, effects.now());
        if room != EventRoom::Untold && !payload.is_empty() {
            effects.charge(peer, payload.len());
        }
        if room == EventRoom::Full {
            effects.pause(peer);
        }
    }
}

/// What a client is sent, as a frame.
fn frame(event: ClientEvent, content: &[u8]) -> EncodedFrame {
    match event {
        ClientEvent::Text => EncodedFrame::new(MessageKind::Text, content),
        ClientEvent::Binary => EncodedFrame::binary(content),
        ClientEvent::Ping => EncodedFrame::ping(content),
        ClientEvent::Pong => EncodedFrame::pong(content),
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
        let head = self.head(connect, request);
        // The backend gets it with each request as long as the connection is there.
        effects.charge(peer, head.held_bytes());
        let opening = EventOpening { peer, head, answer_to: sender.clone(), now: effects.now() };
        self.settings.backend.open(opening);
        Ok(Admission::Later)
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        self.settings.backend.end(peer, End::Gone, "", effects.now());
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let event = match message.kind() {
            MessageKind::Text => ClientEvent::Text,
            MessageKind::Binary => ClientEvent::Binary,
        };
        self.tell(peer, event, message.payload(), effects);
    }

    fn on_control_frame(&mut self, peer: Peer, frame: ControlFrame<'_>, effects: &mut Effects<'_>) {
        match frame {
            ControlFrame::Ping(payload) if self.settings.passes_pings => {
                self.tell(peer, ClientEvent::Ping, payload, effects);
            }
            // An empty one answers a ping of the gateway itself.
            ControlFrame::Pong(payload) if self.settings.passes_pings && !payload.is_empty() => {
                self.tell(peer, ClientEvent::Pong, payload, effects);
            }
            ControlFrame::Ping(_) | ControlFrame::Pong(_) => {}
            ControlFrame::Close(reason) => {
                if !reason.is_empty() {
                    self.close_reasons.insert(peer, reason.into());
                }
            }
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
        self.forget(peer, effects);
        let reason = self.close_reasons.remove(&peer).unwrap_or_default();
        self.close_reasons.shrink_if_sparse(0);
        self.settings.backend.end(peer, end, &reason, effects.now());
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
        let count = self.members.count(&item.channel);
        match &item.action {
            ChannelAction::Send(event, content) => {
                if publishes {
                    effects.publish(&item.channel, frame(*event, content), Order::Topic);
                }
                self.members.note_published(&item.channel, effects.now());
                count - self.send_filtered(item, *event, content, effects)
            }
            ChannelAction::Close(code, reason) => {
                // At once: what is published next is not for them, and they are closed in later turns.
                effects.charge_work(LEAVE_WORK * count as u64);
                let left = |peer, topic: &Arc<str>| effects.unsubscribe(peer, topic);
                let closing = self.members.begin_close(&item.channel, left);
                self.put_off(Task::Close(*code, reason.clone()), closing, effects);
                count
            }
            ChannelAction::Refresh => {
                effects.charge_work(LOOK_WORK * count as u64);
                let asked = self.members.begin_refresh(&item.channel);
                self.put_off(Task::Refresh, asked, effects);
                count
            }
            ChannelAction::Hint => 0,
        }
    }

    fn tick_ms(&self) -> Option<u64> {
        Some(TICK_MS)
    }

    fn is_at_rest(&self) -> bool {
        self.jobs.is_empty()
    }

    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        if self.jobs.is_empty() {
            return;
        }
        let cost = self.jobs.run(&mut self.members, |peer, task| match task {
            Task::Close(code, reason) => effects.close(peer, *code, reason.clone()),
            Task::Refresh => self.settings.backend.refresh(peer, effects.now()),
        });
        effects.charge_work(cost);
        if !self.jobs.is_empty() {
            effects.tick_again();
        }
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

/// A member leaves its channels, and what is kept about it is forgotten; without its topics.
const LEAVE_WORK: u64 = 200;
/// A member is noted.
const LOOK_WORK: u64 = 100;
/// What is kept about a connection changes.
const CONTROL_WORK: u64 = 500;
/// Only what is left to do needs ticks, and asks for them by itself.
const TICK_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{Effect, NoEventBackend, PendingEffects};
    use crate::events::filter::{Filter, Meta};
    use crate::key::ConnKey;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    #[test]
    fn members_whose_filters_change_nothing_share_a_frame() {
        let mut events = Events::new(Arc::new(EventsSettings {
            backend: Arc::new(NoEventBackend),
            rules: ForwardRules::default(),
            rewrite: None,
            paths: Vec::new(),
            passes_pings: false,
        }));
        for index in 0..4 {
            events.members.subscribe(peer(index), "a", &[Filter::SkipSelf]);
        }
        events.members.set_meta(peer(0), "user", Some("ann"));
        events.members.subscribe(peer(4), "a", &[Filter::VarSubst]);
        events.members.set_meta(peer(4), "user", Some("bob"));
        let item = ChannelItem {
            channel: "a".into(),
            id: None,
            prev_id: None,
            meta: Meta::new(vec![("sender".into(), "ann".into())]),
            action: ChannelAction::Send(ClientEvent::Text, b"%(user)s".to_vec()),
        };
        let mut pending = PendingEffects::default();
        let mut effects = Effects::detached(0, &mut pending);
        assert_eq!(events.on_channel_item(&item, false, &mut effects), 4);
        let sent: Vec<(Peer, &[u8])> = pending
            .effects
            .iter()
            .map(|effect| {
                let Effect::Send(peer, frame) = effect else { unreachable!("{effect:?}") };
                (*peer, frame.payload())
            })
            .collect();
        assert_eq!(sent[0], (peer(1), b"%(user)s".as_slice()));
        assert_eq!(sent[3], (peer(4), b"bob".as_slice()));
        for own in &sent[1..3] {
            assert!(std::ptr::eq(own.1, sent[0].1), "{own:?}");
        }
    }
}
