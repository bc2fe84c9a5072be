//! The servers under test: the catalogue, their processes, and the ports that they listen on.

mod catalogue;
mod log;
mod ports;
pub(crate) mod process;

pub(crate) use catalogue::{
    DeflateSupport, Installation, InstallationArguments, Launch, SERVERS, ServerSpec,
    StatsEndpoint, TIDEGATE,
};
pub(crate) use ports::Ports;
