//! One connection to Redis, which is judged by its own progress.
//!
//! A connection is late when the next answer has not come for as long as an answer may take. What a
//! look-up has waited before, such as for the connection, says nothing about it, and neither does a
//! queue in front of its request that gets shorter.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, timeout_at};

use super::commands;
use super::progress::Progress;
use super::reports::WeakReports;
use super::settings::RedisSettings;

/// A connection that has run the commands of a look-up when it was made.
#[derive(Clone, Debug)]
pub(super) struct CheckedConnection {
    number: u64,
    redis: MultiplexedConnection,
    /// Kept for its end.
    _driver: Arc<Driver>,
    answer_within: Duration,
    progress: Arc<Mutex<Progress>>,
    reports: WeakReports,
}

/// The task that reads and writes for a connection. It ends with this, also where Redis does not answer what was
/// asked before.
#[derive(Debug)]
pub(super) struct Driver(pub(super) AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The connection made no progress within the time for an answer.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// An error reply, or an error of the connection.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl AskError {
    /// Whether the connection is no longer there.
    pub(super) fn is_connection_dropped(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_connection_dropped())
    }
}

impl CheckedConnection {
    /// Checks a new connection. `number` is that of the attempt, from 1; `reports` learns of
    /// requests that are given up.
    pub(super) async fn check(
        number: u64,
        (redis, driver): (MultiplexedConnection, Driver),
        settings: &RedisSettings,
        reports: WeakReports,
    ) -> Result<Self, AskError> {
        let progress = Arc::new(Mutex::new(Progress::new(now())));
        let answer_within = settings.lookup();
        let connection =
            Self { number, redis, _driver: Arc::new(driver), answer_within, progress, reports };
        connection.recheck(settings).await?;
        if settings.one_time {
            connection.take(&settings.token_prefix, commands::NO_TOKEN).await?;
        }
        Ok(connection)
    }

    /// The number of the attempt that made it.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Checks that the connection still answers.
    pub(super) async fn recheck(&self, settings: &RedisSettings) -> Result<(), AskError> {
        // The prefix alone is a key that no name has.
        self.stored(&settings.token_prefix).await.map(drop)
    }

    /// The token stored at a key, as [`commands::stored`].
    pub(super) async fn stored(&self, key: &str) -> Result<Option<Vec<u8>>, AskError> {
        self.ask(commands::stored(&mut self.redis.clone(), key)).await
    }

    /// Deletes the key if its value is `token`, as [`commands::take`].
    pub(super) async fn take(&self, key: &str, token: &str) -> Result<bool, AskError> {
        self.ask(commands::take(&mut self.redis.clone(), key, token)).await
    }

    /// Sends a request and waits for its answer, as long as the connection makes progress.
    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, AskError> {
        let mut open = OpenRequest::new(self);
        let mut request = pin!(request);
        loop {
            let late_at = self.late_at();
            if let Some(answer) = answer_until(late_at, request.as_mut()).await {
                open.answered();
                return Ok(answer?);
            }
            // It may have been this thread that did not run: what has arrived is read before the
            // connection is judged.
            yield_now().await;
            if let Some(answer) = answer_until(now(), request.as_mut()).await {
                open.answered();
                return Ok(answer?);
            }
            if self.late_at() <= now() {
                open.is_waited_for = false;
                return Err(AskError::Late(self.answer_within));
            }
        }
    }

    /// When the connection will be late, unless an answer comes.
    fn late_at(&self) -> Instant {
        self.progress().waiting_since() + self.answer_within
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // No code panics while it holds the lock.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was written. If it is dropped without an answer, because its look-up was cancelled
/// or took too long, no task sees any more whether Redis answers: the connection is to be checked.
struct OpenRequest<'c> {
    connection: &'c CheckedConnection,
    number: u64,
    is_waited_for: bool,
}

impl<'c> OpenRequest<'c> {
    fn new(connection: &'c CheckedConnection) -> Self {
        let number = connection.progress().write(now());
        Self { connection, number, is_waited_for: true }
    }

    fn answered(&mut self) {
        self.connection.progress().answer(self.number, now());
        self.is_waited_for = false;
    }
}

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        if self.is_waited_for {
            self.connection.reports.unanswered();
        }
    }
}

/// The answer, if it comes by then.
async fn answer_until<T>(end: Instant, answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    timeout_at(end, answer).await.ok()
}

/// The clock of the runtime, which only measures deadlines of the control thread.
fn now() -> Instant {
    Instant::now()
}
