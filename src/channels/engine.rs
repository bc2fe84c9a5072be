//! What the home of channels asks for, and what it is answered.

use std::sync::Arc;

use thiserror::Error;

use super::history::{Page, Publication, Recovery, Since};
use super::namespace::Namespace;
use super::position::{NamedEpoch, Position};
use super::presence::ClientInfo;
use crate::timer::Millis;

/// Decides the order of publications, and keeps them where a namespace wants that.
///
/// An engine answers by [`EngineEvent`]s, which its methods append or which come later by mail: the home
/// never waits. Each question carries a context `C`, whatever the home needs to go on, and the answer gives
/// it back. An engine may not append the answer to a [`JoinRequest`] before the [`EngineEvent::Stream`] of each
/// publication that it has seen, nor one of these after it: so the events, in their order, are a history in
/// which what was read and what is live have no hole between them, and no repeat.
pub trait Engine<C> {
    /// Publishes.
    fn publish(
        &mut self,
        request: PublishRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    );

    /// A channel has one more member: from its answer on it hears the stream.
    fn join(
        &mut self,
        request: JoinRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    );

    /// A channel has no member any more, so its stream is not wanted.
    fn leave(&mut self, channel: &Arc<str>);

    /// Reads a part of what is kept.
    fn page(
        &mut self,
        request: PageRequest<'_>,
        context: C,
        now: Millis,
        events: &mut Vec<EngineEvent<C>>,
    );

    /// Forgets what is kept of a channel. Its position stays.
    fn remove(&mut self, channel: &Arc<str>, context: C, events: &mut Vec<EngineEvent<C>>);

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

/// What a member lacks that comes.
#[derive(Clone, Copy, Debug)]
pub struct JoinRequest<'r> {
    /// Where.
    pub channel: &'r Arc<str>,
    /// The options of the channel.
    pub namespace: &'r Namespace,
    /// Whether it knows its position in the stream, so that the answer says where that is.
    pub is_positioned: bool,
    /// The offset and the epoch of one that comes back, which then gets all that it lacks, or the latest.
    pub position: Option<(u64, NamedEpoch)>,
}

/// Some publications, and where the stream is.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'r> {
    /// Where.
    pub channel: &'r Arc<str>,
    /// The options of the channel.
    pub namespace: &'r Namespace,
    /// From where on.
    pub since: Since,
    /// The epoch that they must be of.
    pub epoch: NamedEpoch,
    /// How many at most.
    pub limit: usize,
}

/// What the home is told.
#[derive(Debug)]
pub enum EngineEvent<C> {
    /// Something was published, here or elsewhere: it is for the members.
    Stream(StreamItem),
    /// A publication is made, or is not.
    Published(C, Result<Published, EngineError>),
    /// A member comes, and has read something if it is positioned; or does not.
    Joined(C, Result<Option<Read>, EngineError>),
    /// Something was read.
    Page(C, Result<Read, EngineError>),
    /// A history is forgotten, or is not.
    Removed(C, Result<(), EngineError>),
    /// Who is in a channel, where [`Engine`]s know that.
    Present(C, Result<Vec<ClientInfo>, EngineError>),
    /// What was published in this channel cannot be had without a hole: members that know their position have
    /// to go and come again.
    Lost(Arc<str>),
    /// A member has come to a channel, here or elsewhere, or gone, where [`Engine`]s carry that.
    Member(Arc<str>, Change, ClientInfo),
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It comes.
    Joined,
    /// It goes.
    Left,
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
