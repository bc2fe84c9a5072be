//! How a backend is asked about connections of channels.

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use crate::centrifugo::{ProxyKind, ProxyReply};
use crate::upstream::Upstream;

/// How a backend is asked.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// The name of the `[[channels.proxy]]`, for the log.
    pub name: Arc<str>,
    /// The servers that may be asked.
    pub upstream: Arc<Upstream>,
    /// The path of the request; a `*` at its end stands for the word for what is asked.
    pub path: String,
    /// The `Host` of the request.
    pub host: HeaderValue,
    /// Names of headers of the client's request that are passed on, in lower case.
    pub headers: Vec<String>,
    /// Names of headers that are passed on from the client's first command, in lower case.
    pub emulated_headers: Vec<String>,
    /// Headers of each request.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time of a question in milliseconds, all waiting included.
    pub timeout_ms: u64,
    /// Requests at once; further ones wait.
    pub requests_max: usize,
    /// The most questions that may wait for an answer.
    pub waiting_max: usize,
    /// The longest body of a reply, in bytes.
    pub reply_bytes_max: usize,
    /// Failures in a row after which the backend is left alone for a while.
    pub failures_max: u32,
    /// What replies with these statuses say.
    pub statuses: Vec<(u16, ProxyReply)>,
}

impl ProxySettings {
    /// The target of the request about a question of this kind.
    pub(super) fn target(&self, kind: ProxyKind) -> String {
        match self.path.strip_suffix('*') {
            Some(prefix) => format!("{prefix}{}", word(kind)),
            None => self.path.clone(),
        }
    }

    /// What a reply with this status says, if that is configured.
    pub(super) fn reply_of(&self, status: u16) -> Option<ProxyReply> {
        let own = self.statuses.iter().find(|(own, _)| *own == status);
        own.map(|(_, reply)| reply.clone())
    }
}

/// The word for a kind of question, in paths.
fn word(kind: ProxyKind) -> &'static str {
    match kind {
        ProxyKind::Connect => "connect",
        ProxyKind::Refresh => "refresh",
        ProxyKind::SubRefresh => "sub_refresh",
        ProxyKind::Subscribe => "subscribe",
        ProxyKind::Publish => "publish",
        ProxyKind::Rpc => "rpc",
    }
}
