//! The first command of a client: who it is, and to which channels the server subscribes it.

use std::sync::Arc;

use super::clients::Phase;
use super::commands::Failure;
use super::connecting::{Connecting, recovered_bytes};
use super::service::Channels;
use super::subscribe::Joining;
use super::to_home::{ChannelAction, Gathered, LeaveReply, ToHome, Told};
use super::tokens::connection_token;
use crate::centrifugo::{
    Connect, Connected, Disconnect, ErrorCode, OwnSubscription, Reply, ServerSubscription,
    SubscriptionOptions, Ttl,
};
use crate::channels::{ChannelName, NamedEpoch};
use crate::services::{Effects, Peer};

/// What a connection is given beside its name.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) ttl: Ttl,
    /// What the client is told, as JSON.
    pub(super) data: Option<Arc<[u8]>>,
    /// The channels to which it is subscribed.
    pub(super) subscriptions: Vec<ServerSubscription>,
}

impl Channels {
    pub(super) fn connect(
        &mut self,
        peer: Peer,
        phase: Phase,
        id: u32,
        own: &Connect<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        if phase != Phase::New {
            return Err(Disconnect::BadRequest.into());
        }
        // It can have been a member of more only where fewer are allowed since: nothing of that is recovered.
        let channels_max = self.settings.limits.connection_channels_max;
        let subs = if own.subs.len() > channels_max { &[] } else { &*own.subs };
        if own.token.is_empty() && self.settings.proxies.connect.is_some() {
            return self.ask_to_connect(peer, id, (own, subs), effects);
        }
        let granted = match own.token.is_empty() {
            true => self.connect_without_token(peer)?,
            false => self.connect_with_token(peer, &own.token, effects)?,
        };
        self.grant(peer, id, granted, subs, effects)
    }

    /// The user that the upgrade has proven, or none where that is allowed.
    pub(super) fn connect_without_token(&self, peer: Peer) -> Result<Granted, Failure> {
        let Some(client) = self.clients.get(peer.key) else { return Ok(Granted::default()) };
        match client.user.is_empty() && !self.settings.allow_anonymous {
            true => Err(Disconnect::BadRequest.into()),
            false => Ok(Granted::default()),
        }
    }

    fn connect_with_token(
        &mut self,
        peer: Peer,
        token: &str,
        effects: &mut Effects<'_>,
    ) -> Result<Granted, Failure> {
        let found = connection_token(self.settings.tokens.as_ref(), peer, token, effects);
        let found = match found.map_err(|bad| bad.of_connection()) {
            Ok(found) => found,
            Err(Ok(code)) => {
                self.refuse_client(peer, effects);
                return Err(code.into());
            }
            Err(Err(why)) => return Err(why.into()),
        };
        if found.user.is_empty() && self.settings.disallow_anonymous_tokens {
            return Err(Disconnect::PermissionDenied.into());
        }
        self.keep_meta(peer, found.meta);
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(Granted::default()) };
        client.user = Arc::from(found.user);
        // What the upgrade says of another user does not hold for this one.
        client.forget_rare();
        let names = found.subscriptions.iter().map(|(name, _)| Arc::from(&**name));
        let names: Box<[Arc<str>]> = names.collect();
        if found.info.is_some() || found.expires_at.is_some() || !names.is_empty() {
            let rare = client.rare();
            (rare.info, rare.expires_at, rare.granted) = (found.info, found.expires_at, names);
        }
        let ttl = self.connection_ttl(found.expires_at, effects.wall_now());
        Ok(Granted { ttl, data: None, subscriptions: found.subscriptions })
    }

    /// A client may send no other command, and goes soon.
    pub(super) fn refuse_client(&mut self, peer: Peer, effects: &Effects<'_>) {
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        client.phase = Phase::Refused;
        client.next = effects.now().tick().after_ms(REFUSED_MS);
        let next = client.next;
        self.clients.file(peer.key, next);
    }

    /// Subscribes a client to its channels, and tells it that it is connected, once all of them have answered.
    /// `recovered` is where it was in them before, sorted by their names.
    pub(super) fn grant(
        &mut self,
        peer: Peer,
        id: u32,
        granted: Granted,
        recovered: &[(std::borrow::Cow<'_, str>, OwnSubscription<'_>)],
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        self.charge_client(peer, effects);
        let Granted { ttl, data, mut subscriptions } = granted;
        let personal = self.personal_channel(peer);
        if let Some(name) = personal.filter(|name| subscriptions.iter().all(|own| own.0 != *name)) {
            subscriptions.push((name, SubscriptionOptions::default()));
        }
        if subscriptions.len() > self.settings.limits.connection_channels_max {
            return Err(Disconnect::ChannelLimit.into());
        }
        let names = subscriptions.iter().map(|(name, _)| self.namespace_of(name));
        let names: Result<Vec<_>, Failure> = names.collect();
        let names = match names {
            Ok(names) => names,
            Err(failure) => {
                self.refuse_client(peer, effects);
                return Err(failure);
            }
        };
        let missing = subscriptions.len();
        let connecting = Connecting::new((id, false), ttl, data, missing);
        if missing == 0 {
            self.finish_connect(peer, connecting, effects);
            return Ok(());
        }
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(()) };
        client.phase = Phase::Connecting;
        client.rare().connecting = Some(Box::new(connecting));
        effects.pause(peer);
        for ((name, namespace), (_, options)) in names.iter().zip(&subscriptions) {
            let before = recovered.binary_search_by(|(channel, _)| (**channel).cmp(name.as_str()));
            let before = before.ok().map(|index| &recovered[index]).filter(|(_, own)| own.recover);
            let joining = Joining {
                recover: before.map(|(_, own)| (own.offset, NamedEpoch::parse(&own.epoch))),
                ..Joining::by_server(options, Told::Connect)
            };
            self.become_member(peer, joining, (name, namespace), effects);
        }
        Ok(())
    }

    /// The channel of the user of a connection, if there is one.
    fn personal_channel(&self, peer: Peer) -> Option<String> {
        let namespace = self.settings.personal_namespace.as_deref()?;
        let user = self.clients.get(peer.key).map(|own| &own.user).filter(|own| !own.is_empty())?;
        let name = match namespace {
            "" => format!("#{user}"),
            namespace => format!("{namespace}:#{user}"),
        };
        // A user whose name fits into no channel has none.
        ChannelName::parse(&name).is_ok().then_some(name)
    }

    /// The home of a channel has answered for a client that connects.
    pub(super) fn on_gathered(&mut self, gathered: Gathered, effects: &mut Effects<'_>) {
        let Gathered { peer, serial, outcome } = gathered;
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        if client.phase != Phase::Connecting {
            return;
        }
        let own = client.subscriptions.iter().find(|own| own.serial == serial);
        let channel = own.map(|own| Arc::clone(&own.channel.name));
        let Some(connecting) = client.rare().connecting.as_mut() else { return };
        connecting.missing = connecting.missing.saturating_sub(1);
        match (outcome, channel) {
            (Ok((subscribed, top)), Some(channel)) => {
                connecting.gain(channel, subscribed, top);
            }
            (Err(error), Some(_)) => return self.fail_connect(peer, error, effects),
            // It was taken out meanwhile.
            (Ok(_) | Err(_), None) => {}
        }
        if connecting.missing > 0 {
            return;
        }
        if let Some(connecting) = client.rare().connecting.take() {
            self.finish_connect(peer, *connecting, effects);
            self.go_on(peer, effects);
        }
    }

    /// Tells a client that it is connected.
    fn finish_connect(&mut self, peer: Peer, connecting: Connecting, effects: &mut Effects<'_>) {
        if connecting.data.as_deref().is_some_and(|own| !self.can_read(peer, own)) {
            return self.disconnect(peer, Disconnect::InappropriateProtocol, effects);
        }
        let subs = connecting.subscriptions;
        let missed = subs.iter().flat_map(|(_, own)| &own.publications);
        let missed_bytes: usize = missed.map(|(_, own)| recovered_bytes(own)).sum();
        effects.charge_work(missed_bytes as u64);
        let times = self.settings.times;
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        client.phase = Phase::Connected;
        let data = connecting.data.as_deref();
        let connected = Connected {
            client: client.id,
            version: VERSION,
            ttl: connecting.ttl,
            data,
            subs: &subs,
            ping_s: u32::try_from(times.ping_ms.div_ceil(1000)).unwrap_or(u32::MAX),
            pong: times.ping_ms > 0 && times.pong_ms > 0,
        };
        log::debug!(connection:% = peer; "channels: connected as {:?}", client.user);
        self.reply(peer, connecting.id, &Reply::Connected(connected), effects);
        self.begin_pings(peer, effects);
        let format = self.clients.format(peer.key);
        let own = self.clients.get(peer.key).into_iter().flat_map(|own| &own.subscriptions);
        let channels = own.filter(|own| own.is_own).map(|own| Arc::clone(&own.channel));
        for channel in channels {
            let action = ChannelAction::Confirm;
            Self::tell_home(ToHome { channel, peer, format, action }, effects);
        }
    }

    /// A client cannot be subscribed to what it is given.
    fn fail_connect(&mut self, peer: Peer, error: ErrorCode, effects: &mut Effects<'_>) {
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        let connecting = client.rare.as_mut().and_then(|rare| rare.connecting.take());
        let names: Vec<_> =
            client.subscriptions.iter().map(|own| Arc::clone(&own.channel.name)).collect();
        for name in names {
            self.leave(peer, &name, LeaveReply::Nothing, effects);
        }
        let Some(connecting) = connecting else { return };
        self.refuse_client(peer, effects);
        self.reply_error(peer, connecting.id, error, effects);
        self.go_on(peer, effects);
    }
}

/// What a client is told of the gateway.
const VERSION: &str = concat!("tidegate ", env!("CARGO_PKG_VERSION"));
/// How long a client may stay whose first command failed, in milliseconds.
const REFUSED_MS: u64 = 5000;
