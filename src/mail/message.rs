//! What loops are told.

use std::sync::Arc;

use super::lane::{Class, MailItem};
use crate::effects::{Accept, IdentityOutcome, Publication, ServiceMessage};
use crate::http::Rejection;
use crate::key::ConnKey;
use crate::timer::WallTime;
use crate::ws::{CloseRequest, EncodedFrame};

/// A message to the connections and services of a loop, from another loop or from another thread.
#[derive(Debug)]
pub struct LoopMessage(pub(crate) LoopMessageKind);

/// What a loop is asked to do.
#[derive(Debug)]
pub(crate) enum LoopMessageKind {
    /// What a service was waiting for, from its instance on loop `from` or from another thread that
    /// works for it. It goes with what that loop sends to connections, in one order.
    Answer {
        route: u8,
        from: u16,
        message: ServiceMessage,
    },
    Close(ConnKey, CloseRequest),
    Decide(ConnKey, Result<Accept, Rejection>),
    /// Give it to the members here.
    Deliver(u8, Publication),
    /// What the credential of a connection that waits has proven.
    Identify(ConnKey, IdentityOutcome),
    /// The pool is short, and the loop that is asked has the largest holder of it.
    MakeRoom,
    /// Give it to the members everywhere: this is the topic's home loop.
    Publish(u8, Publication),
    /// The identity of the connection holds until this date.
    Refresh(ConnKey, WallTime),
    Send(ConnKey, EncodedFrame),
    Service {
        route: u8,
        from: u16,
        message: ServiceMessage,
    },
    Subscribe(ConnKey, Arc<str>),
    Unsubscribe(ConnKey, Arc<str>),
}

impl LoopMessage {
    /// A message to a route's service from another thread that works for its instance on loop `from`.
    pub(crate) fn service(route: u8, from: u16, message: ServiceMessage) -> Self {
        Self(LoopMessageKind::Answer { route, from, message })
    }

    /// The outcome of an identity check that the loop of the connection waits for.
    pub(crate) fn identify(key: ConnKey, outcome: IdentityOutcome) -> Self {
        Self(LoopMessageKind::Identify(key, outcome))
    }
}

impl MailItem for LoopMessage {
    fn class(&self) -> Class {
        match &self.0 {
            LoopMessageKind::Publish(..) | LoopMessageKind::Service { .. } => Class::Forwarding,
            LoopMessageKind::Answer { .. }
            | LoopMessageKind::Close(..)
            | LoopMessageKind::Decide(..)
            | LoopMessageKind::Deliver(..)
            | LoopMessageKind::Identify(..)
            | LoopMessageKind::MakeRoom
            | LoopMessageKind::Refresh(..)
            | LoopMessageKind::Send(..)
            | LoopMessageKind::Subscribe(..)
            | LoopMessageKind::Unsubscribe(..) => Class::Terminal,
        }
    }

    fn bytes(&self) -> usize {
        let held =
            match &self.0 {
                LoopMessageKind::Answer { message, .. }
                | LoopMessageKind::Service { message, .. } => message.bytes(),
                LoopMessageKind::Close(_, request) => request.reason.len(),
                // Headers and the like: short, and one for each connection.
                LoopMessageKind::Decide(..)
                | LoopMessageKind::MakeRoom
                | LoopMessageKind::Refresh(..) => 0,
                LoopMessageKind::Identify(_, outcome) => outcome.held_bytes(),
                LoopMessageKind::Deliver(_, publication)
                | LoopMessageKind::Publish(_, publication) => publication.held_bytes(),
                LoopMessageKind::Send(_, frame) => frame.held_bytes(),
                LoopMessageKind::Subscribe(_, topic) | LoopMessageKind::Unsubscribe(_, topic) => {
                    topic.len()
                }
            };
        size_of::<Self>() + held
    }
}

/// Sends a service's answer to its loop from another thread. There is always room for it: an answer
/// follows an inquiry of the service, and open inquiries are bounded.
pub type LoopSender = Arc<dyn Fn(LoopMessage) + Send + Sync>;

/// A mailbox's content: a message to a loop's connections, or a command to the loop itself, whose
/// commands are of type `C`.
#[derive(Debug)]
pub enum Envelope<C> {
    /// For the loop itself.
    Command(C),
    /// For its connections and services.
    Message(LoopMessage),
}

impl<C: MailItem> MailItem for Envelope<C> {
    fn class(&self) -> Class {
        match self {
            Self::Command(command) => command.class(),
            Self::Message(message) => message.class(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Command(command) => command.bytes(),
            Self::Message(message) => message.bytes(),
        }
    }
}
