//! What backends ask of channels.

use std::sync::Arc;

use super::clients::Phase;
use super::home::HomeQuestion;
use super::service::{Channels, LOOK_WORK, reply_to};
use super::subscribe::Joining;
use super::to_home::{Forwarded, LeaveReply, Told};
use super::tokens::ttl;
use crate::centrifugo::{Disconnect, ErrorCode, Unsubscribed};
use crate::channels::{ChannelName, InvalidChannel, Namespace};
use crate::inspect::{ChannelAnswer, ChannelQuestion, Lasting};
use crate::key::home_loop;
use crate::mail::Reply;
use crate::services::{Effects, Peer, ServiceMessage};
use crate::ws::CloseCode;

impl Channels {
    pub(super) fn on_question(
        &mut self,
        question: ChannelQuestion,
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) {
        match question {
            ChannelQuestion::List(count_max) => {
                reply.send(ChannelAnswer::Channels(self.home.list(count_max)));
            }
            ChannelQuestion::Count => {
                let (channels, members) = self.home.counts();
                reply.send(ChannelAnswer::Counts(self.clients.len(), channels, members));
            }
            ChannelQuestion::Rpc { method, params } => {
                self.call_for_backend(&method, params.as_deref(), reply, effects);
            }
            ChannelQuestion::Subscribe { user, channel, client, recover, options } => {
                let joining = Joining { recover, ..Joining::by_server(&options, Told::Push) };
                let outcome =
                    self.subscribe_user(&user, client.as_deref(), &channel, joining, effects);
                reply.send(outcome.map_or_else(ChannelAnswer::Failed, |()| ChannelAnswer::Done));
            }
            ChannelQuestion::Refresh { user, client, lasts, info } => {
                for peer in self.peers_of((&user, client.as_deref()), &[], effects) {
                    self.refresh_by_backend(peer, lasts, info.as_ref(), effects);
                }
                reply.send(ChannelAnswer::Done);
            }
            ChannelQuestion::Unsubscribe { user, channel, client } => {
                self.unsubscribe_user(&user, channel.as_deref(), client.as_deref(), effects);
                reply.send(ChannelAnswer::Done);
            }
            ChannelQuestion::Disconnect { user, client, except, close: (code, reason) } => {
                let code = CloseCode::from_wire(code).unwrap_or(CloseCode::INTERNAL);
                for peer in self.peers_of((&user, client.as_deref()), &except, effects) {
                    self.close(peer, code, reason.to_string(), effects);
                }
                reply.send(ChannelAnswer::Done);
            }
            ChannelQuestion::Freeze
            | ChannelQuestion::Copies(_)
            | ChannelQuestion::Thaw { .. }
            | ChannelQuestion::Leave => {
                let answer = self.on_handover(&question, effects);
                reply.send(answer);
            }
            ChannelQuestion::Publish { .. }
            | ChannelQuestion::Presence(_)
            | ChannelQuestion::PresenceStats(_)
            | ChannelQuestion::History { .. }
            | ChannelQuestion::Forget(_)
            | ChannelQuestion::Close(_) => {
                let home = question.channel().map(|name| home_loop(name, self.site.count));
                match home {
                    Some(home) if home != self.site.index => {
                        let held_bytes = question.held_bytes();
                        let forwarded = Forwarded { question, reply };
                        effects.tell(home, ServiceMessage::holding(forwarded, held_bytes));
                    }
                    Some(_) | None => self.ask_own_home(&question, reply, effects),
                }
            }
        }
    }

    /// Asks the home of the channel that a question is about, which is this loop.
    fn ask_own_home(
        &mut self,
        question: &ChannelQuestion,
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) {
        let (name, requirement, own) = match question {
            ChannelQuestion::Publish { channel, publication, idempotency_key, skips_history } => {
                let key = idempotency_key.as_deref();
                let own = HomeQuestion::Publish(channel, publication, key, *skips_history);
                (channel, Requirement::Nothing, own)
            }
            ChannelQuestion::Presence(channel) => {
                (channel, Requirement::Presence, HomeQuestion::Presence(channel))
            }
            ChannelQuestion::PresenceStats(channel) => {
                (channel, Requirement::Presence, HomeQuestion::PresenceStats(channel))
            }
            ChannelQuestion::History { channel, since, epoch, limit } => {
                let own = HomeQuestion::History(channel, *since, *epoch, *limit);
                (channel, Requirement::History, own)
            }
            ChannelQuestion::Forget(channel) => {
                (channel, Requirement::History, HomeQuestion::Forget(channel))
            }
            ChannelQuestion::Close(channel) => {
                (channel, Requirement::Nothing, HomeQuestion::Close(channel))
            }
            ChannelQuestion::List(_)
            | ChannelQuestion::Count
            | ChannelQuestion::Rpc { .. }
            | ChannelQuestion::Subscribe { .. }
            | ChannelQuestion::Refresh { .. }
            | ChannelQuestion::Unsubscribe { .. }
            | ChannelQuestion::Disconnect { .. }
            | ChannelQuestion::Freeze
            | ChannelQuestion::Copies(_)
            | ChannelQuestion::Thaw { .. }
            | ChannelQuestion::Leave => return,
        };
        match self.namespace_for_backend(name, requirement) {
            Ok(namespace) => self.home.on_question(own, &namespace, reply, effects),
            Err(error) => reply.send(ChannelAnswer::Failed(error)),
        }
    }

    fn namespace_for_backend(
        &self,
        channel: &str,
        requirement: Requirement,
    ) -> Result<Arc<Namespace>, ErrorCode> {
        let name = ChannelName::parse(channel).map_err(|error| match error {
            InvalidChannel::Empty | InvalidChannel::TooLong | InvalidChannel::NotAscii => {
                ErrorCode::BadRequest
            }
        })?;
        let namespace = self.settings.namespaces.get(name.namespace());
        let namespace = namespace.ok_or(ErrorCode::UnknownChannel)?;
        let has_it = match requirement {
            Requirement::Nothing => true,
            Requirement::Presence => namespace.presence,
            Requirement::History => namespace.has_history(),
        };
        if has_it { Ok(Arc::clone(namespace)) } else { Err(ErrorCode::NotAvailable) }
    }

    /// Subscribes the connections of a user that are not in the channel yet. The first error is the result, and
    /// the others are subscribed all the same.
    fn subscribe_user(
        &mut self,
        user: &str,
        client: Option<&str>,
        channel: &str,
        joining: Joining<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), ErrorCode> {
        let namespace = self.namespace_for_backend(channel, Requirement::Nothing)?;
        let Ok(name) = ChannelName::parse(channel) else { return Err(ErrorCode::BadRequest) };
        let mut outcome = Ok(());
        for peer in self.peers_of((user, client), &[], effects) {
            let Some(own) = self.clients.get_mut(peer.key) else { continue };
            if own.subscription(channel).is_some() {
                continue;
            }
            let told = match own.phase {
                Phase::Connected => Told::Push,
                // It is not told of anything before the reply to its first command.
                Phase::Connecting => Told::Connect,
                Phase::New | Phase::Refused | Phase::Closing => continue,
            };
            if own.subscriptions.len() >= self.settings.limits.connection_channels_max {
                outcome = Err(ErrorCode::LimitExceeded);
                continue;
            }
            if let (Told::Connect, Some(connecting)) = (told, &mut own.rare().connecting) {
                connecting.missing += 1;
            }
            let joining = Joining { told, ..joining };
            self.become_member(peer, joining, (&name, &namespace), effects);
        }
        outcome
    }

    /// Renews or ends what a connection is allowed.
    fn refresh_by_backend(
        &mut self,
        peer: Peer,
        lasts: Lasting,
        info: Option<&Arc<[u8]>>,
        effects: &mut Effects<'_>,
    ) {
        let now = effects.wall_now();
        let expires_at = match lasts {
            Lasting::Until(date) if date > now => Some(date),
            Lasting::Over | Lasting::Until(_) => {
                return self.disconnect(peer, Disconnect::Expired, effects);
            }
            Lasting::Unlimited => None,
        };
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        if client.phase != Phase::Connected {
            return;
        }
        let rare = client.rare();
        rare.expires_at = expires_at;
        if let Some(info) = info {
            rare.info = Some(Arc::clone(info));
        }
        self.charge_client(peer, effects);
        let format = self.clients.format(peer.key);
        reply_to(peer, self.encoder.refreshed(format, ttl(expires_at, now)), effects);
        self.file_anew(peer, effects);
    }

    fn unsubscribe_user(
        &mut self,
        user: &str,
        channel: Option<&str>,
        client: Option<&str>,
        effects: &mut Effects<'_>,
    ) {
        for peer in self.peers_of((user, client), &[], effects) {
            let Some(own) = self.clients.get(peer.key) else { continue };
            let names = own.subscriptions.iter().map(|own| Arc::clone(&own.channel.name));
            let names: Vec<Arc<str>> =
                names.filter(|name| channel.is_none_or(|channel| **name == *channel)).collect();
            let told = match own.phase {
                // It has not been told that it is a member.
                Phase::Connecting => LeaveReply::Nothing,
                Phase::New | Phase::Connected | Phase::Refused | Phase::Closing => {
                    LeaveReply::Push(Unsubscribed::Server)
                }
            };
            for name in names {
                self.leave(peer, &name, told, effects);
            }
        }
    }

    /// The connections of a user, or the one of them with this name, but for some.
    fn peers_of(
        &self,
        (user, client): (&str, Option<&str>),
        except: &[String],
        effects: &mut Effects<'_>,
    ) -> Vec<Peer> {
        effects.charge_work(LOOK_WORK * self.clients.len() as u64);
        let loop_index = self.site.index;
        let is_meant = |id: &str| {
            client.is_none_or(|client| client == id) && !except.iter().any(|own| own == id)
        };
        let own = self.clients.iter().filter(|own| *own.user == *user);
        let own = own.filter(|own| is_meant(&own.id.to_string()));
        own.map(|own| Peer { loop_index, key: own.key }).collect()
    }
}

/// What the namespace of a channel must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requirement {
    Nothing,
    Presence,
    History,
}
