//! The services of the simulation, among them a relay that sends to peers on all loops and closes
//! them. [`Watched`] wraps each of them and records in the [`Journal`] whether opens and closes
//! pair, and what was sent to which peer.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate::events::publish::ChannelItem;
use tidegate::http::{PlainRequest, Rejection, RequestHead};
use tidegate::inspect::{ChannelAnswer, ChannelQuestion};
use tidegate::mail::Reply;
use tidegate::services::{
    Accept, Admission, BackendRequest, Behind, CloseReason, ConnectRequest, ControlFrame,
    Description, Effects, LoopSite, Message, ObservedClient, Peer, RouteObserver, Service,
    ServiceMessage, ServiceSender,
};
use tidegate::ws::{CloseCode, EncodedFrame};

/// What the services of all loops received and did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) open: BTreeSet<String>,
    /// The open peers of the relay, in the order in which they opened.
    members: Vec<Peer>,
    /// By the name of a peer, the peer that the relay closes when that one closes.
    pairs: BTreeMap<String, Peer>,
    /// Whether the routes have this journal for an observer.
    pub(crate) is_observed: bool,
    /// The open peers, as an observer is told.
    observed: BTreeSet<String>,
    /// Texts sent, by target and then by source.
    pub(crate) sent: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// How each connection left, by name.
    pub(crate) ends: BTreeMap<String, CloseReason>,
    /// Messages that [`SelfMessenger`] received from itself.
    self_messages: usize,
    /// Peers that left before their deferred admission was decided.
    pub(crate) cancelled: Vec<Peer>,
    /// Broken guarantees of the [`Service`] trait.
    pub(crate) violations: Vec<String>,
}

impl Journal {
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }

    /// How many peers are open for the services.
    pub(crate) fn open_count(&self) -> usize {
        self.entries().open.len()
    }
}

/// A peer's name in texts and in the journal.
pub(crate) fn name_of(peer: Peer) -> String {
    format!("{}/{}/{}", peer.loop_index, peer.key.index, peer.key.generation)
}

/// Each connection that a service hears of is told before, once.
impl RouteObserver for Journal {
    fn connected(&self, client: &ObservedClient<'_>) {
        let name = name_of(client.peer);
        let mut entries = self.entries();
        if entries.open.contains(&name) || !entries.observed.insert(name.clone()) {
            entries.violations.push(format!("{name} is observed to open late or twice"));
        }
    }

    fn disconnected(&self, client: &ObservedClient<'_>, _: CloseReason) {
        let name = name_of(client.peer);
        let mut entries = self.entries();
        if !entries.observed.remove(&name) || !entries.open.contains(&name) {
            entries.violations.push(format!("{name} is observed to close late or twice"));
        }
    }
}

/// A service whose callbacks are recorded in the journal.
pub(crate) struct Watched<S> {
    service: S,
    journal: Journal,
}

impl<S> Watched<S> {
    pub(crate) fn new(service: S, journal: Journal) -> Self {
        Self { service, journal }
    }
}

impl<S: Service> Service for Watched<S> {
    fn wants_addresses(&self) -> bool {
        self.service.wants_addresses()
    }

    fn admit(
        &mut self,
        request: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        self.service.admit(request, peer, effects)
    }

    fn screen(
        &mut self,
        request: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Option<Result<Accept, Rejection>> {
        self.service.screen(request, peer, effects)
    }

    fn on_cancel(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let name = name_of(peer);
        let mut entries = self.journal.entries();
        if entries.open.contains(&name) || entries.ends.contains_key(&name) {
            entries.violations.push(format!("{name} cancelled after it was decided"));
        }
        entries.cancelled.push(peer);
        drop(entries);
        self.service.on_cancel(peer, effects);
    }

    fn on_service_message(
        &mut self,
        from: u16,
        message: ServiceMessage,
        effects: &mut Effects<'_>,
    ) {
        self.service.on_service_message(from, message, effects);
    }

    fn on_behind(&mut self, peer: Peer, conflation_key: u32, effects: &mut Effects<'_>) -> Behind {
        self.service.on_behind(peer, conflation_key, effects)
    }

    fn on_dismissed(&mut self, peer: Peer, topic: &str, reason: u8, effects: &mut Effects<'_>) {
        self.service.on_dismissed(peer, topic, reason, effects);
    }

    fn on_start(&mut self, service_sender: ServiceSender) {
        self.service.on_start(service_sender);
    }

    fn plain_request(
        &mut self,
        connect: &ConnectRequest<'_>,
        head: &RequestHead<'_>,
        request: PlainRequest,
    ) -> Option<BackendRequest> {
        self.service.plain_request(connect, head, request)
    }

    fn on_channel_item(
        &mut self,
        item: &ChannelItem,
        publishes: bool,
        effects: &mut Effects<'_>,
    ) -> usize {
        self.service.on_channel_item(item, publishes, effects)
    }

    fn on_channel_question(
        &mut self,
        question: ChannelQuestion,
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) -> Option<(ChannelQuestion, Reply<ChannelAnswer>)> {
        self.service.on_channel_question(question, reply, effects)
    }

    fn describe(&self, peer: Peer) -> Option<Description<'_>> {
        self.service.describe(peer)
    }

    fn on_reload(&mut self, next: Box<dyn Service>, effects: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        match next.downcast::<Self>() {
            Ok(next) => self.service.on_reload(Box::new(next.service), effects),
            Err(_) => {
                let broken = "a service is told the settings of another".to_owned();
                self.journal.entries().violations.push(broken);
            }
        }
    }

    fn rooms_end(&self) -> usize {
        self.service.rooms_end()
    }

    fn room(&self, position: usize) -> Option<(&str, usize)> {
        self.service.room(position)
    }

    fn publish(&mut self, room: &str, text: &str, effects: &mut Effects<'_>) -> bool {
        self.service.publish(room, text, effects)
    }

    fn on_control_frame(&mut self, peer: Peer, frame: ControlFrame<'_>, effects: &mut Effects<'_>) {
        self.service.on_control_frame(peer, frame, effects);
    }

    fn tick_ms(&self) -> Option<u64> {
        self.service.tick_ms()
    }

    fn is_at_rest(&self) -> bool {
        self.service.is_at_rest()
    }

    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        self.service.on_tick(effects);
    }

    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let name = name_of(peer);
        let mut entries = self.journal.entries();
        if entries.ends.contains_key(&name) || !entries.open.insert(name.clone()) {
            entries.violations.push(format!("{name} opened twice"));
        }
        if entries.is_observed && !entries.observed.contains(&name) {
            entries.violations.push(format!("{name} opened unobserved"));
        }
        drop(entries);
        self.service.on_open(peer, effects);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let name = name_of(peer);
        let mut entries = self.journal.entries();
        if !entries.open.contains(&name) {
            entries.violations.push(format!("a message from {name}, which is not open"));
        }
        drop(entries);
        self.service.on_message(peer, message, effects);
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        let name = name_of(peer);
        let mut entries = self.journal.entries();
        if !entries.open.remove(&name) {
            entries.violations.push(format!("{name} closed without being open"));
        }
        if entries.observed.contains(&name) {
            entries.violations.push(format!("{name} closed unobserved"));
        }
        entries.ends.insert(name, reason);
        drop(entries);
        self.service.on_close(peer, reason, effects);
    }
}

/// Sends each peer its name when it opens, then follows the commands in its texts:
///
/// - `cast 3 …` sends the text to the next three members (the sender itself may be among them),
/// - `push 100 10` sends the next member 100 texts of 10 bytes,
/// - `close` closes the next member with 4000, `bye` the sender itself,
/// - `farewell 1000` does as `bye` does, after a reply of 1000 bytes,
/// - `pair` makes the next member close with the sender, with 4004.
///
/// When a member closes, the relay sends `left` to the first member.
pub(crate) struct Relay {
    journal: Journal,
}

impl Relay {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }

    fn send(&self, from: Peer, to: Peer, text: &str, effects: &mut Effects<'_>) {
        let sent = format!("{}|{text}", name_of(from));
        effects.send(to, EncodedFrame::text(&sent));
        let mut entries = self.journal.entries();
        let texts = entries.sent.entry(name_of(to)).or_default().entry(name_of(from)).or_default();
        texts.push(sent);
    }

    /// The `count` members after `peer`, cyclically.
    fn next_members(&self, peer: Peer, count: usize) -> Vec<Peer> {
        let members = &self.journal.entries().members;
        let at = members.iter().position(|member| *member == peer).unwrap_or(0);
        members.iter().cycle().skip(at + 1).take(count.min(members.len())).copied().collect()
    }
}

impl Service for Relay {
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        effects.reply_text(&name_of(peer));
        self.journal.entries().members.push(peer);
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let Some(text) = message.text() else { return };
        let mut words = text.split(' ');
        let verb = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
        match verb {
            "cast" => {
                for to in self.next_members(peer, number()) {
                    self.send(peer, to, text, effects);
                }
            }
            "push" => {
                let (count, bytes) = (number(), number());
                for to in self.next_members(peer, 1) {
                    for serial in 0..count {
                        self.send(peer, to, &format!("{serial} {}", "x".repeat(bytes)), effects);
                    }
                }
            }
            "close" => {
                for to in self.next_members(peer, 1) {
                    effects.close(to, CloseCode::from_wire(4000).unwrap(), "requested");
                }
            }
            "pair" => {
                for to in self.next_members(peer, 1) {
                    self.journal.entries().pairs.insert(name_of(peer), to);
                }
            }
            "bye" => effects.close(peer, CloseCode::NORMAL, "bye"),
            "farewell" => {
                effects.reply_text(&"x".repeat(number()));
                effects.close(peer, CloseCode::NORMAL, "farewell");
            }
            _ => {}
        }
    }

    fn on_close(&mut self, peer: Peer, _: CloseReason, effects: &mut Effects<'_>) {
        let mut entries = self.journal.entries();
        entries.members.retain(|member| *member != peer);
        let first = entries.members.first().copied();
        let pair = entries.pairs.remove(&name_of(peer));
        drop(entries);
        if let Some(first) = first {
            self.send(peer, first, "left", effects);
        }
        if let Some(pair) = pair {
            effects.close(pair, CloseCode::from_wire(4004).unwrap(), "with its pair");
        }
    }
}

/// Closes each peer with 4003 as soon as it opens.
pub(crate) struct CloseOnOpen;

impl Service for CloseOnOpen {
    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        effects.close(peer, CloseCode::NAME_REFUSED, "name refused");
    }

    fn on_message(&mut self, _: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        effects.reply_in_place(message);
    }
}

/// Defers every admission to its sibling on the last loop, which decides by the query: `?yes` and
/// `?no` at once, any other when a peer of this service sends `decide`.
pub(crate) struct Gatekeeper {
    site: LoopSite,
    waiting: Vec<Peer>,
}

/// A message between the siblings of the gatekeeper.
enum DecisionRequest {
    About(Peer, String),
    DecideAll,
    DecideOne,
}

impl Gatekeeper {
    pub(crate) fn new(site: LoopSite) -> Self {
        Self { site, waiting: Vec::new() }
    }

    fn decider(&self) -> u16 {
        self.site.count - 1
    }
}

impl Service for Gatekeeper {
    fn admit(
        &mut self,
        connect_request: &ConnectRequest<'_>,
        peer: Peer,
        effects: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let query = connect_request.request().map_or(&b""[..], |request| request.query().raw());
        let query = String::from_utf8_lossy(query).into_owned();
        effects.tell(self.decider(), Box::new(DecisionRequest::About(peer, query)));
        Ok(Admission::Later)
    }

    fn on_message(&mut self, _: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        match message.payload() {
            b"decide" => effects.tell(self.decider(), Box::new(DecisionRequest::DecideAll)),
            b"decide one" => effects.tell(self.decider(), Box::new(DecisionRequest::DecideOne)),
            _ => effects.reply_in_place(message),
        }
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        match *message.downcast::<DecisionRequest>().unwrap() {
            DecisionRequest::About(peer, query) => match query.as_str() {
                "yes" => effects.decide(peer, Ok(Accept::default())),
                "no" => effects.decide(peer, Err(Rejection::forbidden("not you"))),
                _ => self.waiting.push(peer),
            },
            DecisionRequest::DecideOne => {
                if let Some(peer) = self.waiting.pop() {
                    effects.decide(peer, Ok(Accept::default()));
                }
            }
            DecisionRequest::DecideAll => {
                for peer in self.waiting.drain(..) {
                    effects.decide(peer, Ok(Accept::default()));
                }
            }
        }
    }
}

/// On a message from a peer, sends a service message to itself, and another for each one that it
/// receives: without a bound per turn it would never end.
pub(crate) struct SelfMessenger {
    journal: Journal,
    site: LoopSite,
}

impl SelfMessenger {
    pub(crate) fn new(journal: Journal, site: LoopSite) -> Self {
        Self { journal, site }
    }
}

impl Service for SelfMessenger {
    fn on_message(&mut self, _: Peer, _: Message<'_>, effects: &mut Effects<'_>) {
        effects.tell(self.site.index, Box::new(()));
    }

    fn on_service_message(
        &mut self,
        from: u16,
        message: ServiceMessage,
        effects: &mut Effects<'_>,
    ) {
        self.journal.entries().self_messages += 1;
        effects.tell(from, message);
    }
}

/// The number of messages that [`SelfMessenger`] received from itself.
pub(crate) fn self_message_count(journal: &Journal) -> usize {
    journal.entries().self_messages
}

/// The name of the peer that a relayed text comes from.
pub(crate) fn name_of_text(text: &str) -> &str {
    text.split('|').next().unwrap_or_default()
}
