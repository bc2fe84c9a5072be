//! The one connection to Redis: made, checked, and made again when it is lost.
//!
//! A task of its own does that, so that a thousand look-ups make one attempt and not a thousand,
//! and so that Redis is found again with nobody asking. Look-ups wait while an attempt is under way,
//! and fail at once between attempts.
//!
//! The library's own connection manager goes on with a connection on which no answer comes, and so
//! would be stuck for as long as the kernel keeps it.

use std::fmt::Display;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::notices::Notices;
use super::{RedisSettings, commands};
use crate::control::tasks::Tasks;

/// What look-ups know of the connection.
#[derive(Debug)]
pub(super) struct RedisConnection {
    state: watch::Receiver<State>,
    loss: watch::Sender<Loss>,
}

/// A connection that did its work when it was made.
#[derive(Clone, Debug)]
pub(super) struct CheckedConnection {
    /// Which attempt made it, from 1.
    pub(super) number: u64,
    pub(super) redis: MultiplexedConnection,
}

/// Redis cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

#[derive(Clone, Debug)]
enum State {
    Connecting,
    Connected(CheckedConnection),
    Gone,
}

/// The latest connection that turned out to be of no use, and why unless it was just closed.
#[derive(Debug, Default)]
struct Loss {
    number: u64,
    why: Option<String>,
}

impl RedisConnection {
    /// Begins to keep a connection.
    pub(super) fn start(tasks: &Tasks, settings: &RedisSettings) -> Self {
        let (state_of, state) = watch::channel(State::Connecting);
        let (loss, loss_of) = watch::channel(Loss::default());
        let keeper = Keeper {
            settings: settings.clone(),
            state: state_of,
            loss: loss_of,
            notices: Notices::new(settings.url.clone()),
        };
        tasks.spawn_vital(keeper.keep());
        Self { state, loss }
    }

    /// The connection, once there is one that is newer than `after`.
    pub(super) async fn connection(&self, after: u64) -> Result<CheckedConnection, Gone> {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Connected(connection) => connection.number > after,
            State::Gone => true,
        });
        match found.await.as_deref() {
            Ok(State::Connected(connection)) => Ok(connection.clone()),
            Ok(State::Connecting | State::Gone) | Err(_) => Err(Gone),
        }
    }

    /// The other side closed a connection, which it may do with one that lay idle.
    pub(super) fn closed(&self, number: u64) {
        self.lose(number, None);
    }

    /// A connection did not do its work.
    pub(super) fn failed(&self, number: u64, why: &dyn Display) {
        self.lose(number, Some(why.to_string()));
    }

    fn lose(&self, number: u64, why: Option<String>) {
        self.loss.send_if_modified(|loss| {
            let is_news = loss.number < number;
            if is_news {
                *loss = Loss { number, why };
            }
            is_news
        });
    }
}

/// Keeps the connection.
struct Keeper {
    settings: RedisSettings,
    state: watch::Sender<State>,
    loss: watch::Receiver<Loss>,
    notices: Notices,
}

impl Keeper {
    async fn keep(mut self) {
        let mut pause = Duration::ZERO;
        for number in 1.. {
            if self.state.is_closed() {
                return;
            }
            match self.connect().await {
                Ok(redis) => {
                    let since = now();
                    self.notices.back(since);
                    self.state.send_replace(State::Connected(CheckedConnection { number, redis }));
                    let Some(why) = self.loss_of(number).await else { return };
                    if let Some(why) = why {
                        self.notices.gone(now(), &why);
                    }
                    // Whoever asks now waits for the next attempt, which may well succeed.
                    self.state.send_replace(State::Connecting);
                    if since.elapsed() >= STEADY {
                        pause = Duration::ZERO;
                    }
                }
                Err(why) => {
                    self.notices.gone(now(), &why);
                    self.state.send_replace(State::Gone);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.state.send_if_modified(|state| {
                let was_gone = matches!(state, State::Gone);
                *state = State::Connecting;
                was_gone
            });
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let RedisSettings { url, token_prefix, one_time, .. } = &self.settings;
        // The deadlines here and of each look-up are the only ones.
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

    /// Waits for the loss of a connection and gives the reason; `None` when nobody needs one any
    /// more.
    async fn loss_of(&mut self, number: u64) -> Option<Option<String>> {
        let loss = self.loss.wait_for(|loss| loss.number >= number).await.ok()?;
        Some(loss.why.clone())
    }
}

/// The runtime's clock: only deadlines of the control thread are measured by it.
fn now() -> Instant {
    Instant::now()
}

const PAUSE_MIN: Duration = Duration::from_millis(50);
/// While Redis is away it is tried again this often, and so found again soon after it is back.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A connection that did its work for so long is followed by another one without a pause.
const STEADY: Duration = Duration::from_secs(10);
