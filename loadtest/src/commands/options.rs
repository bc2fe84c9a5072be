//! The options that the traffic commands share.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use crate::error::CommandError;
use crate::message::{MESSAGE_ID_BYTES, PayloadKind};
use crate::output::Output;
use crate::output::note;
use crate::output::units::parse_seconds;
use crate::servers::process::ServerArguments;
use crate::target::{AddressArguments, Target, parse_path};
use crate::tls::Resumption;
use crate::websocket::PAYLOAD_BYTES_MAX;

/// The options of every traffic command.
#[derive(Args, Clone, Debug)]
pub(crate) struct SessionArguments {
    #[command(flatten)]
    pub(crate) address: AddressArguments,

    #[command(flatten)]
    pub(crate) server: ServerArguments,

    /// Run the load generator on this core alone
    #[arg(long, value_name = "CORE")]
    pub(super) pin: Option<usize>,

    /// How long the server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,

    /// Seed of the accept keys, mask keys and payloads
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,

    /// Write the report as one JSON document
    #[arg(long)]
    json: bool,
}

impl SessionArguments {
    pub(super) fn session_options(&self) -> SessionOptions {
        SessionOptions { output: Output::new(self.json), answer_max: self.timeout, seed: self.seed }
    }
}

/// What a session must provide for its command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requirements<'a> {
    pub(crate) path: &'a str,
    /// The most connections that are open at a time.
    pub(crate) connections: usize,
    /// Connections come and go, and the port of each stays in TIME_WAIT after it.
    pub(crate) has_turnover: bool,
    /// The limit on open files that the server is started under.
    pub(crate) descriptors: Option<NonZeroU32>,
    pub(crate) resumption: Resumption,
}

/// The options of a session that do not depend on its command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionOptions {
    pub(crate) output: Output,
    /// How long the server may take for each answer.
    pub(crate) answer_max: Duration,
    pub(crate) seed: u64,
}

/// The target of a command. Says aloud that its certificate is not verified, if it is not.
pub(super) fn resolve(
    address: &AddressArguments,
    path: &str,
    resumption: Resumption,
) -> Result<Target, CommandError> {
    let target = address
        .resolve(path, resumption)
        .map_err(|error| CommandError::Usage(error.to_string()))?;
    if target.tls.as_ref().is_some_and(|client| !client.is_verified()) {
        note("--insecure: the server's certificate is NOT verified");
    }
    Ok(target)
}

/// The options of the commands that measure for a while.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TimeArguments {
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,

    /// How long to do the same before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub(crate) warm_up_seconds: Duration,
}

/// The options of the commands that send messages.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct MessageArguments {
    /// Payload of each message
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = parse_payload_bytes)]
    pub(crate) bytes: usize,

    /// Send binary messages, as is done anyway
    #[arg(long, conflicts_with_all = ["text", "chinese", "prices"])]
    binary: bool,

    /// Send text messages of ASCII
    #[arg(long, conflicts_with_all = ["chinese", "prices"])]
    text: bool,

    /// Send text messages of JSON like that of a price feed, which compresses well
    #[arg(long, conflicts_with = "chinese")]
    prices: bool,

    /// Send text messages of characters that take three bytes each
    #[arg(long)]
    chinese: bool,
}

impl MessageArguments {
    /// Messages of a kind and a length in bytes.
    pub(crate) fn new(payload_kind: PayloadKind, bytes: usize) -> Self {
        let is = |wanted| payload_kind == wanted;
        Self {
            bytes,
            binary: is(PayloadKind::Binary),
            text: is(PayloadKind::Text),
            prices: is(PayloadKind::JsonQuotes),
            chinese: is(PayloadKind::Chinese),
        }
    }

    pub(crate) fn payload_kind(self) -> PayloadKind {
        match self {
            Self { chinese: true, .. } => PayloadKind::Chinese,
            Self { prices: true, .. } => PayloadKind::JsonQuotes,
            Self { text: true, .. } => PayloadKind::Text,
            Self { .. } => PayloadKind::Binary,
        }
    }
}

/// The paths of publishers and subscribers.
#[derive(Args, Clone, Debug)]
pub(crate) struct BroadcastPaths {
    /// Path that publishers connect to
    #[arg(long, default_value = "/broadcast", value_parser = parse_path)]
    pub(crate) publish_path: String,

    /// Path that subscribers connect to
    #[arg(long, default_value = "/broadcast", value_parser = parse_path)]
    pub(crate) subscribe_path: String,
}

/// An error unless a publication has room for a message id, by which subscribers recognise it.
pub(crate) fn require_message_id(payload_bytes: usize) -> Result<(), CommandError> {
    if payload_bytes < MESSAGE_ID_BYTES {
        return Err(CommandError::Usage(format!(
            "--bytes {payload_bytes}: a publication needs {MESSAGE_ID_BYTES} for its number"
        )));
    }
    Ok(())
}

fn parse_payload_bytes(bytes: &str) -> Result<usize, String> {
    let bytes: usize = bytes.parse().map_err(|_| "must be a number of bytes".to_owned())?;
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(format!("must be at most {PAYLOAD_BYTES_MAX}"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_options_keep_their_payload_kind() {
        for payload_kind in
            [PayloadKind::Binary, PayloadKind::Text, PayloadKind::JsonQuotes, PayloadKind::Chinese]
        {
            assert_eq!(MessageArguments::new(payload_kind, 1).payload_kind(), payload_kind);
        }
    }
}
