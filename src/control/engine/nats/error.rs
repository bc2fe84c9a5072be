//! Why NATS is not reached, in one line that says what to do.

use std::path::PathBuf;

use thiserror::Error;

/// Why the adapter cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NatsError {
    /// There is no server to connect to.
    #[error("no server is configured")]
    NoServer,
    /// No connection is made.
    #[error("{server} is not reached: {reason}")]
    NotReached {
        /// Host and port.
        server: String,
        /// In words.
        reason: String,
    },
    /// The file with the user is not there, or is none.
    #[error("{path:?} cannot be used as a file of credentials: {reason}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// The server is too old to keep what namespaces want kept.
    #[error(
        "{server} runs NATS {version}, and namespaces with history need 2.11 or later: upgrade it, or set \
         history_size = 0"
    )]
    TooOld {
        /// Host and port.
        server: String,
        /// As it says.
        version: String,
    },
    /// The server keeps nothing.
    #[error(
        "{server} runs without JetStream, which namespaces with history need: start it with -js, or set \
         history_size = 0"
    )]
    WithoutJetStream {
        /// Host and port.
        server: String,
    },
    /// A stream is not as the configuration has it.
    #[error(
        "the stream {stream} was made otherwise: {differences}. Change it with \"nats stream edit {stream}\", \
         or remove it with \"nats stream rm {stream}\", which forgets the history, or change the configuration"
    )]
    Differs {
        /// Its name.
        stream: String,
        /// What is, and what should be.
        differences: String,
    },
    /// A stream cannot be made.
    #[error("the stream {stream} is neither there nor can it be made: {reason}")]
    NotMade {
        /// Its name.
        stream: String,
        /// As the server says.
        reason: String,
    },
    /// A connection is made, and not everything answers.
    #[error("not all that is needed answers: {reason}")]
    NotServed {
        /// In words.
        reason: String,
    },
    /// A stream does not answer, as when it has no leader.
    #[error("the stream {stream} does not answer: see \"nats stream info {stream}\"")]
    Silent {
        /// Its name.
        stream: String,
    },
}

/// Why what was reached is not any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct Lost(pub(super) String);

/// Why a question that may have to store a mark has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// What was reached is not any more.
    Lost(Lost),
    /// The server has no room. It serves all else.
    Full,
}

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl Lost {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
