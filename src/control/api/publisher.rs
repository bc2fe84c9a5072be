//! The publications of all listeners, in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::control::admin::Gateway;
use crate::control::admin::slices::{Asked, begin};
use crate::control::tasks::Tasks;
use crate::events::publish::ChannelItem;
use crate::events::{Sequenced, Sequencer};
use crate::inspect::Query;
use crate::mail::NoReply;
use crate::timer::Millis;

/// Gives publications to the loops, in the order that backends want. It goes on over failures of the
/// control thread.
#[derive(Debug)]
pub struct Publisher {
    sequencer: Mutex<Sequencer>,
    /// Something waits that did not before.
    held: Notify,
    start: Instant,
}

/// What has become of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Connections that got it, or what had waited for it.
    pub(super) sent: usize,
    /// Whether it waits for the one before it.
    pub(super) is_held: bool,
    /// Whether it came before.
    pub(super) is_repeated: bool,
}

/// Answers of the loops about one publication.
type Answers = Vec<Asked<usize>>;

impl Default for Publisher {
    fn default() -> Self {
        Self { sequencer: Mutex::default(), held: Notify::new(), start: now() }
    }
}

impl Publisher {
    /// Publishes an item, unless it has to wait or came before.
    pub(super) async fn publish(
        &self,
        gateway: &dyn Gateway,
        item: ChannelItem,
    ) -> Result<Outcome, NoReply> {
        let (mut outcome, answers) = self.begin_publish(gateway, item)?;
        for asked in answers {
            outcome.sent += asked.answer().await?;
        }
        Ok(outcome)
    }

    fn begin_publish(
        &self,
        gateway: &dyn Gateway,
        item: ChannelItem,
    ) -> Result<(Outcome, Answers), NoReply> {
        // Held until the loops have it, so that what comes behind it goes behind it.
        let mut sequencer = self.sequencer();
        let mut answers = Vec::new();
        let mut outcome = Outcome::default();
        match sequencer.take(item, self.elapsed()) {
            Sequenced::Due(items) => {
                for item in items {
                    give(gateway, item, &mut sequencer, &mut answers)?;
                }
            }
            Sequenced::Held => {
                outcome.is_held = true;
                self.held.notify_one();
            }
            Sequenced::Repeated => outcome.is_repeated = true,
        }
        Ok((outcome, answers))
    }

    /// Begins to give what has waited for too long, for the rest of the run.
    pub(in crate::control) fn begin(self: &Arc<Self>, tasks: &Tasks, gateway: &Arc<dyn Gateway>) {
        let (own, gateway) = (Arc::clone(self), Arc::clone(gateway));
        tasks.spawn_vital(async move {
            loop {
                own.wait().await;
                let mut sequencer = own.sequencer();
                for item in sequencer.overdue(own.elapsed()) {
                    if let Err(error) = give(&*gateway, item, &mut sequencer, &mut Vec::new()) {
                        log::warn!("a publication that has waited for another is lost: {error}");
                    }
                }
            }
        });
    }

    /// Returns when something may have waited for too long.
    async fn wait(&self) {
        let due = self.sequencer().next_due();
        match due.map(|due| due.since(self.elapsed())) {
            Some(0) => {}
            Some(ms) => sleep(Duration::from_millis(ms)).await,
            None => self.held.notified().await,
        }
    }

    fn sequencer(&self) -> MutexGuard<'_, Sequencer> {
        // No code panics while it holds the lock.
        self.sequencer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Gives an item to all loops, of which one gives a message on to the others; each counts its own members. It is
/// the last, as those whom an item ends are gone once it has been given on.
fn give(
    gateway: &dyn Gateway,
    item: ChannelItem,
    sequencer: &mut Sequencer,
    answers: &mut Answers,
) -> Result<(), NoReply> {
    let item = Arc::new(item);
    let loop_count = gateway.loop_count();
    for loop_index in 0..loop_count {
        let publishes = loop_index + 1 == loop_count;
        let query = |reply| Query::Channel { item: Arc::clone(&item), publishes, reply };
        match begin(gateway, loop_index, query) {
            Ok(asked) => answers.push(asked),
            Err(error) => {
                sequencer.forget(&item);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The runtime's clock: it measures how long a publication waits.
fn now() -> Instant {
    Instant::now()
}
