//! The command line of `loadtest slow`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use crate::commands::options::{BroadcastPaths, MessageArguments, SessionArguments};
use crate::output::units::parse_seconds;
use crate::target::parse_path;

/// Lets some readers stop reading and reports the server's memory and the others' latency
#[derive(Args, Debug)]
pub(crate) struct SlowArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) message: MessageArguments,

    /// Path of the echo
    #[arg(long, default_value = "/echo", value_parser = parse_path, conflicts_with = "broadcast")]
    pub(super) path: String,

    /// Stop reading from a broadcast instead of an echo
    #[arg(long)]
    pub(super) broadcast: bool,

    #[command(flatten)]
    pub(super) paths: BroadcastPaths,

    /// Publications per second, with --broadcast
    #[arg(long, value_name = "PUBLICATIONS_PER_SECOND", default_value = "100")]
    pub(super) rate: NonZeroU32,

    /// Connections that stop reading
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub(super) slow: NonZeroUsize,

    /// Receive buffer of the connections that stop reading. A larger one, such as the kernel's
    /// own choice, hides for longer that they do not read
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    pub(super) receive_buffer: NonZeroUsize,

    /// Connections that go on reading
    #[arg(long, value_name = "COUNT", default_value = "50")]
    pub(super) connections: NonZeroUsize,

    /// How long to measure while all connections read
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse_seconds)]
    pub(super) before_seconds: Duration,

    /// How long to measure while some do not
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(super) during_seconds: Duration,
}
