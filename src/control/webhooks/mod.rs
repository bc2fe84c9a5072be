//! Webhooks: what happens on a route is told to a URL, at least once and in order.
//!
//! Events wait in a bounded queue, which goes on over failures of the control thread. One request is under
//! way for a webhook. It is made again, with the same body, until it is answered with 2xx: after 1 second,
//! 2, 4, and up to 30. So a webhook that is away is not asked more often than that, and meanwhile events
//! wait. A webhook that is closed tells what waits until a request comes to nothing.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | where a webhook is, and how events go there |
//! | `telling` | the queue between loops and the task, and the task |

mod settings;
mod telling;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use settings::WebhookSettings;
use telling::Telling;

use super::connection_id;
use super::tasks::{Job, Tasks};
use crate::effects::{CloseReason, ObservedClient, RouteObserver};
use crate::events::webhook::{Happened, WebhookClient, WebhookEvent};
use crate::metrics::ControlCounters;
use crate::timer::WallTime;
use crate::ws::CloseCode;

/// Tells a webhook what happens on a route. When this is dropped, what waits is told, unless a request
/// comes to nothing.
#[derive(Debug)]
pub struct Webhook {
    telling: Arc<Telling>,
    job: Arc<dyn Job>,
}

/// Tells in every run of the thread.
#[derive(Debug)]
struct WebhookJob(Arc<Telling>);

impl Webhook {
    pub(super) fn new(settings: WebhookSettings, counters: Arc<ControlCounters>) -> Self {
        // The next process, and the next webhook of this one, count from 1 again.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let source = format!("{}-{number}", connection_id::process());
        let telling = Arc::new(Telling::new(settings, &source, counters));
        let job = Arc::new(WebhookJob(Arc::clone(&telling)));
        Self { telling, job }
    }

    /// What tells, on a control thread.
    pub(super) fn job(&self) -> &Arc<dyn Job> {
        &self.job
    }

    /// Nothing happens any more: waits until what has happened is told, a request comes to nothing, or this
    /// time is over. Must not be called by a task of a control thread, which would wait for itself.
    pub fn finish(&self, within: Duration) {
        self.telling.close();
        self.telling.wait_for_end(within);
    }
}

impl RouteObserver for Webhook {
    fn connected(&self, client: &ObservedClient<'_>) {
        push(&self.telling, client, Happened::Connected);
    }

    fn disconnected(&self, client: &ObservedClient<'_>, reason: CloseReason) {
        push(&self.telling, client, |client| Happened::Disconnected {
            client,
            code: reason.close_code().map(CloseCode::number),
            reason: reason.to_string(),
        });
    }

    fn occupied(&self, channel: &str, at: WallTime) {
        let happened = Happened::Occupied(channel);
        self.telling.push(&WebhookEvent { happened, at_unix_ms: at.0 });
    }

    fn vacated(&self, channel: &str, at: WallTime) {
        let happened = Happened::Vacated(channel);
        self.telling.push(&WebhookEvent { happened, at_unix_ms: at.0 });
    }
}

fn push<'c>(
    telling: &Telling,
    client: &ObservedClient<'c>,
    happened: impl FnOnce(WebhookClient<'c>) -> Happened<'c>,
) {
    let ObservedClient { peer, user, address, at } = *client;
    let connection = connection_id::encode(peer);
    let address = address.map(|own| own.to_string());
    let client = WebhookClient { connection, user, address };
    telling.push(&WebhookEvent { happened: happened(client), at_unix_ms: at.0 });
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.telling.close();
    }
}

impl Job for WebhookJob {
    fn begin(&self, tasks: &Tasks) {
        tasks.spawn_vital(Arc::clone(&self.0).tell(tasks.clone()));
    }

    fn end(&self) {}
}

/// Of the webhooks of this process.
static NUMBERS: AtomicU32 = AtomicU32::new(1);
