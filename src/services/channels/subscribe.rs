//! Subscriptions: who may become a member, and with what.

use std::sync::Arc;

use super::clients::{RareSubscription, Subscription};
use super::commands::Failure;
use super::service::Channels;
use super::to_home::{ChannelAction, Subscribe, ToHome};
use super::tokens::{SubscriptionToken, subscription_token, ttl};
use crate::centrifugo::{Disconnect, ErrorCode, SubscribeRequest};
use crate::channels::{ChannelName, Namespace};
use crate::services::{Effects, Peer};

impl From<SubscriptionToken> for RareSubscription {
    fn from(token: SubscriptionToken) -> Self {
        let SubscriptionToken { info, expires_at } = token;
        Self { info, expires_at }
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
        let rare = self.permission(peer, &name, &namespace, &own.token, effects)?;
        self.become_member(peer, id, own, (&name, &namespace), rare, effects);
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
    ) -> Result<RareSubscription, Failure> {
        let Some(client) = self.clients.get(peer.key) else {
            return Ok(RareSubscription::default());
        };
        if !token.is_empty() {
            let client_id = client.id.to_string();
            let whose = (name.as_str(), &*client.user, &*client_id);
            let check = self.settings.subscription_tokens.as_ref();
            let found = subscription_token(check, peer, token, whose, effects);
            return found.map(Into::into).map_err(|bad| match bad.of_subscription() {
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
            Ok(RareSubscription::default())
        } else {
            Err(ErrorCode::PermissionDenied.into())
        }
    }

    fn become_member(
        &mut self,
        peer: Peer,
        id: u32,
        own: &SubscribeRequest<'_>,
        (name, namespace): (&ChannelName<'_>, &Arc<Namespace>),
        rare: RareSubscription,
        effects: &mut Effects<'_>,
    ) {
        let channel = self.clients.channels.acquire(name, namespace, self.site.count);
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        client.serial = client.serial.wrapping_add(1);
        let serial = client.serial;
        // Most have one, and doubling would leave room for more.
        client.subscriptions.reserve_exact(1);
        let channel_of_client = Arc::clone(&channel);
        client.subscriptions.push(Subscription {
            channel: channel_of_client,
            serial,
            is_own: false,
        });
        let expires_at = rare.expires_at;
        if rare.info.is_some() || expires_at.is_some() {
            client.set_rare_subscription(serial, rare);
            self.file_anew(peer, effects);
        }
        let is_recoverable = namespace.recovers(own.recoverable || own.recover);
        let is_told_of = namespace.presence || namespace.join_leave;
        let info = if is_told_of { self.client_info(peer, name.as_str()) } else { None };
        let recover = own.recover && is_recoverable;
        let subscribe = Subscribe {
            id,
            serial,
            info,
            ttl: ttl(expires_at, effects.wall_now()),
            is_recoverable,
            is_positioned: namespace.positions(own.positioned, is_recoverable),
            recover: recover.then(|| (own.offset, Box::from(&*own.epoch))),
            rejects_unrecovered: own.rejects_unrecovered(),
            hears_joins: namespace.tells_joins(own.join_leave),
        };
        let action = ChannelAction::Subscribe(Box::new(subscribe));
        Self::tell_home(ToHome { channel, peer, action }, effects);
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
