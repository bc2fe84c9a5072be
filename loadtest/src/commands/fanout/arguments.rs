//! The command line of `loadtest fanout`, and the load that it asks for.

use std::num::NonZeroUsize;

use clap::Args;

use super::amount::Amount;
use crate::commands::latency_chart::ChartArguments;
use crate::commands::options::{BroadcastPaths, MessageArguments, Requirements, SessionArguments};

/// Publishes to many subscribers and verifies that each receives everything once and in order
#[derive(Args, Debug)]
pub(crate) struct FanoutArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) load: FanoutLoad,

    #[command(flatten)]
    pub(super) chart: ChartArguments,
}

/// The publications, and the connections that send and receive them.
#[derive(Args, Clone, Debug)]
pub(crate) struct FanoutLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) paths: BroadcastPaths,

    /// Connections that receive
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(crate) subscribers: NonZeroUsize,

    /// Connections that send
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(crate) publishers: NonZeroUsize,

    /// Have the first subscribers publish, where they subscribe, in place of connections of their own
    #[arg(long)]
    pub(crate) members_publish: bool,

    /// Publications that each publisher sends at once
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(crate) burst: NonZeroUsize,

    /// Publications of each publisher, or how long to publish, as `2s`
    #[arg(long, value_name = "AMOUNT", default_value = "1000")]
    pub(crate) publications: Amount,

    /// The same, before those that are measured
    #[arg(long, value_name = "AMOUNT", default_value = "10")]
    pub(crate) warm_up: Amount,
}

impl FanoutLoad {
    /// The publishers that are no subscribers.
    pub(super) fn own_publishers(&self) -> usize {
        if self.members_publish { 0 } else { self.publishers.get() }
    }

    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.subscribers.get().saturating_add(self.own_publishers());
        Requirements { path: &self.paths.subscribe_path, connections, ..Requirements::default() }
    }
}
