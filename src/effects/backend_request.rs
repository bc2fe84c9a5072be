//! A request for a backend, which a relay makes of a client's.

use std::fmt;
use std::sync::Arc;

use super::HttpOptions;
use crate::http::{Deflate, PlainRequest};
use crate::upstream::Upstream;

/// A request that a server of an upstream is to answer in place of the gateway.
#[derive(Clone)]
pub struct BackendRequest {
    /// The servers that may answer it.
    pub upstream: Arc<Upstream>,
    /// Its head, as it is sent.
    pub head: Vec<u8>,
    /// What the `Sec-WebSocket-Accept` of the answer must be.
    pub accept: [u8; 28],
    /// Tells the client apart where the balance goes by that.
    pub balance_key: u64,
    /// What is passed on once the WebSocket is open.
    pub mode: RelayMode,
    /// How a request that upgrades nothing is passed on; `None` for one that opens a WebSocket.
    pub plain: Option<PlainTerms>,
    /// The compression that the gateway has agreed on with the client; only where frames are passed on.
    pub deflate: Option<Deflate>,
}

/// How a request that upgrades nothing is passed on, and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainTerms {
    /// What of the request decides that.
    pub request: PlainRequest,
    /// The limits of its route.
    pub options: HttpOptions,
}

/// What a relay passes on once the WebSocket is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayMode {
    /// Bytes, whatever they mean.
    #[default]
    Bytes,
    /// Frames that are read, and written anew.
    Frames,
}

impl fmt::Debug for BackendRequest {
    /// Omits the head: tokens and cookies in it must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("BackendRequest");
        shown.field("upstream", &self.upstream.name()).finish_non_exhaustive()
    }
}
