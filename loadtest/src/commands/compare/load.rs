//! The loads of a comparison, and how long each of them is measured.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::commands::churn::ChurnLoad;
use crate::commands::echo::EchoLoad;
use crate::commands::fanout::{Amount, FanoutLoad};
use crate::commands::load_result::LoadResult;
use crate::commands::options::{BroadcastPaths, MessageArguments, Requirements, TimeArguments};
use crate::commands::rate::RateLoad;
use crate::commands::session::Session;
use crate::commands::{churn, echo, fanout, rate};
use crate::error::CommandError;
use crate::message::PayloadKind;
use crate::output::table::grouped;
use crate::output::units::shown_bytes;
use crate::target::{ECHO_PATH, PathArguments};

/// The times of each measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
}

impl Timing {
    /// The time of a measurement with the start and the end of server and connections.
    pub(super) fn expected(self) -> Duration {
        self.seconds + self.warm_up + OVERHEAD
    }
}

/// The load of a case.
#[derive(Clone, Debug)]
pub(super) enum Load {
    Churn(ChurnLoad),
    Echo(EchoLoad),
    Fanout(FanoutLoad),
    Rate(RateLoad),
}

impl Load {
    pub(super) fn requirements(&self) -> Requirements<'_> {
        match self {
            Self::Churn(load) => load.requirements(),
            Self::Echo(load) => load.requirements(),
            Self::Fanout(load) => load.requirements(),
            Self::Rate(load) => load.requirements(),
        }
    }

    /// Puts the load on the session's server.
    pub(super) fn measure(&self, session: &mut Session) -> Result<LoadResult, CommandError> {
        Ok(match self {
            Self::Churn(load) => churn::measure(load, session)?.result(),
            Self::Echo(load) => echo::measure(load, session)?.result(),
            Self::Fanout(load) => fanout::measure(load, session)?.result(),
            Self::Rate(load) => rate::measure(load, session)?.result(),
        })
    }
}

/// The heading of a comparison under such a closed loop.
pub(super) fn echo_heading(connections: usize, in_flight: u32, bytes: usize) -> String {
    let (connections, bytes) = (grouped(connections as u64), shown_bytes(bytes as f64));
    format!("echo, {connections} connections × {in_flight} in flight × {bytes}")
}

/// A closed loop of `in_flight` messages on each connection.
pub(super) fn echo_load(
    connections: usize,
    in_flight: u32,
    message: MessageArguments,
    timing: Timing,
) -> EchoLoad {
    EchoLoad {
        message,
        path: echo_path(),
        connections: count(connections),
        in_flight: NonZeroU32::new(in_flight).unwrap_or(NonZeroU32::MIN),
        time: time(timing),
    }
}

/// Connections that echo one message and close, `concurrency` at a time.
pub(super) fn churn_load(
    concurrency: usize,
    is_resumed: bool,
    message: MessageArguments,
    timing: Timing,
) -> ChurnLoad {
    ChurnLoad {
        message,
        path: echo_path(),
        concurrency: count(concurrency),
        resume: is_resumed,
        time: time(timing),
    }
}

/// Publications of one publisher in bursts.
pub(super) fn fanout_load(
    subscribers: usize,
    burst: usize,
    message: MessageArguments,
    timing: Timing,
) -> FanoutLoad {
    let path = || "/broadcast".to_owned();
    FanoutLoad {
        message,
        paths: BroadcastPaths { publish_path: path(), subscribe_path: path() },
        subscribers: count(subscribers),
        publishers: NonZeroUsize::MIN,
        members_publish: false,
        burst: count(burst),
        publications: Amount::Time(timing.seconds),
        warm_up: Amount::Time(timing.warm_up),
    }
}

/// Binary messages of `bytes` bytes each.
pub(super) fn binary(bytes: usize) -> MessageArguments {
    MessageArguments::new(PayloadKind::Binary, bytes)
}

/// An open loop of `per_second` messages on all connections together.
pub(super) fn rate_load(
    connections: usize,
    per_second: NonZeroU32,
    message: MessageArguments,
    timing: Timing,
) -> RateLoad {
    RateLoad {
        message,
        path: echo_path(),
        rate: per_second,
        connections: count(connections),
        time: time(timing),
    }
}

fn echo_path() -> PathArguments {
    PathArguments { path: ECHO_PATH.to_owned() }
}

fn time(timing: Timing) -> TimeArguments {
    TimeArguments { seconds: timing.seconds, warm_up_seconds: timing.warm_up }
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

/// The average time of a measurement for the start and the end of server and connections.
const OVERHEAD: Duration = Duration::from_millis(500);
