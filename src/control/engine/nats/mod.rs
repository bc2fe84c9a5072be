//! NATS as the broker of channels: JetStream for what is kept, core NATS for all else.
//!
//! Each namespace with history has a stream for each of its partitions. An offset is a sequence of the stream,
//! so offsets of one channel rise with gaps; an epoch is made of the stream's name and when it was made. What
//! members hear are the copies that the stream makes of what it keeps, in one order for all gateways, with
//! the sequence of the one before it. There are no consumers: what was missed is read from the stream.
//!
//! A position lasts as long as a message of the channel, so messages are kept for as long as the position is to
//! last, and those that are too old to be publications are left out when they are read. A channel without any is
//! given a mark, an empty message, when it is asked for; and where the history is removed, a mark takes the place
//! of the last publication. That nothing is missing between an offset and the end is only said if the message at
//! that offset is still there, as the oldest go first.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | how NATS is reached, and what is kept |
//! | `subjects` | the names of subjects and streams |
//! | `stream_options` | what streams are made with |
//! | `answers` | what servers say, read from bytes |
//! | `open` | connecting, and checking the streams |
//! | `session` | the time between `Up` and `Down` |
//! | `interest` | what is subscribed |
//! | `caller` | requests under way |
//! | `connection`, `questions` | what is asked of streams |

mod answers;
mod caller;
mod connection;
mod error;
mod interest;
mod open;
mod questions;
mod session;
mod settings;
mod stream_options;
mod subjects;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

#[doc(hidden)]
pub use self::answers::read_any;
pub use self::error::NatsError;
use self::session::Ended;
pub use self::settings::{
    InvalidPrefix, NatsEngineSettings, NatsLogin, NatsStorage, NatsUrl, NatsUrlError,
    PARTITIONS_MAX, PREFIX_BYTES_MAX, SubjectPrefix,
};
use crate::channels::remote::{BrokerCommand, BrokerEvent};
use crate::control::engine::event_queue::EventSender;

/// Carries out commands by NATS until `commands` or `events` is closed. It never ends by itself: it connects
/// again, with a pause of 50 ms to 2 s between attempts. While `events` is full, it does nothing else.
pub async fn run_nats(
    settings: NatsEngineSettings,
    mut commands: mpsc::UnboundedReceiver<BrokerCommand>,
    events: EventSender,
) {
    let mut pause = PAUSE_MIN;
    let mut reported = None;
    for attempt in 0.. {
        let opened = async {
            let mut session = open::open(&settings, attempt).await?;
            let served = session.is_served().await;
            served
                .map(|()| session)
                .map_err(|lost| NatsError::NotServed { reason: lost.to_string() })
        };
        let Some(opened) = unless_over(&mut commands, opened).await else { return };
        match opened {
            Ok(session) => {
                reported = None;
                let began = Instant::now();
                let Some(lost) = serve(session, &mut commands, &events).await else { return };
                log::warn!("NATS is not reached any more: {lost}");
                if began.elapsed() >= PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
            Err(error) => {
                if reported.as_ref() != Some(&error) {
                    log::warn!("NATS cannot be used, which is tried again and again: {error}");
                }
                reported = Some(error);
            }
        }
        if unless_over(&mut commands, sleep(pause)).await.is_none() {
            return;
        }
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Connects, makes or checks the streams, and ends: tells before anything runs whether the settings are right.
///
/// # Errors
/// What is wrong.
pub async fn check_nats(settings: &NatsEngineSettings) -> Result<(), NatsError> {
    open::open(settings, 0).await.map(drop)
}

/// Serves between `Up` and `Down`; `None` if commands or events are closed.
async fn serve(
    session: session::Session,
    commands: &mut mpsc::UnboundedReceiver<BrokerCommand>,
    events: &EventSender,
) -> Option<error::Lost> {
    // What was asked before is of an earlier time.
    while commands.try_recv().is_ok() {}
    events.send(BrokerEvent::Up).await.ok()?;
    match session.run(commands, events).await {
        Ended::Over => None,
        Ended::Lost(lost) => {
            events.send(BrokerEvent::Down).await.ok()?;
            Some(lost)
        }
    }
}

/// Waits for something, and drops commands meanwhile; `None` if there are none any more.
async fn unless_over<T>(
    commands: &mut mpsc::UnboundedReceiver<BrokerCommand>,
    until: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(until);
    loop {
        tokio::select! {
            result = &mut until => return Some(result),
            command = commands.recv() => drop(command?),
        }
    }
}

/// Before the first attempt after one that failed.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Before later ones.
const PAUSE_MAX: Duration = Duration::from_secs(2);
