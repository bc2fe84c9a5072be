//! Operations of backends on the connections of a user, of which there may be thousands, as far as they are not
//! done yet.
//!
//! The connections of a loop are looked at slot by slot, and a connection keeps its slot as long as it lives. So
//! each that is there when an operation begins is reached once, whatever others come and go meanwhile. Operations
//! take turns, so that one on a single connection does not wait for another on all of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::clients::Client;
use crate::centrifugo::{ErrorCode, SubscriptionOptions};
use crate::channels::NamedEpoch;
use crate::inspect::{ChannelAnswer, Lasting};
use crate::mail::Reply;
use crate::services::Effects;
use crate::shrink::Shrink as _;
use crate::ws::CloseCode;

/// Operations that are not done yet.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// Those on each user, in their order: a later one must not overtake an earlier one on the way over the
    /// connections, or what is left would be of neither.
    by_user: VecDeque<VecDeque<Operation>>,
    count: usize,
}

/// An operation, and how far it has come.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) whose: Whose,
    pub(super) action: Action,
    reply: Reply<ChannelAnswer>,
    /// The slots that are yet to be looked at.
    pub(super) slots: Range<usize>,
    pub(super) outcome: Result<(), ErrorCode>,
    /// Bytes that were charged to the pool.
    charged_bytes: usize,
}

/// The connections that are meant.
#[derive(Debug)]
pub(super) struct Whose {
    /// Their user.
    pub(super) user: Arc<str>,
    /// The one of them; `None` for all.
    pub(super) client: Option<Arc<str>>,
    /// But for these.
    pub(super) except: Arc<[String]>,
}

/// What is done to each.
#[derive(Debug)]
pub(super) enum Action {
    Subscribe {
        channel: Arc<str>,
        recover: Option<(u64, NamedEpoch)>,
        options: Box<SubscriptionOptions>,
    },
    Refresh {
        lasts: Lasting,
        info: Option<Arc<[u8]>>,
    },
    /// From this channel, or from all.
    Unsubscribe(Option<Arc<str>>),
    Disconnect(CloseCode, Arc<str>),
}

impl Whose {
    /// Whether a connection of this user is meant.
    pub(super) fn is(&self, client: &Client) -> bool {
        let Self { user, client: only, except } = self;
        if *client.user != **user {
            return false;
        }
        if only.is_none() && except.is_empty() {
            return true;
        }
        let id = client.id.to_string();
        only.as_ref().is_none_or(|only| **only == *id) && !except.contains(&id)
    }
}

impl Operations {
    /// Whether all are done.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether no more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.count >= WAITING_MAX
    }

    /// Whether one on this user waits.
    pub(super) fn has(&self, user: &str) -> bool {
        self.by_user.iter().any(|own| is_on(own, user))
    }

    /// Has a new operation wait, behind those on the same user.
    pub(super) fn push(&mut self, new: Operation) {
        self.count += 1;
        match self.by_user.iter_mut().find(|own| is_on(own, &new.whose.user)) {
            Some(own) => own.push_back(new),
            None => self.by_user.push_back(VecDeque::from([new])),
        }
    }

    /// The operation whose turn it is, and those on the same user that come behind it.
    pub(super) fn take_first(&mut self) -> Option<(Operation, VecDeque<Operation>)> {
        let mut own = self.by_user.pop_front()?;
        self.by_user.shrink_if_sparse(0);
        let first = own.pop_front()?;
        self.count -= 1 + own.len();
        Some((first, own))
    }

    /// Has operations on one user wait for their next part, behind those on others.
    pub(super) fn put_back(&mut self, own: VecDeque<Operation>) {
        self.count += own.len();
        if !own.is_empty() {
            self.by_user.push_back(own);
        }
    }
}

/// Whether these are on this user.
fn is_on(operations: &VecDeque<Operation>, user: &str) -> bool {
    operations.front().is_some_and(|own| *own.whose.user == *user)
}

impl Operation {
    /// One that looks at these slots.
    pub(super) fn new(
        (whose, action): (Whose, Action),
        slots: Range<usize>,
        reply: Reply<ChannelAnswer>,
    ) -> Self {
        Self { whose, action, reply, slots, outcome: Ok(()), charged_bytes: 0 }
    }

    /// It waits, and holds this much beside its own size.
    pub(super) fn charge(&mut self, held_bytes: usize, effects: &mut Effects<'_>) {
        self.charged_bytes = size_of::<Self>() + held_bytes;
        effects.charge_for_all(self.charged_bytes);
    }

    /// All connections are reached.
    pub(super) fn finish(self, effects: &mut Effects<'_>) {
        if self.charged_bytes > 0 {
            effects.discharge(self.charged_bytes);
        }
        self.reply.send(self.outcome.map_or_else(ChannelAnswer::Failed, |()| ChannelAnswer::Done));
    }
}

impl Action {
    /// About what it leads to for this connection: messages to it and to the homes of its channels, or its end.
    pub(super) fn work(&self, client: &Client) -> u64 {
        let channels = client.subscriptions.len() as u64;
        match self {
            Self::Subscribe { .. } | Self::Refresh { .. } | Self::Unsubscribe(Some(_)) => ACT_WORK,
            Self::Unsubscribe(None) => ACT_WORK * channels.max(1),
            Self::Disconnect(..) => CLOSE_WORK + LEAVE_WORK * channels,
        }
    }
}

/// Operations that wait on a loop for their next part. Further ones are refused.
const WAITING_MAX: usize = 1024;
/// A message to a connection, or to a home and back.
const ACT_WORK: u64 = 3_000;
/// A connection is closed, and then leaves each of its channels.
const CLOSE_WORK: u64 = 5_000;
const LEAVE_WORK: u64 = 1_000;
