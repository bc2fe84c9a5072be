//! Servers that are started to be measured: which there are, and where they may listen.

mod catalogue;
mod ports;

pub(crate) use catalogue::{
    DeflateSupport, Installation, InstallationArguments, Launch, SERVERS, ServerSpec,
    StatsEndpoint, TIDEGATE,
};
pub(crate) use ports::Ports;
