//! Subscriptions: who may become a member, and with what.

use std::sync::Arc;

use super::clients::{RareSubscription, Subscription};
use super::commands::Failure;
use super::service::Channels;
use super::to_home::{ChannelAction, Subscribe, ToHome, Told};
use super::tokens::{subscription_token, ttl};
use crate::centrifugo::{Disconnect, ErrorCode, SubscribeRequest, SubscriptionOptions};
use crate::channels::{ChannelName, NamedEpoch, Namespace, RecoveryMode};
use crate::services::{Effects, Peer, SharedChannelProxy};

impl From<&SubscriptionOptions> for RareSubscription {
    fn from(options: &SubscriptionOptions) -> Self {
        Self { info: options.info.clone(), expires_at: options.expires_at }
    }
}

/// How a connection becomes a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining<'j> {
    /// What its credential, or the server, says of the subscription.
    pub(super) options: &'j SubscriptionOptions,
    pub(super) told: Told,
    /// Where it was before, if it wants what it has missed.
    pub(super) recover: Option<(u64, NamedEpoch)>,
    /// What the client asks for.
    pub(super) wishes: Wishes,
}

/// What a client asks for that subscribes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    pub(super) recoverable: bool,
    pub(super) positioned: bool,
    pub(super) join_leave: bool,
    pub(super) rejects_unrecovered: bool,
}

impl<'j> Joining<'j> {
    /// By a subscription that the server makes.
    pub(super) fn by_server(options: &'j SubscriptionOptions, told: Told) -> Self {
        Self { options, told, recover: None, wishes: Wishes::default() }
    }
}

impl Channels {
    pub(super) fn subscribe(
        &mut self,
        peer: Peer,
        id: u32,
        own: &SubscribeRequest<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let (name, namespace) = self.namespace_of(&own.channel)?;
        let Some(client) = self.clients.get(peer.key) else { return Ok(()) };
        if client.subscription(name.as_str()).is_some() {
            return Err(ErrorCode::AlreadySubscribed.into());
        }
        if client.subscriptions.len() >= self.settings.limits.connection_channels_max {
            return Err(ErrorCode::LimitExceeded.into());
        }
        check_format(own)?;
        if let Some(proxy) = self.subscribe_proxy(&name, &namespace, &own.token) {
            return self.ask_to_subscribe(peer, (id, proxy), own, effects);
        }
        let options = self.permission(peer, &name, &namespace, &own.token, effects)?;
        self.subscribe_with(peer, id, own, &options, effects)
    }

    /// What decides whether a client may subscribe, where neither its token nor the name of the channel does.
    fn subscribe_proxy(
        &self,
        name: &ChannelName<'_>,
        namespace: &Namespace,
        token: &str,
    ) -> Option<SharedChannelProxy> {
        let is_by_users = name.is_user_limited() && namespace.allow_user_limited_channels;
        let proxies = &self.settings.proxies;
        let proxy = proxies.of_namespace(&namespace.name, |own| &own.subscribe)?;
        let is_asked = token.is_empty() && !name.is_private() && !is_by_users;
        is_asked.then(|| Arc::clone(proxy))
    }

    /// Makes a client a member that may be one, unless it has become one in another way meanwhile.
    pub(super) fn subscribe_with(
        &mut self,
        peer: Peer,
        id: u32,
        own: &SubscribeRequest<'_>,
        options: &SubscriptionOptions,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let (name, namespace) = self.namespace_of(&own.channel)?;
        let Some(client) = self.clients.get(peer.key) else { return Ok(()) };
        if client.subscription(name.as_str()).is_some() {
            return Err(ErrorCode::AlreadySubscribed.into());
        }
        if client.subscriptions.len() >= self.settings.limits.connection_channels_max {
            return Err(ErrorCode::LimitExceeded.into());
        }
        let joining = Joining {
            options,
            told: Told::Reply(id),
            recover: own.recover.then(|| (own.offset, NamedEpoch::parse(&own.epoch))),
            wishes: Wishes {
                recoverable: own.recoverable || own.recover,
                positioned: own.positioned,
                join_leave: own.join_leave,
                rejects_unrecovered: own.rejects_unrecovered(),
            },
        };
        self.become_member(peer, joining, (&name, &namespace), effects);
        Ok(())
    }

    /// What lets a connection into a channel: a token, then the users in its name, then its options.
    fn permission(
        &self,
        peer: Peer,
        name: &ChannelName<'_>,
        namespace: &Namespace,
        token: &str,
        effects: &mut Effects<'_>,
    ) -> Result<SubscriptionOptions, Failure> {
        let Some(client) = self.clients.get(peer.key) else {
            return Ok(SubscriptionOptions::default());
        };
        if !token.is_empty() {
            let client_id = client.id.to_string();
            let whose = (name.as_str(), &*client.user, &*client_id);
            let check = self.settings.subscription_tokens.as_ref();
            let found = subscription_token(check, peer, token, whose, effects);
            return found.map_err(|bad| match bad.of_subscription() {
                Ok(code) => code.into(),
                Err(why) => why.into(),
            });
        }
        let is_allowed = if name.is_private() {
            false
        } else if name.is_user_limited() && namespace.allow_user_limited_channels {
            name.admits(&client.user)
        } else {
            namespace.subscribe.allows(!client.user.is_empty(), false)
        };
        if is_allowed {
            Ok(SubscriptionOptions::default())
        } else {
            Err(ErrorCode::PermissionDenied.into())
        }
    }

    /// Makes a connection a member of a channel of which it is none, by the home of that.
    pub(super) fn become_member(
        &mut self,
        peer: Peer,
        joining: Joining<'_>,
        (name, base): (&ChannelName<'_>, &Arc<Namespace>),
        effects: &mut Effects<'_>,
    ) {
        let Joining { options, told, recover, wishes } = joining;
        let mut channel = self.clients.channels.acquire(name, base, self.site.count);
        if let Some(namespace) = options.overrides.apply(base) {
            channel = Arc::new(channel.with_options(namespace));
        }
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        client.serial = client.serial.wrapping_add(1);
        let serial = client.serial;
        // Most have one, and doubling would leave room for more.
        client.subscriptions.reserve_exact(1);
        let channel_of_client = Arc::clone(&channel);
        let is_own = !matches!(told, Told::Reply(_));
        let is_recoverable = channel.namespace.recovers(wishes.recoverable);
        let is_positioned = channel.namespace.positions(wishes.positioned, is_recoverable);
        client.subscriptions.push(Subscription {
            lacks_nothing: is_positioned && channel.namespace.recovery_mode == RecoveryMode::Stream,
            channel: channel_of_client,
            serial,
            is_own,
        });
        if options.info.is_some() || options.expires_at.is_some() {
            client.set_rare_subscription(serial, options.into());
            self.charge_client(peer, effects);
            if options.expires_at.is_some() {
                self.file_anew(peer, effects);
            }
        }
        let namespace = &*channel.namespace;
        let is_told_of = namespace.presence || namespace.join_leave;
        let info = if is_told_of { self.client_info(peer, name.as_str()) } else { None };
        let recover = recover.filter(|_| is_recoverable);
        if recover.is_some() {
            self.note_asked(peer, channel.home);
        }
        // Nothing renews the credential of what the server has made.
        let proxies = &self.settings.proxies;
        let renews = proxies.of_namespace(&base.name, |own| &own.sub_refresh).is_none() && !is_own;
        let expires_at = options.expires_at.filter(|_| renews);
        let hears = namespace.force_push_join_leave || wishes.join_leave;
        let subscribe = Subscribe {
            told,
            serial,
            info,
            ttl: ttl(expires_at, effects.wall_now()),
            is_recoverable,
            is_positioned,
            recover,
            rejects_unrecovered: wishes.rejects_unrecovered,
            hears_joins: (base.join_leave || namespace.join_leave) && hears,
            data: options.data.clone(),
        };
        let action = ChannelAction::Subscribe(Box::new(subscribe));
        let format = self.clients.format(peer.key);
        Self::tell_home(ToHome { channel, peer, format, action }, effects);
    }
}

/// Whether publications are wanted in a form that is spoken here.
fn check_format(own: &SubscribeRequest<'_>) -> Result<(), Failure> {
    if own.kind != 0 {
        return Err(ErrorCode::NotAvailable.into());
    }
    if own.is_filtered {
        return Err(ErrorCode::BadRequest.into());
    }
    // A known one that the channel does not have is answered without it.
    if !matches!(&*own.delta, "" | "fossil") {
        return Err(Disconnect::BadRequest.into());
    }
    Ok(())
}
