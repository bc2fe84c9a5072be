//! The command line of `loadtest channels`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::commands::options::{Requirements, SessionArguments};
use crate::output::units::parse_seconds;
use crate::target::parse_path;

/// Publishes in a channel of the Centrifugo client protocol, and verifies each delivery by its offset
#[derive(Args, Debug)]
pub(crate) struct ChannelsArguments {
    #[command(flatten)]
    pub(super) session: SessionArguments,

    /// Path of the upgrade request
    #[arg(long, default_value = "/connection/websocket", value_parser = parse_path)]
    pub(super) path: String,

    /// The channel, whose clients may publish and have a history
    #[arg(long, default_value = "load")]
    pub(super) channel: String,

    /// What the connections speak
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub(super) format: Format,

    /// The token of each connection (JWT); without one they are anonymous
    #[arg(long, value_name = "TOKEN")]
    pub(super) token: Option<String>,

    /// Connections that are subscribed
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(super) subscribers: NonZeroUsize,

    /// Characters of each publication
    #[arg(long, value_name = "COUNT", default_value = "128", value_parser = parse_characters)]
    pub(super) bytes: usize,

    /// Publications that are sent at once
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub(super) burst: NonZeroUsize,

    /// Publications that are measured
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    pub(super) publications: usize,

    /// Publications before those
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub(super) warm_up: usize,

    /// Before anything is published, let the subscribers be idle for so long, and read the memory that each takes
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse_seconds)]
    pub(super) idle: Duration,

    /// Afterwards drop all subscribers, publish this number, and have all come back at once and recover
    #[arg(long, value_name = "COUNT", default_value = "0")]
    pub(super) missed: usize,

    /// Ask for the presence of the channel so often
    #[arg(long, value_name = "COUNT", default_value = "0")]
    pub(super) presence: usize,
}

/// What the protocol is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Text frames with JSON
    Json,
    /// Binary frames with Protobuf
    Protobuf,
}

impl ChannelsArguments {
    pub(super) fn requirements(&self) -> Requirements<'_> {
        Requirements {
            path: &self.path,
            // One publishes.
            connections: self.subscribers.get().saturating_add(1),
            has_turnover: self.missed > 0,
            ..Requirements::default()
        }
    }
}

fn parse_characters(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "is not a number".to_owned())?;
    if count < NUMBER_DIGITS {
        return Err(format!(
            "must be at least {NUMBER_DIGITS}, the digits of a publication's number"
        ));
    }
    Ok(count)
}

/// The digits that a publication begins with.
pub(super) const NUMBER_DIGITS: usize = 10;
