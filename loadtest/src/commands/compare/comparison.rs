//! Who is compared with whom, under which load.

use std::time::Duration;

use super::servers_under_test::ServerUnderTest;
use crate::commands::CommandError;
use crate::commands::churn::{self, ChurnLoad};
use crate::commands::echo::{self, EchoLoad};
use crate::commands::fanout::{self, FanoutLoad};
use crate::commands::figures::Figures;
use crate::commands::rate::{self, RateLoad};
use crate::commands::session::{Requirements, Session};

/// How long each measurement takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
}

impl Timing {
    /// With the start and the end of the server, and of the connections.
    pub(super) fn expected(self) -> Duration {
        self.seconds + self.warm_up + AROUND
    }
}

/// Some cases that take turns. The first is the one that the others are compared with.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) scenario: &'static str,
    /// Contests of two that belong into one table have the same heading.
    pub(super) heading: String,
    /// What this one is called in such a table.
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) is_pair: bool,
    pub(super) cases: Vec<Case>,
}

/// A server under a load.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) server: ServerUnderTest,
    pub(super) load: Load,
    /// Compression is offered, and has to be agreed.
    pub(super) is_deflated: bool,
}

/// A load that a server can be put under.
#[derive(Clone, Debug)]
pub(super) enum Load {
    Churn(ChurnLoad),
    Echo(EchoLoad),
    Fanout(FanoutLoad),
    Rate(RateLoad),
}

/// What a load showed.
#[derive(Clone, Debug)]
pub(super) struct LoadResult {
    pub(super) figures: Figures,
    /// How the connections were spread over the server's loops, if that was looked at.
    pub(super) connections_per_epoll: Vec<usize>,
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

    /// Puts it on the session's server.
    pub(super) fn measure(&self, session: &mut Session) -> Result<LoadResult, CommandError> {
        let (figures, connections_per_epoll) = match self {
            Self::Churn(load) => (churn::measure(load, session)?.figures(), Vec::new()),
            Self::Echo(load) => {
                let report = echo::measure(load, session)?;
                (report.figures(), report.connections_per_epoll().to_vec())
            }
            Self::Fanout(load) => (fanout::measure(load, session)?.figures(), Vec::new()),
            Self::Rate(load) => (rate::measure(load, session)?.figures(), Vec::new()),
        };
        Ok(LoadResult { figures, connections_per_epoll })
    }
}

/// What a measurement takes beside itself, on the average.
const AROUND: Duration = Duration::from_millis(500);
