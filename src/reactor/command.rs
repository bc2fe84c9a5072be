//! What a loop itself is told to do, and what it says of itself.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::drain::{DrainProgress, DrainTerms};
use super::reload::{LoopReload, NotReady, ReadyForReload};
use crate::conn::ConnSettings;
use crate::inspect::Query;
use crate::mail::{Class, Envelope, MailItem, Reply};

/// A command to a loop, whose poller takes listeners of type `L`. It is obeyed between two turns of its
/// connections.
#[derive(Debug)]
pub enum LoopCommand<L = TcpListener> {
    /// Tell everyone to go, and end when the last has gone, also of all other loops, or the time is over. A later one
    /// takes the place of an earlier one.
    Drain {
        /// How.
        terms: DrainTerms,
        /// Shared with the other loops, which get the same command.
        progress: Arc<DrainProgress>,
    },
    /// Say how the loop is doing.
    Inspect {
        /// Where to.
        reply: Reply<LoopState>,
    },
    /// Memory of the process is short: end connections that hold the most, at most `count`.
    Relieve {
        /// How many.
        count: usize,
    },
    /// Answer an operator, or do what one asks for.
    Query(Query),
    /// Give the sockets of the listeners once more, for another process.
    ShareListeners {
        /// Where to.
        reply: Reply<io::Result<SharedListeners>>,
    },
    /// From now on these rules hold, also for the connections that are open.
    SetSettings {
        /// The rules.
        settings: Arc<ConnSettings>,
        /// Told when they hold.
        reply: Reply<()>,
    },
    /// Get ready for other settings, by whatever may fail; nothing changes yet. [`LoopCommand::Reload`]
    /// or [`LoopCommand::Discard`] follows.
    Prepare {
        /// New listeners with their numbers, to be watched and not yet accepted from.
        listeners: Vec<(usize, L)>,
        /// Whether to say which route numbers are in use, which looks at every connection.
        counts_routes: bool,
        /// Told when it is ready.
        reply: Reply<Result<ReadyForReload, NotReady>>,
    },
    /// Drop the listeners with these numbers, which were prepared: nothing changes.
    Discard {
        /// The numbers.
        listeners: Vec<usize>,
    },
    /// From now on these settings hold.
    Reload {
        /// The settings.
        next: Arc<LoopReload>,
        /// Told when they hold.
        reply: Reply<()>,
    },
}

impl<L> MailItem for LoopCommand<L> {
    fn class(&self) -> Class {
        match self {
            Self::Drain { .. }
            | Self::Inspect { .. }
            | Self::Relieve { .. }
            | Self::SetSettings { .. }
            | Self::ShareListeners { .. }
            | Self::Prepare { .. }
            | Self::Discard { .. }
            | Self::Reload { .. } => Class::Terminal,
            Self::Query(query) => query.class(),
        }
    }

    fn bytes(&self) -> usize {
        let held = match self {
            // The settings of a reload are shared by all loops, and there is one reload at a time.
            Self::Drain { .. }
            | Self::Inspect { .. }
            | Self::Relieve { .. }
            | Self::SetSettings { .. }
            | Self::ShareListeners { .. }
            | Self::Prepare { .. }
            | Self::Discard { .. }
            | Self::Reload { .. } => 0,
            Self::Query(query) => query.held_bytes(),
        };
        size_of::<Self>() + held
    }
}

/// Sockets, each with the number of its listener.
pub type SharedListeners = Vec<(usize, TcpListener)>;

/// What a loop's mailboxes hold.
pub type LoopEnvelope<L = TcpListener> = Envelope<LoopCommand<L>>;

/// How a loop is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopState {
    /// Connections in its table, in any phase.
    pub connections: usize,
    /// Open connections: WebSocket and line clients.
    pub open: usize,
    /// Messages for other loops that wait for room in their mailboxes.
    pub outbox_items: usize,
    /// Bytes that those messages hold.
    pub outbox_bytes: usize,
    /// Whether it accepts no more because of a drain.
    pub is_draining: bool,
}
