//! How a connection ended: the message about it and the exit code.

use std::fmt;

use crate::visible::visible_line;

/// How a connection, or the attempt to open one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// No connection: no server answered, or it is not a WebSocket server.
    NotConnected { why: String },
    /// The server answered the handshake with another status than 101.
    Refused {
        /// The status code and its reason phrase.
        status: String,
        /// The first line of the body, in which servers give the reason.
        body_line: Option<String>,
    },
    /// The client closed it.
    ByUs {
        /// Whether the server answered the close frame, and so has received everything before it.
        is_answered: bool,
    },
    /// The server closed it.
    ByServer(ServerClose),
    /// The connection broke without a close frame.
    Lost { why: String },
    /// Standard output failed.
    CannotPrint { why: String },
}

/// The contents of the server's close frame (RFC 6455 §7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerClose {
    pub(super) code: Option<u16>,
    pub(super) reason: String,
}

impl ServerClose {
    /// Whether the code reports no error: 1000, 1001 or none, as the `close()` of browsers and Node
    /// sends.
    fn is_regular(&self) -> bool {
        matches!(self.code, None | Some(1000 | 1001))
    }
}

impl Ending {
    /// The same with `advice` for the reason that the server gave, if there is some.
    pub(super) fn advised(mut self, advice: impl FnOnce(&str) -> Option<&'static str>) -> Self {
        if let Self::Refused { body_line: Some(line), .. } = &mut self
            && let Some(advice) = advice(line)
        {
            line.push_str(&format!(" ({advice})"));
        }
        self
    }

    /// The exit code, as documented in `--help` and docs/client.md.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::ByUs { .. } => 0,
            Self::ByServer(close) if close.is_regular() => 0,
            Self::NotConnected { .. } | Self::Lost { .. } | Self::CannotPrint { .. } => 1,
            Self::Refused { .. } => 3,
            Self::ByServer(_) => 4,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected { why } => write!(formatter, "cannot connect: {why}"),
            Self::Refused { status, body_line: None } => {
                write!(formatter, "refused with {status}")
            }
            Self::Refused { status, body_line: Some(line) } => {
                write!(formatter, "refused with {status}: {}", visible_line(line))
            }
            Self::ByUs { is_answered: true } => formatter.write_str("closed with 1000"),
            Self::ByUs { is_answered: false } => {
                formatter.write_str("closed with 1000, which the server did not answer")
            }
            Self::ByServer(close) => write!(formatter, "closed by the server {close}"),
            Self::Lost { why } => write!(formatter, "connection lost: {why}"),
            Self::CannotPrint { why } => write!(formatter, "cannot print: {why}"),
        }
    }
}

impl fmt::Display for ServerClose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => formatter.write_str("without a code"),
            Some(code) if self.reason.is_empty() => write!(formatter, "with {code}"),
            Some(code) => write!(formatter, "with {code}: {}", visible_line(&self.reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_server(code: Option<u16>, reason: &str) -> Ending {
        Ending::ByServer(ServerClose { code, reason: reason.to_owned() })
    }

    #[test]
    fn every_ending_has_its_exit_code_and_its_message() {
        let why = || "a reason".to_owned();
        let refused =
            |body_line| Ending::Refused { status: "HTTP 404 Not Found".to_owned(), body_line };
        for (ending, exit_code, line) in [
            (Ending::ByUs { is_answered: true }, 0, "closed with 1000"),
            (
                Ending::ByUs { is_answered: false },
                0,
                "closed with 1000, which the server did not answer",
            ),
            (by_server(Some(1000), ""), 0, "closed by the server with 1000"),
            (by_server(Some(1001), "bye"), 0, "closed by the server with 1001: bye"),
            (by_server(None, ""), 0, "closed by the server without a code"),
            (Ending::NotConnected { why: why() }, 1, "cannot connect: a reason"),
            (Ending::Lost { why: why() }, 1, "connection lost: a reason"),
            (Ending::CannotPrint { why: why() }, 1, "cannot print: a reason"),
            (refused(None), 3, "refused with HTTP 404 Not Found"),
            (refused(Some(why())), 3, "refused with HTTP 404 Not Found: a reason"),
            (by_server(Some(1011), ""), 4, "closed by the server with 1011"),
            (by_server(Some(4001), "replaced"), 4, "closed by the server with 4001: replaced"),
            (
                by_server(Some(4003), "a\u{1b}\nb"),
                4,
                "closed by the server with 4003: a\\u{1b}\\nb",
            ),
        ] {
            assert_eq!((ending.exit_code(), ending.to_string().as_str()), (exit_code, line));
        }
    }
}
