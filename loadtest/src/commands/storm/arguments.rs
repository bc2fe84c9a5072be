//! The command line of `loadtest storm`.

use std::num::NonZeroUsize;

use clap::Args;

use crate::commands::options::SessionArguments;
use crate::target::PathArguments;

/// Reconnects all clients at once and reports how long it takes until all are served
#[derive(Args, Debug)]
pub(crate) struct StormArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) path: PathArguments,

    /// Connections that are dropped and reconnect
    #[arg(long, value_name = "COUNT")]
    pub(super) connections: NonZeroUsize,
}
