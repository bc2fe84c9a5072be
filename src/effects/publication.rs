//! Publications: frames for the members of a topic, and the order in which members see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::ws::EncodedFrame;

/// What comes to the members of a topic, behind all that was published before.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Arc<str>,
    pub(crate) content: Content,
    /// The member that it does not come to.
    pub(crate) except: Option<Peer>,
}

/// What a publication is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A frame, and the frames that were published right behind it, in one publication, so that the fan-out
    /// looks up each member once for all of them.
    Frames(EncodedFrame, Vec<EncodedFrame>),
    /// The end of their membership, and what their service calls the reason.
    Dismissal(u8),
}

impl Publication {
    pub(super) fn new(topic: &Arc<str>, frame: EncodedFrame, except: Option<Peer>) -> Self {
        Self { topic: Arc::clone(topic), content: Content::Frames(frame, Vec::new()), except }
    }

    pub(super) fn dismissal(topic: &Arc<str>, reason: u8) -> Self {
        Self { topic: Arc::clone(topic), content: Content::Dismissal(reason), except: None }
    }

    /// Bytes that are held while it waits, whatever else holds its frames.
    pub(crate) fn held_bytes(&self) -> usize {
        let frames = self.frames().map(EncodedFrame::held_bytes);
        size_of::<Self>() + self.topic.len() + frames.sum::<usize>()
    }

    /// All frames, in their order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &EncodedFrame> + Clone {
        let (first, more) = match &self.content {
            Content::Frames(first, more) => (Some(first), &more[..]),
            Content::Dismissal(_) => (None, &[][..]),
        };
        first.into_iter().chain(more)
    }

    /// How many frames there are.
    pub(crate) fn frame_count(&self) -> usize {
        match &self.content {
            Content::Frames(_, more) => 1 + more.len(),
            Content::Dismissal(_) => 0,
        }
    }

    /// Whether another publication is for the same members, and the frames of both are short enough to travel as
    /// one.
    pub(super) fn may_absorb(&self, next: &Self) -> bool {
        let (Content::Frames(first, more), Content::Frames(next_first, next_more)) =
            (&self.content, &next.content)
        else {
            return false;
        };
        // A batch is one segment of whole frames, so the backlog could not join the texts in it into
        // one message: a joinable frame stays alone. So does one that a later one may make superfluous.
        // Of several frames each is short.
        let is_short = |frame: &EncodedFrame| {
            frame.as_bytes().len() <= TOGETHER_FRAME_BYTES_MAX
                && !frame.is_joinable()
                && frame.conflation_key() == 0
        };
        more.len() + next_more.len() < TOGETHER_FRAMES_MAX - 1
            && is_short(first)
            && is_short(next_first)
            && self.except == next.except
            && (Arc::ptr_eq(&self.topic, &next.topic) || self.topic == next.topic)
    }

    /// Takes the frames of another publication behind its own.
    ///
    /// # Errors
    /// The other, if the two cannot travel as one.
    pub(crate) fn absorb(&mut self, next: Self) -> Result<(), Self> {
        if !self.may_absorb(&next) {
            return Err(next);
        }
        let Self { topic, content, except } = next;
        match (&mut self.content, content) {
            (Content::Frames(_, more), Content::Frames(next_first, next_more)) => {
                more.push(next_first);
                more.extend(next_more);
                Ok(())
            }
            (_, content) => Err(Self { topic, content, except }),
        }
    }
}

/// The order in which the members of a topic receive publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Publications from one loop arrive in their order. Between those of different loops no order is
    /// guaranteed.
    Sender,
    /// All members receive the same order: every publication goes through the topic's home loop.
    #[default]
    #[serde(rename = "room")]
    Topic,
}

/// Frames in one publication: a flood of short ones costs little more than a few. A queue without
/// room for the whole batch takes its frames one by one.
const TOGETHER_FRAMES_MAX: usize = 128;
/// Bytes of a frame that is published together with others. For a longer one the copy into the batch
/// costs more than the second walk over the members.
const TOGETHER_FRAME_BYTES_MAX: usize = 1024;
