//! Requests to other servers over HTTP/1.1: one server, a bounded number of connections at once, and each
//! step bounded as well.
//!
//! A [`Fetcher`] keeps connections to one URL. What is asked again is decided here and nowhere below: a
//! request that was given to a connection which turned out to be closed before any of it was written
//! goes out on another one, and whatever was written is never repeated.
//!
//! | file | what it is |
//! |---|---|
//! | `url` | where the server is |
//! | `connect` | a connection, with TLS where the URL asks for it |
//! | `connections` | the connections to one server, and the way of a request |
//! | `fetcher` | requests for one URL |
//! | `error` | why there is no reply |

mod connect;
mod connections;
mod error;
mod fetcher;
#[cfg(test)]
pub(super) mod scripted_server;
#[cfg(test)]
mod tests;
mod url;

pub(super) use super::trust::Trust;
pub(super) use connections::{Reply, ServerConnections};
pub(super) use error::FetchError;
pub(super) use fetcher::{AGENT, FetchSettings, Fetcher};
pub(super) use url::Server;
pub use url::{HttpUrl, HttpUrlError};
