//! What clients ask for, one command after the other.

use std::sync::Arc;

use super::channel_ref::ChannelRef;
use super::clients::{Phase, home_bit};
use super::service::{Channels, LOOK_WORK};
use super::to_home::{ChannelAction, HistoryQuestion, LeaveReply, ToHome};
use super::tokens::{connection_token, subscription_token, ttl};
use crate::centrifugo::{
    Command, Commands, Disconnect, ErrorCode, Format, HistoryRequest, Method, Publish, Reply,
    SinceRequest, is_json,
};
use crate::channels::{
    ChannelName, ClientInfo, InvalidChannel, NamedEpoch, Namespace, Publication,
    PublicationDetails, RECOVERED_MAX, Since, Who,
};
use crate::services::{Effects, Peer};
use crate::work::prices;

/// What a command comes to that does not do what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is answered with an error.
    Error(ErrorCode),
    /// The connection ends.
    Disconnect(Disconnect),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

impl From<Disconnect> for Failure {
    fn from(why: Disconnect) -> Self {
        Self::Disconnect(why)
    }
}

impl Channels {
    /// Does what the commands of a frame ask for, until one ends the connection. What there is no time for waits.
    pub(super) fn on_frame(&mut self, peer: Peer, frame: &[u8], effects: &mut Effects<'_>) {
        let channels_max = self.settings.limits.connection_channels_max;
        let mut commands = Commands::of(self.clients.format(peer.key), frame, channels_max);
        // What comes behind something that waits has to wait as well.
        if !self.held.has(peer.key) {
            self.run_commands(peer, &mut commands, effects.work() + STEP_WORK, effects);
        }
        let Some((rest, done)) = commands.rest() else { return };
        effects.charge_work(prices::bytes(rest.len()));
        match self.held.hold(peer.key, rest, done) {
            Some(bytes) => effects.charge(peer, bytes),
            None => return self.disconnect(peer, Disconnect::TooManyRequests, effects),
        }
        // What has been read before still comes.
        effects.pause(peer);
        self.await_turn(peer, effects);
    }

    /// Does commands up to this amount of work, but for those that have to wait.
    fn run_commands(
        &mut self,
        peer: Peer,
        commands: &mut Commands<'_>,
        work_end: u64,
        effects: &mut Effects<'_>,
    ) {
        while effects.work() < work_end {
            let Some(phase) = self.phase_of(peer) else { return commands.skip_rest() };
            match phase {
                Phase::Closing => return commands.skip_rest(),
                Phase::Connecting => return,
                Phase::New | Phase::Connected | Phase::Refused => {}
            }
            let before = commands.bytes_left();
            let Some(command) = commands.next() else { return };
            let bytes = before - commands.bytes_left();
            effects.charge_work(COMMAND_WORK + prices::parsed(bytes));
            match command {
                Ok(command) if self.dialogs.are_idle() => {
                    self.do_command(peer, phase, command, effects);
                }
                Ok(command) => match self.hold_command(peer, command, effects) {
                    Ok(Some(command)) => self.do_command(peer, phase, command, effects),
                    Ok(None) => {}
                    Err((id, failure)) => self.fail(peer, id, Err(failure), effects),
                },
                Err(_) => self.disconnect(peer, Disconnect::BadRequest, effects),
            }
        }
    }

    /// Has a client wait for its turn to have its frames done, unless its first command is to be answered before.
    fn await_turn(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        if self.phase_of(peer).is_some_and(|phase| phase != Phase::Connecting) {
            self.held.queue(peer);
            effects.tick_again();
        }
    }

    /// Does what a client has asked for that had to wait, as far as there is time for it. It is read again once all
    /// of that is done.
    pub(super) fn go_on(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let work_end = effects.work() + STEP_WORK;
        let channels_max = self.settings.limits.connection_channels_max;
        while let Some(mut held) = self.held.take_first(peer.key) {
            let format = self.clients.format(peer.key);
            let left = held.frame.get(held.at..).unwrap_or_default();
            let mut commands = Commands::behind(held.done, format, left, channels_max);
            self.run_commands(peer, &mut commands, work_end, effects);
            if let Some((rest, done)) = commands.rest() {
                (held.at, held.done) = (held.frame.len() - rest.len(), done);
                self.held.put_back(peer.key, held);
                return self.await_turn(peer, effects);
            }
            self.held.finish(peer.key, &held);
            effects.discharge(held.bytes());
        }
        self.forget_held(peer, effects);
        effects.resume(peer);
    }

    /// Does what clients have asked for that had to wait, as much as a turn has time for.
    pub(super) fn run_held(&mut self, effects: &mut Effects<'_>) {
        let work_end = effects.work() + TURN_WORK;
        while effects.work() < work_end {
            let (frames, lane) = (self.held.next(), self.dialogs.next_lane());
            if frames.is_none() && lane.is_none() {
                break;
            }
            effects.charge_work(LOOK_WORK);
            if let Some(peer) = frames.filter(|peer| self.held.has(peer.key)) {
                self.go_on(peer, effects);
            }
            if let Some((peer, lane)) = lane {
                self.go_on_in(peer, lane, effects);
            }
        }
        if self.held.has_queued() || self.dialogs.has_free() {
            effects.tick_again();
        }
    }

    /// Nothing of a client waits any more.
    pub(super) fn forget_held(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        if self.held.has(peer.key) {
            effects.discharge(self.held.remove(peer.key));
        }
    }

    /// Does what a command asks for, or tells the client why not.
    pub(super) fn do_command(
        &mut self,
        peer: Peer,
        phase: Phase,
        command: Command<'_>,
        effects: &mut Effects<'_>,
    ) {
        let Command { id, method } = command;
        let result = self.on_command(peer, phase, id, method, effects);
        self.fail(peer, id, result, effects);
    }

    /// Tells a client why its command is not done.
    pub(super) fn fail(
        &mut self,
        peer: Peer,
        id: u32,
        result: Result<(), Failure>,
        effects: &mut Effects<'_>,
    ) {
        match result {
            Ok(()) => {}
            Err(Failure::Error(code)) => self.reply_error(peer, id, code, effects),
            Err(Failure::Disconnect(why)) => self.disconnect(peer, why, effects),
        }
    }

    fn on_command(
        &mut self,
        peer: Peer,
        phase: Phase,
        id: u32,
        method: Method<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        match (phase, &method) {
            (Phase::New, Method::Connect(_)) | (Phase::Connected, _) => {}
            (Phase::New | Phase::Connecting | Phase::Refused | Phase::Closing, _) => {
                return Err(Disconnect::BadRequest.into());
            }
        }
        if self.is_leaving && !matches!(method, Method::Pong) {
            return Err(Disconnect::Shutdown.into());
        }
        let needs_id = !matches!(method, Method::Send | Method::Pong);
        if needs_id && id == 0 {
            // Without an ID it is a pong, whatever it asks for (sheet of the protocol: §12).
            return if phase == Phase::Connected {
                self.on_pong(peer)
            } else {
                Err(Disconnect::BadRequest.into())
            };
        }
        match method {
            Method::Connect(own) => self.connect(peer, phase, id, &own, effects),
            Method::Subscribe(own) => self.subscribe(peer, id, &own, effects),
            Method::Unsubscribe(channel) => self.unsubscribe(peer, id, &channel, effects),
            Method::Publish(own) => self.publish_for(peer, id, &own, effects),
            Method::Presence(channel) => {
                let channel = self.presence_channel(peer, &channel)?;
                self.ask_home(peer, channel, ChannelAction::Presence(id), effects)
            }
            Method::PresenceStats(channel) => {
                let channel = self.presence_channel(peer, &channel)?;
                self.ask_home(peer, channel, ChannelAction::PresenceStats(id), effects)
            }
            Method::History(own) => self.history(peer, id, &own, effects),
            Method::Send => Err(Disconnect::NotAvailable.into()),
            Method::Rpc(own) => self.call(peer, id, &own, effects),
            Method::Refresh(token) => self.refresh(peer, id, &token, effects),
            Method::SubRefresh(channel, token) => {
                self.refresh_subscription(peer, id, (&channel, &token), effects)
            }
            Method::Pong => self.on_pong(peer),
            Method::Unknown => Err(Disconnect::BadRequest.into()),
        }
    }

    fn unsubscribe(
        &mut self,
        peer: Peer,
        id: u32,
        channel: &str,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        if channel.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        if !self.leave(peer, channel, LeaveReply::Command(id), effects) {
            self.reply(peer, id, &Reply::Unsubscribed, effects);
        }
        Ok(())
    }

    fn publish_for(
        &mut self,
        peer: Peer,
        id: u32,
        own: &Publish<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let (name, namespace) = self.namespace_of(&own.channel)?;
        let proxy = self.settings.proxies.of_namespace(&namespace.name, |own| &own.publish);
        if let Some(proxy) = proxy.cloned() {
            return self.ask_to_publish(peer, (id, proxy), own, effects);
        }
        self.check(peer, &name, namespace.publish)?;
        let Some(data) = own.data.as_deref() else { return Err(ErrorCode::BadRequest.into()) };
        let client = self.clients.get_mut(peer.key).filter(|_| namespace.publish_rate.is_some());
        let now = effects.now();
        if client.is_some_and(|own| !own.rare().publish_rates.allow(&namespace, now)) {
            return Err(ErrorCode::TooManyRequests.into());
        }
        // What comes in JSON is JSON.
        let is_binary = self.clients.format(peer.key) == Format::Protobuf && !is_json(data);
        let info = self.client_info(peer, name.as_str());
        let details = info.map(|info| {
            let own = PublicationDetails { info: Some(info), is_binary, ..Default::default() };
            Arc::new(own)
        });
        let publication = Publication { data: data.into(), details };
        let channel = self.channel(peer, &name, &namespace);
        self.ask_home(peer, channel, ChannelAction::Publish(id, publication), effects)
    }

    fn presence_channel(&self, peer: Peer, channel: &str) -> Result<Arc<ChannelRef>, Failure> {
        let (name, namespace) = self.namespace_of(channel)?;
        if !namespace.presence {
            return Err(ErrorCode::NotAvailable.into());
        }
        self.check(peer, &name, namespace.see_presence)?;
        Ok(self.channel(peer, &name, &namespace))
    }

    fn history(
        &mut self,
        peer: Peer,
        id: u32,
        own: &HistoryRequest<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let (name, namespace) = self.namespace_of(&own.channel)?;
        if !namespace.has_history() {
            return Err(ErrorCode::NotAvailable.into());
        }
        self.check(peer, &name, namespace.see_history)?;
        let question = history_question(own).ok_or(ErrorCode::BadRequest)?;
        let channel = self.channel(peer, &name, &namespace);
        self.ask_home(peer, channel, ChannelAction::History(id, question), effects)
    }

    fn refresh(
        &mut self,
        peer: Peer,
        id: u32,
        token: &str,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let Some(client) = self.clients.get(peer.key) else { return Ok(()) };
        let can_refresh = client.rare.as_ref().is_some_and(|own| own.expires_at.is_some());
        // Where a backend is asked, no client renews.
        let is_asked = self.settings.proxies.refresh.is_some();
        if token.is_empty() || !can_refresh || is_asked {
            return Err(Disconnect::BadRequest.into());
        }
        let found = connection_token(self.settings.tokens.as_ref(), peer, token, effects);
        let found = found.map_err(|bad| match bad.of_connection() {
            Ok(ErrorCode::TokenExpired) => Failure::Disconnect(Disconnect::Expired),
            Ok(code) => code.into(),
            Err(why) => why.into(),
        })?;
        let now = effects.wall_now();
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(()) };
        if *client.user != *found.user {
            return Err(Disconnect::InvalidToken.into());
        }
        let granted = client.rare.iter().flat_map(|own| &own.granted).map(|own| &**own);
        if !granted.eq(found.subscriptions.iter().map(|(name, _)| &**name)) {
            // Its channels have changed, so it is to connect again.
            return Err(Disconnect::InsufficientState.into());
        }
        let client_id = client.id;
        let rare = client.rare();
        (rare.expires_at, rare.info) = (found.expires_at, found.info);
        let ttl = ttl(found.expires_at, now);
        self.charge_client(peer, effects);
        self.reply(peer, id, &Reply::Refreshed(client_id, ttl), effects);
        self.file_anew(peer, effects);
        Ok(())
    }

    fn refresh_subscription(
        &mut self,
        peer: Peer,
        id: u32,
        (channel, token): (&str, &str),
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        if channel.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let Some(client) = self.clients.get(peer.key) else { return Ok(()) };
        let own = client.subscription(channel).ok_or(ErrorCode::PermissionDenied)?;
        if token.is_empty() {
            return Err(ErrorCode::BadRequest.into());
        }
        let (serial, client_id) = (own.serial, client.id.to_string());
        let whose = (channel, &*client.user, &*client_id);
        let check = self.settings.subscription_tokens.as_ref();
        let found = subscription_token(check, peer, token, whose, effects);
        let found = found.map_err(|bad| match bad.of_subscription() {
            // What has expired cannot be renewed by itself.
            Ok(ErrorCode::TokenExpired) => Failure::Error(ErrorCode::Expired),
            Ok(ErrorCode::PermissionDenied) => Failure::Disconnect(Disconnect::InvalidToken),
            Ok(code) => code.into(),
            Err(why) => why.into(),
        })?;
        let now = effects.wall_now();
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(()) };
        client.set_rare_subscription(serial, (&found).into());
        let ttl = ttl(client.rare_subscription(serial).and_then(|own| own.expires_at), now);
        self.charge_client(peer, effects);
        self.reply(peer, id, &Reply::SubRefreshed(ttl), effects);
        self.file_anew(peer, effects);
        Ok(())
    }

    /// The name of a channel and its options.
    pub(super) fn namespace_of<'n>(
        &self,
        channel: &'n str,
    ) -> Result<(ChannelName<'n>, Arc<Namespace>), Failure> {
        let name = ChannelName::parse(channel).map_err(|error| match error {
            InvalidChannel::Empty => Failure::Disconnect(Disconnect::BadRequest),
            InvalidChannel::TooLong | InvalidChannel::NotAscii => {
                Failure::Error(ErrorCode::BadRequest)
            }
        })?;
        let namespace = self.settings.namespaces.get(name.namespace());
        let namespace = namespace.ok_or(ErrorCode::UnknownChannel)?;
        Ok((name, Arc::clone(namespace)))
    }

    /// Whether a connection may do something in a channel.
    fn check(&self, peer: Peer, name: &ChannelName<'_>, who: Who) -> Result<(), Failure> {
        let is_allowed = self.clients.get(peer.key).is_some_and(|client| {
            let is_subscribed = client.subscription(name.as_str()).is_some();
            who.allows(!client.user.is_empty(), is_subscribed)
        });
        if is_allowed { Ok(()) } else { Err(ErrorCode::PermissionDenied.into()) }
    }

    /// The channel, as the connection knows it if it is a member.
    pub(super) fn channel(
        &self,
        peer: Peer,
        name: &ChannelName<'_>,
        namespace: &Arc<Namespace>,
    ) -> Arc<ChannelRef> {
        let client = self.clients.get(peer.key);
        match client.and_then(|client| client.subscription(name.as_str())) {
            Some(own) => Arc::clone(&own.channel),
            None => Arc::new(ChannelRef::new(name, namespace, self.site.count)),
        }
    }

    fn ask_home(
        &mut self,
        peer: Peer,
        channel: Arc<ChannelRef>,
        action: ChannelAction,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let format = self.clients.format(peer.key);
        if action.listing(true).is_some() {
            self.note_asked(peer, channel.home);
        }
        Self::tell_home(ToHome { channel, peer, format, action }, effects);
        Ok(())
    }

    /// A connection asks a home for what may have to wait for its turn there.
    pub(super) fn note_asked(&mut self, peer: Peer, home: u16) {
        if let Some(client) = self.clients.get_mut(peer.key) {
            client.asked_homes |= home_bit(home);
        }
    }

    /// What others are told of a connection in a channel.
    pub(super) fn client_info(&self, peer: Peer, channel: &str) -> Option<ClientInfo> {
        let client = self.clients.get(peer.key)?;
        let own = client.subscription(channel);
        let rare = own.and_then(|own| client.rare_subscription(own.serial));
        Some(ClientInfo {
            user: Arc::clone(&client.user),
            client: client.id,
            conn_info: client.info().cloned(),
            chan_info: rare.and_then(|own| own.info.clone()),
        })
    }
}

/// What of a history a client wants; `None` for what makes no sense.
fn history_question(own: &HistoryRequest<'_>) -> Option<HistoryQuestion> {
    let HistoryRequest { limit, since, reverse, .. } = own;
    let limit = usize::try_from(*limit).unwrap_or(RECOVERED_MAX).min(RECOVERED_MAX);
    let offset = since.as_ref().map(|SinceRequest { offset, .. }| *offset);
    if *reverse && offset == Some(0) {
        return None;
    }
    let epoch = since.as_ref().map_or(NamedEpoch::Any, |own| NamedEpoch::parse(&own.epoch));
    Some(HistoryQuestion {
        since: if *reverse { Since::Latest(offset) } else { Since::Oldest(offset) },
        epoch,
        limit,
    })
}

/// Of a command beside its bytes, in units of [`crate::work`].
pub(super) const COMMAND_WORK: u64 = 500;
/// What the commands of a client may cost at once: those behind wait.
pub(super) const STEP_WORK: u64 = 500_000;
/// What a turn does of the commands that wait, of all clients: a quarter of a turn, as a turn is by default.
const TURN_WORK: u64 = 1_000_000;
