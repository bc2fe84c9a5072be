//! Checks of the servers of upstreams: each is asked again and again, and loops read the verdicts.

mod exchange;
mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::upstream::{HealthSettings, HealthStreak, HealthTarget, Server, ServerList};

/// Checks the servers of some lists until it is dropped.
#[derive(Debug)]
pub struct HealthChecks {
    lists: Vec<Arc<ServerList>>,
    counters: Arc<ControlCounters>,
}

impl HealthChecks {
    pub(super) fn new(lists: Vec<Arc<ServerList>>, counters: Arc<ControlCounters>) -> Arc<Self> {
        Arc::new(Self { lists, counters })
    }
}

impl Job for HealthChecks {
    fn begin(&self, tasks: &Tasks) {
        for list in &self.lists {
            // The lists of a configuration that is no longer in use end this by being dropped.
            let (list, counters) = (Arc::downgrade(list), Arc::clone(&self.counters));
            tasks.spawn_vital(async move {
                let mut round = Round::default();
                loop {
                    let began = Instant::now();
                    let Some(list) = list.upgrade() else { return };
                    let Some(settings) = list.settings().health.clone() else { return };
                    let period = Duration::from_millis(settings.every_ms);
                    round.check_all(&list, &Arc::new(settings), &counters).await;
                    // Meanwhile a reload may drop it.
                    drop(list);
                    sleep_until(began + period).await;
                }
            });
        }
    }

    fn end(&self) {}
}

/// What is remembered of the servers of a list from one round to the next.
#[derive(Debug, Default)]
struct Round {
    streaks: HashMap<HealthTarget, HealthStreak>,
}

impl Round {
    /// Checks each server once, a few at a time, and tells the loops.
    async fn check_all(
        &mut self,
        list: &ServerList,
        settings: &Arc<HealthSettings>,
        counters: &ControlCounters,
    ) {
        let set = list.upstream().set();
        let permits = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let mut checks = JoinSet::new();
        for (server, _) in set.servers() {
            let (server, settings) = (Arc::clone(server), Arc::clone(settings));
            let permits = Arc::clone(&permits);
            let tls = set.tls(&server);
            checks.spawn(async move {
                // It is never closed.
                let _permit = permits.acquire().await;
                let target = server.health_target();
                let outcome = probe::check(&target, tls, &settings).await;
                (server, target, outcome)
            });
        }
        let mut streaks = HashMap::new();
        while let Some(checked) = checks.join_next().await {
            let Ok((server, target, outcome)) = checked else { continue };
            counters.health_checks.add(1);
            counters.health_checks_failed.add(u64::from(outcome.is_err()));
            let mut streak = self.streaks.get(&target).copied().unwrap_or_default();
            if let Some(is_healthy) = streak.note(outcome.is_ok(), settings) {
                tell(list, &server, is_healthy, outcome.as_ref().err().map_or("", String::as_str));
            }
            streaks.insert(target, streak);
        }
        // Those that have left are forgotten.
        self.streaks = streaks;
    }
}

fn tell(list: &ServerList, server: &Server, is_healthy: bool, why: &str) {
    if !server.set_healthy(is_healthy) {
        return;
    }
    let (upstream, address) = (list.upstream().name(), server.address());
    match is_healthy {
        true => log::info!("upstream {upstream}: {address} is healthy again"),
        false => log::warn!("upstream {upstream}: {address} is unhealthy: {why}"),
    }
}

/// Checks of one upstream that are under way at once.
const AT_ONCE_MAX: usize = 32;
