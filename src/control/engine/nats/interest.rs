//! What is heard: a subscription for each of some channels, and beyond them one for all channels of a section,
//! because each subscription takes several KiB in the client library.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::{Client, Message, Subscriber};
use futures_util::stream::{AbortHandle, Abortable, SelectAll, Stream, StreamExt as _};

use super::error::Lost;
use super::subjects::{Section, Subjects, with_channel_of};

/// The channels that are heard.
#[derive(Debug)]
pub(super) struct Interest {
    channels: HashMap<Arc<str>, Heard>,
    /// By namespace and bucket.
    sections: HashMap<(Box<str>, u8), SharedSubscription>,
    live: SelectAll<Abortable<Source>>,
    own: usize,
    own_max: usize,
}

/// One channel that is heard.
#[derive(Debug)]
struct Heard {
    /// Its own subscription; `None` if it shares that of its section.
    own: Option<AbortHandle>,
}

#[derive(Debug)]
struct SharedSubscription {
    channels: usize,
    handle: AbortHandle,
}

/// A subscription that tells whether it is a channel's own.
#[derive(Debug)]
struct Source {
    subscriber: Subscriber,
    is_own: bool,
}

impl Stream for Source {
    type Item = (bool, Message);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let is_own = self.is_own;
        self.subscriber.poll_next_unpin(context).map(|message| Some((is_own, message?)))
    }
}

impl Interest {
    pub(super) fn new(own_max: usize) -> Self {
        Self {
            channels: HashMap::new(),
            sections: HashMap::new(),
            live: SelectAll::new(),
            own: 0,
            own_max,
        }
    }

    /// Subscribes those channels that are not yet.
    pub(super) async fn subscribe(
        &mut self,
        client: &Client,
        subjects: &Subjects,
        channels: &[Arc<str>],
    ) -> Result<(), Lost> {
        for channel in channels {
            if self.channels.contains_key(channel) {
                continue;
            }
            let own = if self.own < self.own_max {
                self.own += 1;
                Some(self.listen(client, subjects.live(channel), true).await?)
            } else {
                self.join(client, subjects, Section::of(channel)).await?;
                None
            };
            self.channels.insert(Arc::clone(channel), Heard { own });
        }
        Ok(())
    }

    /// Hears no more of channels.
    pub(super) fn unsubscribe(&mut self, channels: &[Arc<str>]) {
        for channel in channels {
            let Some(heard) = self.channels.remove(channel) else { continue };
            if let Some(handle) = heard.own {
                handle.abort();
                self.own -= 1;
            } else {
                self.leave(Section::of(channel));
            }
        }
        if self.channels.capacity() > SPARSE * (self.channels.len() + 1) {
            self.channels.shrink_to(2 * self.channels.len());
        }
    }

    /// Whether nothing is subscribed.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The next message with its channel; `None` if it is for no channel that is heard.
    pub(super) async fn next(&mut self) -> Option<(Arc<str>, Message)> {
        let (is_own, message) = self.live.next().await?;
        let channel = with_channel_of(&message.subject, |name| {
            let (channel, heard) = self.channels.get_key_value(name)?;
            // A channel with its own subscription may be in a section that is heard as well.
            (heard.own.is_some() == is_own).then(|| Arc::clone(channel))
        });
        channel.flatten().map(|channel| (channel, message))
    }

    async fn join(
        &mut self,
        client: &Client,
        subjects: &Subjects,
        section: Section<'_>,
    ) -> Result<(), Lost> {
        let key = (section.namespace.into(), section.bucket);
        if let Some(shared) = self.sections.get_mut(&key) {
            shared.channels += 1;
            return Ok(());
        }
        let handle = self.listen(client, subjects.live_section(section), false).await?;
        self.sections.insert(key, SharedSubscription { channels: 1, handle });
        Ok(())
    }

    fn leave(&mut self, section: Section<'_>) {
        let key = (section.namespace.into(), section.bucket);
        let Some(shared) = self.sections.get_mut(&key) else { return };
        shared.channels -= 1;
        if shared.channels == 0 {
            shared.handle.abort();
            self.sections.remove(&key);
        }
    }

    async fn listen(
        &mut self,
        client: &Client,
        subject: String,
        is_own: bool,
    ) -> Result<AbortHandle, Lost> {
        let subscriber = client.subscribe(subject).await;
        let subscriber = subscriber.map_err(|error| Lost::new(error.to_string()))?;
        let (handle, registration) = AbortHandle::new_pair();
        self.live.push(Abortable::new(Source { subscriber, is_own }, registration));
        Ok(handle)
    }
}

/// How many times the channels the table may have room for.
const SPARSE: usize = 8;
