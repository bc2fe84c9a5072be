//! The service of a loop: the calls about its connections, and what it keeps of them.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::client_ids::ClientIds;
use super::clients::{Clients, Phase, home_bit};
use super::dialogs::Dialogs;
use super::held_frames::HeldFrames;
use super::home::Home;
use super::home_channel::{channel_of, topic_in};
use super::operations::Operations;
use super::settings::ChannelsSettings;
use super::to_home::{
    AskerGone, ChannelAction, Dismissal, Forwarded, Gathered, LeaveReply, Refused, ToHome,
};
use crate::centrifugo::{self, Disconnect, Encoded, Encoder, ErrorCode, Format, Unsubscribed};
use crate::channels::ClientId;
use crate::effects::INFO_BYTES_MAX;
use crate::events::EventHead;
use crate::events::publish::ChannelItem;
use crate::http::{ClientFacts, ForwardRules, Rejection, Subprotocol};
use crate::inspect::{ChannelAnswer, ChannelQuestion};
use crate::key::ConnKey;
use crate::mail::Reply;
use crate::services::{
    Accept, Admission, Behind, ClientHeaders, CloseReason, ConnectRequest, Description, Effects,
    EngineDelivery, Identity, LoopSite, Message, Peer, ProxyAnswer, Service, ServiceMessage,
    ServiceSender,
};
use crate::shrink::Shrink as _;
use crate::timer::Millis;
use crate::ws::CloseCode;

/// Channels, as [`ChannelsSettings`] describes them.
#[derive(Debug)]
pub struct Channels {
    pub(super) settings: Arc<ChannelsSettings>,
    pub(super) site: LoopSite,
    pub(super) clients: Clients,
    ids: ClientIds,
    /// What the upgrade says of connections that are not open yet, where it says anything.
    arriving: HashMap<ConnKey, Arriving>,
    /// What backends are asked about connections.
    pub(super) dialogs: Dialogs,
    /// What clients have sent and is not done yet.
    pub(super) held: HeldFrames,
    /// By what they answer; `None` before the start.
    pub(super) sender: Option<ServiceSender>,
    pub(super) home: Home,
    /// What backends do to the connections of users.
    pub(super) operations: Operations,
    pub(super) encoder: Encoder,
    /// Whether another process goes on, so that each client that asks for something is sent there.
    pub(super) is_leaving: bool,
}

/// What the upgrade of a connection says of it.
#[derive(Debug)]
struct Arriving {
    /// The user that it has proven; empty for none.
    user: Arc<str>,
    info: Option<Arc<[u8]>>,
    /// What backends are told of its request.
    headers: Option<Arc<ClientHeaders>>,
    format: Format,
}

impl Channels {
    /// Makes the instance for the loop at `site`.
    #[must_use]
    pub fn new(settings: impl Into<Arc<ChannelsSettings>>, site: LoopSite) -> Self {
        let settings = settings.into();
        Self {
            home: Home::new(&settings, site, ClientIds::number()),
            clients: Clients::new(Millis(0)),
            ids: ClientIds::default(),
            arriving: HashMap::new(),
            dialogs: Dialogs::default(),
            held: HeldFrames::default(),
            sender: None,
            operations: Operations::default(),
            encoder: Encoder::default(),
            is_leaving: false,
            settings,
            site,
        }
    }

    /// Closes a connection, which may send nothing more.
    pub(super) fn disconnect(&mut self, peer: Peer, why: Disconnect, effects: &mut Effects<'_>) {
        self.close(peer, why.close_code(), why.text(), effects);
    }

    /// As above, with this code and this reason.
    pub(super) fn close(
        &mut self,
        peer: Peer,
        code: CloseCode,
        reason: impl Into<Cow<'static, str>>,
        effects: &mut Effects<'_>,
    ) {
        if let Some(client) = self.clients.get_mut(peer.key) {
            client.phase = Phase::Closing;
        }
        let reason = reason.into();
        log::debug!(connection:% = peer; "channels: closed with {}: {reason}", code.number());
        effects.close(peer, code, reason);
    }

    /// Replies to a command, in whatever call that becomes possible.
    pub(super) fn reply(
        &mut self,
        peer: Peer,
        id: u32,
        reply: &centrifugo::Reply<'_>,
        effects: &mut Effects<'_>,
    ) {
        let format = self.clients.format(peer.key);
        reply_to(peer, self.encoder.reply(format, id, reply), effects);
        self.encoder.trim();
    }

    /// As above, to a command that fails.
    pub(super) fn reply_error(
        &mut self,
        peer: Peer,
        id: u32,
        error: ErrorCode,
        effects: &mut Effects<'_>,
    ) {
        let format = self.clients.format(peer.key);
        reply_to(peer, self.encoder.error(format, id, error), effects);
    }

    /// Sends an action to the home of its channel. The home sends itself a message too, so that actions of its
    /// own members are applied after the callback, like those of others.
    pub(super) fn tell_home(message: ToHome, effects: &mut Effects<'_>) {
        let (home, held_bytes) = (message.channel.home, message.held_bytes());
        effects.tell(home, ServiceMessage::holding(message, held_bytes));
    }

    /// A connection is a member no longer.
    pub(super) fn leave(
        &mut self,
        peer: Peer,
        channel: &str,
        reply: LeaveReply,
        effects: &mut Effects<'_>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(peer.key) else { return false };
        let Some(own) = client.remove_subscription(channel) else { return false };
        let format = client.format;
        let is_charged = client.charged_bytes() > 0;
        self.clients.channels.release(&own.channel);
        if is_charged {
            self.charge_client(peer, effects);
        }
        if own.channel.conflation_key != 0 {
            // What waits for it may be dropped from now on, and what comes until its home knows would be behind a
            // hole.
            effects.unsubscribe(peer, &topic_in(format, &own.channel.name));
        }
        let action = ChannelAction::Leave(reply);
        Self::tell_home(ToHome { channel: own.channel, peer, format, action }, effects);
        true
    }

    /// A member of a channel hears it no longer.
    fn dismissed(&mut self, peer: Peer, channel: &str, why: Dismissal, effects: &mut Effects<'_>) {
        let Some(client) = self.clients.get(peer.key) else { return };
        // Without one it has just left.
        let Some(subscription) = client.subscription(channel) else { return };
        match why {
            Dismissal::PositionLost if !subscription.is_own => {
                let reply = LeaveReply::Push(Unsubscribed::InsufficientState);
                self.leave(peer, channel, reply, effects);
            }
            Dismissal::Closed => {
                let reply = LeaveReply::Push(Unsubscribed::Server);
                self.leave(peer, channel, reply, effects);
            }
            // What the server has subscribed, the client cannot subscribe again.
            Dismissal::PositionLost | Dismissal::Inappropriate => {
                self.disconnect(peer, why.disconnect(), effects);
            }
        }
    }

    /// The home has not let a connection in.
    fn on_refused(&mut self, refused: Refused, effects: &mut Effects<'_>) {
        let Refused { peer, serial } = refused;
        let Some(client) = self.clients.get(peer.key) else { return };
        let own = client.subscriptions.iter().find(|own| own.serial == serial);
        if let Some(channel) = own.map(|own| Arc::clone(&own.channel)) {
            self.leave(peer, &channel.name, LeaveReply::Nothing, effects);
        }
    }
}

impl Channels {
    /// What the upgrade of a connection says of it, if it says anything.
    fn take_arriving(&mut self, peer: Peer) -> Option<Arriving> {
        let arriving = self.arriving.remove(&peer.key)?;
        self.arriving.shrink_if_sparse(ARRIVING_KEPT);
        Some(arriving)
    }

    /// What backends are told of a client's request with each question.
    fn headers_of(&self, connect: &ConnectRequest<'_>) -> Option<Arc<ClientHeaders>> {
        let names = &self.settings.proxies.headers;
        let request = connect.request().filter(|_| !names.is_empty())?;
        let client = ClientFacts {
            address: connect.address().map(|address| address.ip().to_canonical()),
            is_tls: connect.is_tls(),
            proxy: connect.proxy(),
            user: connect.identity().map(|identity| &**identity.user()),
        };
        let head = EventHead::new(request.head(), b"/", &ForwardRules::default(), &client);
        let headers = ClientHeaders::of(&head, names);
        (!headers.is_empty()).then(|| Arc::new(headers))
    }
}

impl Service for Channels {
    fn on_start(&mut self, service_sender: ServiceSender) {
        self.home.on_start(&service_sender);
        self.sender = Some(service_sender);
    }

    fn wants_addresses(&self) -> bool {
        self.settings.proxies.tells_address()
    }

    fn admit(
        &mut self,
        connect: &ConnectRequest<'_>,
        peer: Peer,
        _: &mut Effects<'_>,
    ) -> Result<Admission, Rejection> {
        let headers = self.headers_of(connect);
        let format = format_of(connect);
        let identity = connect.identity();
        if identity.is_some() || headers.is_some() || format != Format::Json {
            let info = identity.and_then(Identity::info).filter(|own| own.len() <= INFO_BYTES_MAX);
            let info = info.map(|own| own.as_bytes().into());
            let user = identity.map_or_else(Arc::default, |own| Arc::clone(own.user()));
            self.arriving.insert(peer.key, Arriving { user, info, headers, format });
        }
        Ok(Admission::Now(Accept::default()))
    }

    fn on_cancel(&mut self, peer: Peer, _: &mut Effects<'_>) {
        self.take_arriving(peer);
    }

    fn on_open(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let arriving = self.take_arriving(peer);
        let is_known = arriving.is_some();
        let id = self.ids.next();
        let next = effects.now().tick().after_ms(self.settings.times.stale_ms);
        let (user, info, format) = match arriving {
            Some(Arriving { user, info, headers, format }) => {
                if headers.is_some() {
                    self.dialogs.entry(peer.key).headers = headers;
                }
                (user, info, format)
            }
            // Without an allocation.
            None => (Arc::default(), None, Format::Json),
        };
        self.clients.add(peer.key, id.unwrap_or(ClientId::new([0; 16])), user, next);
        if let Some(client) = self.clients.get_mut(peer.key) {
            client.format = format;
            if info.is_some() {
                client.rare().info = info;
            }
        }
        if is_known {
            self.charge_client(peer, effects);
        }
        if id.is_none() {
            self.disconnect(peer, Disconnect::ServerError, effects);
        }
    }

    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        self.on_frame(peer, message.payload(), effects);
    }

    fn on_close(&mut self, peer: Peer, reason: CloseReason, effects: &mut Effects<'_>) {
        log::debug!(connection:% = peer; "channels: left: {reason}");
        self.release_questions(peer, effects);
        self.forget_held(peer, effects);
        let Some(client) = self.clients.remove(peer.key) else { return };
        if client.charged_bytes() > 0 {
            effects.discharge(client.charged_bytes());
        }
        let (format, asked_homes) = (client.format, client.asked_homes);
        // Homes that learn of its end in any case.
        let mut told = Vec::new();
        for own in client.subscriptions {
            self.clients.channels.release(&own.channel);
            if asked_homes & home_bit(own.channel.home) != 0 {
                told.push(own.channel.home);
            }
            let action = ChannelAction::Leave(LeaveReply::Gone);
            Self::tell_home(ToHome { channel: own.channel, peer, format, action }, effects);
        }
        // What it has asked for elsewhere is answered no more.
        let is_asked = |home: &u16| asked_homes & home_bit(*home) != 0 && !told.contains(home);
        for home in (0..self.site.count).filter(is_asked) {
            effects.tell(home, ServiceMessage::holding(AskerGone(peer), 0));
        }
    }

    fn describe(&self, peer: Peer) -> Option<Description<'_>> {
        let client = self.clients.get(peer.key)?;
        let user = Some(&*client.user).filter(|user| !user.is_empty());
        let room = client.subscriptions.first().map(|own| &*own.channel.name);
        Some(Description { user, room })
    }

    fn on_reload(&mut self, next: Box<dyn Service>, _: &mut Effects<'_>) {
        let next: Box<dyn Any> = next;
        // Members keep the options that they came in with; what comes next has the new ones.
        if let Ok(next) = next.downcast::<Self>() {
            self.settings = next.settings;
            self.home.set(&self.settings, self.site.count);
        }
    }

    fn on_channel_item(
        &mut self,
        item: &ChannelItem,
        publishes: bool,
        effects: &mut Effects<'_>,
    ) -> usize {
        self.on_item(item, publishes, effects)
    }

    fn on_channel_question(
        &mut self,
        question: ChannelQuestion,
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) -> Option<(ChannelQuestion, Reply<ChannelAnswer>)> {
        self.on_question(question, reply, effects);
        None
    }

    fn tick_ms(&self) -> Option<u64> {
        Some(TICK_MS)
    }

    fn is_at_rest(&self) -> bool {
        self.clients.len() == 0 && self.home.is_at_rest() && self.operations.is_empty()
    }

    fn on_tick(&mut self, effects: &mut Effects<'_>) {
        self.run_timers(effects);
        self.run_operations(effects);
        self.run_held(effects);
        self.home.on_tick(effects);
    }

    fn on_behind(&mut self, peer: Peer, key: u32, effects: &mut Effects<'_>) -> Behind {
        self.member_is_behind(peer, key, effects)
    }

    fn on_dismissed(&mut self, peer: Peer, topic: &str, reason: u8, effects: &mut Effects<'_>) {
        if let Some(why) = Dismissal::of_number(reason) {
            self.dismissed(peer, channel_of(topic), why, effects);
        }
    }

    fn on_service_message(&mut self, _: u16, message: ServiceMessage, effects: &mut Effects<'_>) {
        let message = match message.downcast::<ToHome>() {
            Ok(message) => return self.home.on_action(*message, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<ProxyAnswer>() {
            Ok(answer) => return self.on_answer(*answer, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<Refused>() {
            Ok(message) => return self.on_refused(*message, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<EngineDelivery>() {
            Ok(message) => return self.home.on_delivery(*message, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<AskerGone>() {
            Ok(message) => return self.home.on_asker_gone(message.0, effects),
            Err(message) => message,
        };
        let message = match message.downcast::<Gathered>() {
            Ok(message) => return self.on_gathered(*message, effects),
            Err(message) => message,
        };
        if let Ok(message) = message.downcast::<Forwarded>() {
            let Forwarded { question, reply } = *message;
            self.on_question(question, reply, effects);
        }
    }
}

/// The format that a client asks for.
fn format_of(connect: &ConnectRequest<'_>) -> Format {
    let Some(request) = connect.request() else { return Format::Json };
    let subprotocol = request.subprotocol().map(Subprotocol::as_str);
    Format::asked_for(subprotocol, |name| {
        let mut pairs = request.query().pairs();
        pairs.any(|(key, value)| key.matches(name) && value.matches("protobuf"))
    })
}

/// Answers a connection, in whatever call that becomes possible.
pub(super) fn reply_to(peer: Peer, own: Encoded<'_>, effects: &mut Effects<'_>) {
    effects.reply_to(peer, own.format.kind(), own.bytes);
}

/// Entries for which the map of those that arrive keeps room.
const ARRIVING_KEPT: usize = 64;
/// Of one connection that is looked at, in units of [`crate::work`].
pub(super) const LOOK_WORK: u64 = 50;
/// Between two looks at what is due, in milliseconds: half a second is the shortest time that is configured.
const TICK_MS: u64 = 128;
