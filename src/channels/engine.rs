//! What the home of channels asks for, and what it is answered.

use std::sync::Arc;

use thiserror::Error;

use super::history::{Page, Publication, Recovery, Since};
use super::namespace::{Namespace, RecoveryMode};
use super::position::Position;
use crate::timer::Millis;

/// Decides the order of publications, and keeps them where a namespace wants that.
///
/// An engine answers by [`EngineEvent`]s, which its methods append or which come later by mail: the home
/// never waits. Each question carries a context `C`, whatever the home needs to go on, and the answer gives
/// it back. An engine may not append the answer to a publication before the [`EngineEvent::Stream`] of it,
/// nor the answer to a read before those of the publications that it has seen: so the events, in their order,
/// are a history in which what was read and what is live have no hole between them.
pub trait Engine<C> {
    /// Publishes.
    fn publish(
        &mut self,
        request: PublishRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    );

    /// Reads what is kept.
    fn fetch(
        &mut self,
        request: ReadRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    );

    /// Forgets what is kept of a channel. Its position stays.
    fn remove(&mut self, channel: &str, context: C, events: &mut Vec<EngineEvent<C>>);

    /// A channel has members from now on, or none. Streams are wanted of those that have. Called after the
    /// first member has read where the stream is.
    fn set_interest(&mut self, channel: &Arc<str>, has_members: bool);

    /// Some time has passed: forgets what is too old.
    fn tick(&mut self, now: Millis);

    /// Bytes of memory that it holds in this process.
    fn held_bytes(&self) -> usize;
}

/// What is to be published.
#[derive(Clone, Copy, Debug)]
pub struct PublishRequest<'r> {
    /// Where.
    pub channel: &'r Arc<str>,
    /// The options of the channel.
    pub namespace: &'r Namespace,
    /// What.
    pub publication: &'r Publication,
    /// With the same key it is published once in
    /// [`IDEMPOTENCY_MS`](super::IDEMPOTENCY_MS).
    pub idempotency_key: Option<&'r str>,
    /// Whether it is to be forgotten as soon as it is delivered.
    pub skips_history: bool,
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub enum ReadRequest<'r> {
    /// What a member lacks that comes or comes back, and where the stream is.
    Recover {
        /// Where.
        channel: &'r Arc<str>,
        /// The options of the channel.
        namespace: &'r Namespace,
        /// The offset and the text of the epoch of one that comes back.
        position: Option<(u64, &'r str)>,
        /// All that it lacks, or the latest.
        mode: RecoveryMode,
    },
    /// Some publications, and where the stream is.
    Page {
        /// Where.
        channel: &'r Arc<str>,
        /// The options of the channel.
        namespace: &'r Namespace,
        /// From where on.
        since: Since,
        /// The text of the epoch that they must be of.
        epoch: Option<&'r str>,
        /// How many at most.
        limit: usize,
    },
}

/// What the home is told.
#[derive(Debug)]
pub enum EngineEvent<C> {
    /// Something was published, here or elsewhere: it is for the members.
    Stream(StreamItem),
    /// A publication is made, or is not.
    Published(C, Result<Published, EngineError>),
    /// Something was read.
    Read(C, Result<Read, EngineError>),
    /// A history is forgotten, or is not.
    Removed(C, Result<(), EngineError>),
}

/// A publication on its way to the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamItem {
    /// Where.
    pub channel: Arc<str>,
    /// What.
    pub publication: Publication,
    /// Its position where publications are kept: the one before has the offset below.
    pub position: Option<Position>,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its position where publications are kept.
    pub position: Option<Position>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where the stream is.
    pub position: Position,
    /// Publications with their offsets, or what a member lacks.
    pub recovery: Recovery,
}

impl Read {
    /// The publications, if there are any.
    #[must_use]
    pub fn page(self) -> Page {
        match self.recovery {
            Recovery::Recovered(page) => page,
            Recovery::Lost => Vec::new(),
        }
    }
}

/// Why the engine does not do what it is asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// There are as many channels with history as may be.
    #[error("no further channel may have a history")]
    TooManyChannels,
    /// The position is of another stream.
    #[error("the position is of another epoch")]
    OtherEpoch,
    /// It cannot be reached.
    #[error("the engine cannot be reached")]
    Unavailable,
}
