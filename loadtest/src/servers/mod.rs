//! The servers under test: the catalogue, their processes, and the ports that they listen on.

mod catalogue;
mod launch;
mod log;
mod ports;
pub(crate) mod process;

pub(crate) use catalogue::{
    DeflateSupport, Installation, InstallationArguments, SERVERS, ServerSpec, TIDEGATE, TLS_SERVERS,
};
pub(crate) use launch::{Launch, StatsEndpoint};
pub(crate) use ports::Ports;
