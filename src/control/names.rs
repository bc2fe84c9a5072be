//! Names of servers: their addresses are asked for again and again, as they change when servers move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::tasks::{Job, Tasks};
use crate::upstream::{Answers, ServerList};

/// Asks for the addresses of the names in some lists, every 30 s, until it is dropped.
#[derive(Debug)]
pub struct NameLookups {
    lists: Vec<Arc<ServerList>>,
}

impl NameLookups {
    pub(super) fn new(lists: Vec<Arc<ServerList>>) -> Arc<Self> {
        Arc::new(Self { lists })
    }
}

impl Job for NameLookups {
    fn begin(&self, tasks: &Tasks) {
        for list in &self.lists {
            // The lists of a configuration that is no longer in use end this by being dropped.
            let list = Arc::downgrade(list);
            tasks.spawn_vital(async move {
                loop {
                    sleep(PERIOD).await;
                    let Some(list) = list.upgrade() else { return };
                    list.learn(ask(&list).await);
                }
            });
        }
    }

    fn end(&self) {}
}

/// The addresses of all names of a list that have any.
async fn ask(list: &ServerList) -> Answers {
    let mut answers = Answers::new();
    for (name, port) in list.names() {
        let found = timeout(PATIENCE, lookup_host((&*name, port))).await;
        let why = match found.map(|found| found.map(Iterator::collect::<Vec<SocketAddr>>)) {
            Ok(Ok(addresses)) => {
                answers.insert((name, port), addresses);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        log::warn!("upstream {}: {name} keeps its addresses: {why}", list.upstream().name());
    }
    answers
}

/// Between two questions for the same name.
const PERIOD: Duration = Duration::from_secs(30);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);
