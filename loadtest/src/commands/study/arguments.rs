//! The command line of `loadtest study`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::output::units::parse_seconds;
use crate::servers::{InstallationArguments, SERVERS};
use crate::tls::TlsVersion;

/// Measures what an idle connection costs in tidegate and in other servers, and writes a report
///
/// Without --sweep or --scale, every server is measured with the same number of connections. Each
/// run replaces its part of the report and keeps the others.
#[derive(Args, Debug)]
pub(crate) struct StudyArguments {
    /// Connections to hold
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    pub(super) connections: NonZeroUsize,

    /// Measure only these servers
    #[arg(long, value_delimiter = ',', value_parser = row_names())]
    pub(super) rows: Vec<String>,

    /// Measure tidegate with more and more connections
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', conflicts_with = "rows")]
    pub(super) sweep: Vec<NonZeroUsize>,

    /// Measure tidegate with this many connections, in as many processes as they take
    #[arg(long, value_name = "COUNT", conflicts_with = "rows")]
    pub(super) scale: Option<NonZeroUsize>,

    /// Measure the servers that speak TLS, with a certificate on P-256 that is made for the run, X25519
    /// and AES-128-GCM
    #[arg(long, conflicts_with_all = ["sweep", "scale", "render"])]
    pub(super) tls: bool,

    /// With this version of it
    #[arg(long, value_name = "VERSION", value_enum, default_value = "1.3", requires = "tls")]
    pub(super) tls_version: TlsVersion,

    /// Measure nothing: write the report again from the raw figures
    #[arg(long, conflicts_with_all = ["rows", "sweep", "scale"])]
    pub(super) render: bool,

    /// How long to hold the connections before they are measured
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(super) hold: Duration,

    /// Memory counts as settled when it has not changed for this long
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(super) quiet: Duration,

    /// Before each server, wait at most this long for the kernel to forget the connections of the
    /// one before (TIME_WAIT)
    #[arg(long, value_name = "SECONDS", default_value = "65", value_parser = parse_seconds)]
    pub(super) forget: Duration,

    /// Answers awaited at a time
    #[arg(long, value_name = "COUNT", default_value = "256")]
    pub(super) in_flight: NonZeroUsize,

    /// How long a server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = parse_seconds)]
    pub(super) timeout: Duration,

    /// Seed of the accept keys and mask keys
    #[arg(long, default_value = "1")]
    pub(super) seed: u64,

    /// Write the report to this directory instead of target/study
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) out: Option<PathBuf>,

    /// Write the report to the project's docs
    #[arg(long, conflicts_with = "out")]
    pub(super) write_docs: bool,

    #[command(flatten)]
    pub(super) installation: InstallationArguments,

    /// Print the raw figures as one JSON document instead of the report
    #[arg(long)]
    pub(super) json: bool,
}

fn row_names() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVERS.iter().map(|row| row.name))
}
