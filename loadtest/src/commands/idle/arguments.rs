//! The command line of `loadtest idle`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::plan::{Check, Plan};
use crate::output::units::parse_seconds;
use crate::servers::process::ServerArguments;
use crate::target::TargetArguments;

/// Holds idle connections and reports what each of them costs the server
#[derive(Args, Debug)]
pub(crate) struct IdleArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,

    #[command(flatten)]
    pub(super) server: ServerArguments,

    /// Connections to hold
    #[arg(long, value_name = "COUNT")]
    pub(super) connections: NonZeroUsize,

    /// Addresses of loopback that they come from, one after the other; by default as few as have ports
    /// enough
    #[arg(long, value_name = "COUNT")]
    pub(super) addresses: Option<NonZeroUsize>,

    /// How long to hold them
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(super) hold: Duration,

    /// How often to open, hold and close them all
    #[arg(long, value_name = "COUNT", default_value = "2")]
    pub(super) cycles: NonZeroUsize,

    /// Connections that come, echo one message and leave, one after the other, before the
    /// baseline is taken: enough for each loop of the server to see one. 0 if the path does not
    /// echo
    #[arg(long, value_name = "COUNT", default_value = "16")]
    pub(super) warm_up: usize,

    /// Open at most this many connections per second
    #[arg(long, value_name = "CONNECTS_PER_SECOND")]
    pub(super) rate: Option<NonZeroU32>,

    /// Answers awaited at a time. The server's CPU time per connection falls with it: what
    /// arrives together is accepted together. Compare runs of the same width only. A stage
    /// ends early when as many connections have failed
    #[arg(long, value_name = "COUNT", default_value = "256")]
    pub(super) in_flight: NonZeroUsize,

    /// How long the server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(super) timeout: Duration,

    /// Memory counts as settled when it has not changed for this long
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(super) quiet: Duration,

    /// Seed of the accept keys, mask keys and ping payloads
    #[arg(long, default_value = "1")]
    pub(super) seed: u64,

    /// Write the report as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

impl IdleArguments {
    pub(super) fn plan(&self) -> Plan {
        Plan {
            connections: self.connections,
            cycles: self.cycles,
            hold: self.hold,
            warm_up: self.warm_up,
            connects_per_second: self.rate,
            in_flight: self.in_flight,
            quiet: self.quiet,
            check: Check::Ping,
            seed: self.seed,
        }
    }
}
