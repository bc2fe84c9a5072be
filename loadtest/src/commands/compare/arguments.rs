//! The command line of `loadtest compare`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::scenarios::SCENARIOS;
use super::servers_under_test::{About, ServerChoice};
use crate::output::units::parse_seconds;
use crate::servers::InstallationArguments;

/// Measures tidegate and other servers in turns, and reports the ratios
///
/// Every measurement is a server's own start, with the server on one core and the load generator
/// on another. The whole of it takes half an hour; --scenario, --server, --rounds and --seconds
/// make it less. The raw figures are kept, and --render makes one report of several files.
#[derive(Args, Debug)]
pub(crate) struct CompareArguments {
    /// Measure only these
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = scenario_names())]
    pub(super) scenario: Vec<String>,

    /// Measure only these servers beside tidegate; or a custom one, which the shell command starts,
    /// with {port} or $PORT in it for the port on 127.0.0.1, and {deflate} where it takes
    /// --deflate: without that it is left out where messages are compressed
    #[arg(long = "server", value_name = "NAME[=COMMAND]")]
    pub(super) servers: Vec<ServerChoice>,

    /// Measure all servers with TLS 1.3, X25519 and AES-128-GCM, with a certificate on P-256 that is
    /// made for the run. A custom server takes part if its command has {certificate} and {key}, for
    /// the PEM files. Adds the scenario of resumed handshakes
    #[arg(long)]
    pub(super) tls: bool,

    /// What the report says of a custom server: where it comes from, how it was built
    #[arg(long, value_name = "NAME=TEXT")]
    pub(super) about: Vec<About>,

    /// How often each server takes its turn
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub(super) rounds: NonZeroUsize,

    /// How long to measure each time
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub(super) seconds: Duration,

    /// How long to put on the load before that
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    pub(super) warm_up: Duration,

    /// The core that the servers run on
    #[arg(long, value_name = "CORE", default_value = "0")]
    pub(super) pin_server: usize,

    /// The core that the load generator runs on
    #[arg(long, value_name = "CORE", default_value = "1")]
    pub(super) pin: usize,

    /// How long a server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(super) timeout: Duration,

    /// Seed of the order, and of accept keys, mask keys and payloads
    #[arg(long, default_value = "1")]
    pub(super) seed: u64,

    #[command(flatten)]
    pub(super) installation: InstallationArguments,

    /// Keep the raw figures in this file instead of target/compare.json
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Measure nothing: report the raw figures of these files, of which later ones win
    #[arg(long, value_name = "FILES", value_delimiter = ',', conflicts_with_all = ["scenario", "servers"])]
    pub(super) render: Vec<PathBuf>,

    /// Write the report to the project's docs as well
    #[arg(long)]
    pub(super) write_docs: bool,
}

fn scenario_names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name))
}
