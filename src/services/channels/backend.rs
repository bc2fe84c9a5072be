//! What backends ask of channels.

use std::sync::Arc;

use super::home::HomeQuestion;
use super::operations::{Action, Whose};
use super::service::Channels;
use super::to_home::Forwarded;
use crate::centrifugo::ErrorCode;
use crate::channels::{ChannelName, InvalidChannel, Namespace};
use crate::inspect::{ChannelAnswer, ChannelQuestion};
use crate::key::home_loop;
use crate::mail::Reply;
use crate::services::{Effects, ServiceMessage};
use crate::ws::CloseCode;

impl Channels {
    pub(super) fn on_question(
        &mut self,
        question: ChannelQuestion,
        reply: Reply<ChannelAnswer>,
        effects: &mut Effects<'_>,
    ) {
        let held_bytes = question.held_bytes();
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
                if let Err(error) = self.namespace_of_backend(&channel) {
                    return reply.send(ChannelAnswer::Failed(error));
                }
                let whose = Whose { user, client, except: Arc::default() };
                let action = Action::Subscribe { channel, recover, options };
                self.operate((whose, action, held_bytes), reply, effects);
            }
            ChannelQuestion::Refresh { user, client, lasts, info } => {
                let whose = Whose { user, client, except: Arc::default() };
                self.operate((whose, Action::Refresh { lasts, info }, held_bytes), reply, effects);
            }
            ChannelQuestion::Unsubscribe { user, channel, client } => {
                let whose = Whose { user, client, except: Arc::default() };
                self.operate((whose, Action::Unsubscribe(channel), held_bytes), reply, effects);
            }
            ChannelQuestion::Disconnect { user, client, except, close: (code, reason) } => {
                let code = CloseCode::from_wire(code).unwrap_or(CloseCode::INTERNAL);
                let whose = Whose { user, client, except };
                let action = Action::Disconnect(code, reason);
                self.operate((whose, action, held_bytes), reply, effects);
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

    /// The namespace of a channel into which a backend takes connections.
    pub(super) fn namespace_of_backend(&self, channel: &str) -> Result<Arc<Namespace>, ErrorCode> {
        self.namespace_for_backend(channel, Requirement::Nothing)
    }
}

/// What the namespace of a channel must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requirement {
    Nothing,
    Presence,
    History,
}
