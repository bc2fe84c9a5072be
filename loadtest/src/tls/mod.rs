//! TLS as a client: the options, one configuration for all connections of a run, and a session for
//! each connection. Bytes in, bytes out: no socket, no clock. And the certificate of servers that are
//! started here.

mod arguments;
mod certificate;
mod client;
mod error;
mod session;
mod summary;
mod tickets;
mod verifier;

pub(crate) use arguments::{TlsArguments, TlsVersion};
pub(crate) use certificate::ServerCertificate;
pub(crate) use client::{Resumption, TlsClient, TlsOptions};
pub(crate) use error::{TlsError, TlsSetupError};
pub(crate) use session::TlsSession;
pub(crate) use summary::{TlsHandshake, TlsSummary, TlsTally};
