//! The one connection to Redis, which is made, checked, and made again when it is lost.
//!
//! A task of its own connects, so that a thousand look-ups cause one attempt, and so that Redis is
//! found again while no look-up is under way. Look-ups wait while an attempt is under way, and fail
//! at once in the pause between attempts.
//!
//! The connection manager of the redis crate would keep a connection on which no answer arrives for
//! as long as the kernel keeps it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::checked_connection::{AskError, CheckedConnection, Driver};
use super::outages::{Line, OutageLog};
use super::reports::{Report, ReportReader, Reports, WeakReports, reports};
use super::settings::RedisSettings;
use crate::control::tasks::Tasks;

/// The connection as look-ups see it.
#[derive(Debug)]
pub(super) struct RedisConnection {
    state: watch::Receiver<State>,
    reports: Reports,
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

impl RedisConnection {
    /// Starts the task that keeps the connection.
    pub(super) fn start(tasks: &Tasks, settings: &RedisSettings) -> Self {
        let (state_sender, state) = watch::channel(State::Connecting);
        let (reports, reader) = reports();
        let connector = Connector {
            settings: settings.clone(),
            state: state_sender,
            reports: reports.downgrade(),
            reader,
        };
        tasks.spawn_vital(connector.run(OutageLog::new(settings.url.clone())));
        Self { state, reports }
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), State::Connected(_))
    }

    /// Takes what look-ups learn of connections.
    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Waits for a connection that is newer than number `after`.
    pub(super) async fn connection(&self, after: u64) -> Result<CheckedConnection, Unavailable> {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Connected(connection) => connection.number() > after,
            State::Unavailable => true,
        });
        match found.await.as_deref() {
            Ok(State::Connected(connection)) => Ok(connection.clone()),
            Ok(State::Connecting | State::Unavailable) | Err(_) => Err(Unavailable),
        }
    }
}

/// The task that keeps the connection.
struct Connector {
    settings: RedisSettings,
    state: watch::Sender<State>,
    reports: WeakReports,
    reader: ReportReader,
}

impl Connector {
    async fn run(mut self, mut outages: OutageLog) {
        let mut pause = Duration::ZERO;
        for number in 1.. {
            if self.state.is_closed() {
                return;
            }
            match with_summaries(&mut outages, self.connect(number)).await {
                Ok(connection) => {
                    let since = now();
                    log(outages.recovery(since));
                    self.state.send_replace(State::Connected(connection.clone()));
                    let lost = with_summaries(&mut outages, self.wait_for_loss(&connection));
                    let Some(why) = lost.await else { return };
                    match why {
                        Some(why) => log(outages.outage(now(), &why)),
                        None => log::debug!("Redis at {} closed a connection", self.settings.url),
                    }
                    // Look-ups wait for the next attempt, which will probably succeed.
                    self.state.send_replace(State::Connecting);
                    if since.elapsed() >= STEADY {
                        pause = Duration::ZERO;
                    }
                }
                Err(why) => {
                    log(outages.outage(now(), &why));
                    self.state.send_replace(State::Unavailable);
                }
            }
            with_summaries(&mut outages, sleep(pause)).await;
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.state.send_if_modified(|state| {
                let was_unavailable = matches!(state, State::Unavailable);
                *state = State::Connecting;
                was_unavailable
            });
        }
    }

    /// Connects, and checks the connection. Each step may take `lookup_ms`: one that is made slowly
    /// but in time is no worse than a slow one that stands.
    async fn connect(&self, number: u64) -> Result<CheckedConnection, AskError> {
        let redis = self.open().await?;
        let reports = self.reports.clone();
        CheckedConnection::check(number, redis, &self.settings, reports).await
    }

    async fn open(&self) -> Result<(MultiplexedConnection, Driver), AskError> {
        // The only deadlines are the one below, and those of requests and of look-ups.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let url = &self.settings.url;
        let opened = async {
            let stream = url.connect().await?;
            MultiplexedConnection::new_with_config(url.settings(), stream, config).await
        };
        let within = self.settings.lookup();
        let opened = timeout(within, opened).await.map_err(|_| AskError::Late(within))?;
        let (connection, driver) = opened?;
        Ok((connection, Driver(tokio::spawn(driver).abort_handle())))
    }

    /// Waits until a connection is lost, and returns the reason if there is one. `None` when all
    /// [`RedisConnection`]s are dropped.
    async fn wait_for_loss(&mut self, connection: &CheckedConnection) -> Option<Option<String>> {
        loop {
            match self.reader.next(connection.number()).await? {
                Report::Lost(why) => return Some(why),
                // No task saw whether Redis would have answered. One check follows the requests that
                // were given up, so that a connection on which every client gives up early is found
                // out too, and many that give up cost one check at a time.
                Report::Unanswered => match connection.recheck(&self.settings).await {
                    Ok(()) => {}
                    Err(error) if error.is_connection_dropped() => return Some(None),
                    Err(error) => return Some(Some(error.to_string())),
                },
            }
        }
    }
}

/// Waits for `step`, and meanwhile logs what is to be summed up.
async fn with_summaries<T>(outages: &mut OutageLog, step: impl Future<Output = T>) -> T {
    let mut step = pin!(step);
    while let Some(due) = outages.due() {
        if let Ok(done) = timeout_at(due, step.as_mut()).await {
            return done;
        }
        log(outages.summary(now()));
    }
    step.await
}

fn log(line: Option<Line>) {
    if let Some(line) = line {
        line.log();
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
