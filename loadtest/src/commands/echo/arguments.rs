//! The command line of `loadtest echo`, and the load that it asks for.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

use crate::commands::latency_chart::ChartArguments;
use crate::commands::options::{MessageArguments, Requirements, SessionArguments, TimeArguments};
use crate::target::PathArguments;

/// Keeps messages in flight on every connection and verifies the echoes
#[derive(Args, Debug)]
pub(crate) struct EchoArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) load: EchoLoad,

    #[command(flatten)]
    pub(super) chart: ChartArguments,
}

/// The messages, the connections and the time.
#[derive(Args, Clone, Debug)]
pub(crate) struct EchoLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) path: PathArguments,

    /// Connections to open
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(crate) connections: NonZeroUsize,

    /// Messages in flight on each connection
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(crate) in_flight: NonZeroU32,

    #[command(flatten)]
    pub(crate) time: TimeArguments,
}

impl EchoLoad {
    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.connections.get();
        Requirements { path: &self.path.path, connections, ..Requirements::default() }
    }
}
