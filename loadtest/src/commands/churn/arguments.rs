//! The command line of `loadtest churn`, and the load that it asks for.

use std::num::NonZeroUsize;

use clap::Args;

use crate::commands::options::{MessageArguments, Requirements, SessionArguments, TimeArguments};
use crate::target::PathArguments;
use crate::tls::Resumption;

/// Connects, upgrades, echoes one message and closes, over and over
#[derive(Args, Debug)]
pub(crate) struct ChurnArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    #[command(flatten)]
    pub(super) load: ChurnLoad,
}

/// The messages, the number of connections and the time.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChurnLoad {
    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) path: PathArguments,

    /// Connections under way at a time
    #[arg(long, value_name = "COUNT", default_value = "64")]
    pub(crate) concurrency: NonZeroUsize,

    /// Resume the TLS sessions of earlier connections, instead of a full handshake for each
    #[arg(long, requires = "tls")]
    pub(crate) resume: bool,

    #[command(flatten)]
    pub(crate) time: TimeArguments,
}

impl ChurnLoad {
    fn resumption(&self) -> Resumption {
        if self.resume { Resumption::On } else { Resumption::Off }
    }

    pub(crate) fn requirements(&self) -> Requirements<'_> {
        let connections = self.concurrency.get();
        Requirements {
            path: &self.path.path,
            connections,
            has_turnover: true,
            descriptors: None,
            resumption: self.resumption(),
        }
    }
}
