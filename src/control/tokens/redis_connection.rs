//! The one connection to Redis, which is made, checked, and made again when it is lost.
//!
//! A task of its own connects, so that a thousand look-ups cause one attempt, and so that Redis is
//! found again while no look-up is under way. Look-ups wait while an attempt is under way, and fail
//! at once in the pause between attempts.
//!
//! The connection manager of the redis crate would keep a connection on which no answer arrives for
//! as long as the kernel keeps it.

use std::fmt::Display;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::commands;
use super::outages::OutageLog;
use super::settings::RedisSettings;
use crate::control::tasks::Tasks;

/// The connection as look-ups see it.
#[derive(Debug)]
pub(super) struct RedisConnection {
    state: watch::Receiver<State>,
    lost: watch::Sender<LostConnection>,
}

/// A connection that passed [`commands::check`] when it was made.
#[derive(Clone, Debug)]
pub(super) struct CheckedConnection {
    /// The number of the attempt that made it, from 1.
    pub(super) number: u64,
    pub(super) redis: MultiplexedConnection,
}

/// Redis cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unavailable;

#[derive(Clone, Debug)]
enum State {
    Connecting,
    Connected(CheckedConnection),
    Unavailable,
}

/// The latest connection that was lost, and why, unless Redis just closed it.
#[derive(Debug, Default)]
struct LostConnection {
    number: u64,
    why: Option<String>,
}

impl RedisConnection {
    /// Starts the task that keeps the connection.
    pub(super) fn start(tasks: &Tasks, settings: &RedisSettings) -> Self {
        let (state_sender, state) = watch::channel(State::Connecting);
        let (lost, lost_receiver) = watch::channel(LostConnection::default());
        let connector = Connector {
            settings: settings.clone(),
            state: state_sender,
            lost: lost_receiver,
            outages: OutageLog::new(settings.url.clone()),
        };
        tasks.spawn_vital(connector.run());
        Self { state, lost }
    }

    /// Waits for a connection that is newer than number `after`.
    pub(super) async fn connection(&self, after: u64) -> Result<CheckedConnection, Unavailable> {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Connected(connection) => connection.number > after,
            State::Unavailable => true,
        });
        match found.await.as_deref() {
            Ok(State::Connected(connection)) => Ok(connection.clone()),
            Ok(State::Connecting | State::Unavailable) | Err(_) => Err(Unavailable),
        }
    }

    /// Reports that Redis closed a connection, as it may do with an idle one.
    pub(super) fn closed(&self, number: u64) {
        self.lose(number, None);
    }

    /// Reports that a command failed on a connection, for this reason.
    pub(super) fn failed(&self, number: u64, why: &dyn Display) {
        self.lose(number, Some(why.to_string()));
    }

    fn lose(&self, number: u64, why: Option<String>) {
        self.lost.send_if_modified(|lost| {
            let is_newer = lost.number < number;
            if is_newer {
                *lost = LostConnection { number, why };
            }
            is_newer
        });
    }
}

/// The task that keeps the connection.
struct Connector {
    settings: RedisSettings,
    state: watch::Sender<State>,
    lost: watch::Receiver<LostConnection>,
    outages: OutageLog,
}

impl Connector {
    async fn run(mut self) {
        let mut pause = Duration::ZERO;
        for number in 1.. {
            if self.state.is_closed() {
                return;
            }
            match self.connect().await {
                Ok(redis) => {
                    let since = now();
                    self.outages.recovery(since);
                    self.state.send_replace(State::Connected(CheckedConnection { number, redis }));
                    let Some(why) = self.wait_for_loss(number).await else { return };
                    if let Some(why) = why {
                        self.outages.outage(now(), &why);
                    }
                    // Look-ups wait for the next attempt, which will probably succeed.
                    self.state.send_replace(State::Connecting);
                    if since.elapsed() >= STEADY {
                        pause = Duration::ZERO;
                    }
                }
                Err(why) => {
                    self.outages.outage(now(), &why);
                    self.state.send_replace(State::Unavailable);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.state.send_if_modified(|state| {
                let was_unavailable = matches!(state, State::Unavailable);
                *state = State::Connecting;
                was_unavailable
            });
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let RedisSettings { url, token_prefix, one_time, .. } = &self.settings;
        // The only deadlines are the one below and that of each look-up.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let attempt = async {
            let connected = url.client().get_multiplexed_async_connection_with_config(&config);
            let mut redis = connected.await?;
            commands::check(&mut redis, token_prefix, *one_time).await?;
            Ok::<_, RedisError>(redis)
        };
        match timeout(self.settings.lookup(), attempt).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err(self.settings.late()),
        }
    }

    /// Waits until a connection is lost, and returns the reason if there is one. `None` when all
    /// [`RedisConnection`]s are dropped.
    async fn wait_for_loss(&mut self, number: u64) -> Option<Option<String>> {
        let lost = self.lost.wait_for(|lost| lost.number >= number).await.ok()?;
        Some(lost.why.clone())
    }
}

/// The clock of the runtime, which only measures deadlines of the control thread.
fn now() -> Instant {
    Instant::now()
}

const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The pause between attempts while Redis is away: it bounds how late a recovery is noticed.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// After a connection that lasted this long the next attempt follows without a pause.
const STEADY: Duration = Duration::from_secs(10);
