//! The command line of `loadtest rate`, and the load that it asks for.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

use crate::commands::latency_chart::ChartArguments;
use crate::commands::options::{MessageArguments, Requirements, SessionArguments, TimeArguments};
use crate::target::PathArguments;

/// Sends messages at a given rate, whatever the server does, and verifies the echoes
#[derive(Args, Debug)]
pub(crate) struct RateArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) load: RateLoad,

    #[command(flatten)]
    pub(super) chart: ChartArguments,
}

/// The messages, their rate, the connections and the time.
#[derive(Args, Clone, Debug)]
pub(crate) struct RateLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) path: PathArguments,

    /// Messages to send per second, on all connections together
    #[arg(long, value_name = "MESSAGES_PER_SECOND")]
    pub(crate) rate: NonZeroU32,

    /// Connections to send them on, in turn
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(crate) connections: NonZeroUsize,

    #[command(flatten)]
    pub(crate) time: TimeArguments,
}

impl RateLoad {
    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.connections.get();
        Requirements { path: &self.path.path, connections, ..Requirements::default() }
    }
}
