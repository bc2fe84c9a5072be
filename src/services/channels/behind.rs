//! Members that are too slow for what is published in channels with
//! [`KeepLatest`](crate::channels::SlowMemberPolicy::KeepLatest).

use std::sync::Arc;

use super::channel_ref::conflation_key;
use super::home_channel::topic_in;
use super::service::Channels;
use super::to_home::LeaveReply;
use crate::centrifugo::Unsubscribed;
use crate::services::{Behind, Effects, Peer};

impl Channels {
    /// What becomes of the publications of a channel that wait for a member. One that relies on getting all of
    /// them has to learn that it does not, or it would take a later one for the next: it is a member no longer,
    /// and comes back by itself from where it was. The others need the latest only.
    pub(super) fn member_is_behind(
        &mut self,
        peer: Peer,
        key: u32,
        effects: &mut Effects<'_>,
    ) -> Behind {
        let Some(client) = self.clients.get(peer.key) else { return Behind::Close };
        let mut own =
            client.subscriptions.iter().filter(|own| conflation_key(&own.channel.name) == key);
        // It has left the channel. The latest alone would be behind a hole in what it reads until it learns of that.
        let Some(found) = own.next() else { return Behind::Drop };
        if own.next().is_some() {
            // The latest of which of them cannot be told.
            return Behind::Close;
        }
        if !found.lacks_nothing {
            return Behind::KeepLatest;
        }
        if found.is_own {
            // A client does not subscribe again to what the server has subscribed it to.
            return Behind::Close;
        }
        let (name, format) = (Arc::clone(&found.channel.name), client.format);
        self.leave(peer, &name, LeaveReply::Push(Unsubscribed::InsufficientState), effects);
        Behind::Leave(topic_in(format, &name))
    }
}
