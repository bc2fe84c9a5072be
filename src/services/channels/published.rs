//! What backends publish by the interface of GRIP, for channels of the same name.
//!
//! Loops get such items in one order, and one of them gives each to the home of its channel, so members get
//! them in that order, among what is published otherwise.

use std::sync::Arc;

use super::service::Channels;
use crate::centrifugo::{is_json, without_newlines};
use crate::channels::{ChannelName, Publication, PublicationDetails};
use crate::events::ClientEvent;
use crate::events::publish::{ChannelAction, ChannelItem};
use crate::inspect::ChannelQuestion;
use crate::mail::Reply;
use crate::services::Effects;

impl Channels {
    /// Does with the members of a channel what an item says; how many of them are on this loop. An item for a
    /// channel without a namespace is for others.
    pub(super) fn on_item(
        &mut self,
        item: &ChannelItem,
        publishes: bool,
        effects: &mut Effects<'_>,
    ) -> usize {
        let name = ChannelName::parse(&item.channel).ok();
        let namespace = name.and_then(|name| self.settings.namespaces.get(name.namespace()));
        if namespace.is_none() {
            return 0;
        }
        match &item.action {
            ChannelAction::Send(event, content) => {
                let Some(publication) = publication_of(*event, content) else { return 0 };
                if publishes {
                    let question = ChannelQuestion::Publish {
                        channel: Arc::clone(&item.channel),
                        publication,
                        idempotency_key: None,
                        skips_history: false,
                    };
                    // The backend is told how many members there are, and nothing else.
                    self.on_question(question, Reply::new(drop), effects);
                }
                self.clients.channels.members(&item.channel)
            }
            // Their connections serve other channels as well.
            ChannelAction::Close(..) => {
                if publishes {
                    let question = ChannelQuestion::Close(Arc::clone(&item.channel));
                    self.on_question(question, Reply::new(drop), effects);
                }
                self.clients.channels.members(&item.channel)
            }
            ChannelAction::Refresh | ChannelAction::Hint => 0,
        }
    }
}

/// What is published: text that is JSON as it is, other text as a string. Bytes are as they are, which members
/// that speak JSON can be given only if they are JSON.
fn publication_of(event: ClientEvent, content: &[u8]) -> Option<Publication> {
    let is_json = is_json(content);
    match event {
        ClientEvent::Text => {
            let text = str::from_utf8(content).ok()?;
            Some(Publication::new(match is_json {
                true => without_newlines(text).into_owned().into_bytes(),
                false => serde_json::to_vec(text).ok()?,
            }))
        }
        ClientEvent::Binary if is_json => Some(Publication::new(content.to_vec())),
        // Nothing is no publication, by whatever way it comes.
        ClientEvent::Binary if content.is_empty() => None,
        ClientEvent::Binary => {
            let details = PublicationDetails { is_binary: true, ..PublicationDetails::default() };
            Some(Publication { data: content.into(), details: Some(Arc::new(details)) })
        }
        ClientEvent::Ping | ClientEvent::Pong => None,
    }
}
