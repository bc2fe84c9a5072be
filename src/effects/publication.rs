//! Publications: frames for the members of a topic, and the order in which members see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::ws::EncodedFrame;

/// A frame for the members of a topic, and the frames that were published to them right behind it.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Arc<str>,
    pub(crate) frame: EncodedFrame,
    /// Published right behind `frame`, in one publication, so that the fan-out looks up each member
    /// once for all of them.
    pub(crate) more: Vec<EncodedFrame>,
    /// The member that gets none of them.
    pub(crate) except: Option<Peer>,
}

impl Publication {
    pub(super) fn new(topic: &Arc<str>, frame: EncodedFrame, except: Option<Peer>) -> Self {
        Self { topic: Arc::clone(topic), frame, more: Vec::new(), except }
    }

    /// Bytes that are held while it waits, whatever else holds its frames.
    pub(crate) fn held_bytes(&self) -> usize {
        let frames = self.frames().map(EncodedFrame::held_bytes);
        size_of::<Self>() + self.topic.len() + frames.sum::<usize>()
    }

    /// All frames, in their order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &EncodedFrame> + Clone {
        std::iter::once(&self.frame).chain(&self.more)
    }

    /// Whether another publication is for the same members, and both are short enough to travel as
    /// one.
    pub(super) fn may_absorb(&self, next: &Self) -> bool {
        // A batch is one segment of whole frames, so the backlog could not join the texts in it into
        // one message: a joinable frame stays alone. So does one that a later one may make superfluous.
        // Of several frames each is short.
        let is_short = |own: &Self| {
            own.frame.as_bytes().len() <= TOGETHER_FRAME_BYTES_MAX
                && !own.frame.is_joinable()
                && own.frame.conflation_key() == 0
        };
        self.more.len() + next.more.len() < TOGETHER_FRAMES_MAX - 1
            && is_short(self)
            && is_short(next)
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
        self.more.push(next.frame);
        self.more.extend(next.more);
        Ok(())
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
