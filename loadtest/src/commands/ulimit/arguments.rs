//! The command line of `loadtest ulimit`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use crate::commands::options::{MessageArguments, SessionArguments};
use crate::output::units::parse_seconds;
use crate::target::PathArguments;

/// Starts the server under a low limit on open files and sends it too many clients
#[derive(Args, Debug)]
pub(crate) struct UlimitArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) message: MessageArguments,

    #[command(flatten)]
    pub(super) path: PathArguments,

    /// Open files that the server is allowed
    #[arg(long, value_name = "COUNT", default_value = "256")]
    pub(super) descriptors: NonZeroU32,

    /// Clients that connect
    #[arg(long, value_name = "COUNT", default_value = "400")]
    pub(super) clients: NonZeroUsize,

    /// How long the pressure lasts; less than --timeout, after which clients stop waiting
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse_seconds)]
    pub(super) hold: Duration,
}
