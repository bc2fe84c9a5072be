//! Publications: frames for the members of a topic, and the order in which members see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::ws::EncodedFrame;

/// A frame for all members of a topic but one, and those that were published right behind it.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Arc<str>,
    pub(crate) frame: EncodedFrame,
    /// They travel together, so that each member is looked at once for all of them.
    pub(crate) more: Vec<EncodedFrame>,
    pub(crate) except: Option<Peer>,
}

impl Publication {
    pub(super) fn new(topic: &Arc<str>, frame: EncodedFrame, except: Option<Peer>) -> Self {
        Self { topic: Arc::clone(topic), frame, more: Vec::new(), except }
    }

    /// All its frames, in their order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &EncodedFrame> + Clone {
        std::iter::once(&self.frame).chain(&self.more)
    }

    /// Takes another one along, if it is for the same members and both are short.
    pub(super) fn takes(&mut self, next: &Self) -> bool {
        let is_short = |frame: &EncodedFrame| {
            frame.as_bytes().len() <= TOGETHER_FRAME_BYTES_MAX && !frame.is_joinable()
        };
        let fits = self.more.len() < TOGETHER_FRAMES_MAX - 1
            && is_short(&self.frame)
            && is_short(&next.frame)
            && self.except == next.except
            && (Arc::ptr_eq(&self.topic, &next.topic) || self.topic == next.topic);
        if fits {
            self.more.push(next.frame.clone());
        }
        fits
    }
}

/// In which order the members of a topic see what is published to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What one loop publishes arrives in its order; between loops there is none.
    Sender,
    /// All members see one order: every publication goes through the topic's home loop.
    #[default]
    #[serde(rename = "room")]
    Topic,
}

/// Publications that travel together at most, and the longest that do: beyond that there is little
/// to save, and marks and policies are to judge messages rather than heaps of them.
const TOGETHER_FRAMES_MAX: usize = 16;
const TOGETHER_FRAME_BYTES_MAX: usize = 1024;
