//! The way from one session to the next.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use super::names::Names;
use super::servers::Servers;
use super::session::{End, Session};
use super::settings::{RedisEngineSettings, RedisKind};
use crate::channels::remote::{BrokerCommand, BrokerEvent};
use crate::control::engine::event_queue::EventSender;

/// Carries out commands in Redis, and says what it hears there. It ends when `commands` is closed, or `events`
/// is.
pub async fn run_redis(
    settings: RedisEngineSettings,
    mut commands: UnboundedReceiver<BrokerCommand>,
    events: EventSender,
) {
    let is_clustered = matches!(settings.kind, RedisKind::Cluster);
    let names = Names::new(&settings.prefix, is_clustered);
    let (mut pause, mut is_known) = (PAUSE_MIN, false);
    loop {
        let opened = Servers::open(&settings, &names);
        let Some(opened) = dropping(&mut commands, opened).await else { return };
        match opened {
            Ok(servers) => {
                log::info!("channels are shared by Redis at {}", servers.names());
                is_known = false;
                let since = now();
                if events.send(BrokerEvent::Up).await.is_err() {
                    return;
                }
                let session = Session::new(&names, servers, &events, settings.request);
                let End::Failed(failure) = session.run(&mut commands).await else { return };
                log::warn!("channels are not shared any more: {failure}");
                if events.send(BrokerEvent::Down).await.is_err() {
                    return;
                }
                if since.elapsed() >= STEADY {
                    pause = PAUSE_MIN;
                }
            }
            // The first failure of an outage, and no other, is for those who read logs.
            Err(failure) if is_known => log::debug!("Redis is not reached: {failure}"),
            Err(failure) => {
                log::warn!("channels are not shared, as Redis is not reached: {failure}");
                is_known = true;
            }
        }
        if dropping(&mut commands, sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits for `work`, and drops the commands that come meanwhile. `None` when none can come any more.
async fn dropping<T>(
    commands: &mut UnboundedReceiver<BrokerCommand>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        loop {
            match commands.poll_recv(context) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return work.as_mut().poll(context).map(Some),
            }
        }
    })
    .await
}

/// The clock of the runtime.
fn now() -> Instant {
    Instant::now()
}

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// After a session that lasted this long the next attempt follows soon.
const STEADY: Duration = Duration::from_secs(10);
