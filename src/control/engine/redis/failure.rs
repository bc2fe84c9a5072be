//! Why the broker is not reached, or not as a whole.

use std::io;

use redis::{RedisError, ServerError};

use super::reply::Malformed;

/// Why a connection, or all of them, are given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A socket fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A server closes the connection.
    #[error("the server has closed the connection")]
    Closed,
    /// Not Redis, or not in its protocol.
    #[error("{0}")]
    Protocol(#[from] RedisError),
    /// Something else than an answer.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A server says that it cannot serve.
    #[error("the server answers: {0}")]
    Server(ServerError),
    /// A request has no answer in its time.
    #[error("a request was not answered in time")]
    Unanswered,
    /// Connecting takes too long.
    #[error("connecting took too long")]
    Late,
    /// What is published by one connection is not heard on the other.
    #[error("what is published is not heard")]
    Unheard,
    /// The server copies another one.
    #[error("the server is not a master")]
    NotMaster,
    /// The data are of another history than before.
    #[error("the server has another replication id than before")]
    OtherHistory,
    /// A subscription was ended by the server, as its slot has moved.
    #[error("the server has ended a subscription")]
    Unsubscribed,
    /// There is no server to connect to.
    #[error("{0}")]
    NoServer(String),
}

/// Whether an error says that the server does not serve any more as it did, beyond this one request.
pub(super) fn is_fatal(error: &ServerError) -> bool {
    const FATAL: [&str; 8] = [
        "READONLY",
        "MOVED",
        "CLUSTERDOWN",
        "MASTERDOWN",
        "LOADING",
        "NOSCRIPT",
        "NOAUTH",
        "WRONGPASS",
    ];
    // Servers before 7 have the error of a script's command in the text of another.
    let is_readonly = error.details().is_some_and(|text| text.contains("READONLY"));
    FATAL.contains(&error.code()) || is_readonly
}
