//! The questions and orders, each with the way back for its answer.

use std::sync::Arc;

use super::channel::{ChannelAnswer, ChannelQuestion};
use super::connection::{ConnectionDetail, ConnectionSummary};
use super::filter::ConnectionFilter;
use super::room::RoomSlice;
use super::trace::{TraceId, TraceSink};
use crate::events::publish::ChannelItem;
use crate::key::ConnKey;
use crate::mail::{Class, Reply};
use crate::ws::CloseRequest;

/// A part of the list of a loop's connections, in the order of their slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSlice {
    /// Those that fit.
    pub connections: Vec<ConnectionSummary>,
    /// The slot to begin the next slice at; `None` when there are no more.
    pub next: Option<u32>,
}

/// How far an order to close connections has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedSlice {
    /// Connections that are closing because of it.
    pub closed: usize,
    /// The slot to go on at; `None` when all were looked at.
    pub next: Option<u32>,
}

/// How far an order to send something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentSlice {
    /// Connections that it was sent to.
    pub sent: usize,
    /// The slot to go on at; `None` when all were looked at.
    pub next: Option<u32>,
}

impl Query {
    /// When a mailbox gives it to its loop: a publication goes on to all loops.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Channel { .. } | Self::Channels { .. } | Self::Publish { .. } => {
                Class::Forwarding
            }
            Self::List { .. }
            | Self::Show { .. }
            | Self::CloseOne { .. }
            | Self::Close { .. }
            | Self::SendOne { .. }
            | Self::Send { .. }
            | Self::Rooms { .. }
            | Self::Trace { .. }
            | Self::Untrace { .. } => Class::Terminal,
        }
    }

    /// Bytes of memory that it holds beside its own size.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Channel { item, .. } => item.held_bytes(),
            Self::Channels { question, .. } => question.held_bytes(),
            Self::CloseOne { request, .. } => request.reason.len(),
            Self::Close { filter, request, .. } => filter.held_bytes() + request.reason.len(),
            Self::SendOne { text, .. } => text.len(),
            Self::Send { filter, text, .. } => filter.held_bytes() + text.len(),
            Self::Publish { route, room, text, .. } => route.len() + room.len() + text.len(),
            Self::List { filter, .. } | Self::Trace { filter, .. } => filter.held_bytes(),
            Self::Show { .. } | Self::Rooms { .. } | Self::Untrace { .. } => 0,
        }
    }
}

/// A question or an order to one loop.
#[derive(Debug)]
pub enum Query {
    /// List connections.
    List {
        /// Which.
        filter: Arc<ConnectionFilter>,
        /// The slot to begin at.
        from: u32,
        /// How many to list at most.
        count_max: usize,
        /// Where to.
        reply: Reply<ConnectionSlice>,
    },
    /// Say everything about one connection.
    Show {
        /// Which.
        key: ConnKey,
        /// `None` if there is no such connection.
        reply: Reply<Option<ConnectionDetail>>,
    },
    /// Close one connection.
    CloseOne {
        /// Which.
        key: ConnKey,
        /// The code and the reason in its close frame.
        request: CloseRequest,
        /// Whether there is such an open connection.
        reply: Reply<bool>,
    },
    /// Close the open connections that fit.
    Close {
        /// Which.
        filter: Arc<ConnectionFilter>,
        /// The slot to begin at.
        from: u32,
        /// The code and the reason in their close frames.
        request: CloseRequest,
        /// How far it came.
        reply: Reply<ClosedSlice>,
    },
    /// Send a text message to one connection.
    SendOne {
        /// Which.
        key: ConnKey,
        /// The payload.
        text: Arc<str>,
        /// Whether there is such an open connection.
        reply: Reply<bool>,
    },
    /// Send a text message to the open connections that fit.
    Send {
        /// Which.
        filter: Arc<ConnectionFilter>,
        /// The slot to begin at.
        from: u32,
        /// The payload.
        text: Arc<str>,
        /// How far it came.
        reply: Reply<SentSlice>,
    },
    /// List the rooms and topics of which members are on this loop, in the order of their names within
    /// each route.
    Rooms {
        /// Where to.
        reply: Reply<RoomSlice>,
    },
    /// Publish a text to a room or topic, to its members on all loops. To be asked of one loop.
    Publish {
        /// The id of its route, or its first path.
        route: Arc<str>,
        /// Its name; empty for the only topic of a route.
        room: Arc<str>,
        /// The payload.
        text: Arc<str>,
        /// Whether there is such a route, and its service publishes there.
        reply: Reply<bool>,
    },
    /// Publish to the members of a channel, on all routes with events or channels. To be asked of every
    /// loop.
    Channel {
        /// What, and where.
        item: Arc<ChannelItem>,
        /// Whether this loop is the one that gives a message to all others.
        publishes: bool,
        /// How many members are on this loop.
        reply: Reply<usize>,
    },
    /// Ask the service with channels something.
    Channels {
        /// What.
        question: ChannelQuestion,
        /// The answer; [`ChannelAnswer::Failed`] where no route has channels.
        reply: Reply<ChannelAnswer>,
    },
    /// From now on tell what the connections that fit send, get and end by: of a loop at most 1,024 at
    /// once, and by at most 16 traces. Where there are more traces, or this one already, the reply is
    /// dropped.
    Trace {
        /// The number under which it is ended.
        id: TraceId,
        /// Which connections, those to come too.
        filter: Arc<ConnectionFilter>,
        /// Bytes of each payload that are told; 0 tells only their lengths.
        payload_bytes_max: usize,
        /// Where to.
        sink: TraceSink,
        /// Sent when all that are open and fit are followed.
        reply: Reply<()>,
    },
    /// End a trace. One that has ended is no error.
    Untrace {
        /// Which.
        id: TraceId,
    },
}
