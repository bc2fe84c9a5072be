//! What loops ask of a shared engine, and what they are told.

use std::sync::Arc;

use super::broker::Retention;
use super::on_its_way::Charged;
use crate::channels::{
    Change, ClientInfo, EngineError, NamedEpoch, Position, Publication, Read, RecoveryMode, Since,
    StreamItem,
};

/// Which instance of a service asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u32);

/// A question of a loop.
#[derive(Clone, Debug)]
pub struct EngineQuestion {
    /// Who asks.
    pub port: Port,
    /// Which question of its own it is; the answer has the same number. 0 where there is no answer.
    pub number: u64,
    /// What is asked.
    pub action: EngineAction,
    /// What a publication takes of the [`EngineRoom`](super::EngineRoom) on its way.
    pub charged: Option<Charged>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAction {
    /// A member comes. From its answer on, [`PortEvent::Joined`], the port hears the channel, and goes on hearing it
    /// until [`EngineAction::Leave`].
    Join {
        /// Where.
        channel: Arc<str>,
        /// How much is kept there; `None` for nothing.
        retention: Option<Retention>,
        /// What it reads, if it knows its position.
        reads: Option<JoinRead>,
    },
    /// The port has no members there any more, so that it wants to hear nothing. Has no answer.
    Leave(Arc<str>),
    /// To publish: [`PortEvent::Published`].
    Publish {
        /// Where.
        channel: Arc<str>,
        /// How much is kept there; `None` to keep nothing of this.
        retention: Option<Retention>,
        /// What.
        publication: Publication,
        /// With the same key it is published once.
        idempotency_key: Option<Box<str>>,
    },
    /// To read a part of what is kept: [`PortEvent::Page`].
    Page {
        /// Where.
        channel: Arc<str>,
        /// How much is kept there.
        retention: Retention,
        /// From where on.
        since: Since,
        /// The epoch that it must be of.
        epoch: NamedEpoch,
        /// How many at most.
        limit: usize,
    },
    /// To forget what is kept: [`PortEvent::Removed`].
    Remove {
        /// Where.
        channel: Arc<str>,
    },
    /// Who is in a channel, on all nodes: [`PortEvent::Present`].
    Presence {
        /// Where.
        channel: Arc<str>,
    },
    /// To tell the members on all nodes that one of them has come or gone. Has no answer.
    Member {
        /// Where.
        channel: Arc<str>,
        /// What it does.
        change: Change,
        /// Which.
        info: ClientInfo,
    },
    /// To say when this node is gone: [`PortEvent::Gone`], once.
    Watch(u64),
}

/// What a member reads that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRead {
    /// The offset and the epoch of one that comes back.
    pub recover: Option<(u64, NamedEpoch)>,
    /// What it gets then.
    pub mode: RecoveryMode,
}

/// What a shared engine says to one port, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// The answer to [`EngineAction::Publish`]: the position if it is kept.
    Published(u64, Result<Option<Position>, EngineError>),
    /// The answer to [`EngineAction::Join`]: what was read, if it reads.
    Joined(u64, Result<Option<Read>, EngineError>),
    /// The answer to [`EngineAction::Page`].
    Page(u64, Result<Read, EngineError>),
    /// The answer to [`EngineAction::Remove`].
    Removed(u64, Result<(), EngineError>),
    /// The answer to [`EngineAction::Presence`].
    Present(u64, Result<Vec<ClientInfo>, EngineError>),
    /// Something was published in a channel that the port hears.
    Stream(StreamItem),
    /// What was published in this channel cannot be had without a hole: members that know their position have
    /// to go and come again.
    Lost(Arc<str>),
    /// A member has come to a channel that the port hears, or gone from it.
    Member(Arc<str>, Change, ClientInfo),
    /// A node is gone that a port watches.
    Gone(u64),
}
