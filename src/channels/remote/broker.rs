//! What the follower asks of a broker, a server that several gateways share, and what it says.

use std::sync::Arc;

use thiserror::Error;

use super::on_its_way::Payload;
use crate::channels::Position;

/// What a broker is to do. Commands with a number have one [`BrokerEvent`] with that number as an answer,
/// unless the broker is [`BrokerEvent::Down`] before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerCommand {
    /// To hear what is published in these channels. Each is answered by [`BrokerEvent::Subscribed`].
    Subscribe(Vec<Arc<str>>),
    /// To hear no more of these.
    Unsubscribe(Vec<Arc<str>>),
    /// To publish, and to keep it as its namespace has it.
    Publish {
        /// Of the question.
        number: u64,
        /// Where.
        channel: Arc<str>,
        /// How much is kept; `None` to keep nothing, and give no position.
        retention: Option<Retention>,
        /// The publication, as bytes that only nodes read.
        payload: Payload,
        /// With the same key it is published once in [`IDEMPOTENCY_MS`](crate::channels::IDEMPOTENCY_MS),
        /// and answered with the position that it has.
        idempotency_key: Option<Box<str>>,
    },
    /// To read what is kept.
    Read {
        /// Of the question.
        number: u64,
        /// Where.
        channel: Arc<str>,
        /// How much is kept there.
        retention: Retention,
        /// Which part.
        span: Span,
    },
    /// To forget what is kept. The position stays.
    Remove {
        /// Of the question.
        number: u64,
        /// Where.
        channel: Arc<str>,
    },
    /// Where these channels are, as many as one request may ask for.
    Positions {
        /// Of the question.
        number: u64,
        /// At most [`POSITIONS_MAX`].
        channels: Vec<(Arc<str>, Retention)>,
    },
    /// To give these bytes to who hears this channel, on all nodes, this one included. Nothing is kept, and no
    /// answer comes.
    Note(Arc<str>, Vec<u8>),
    /// To give these bytes to other nodes. Nothing is kept, and no answer comes.
    Tell(Audience, Vec<u8>),
}

/// What a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerEvent {
    /// It is reached: nothing is subscribed, and commands are carried out from now on.
    Up,
    /// It is not reached any more, or not as a whole. What was asked before has no answer, and may have been
    /// done or not. Commands until the next [`BrokerEvent::Up`] are dropped, and are not answered.
    Down,
    /// From now on what is published in this channel is heard.
    Subscribed(Arc<str>),
    /// Something was published in a channel, by this node or another. Copies may be lost, but in each channel
    /// they come in order.
    Live {
        /// Where.
        channel: Arc<str>,
        /// Where it stands in the stream; `None` if it is not kept.
        place: Option<Placement>,
        /// As it was published.
        payload: Vec<u8>,
    },
    /// As [`BrokerCommand::Note`].
    Note(Arc<str>, Vec<u8>),
    /// As [`BrokerCommand::Tell`], by another node or this one.
    Told(Vec<u8>),
    /// The answer to [`BrokerCommand::Publish`]: the position if it is kept.
    Published(u64, Result<Option<Position>, BrokerError>),
    /// The answer to [`BrokerCommand::Read`].
    Read(u64, Result<Batch, BrokerError>),
    /// The answer to [`BrokerCommand::Remove`].
    Removed(u64, Result<(), BrokerError>),
    /// The answer to [`BrokerCommand::Positions`], in the order of the question.
    Positions(u64, Result<Vec<Position>, BrokerError>),
}

/// How much of a channel is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Publications, at least 1.
    pub size: usize,
    /// How long each, in milliseconds, at least 1.
    pub ttl_ms: u64,
    /// How long the position is, after the last publication, in milliseconds.
    pub meta_ttl_ms: u64,
}

/// Which part of a history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Where it ends, and nothing else.
    Nothing,
    /// All that was published behind this offset, if it is at most
    /// [`RECOVERED_MAX`](crate::channels::RECOVERED_MAX).
    After(u64),
    /// The last publication.
    Latest,
    /// All that is kept.
    All,
}

/// What was read, and where the stream was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The end of the stream.
    pub position: Position,
    /// Publications with their offsets, in order.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// Whether nothing is missing of what was asked for: with [`Span::After`], that every publication between
    /// that offset and the position is there. In doubt it is not, and the entries are empty.
    pub is_whole: bool,
}

/// Where a publication stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its own position.
    pub position: Position,
    /// The offset of the one before it; 0 if there is none, or none is kept.
    pub previous: u64,
}

/// To whom nodes speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// All nodes, this one included.
    All,
    /// The node with this number.
    Node(u64),
}

/// Why a broker has not done something, or may not have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BrokerError {
    /// It has not answered, so it may have been done.
    #[error("the broker has not answered")]
    Unknown,
    /// It has refused.
    #[error("the broker has refused")]
    Refused,
}

/// Channels in one question for positions.
pub const POSITIONS_MAX: usize = 512;
