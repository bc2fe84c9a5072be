//! Names of servers: their addresses are asked for again and again, as they change when servers move.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::tasks::{Job, Tasks};
use crate::upstream::{Answers, ServerList};

/// Asks for the addresses of the names in some lists, every 30 s, until it is dropped.
#[derive(Debug)]
pub struct NameLookups {
    lists: Vec<Arc<ServerList>>,
    resolver: Arc<dyn Resolver>,
}

/// The answer to a question, when it comes.
pub type Resolved<'r> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'r>>;

/// What knows the addresses of names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a name, each with this port.
    ///
    /// # Errors
    /// When there is no answer, or one that names none.
    fn addresses<'r>(&'r self, name: &'r str, port: u16) -> Resolved<'r>;
}

/// That of the system (getaddrinfo(3)): the file of hosts, name servers, and what else it is configured
/// with.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn addresses<'r>(&'r self, name: &'r str, port: u16) -> Resolved<'r> {
        Box::pin(async move { Ok(lookup_host((name, port)).await?.collect()) })
    }
}

impl NameLookups {
    pub(super) fn new(lists: Vec<Arc<ServerList>>, resolver: Arc<dyn Resolver>) -> Arc<Self> {
        Arc::new(Self { lists, resolver })
    }
}

impl Job for NameLookups {
    fn begin(&self, tasks: &Tasks) {
        for list in &self.lists {
            // The lists of a configuration that is no longer in use end this by being dropped.
            let (list, resolver) = (Arc::downgrade(list), Arc::clone(&self.resolver));
            tasks.spawn_vital(keep_asking(list, resolver, sleep));
        }
    }

    fn end(&self) {}
}

/// Asks for the addresses of all names of a list after each `pause` of [`PERIOD`], as long as there is the
/// list.
async fn keep_asking<F: Future<Output = ()>>(
    list: Weak<ServerList>,
    resolver: Arc<dyn Resolver>,
    pause: impl Fn(Duration) -> F,
) {
    loop {
        pause(PERIOD).await;
        let Some(list) = list.upgrade() else { return };
        list.learn(ask(&list, &*resolver).await);
    }
}

/// The addresses of all names of a list that have any.
async fn ask(list: &ServerList, resolver: &dyn Resolver) -> Answers {
    let mut answers = Answers::new();
    for (name, port) in list.names() {
        let why = match timeout(PATIENCE, resolver.addresses(&name, port)).await {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use tokio::runtime::Builder;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::timer::Millis;
    use crate::upstream::{Pick, ServerName, ServerPermit, ServerSet, Upstream, UpstreamSettings};

    /// What names have as addresses; a name that is not there has no answer.
    #[derive(Debug, Default)]
    struct Script(Mutex<HashMap<String, Vec<SocketAddr>>>);

    impl Script {
        fn set(&self, name: &str, addresses: &[&str]) {
            let addresses = addresses.iter().map(|own| own.parse().unwrap()).collect();
            self.0.lock().unwrap().insert(name.to_owned(), addresses);
        }

        fn fail(&self, name: &str) {
            self.0.lock().unwrap().remove(name);
        }
    }

    impl Resolver for Script {
        fn addresses<'r>(&'r self, name: &'r str, _: u16) -> Resolved<'r> {
            let known = self.0.lock().unwrap().get(name).cloned();
            Box::pin(async move { known.ok_or_else(|| io::Error::other("no such name")) })
        }
    }

    /// The task that asks, each of whose pauses ends when the test says so.
    struct Asking {
        script: Arc<Script>,
        list: Option<Arc<ServerList>>,
        ends: UnboundedSender<()>,
        pauses: UnboundedReceiver<Duration>,
    }

    impl Asking {
        /// Must be called in a runtime.
        async fn begin(servers: &[&str]) -> Self {
            let upstream = Upstream::new("app", ServerSet::default());
            let servers = servers.iter().map(|own| ServerName::parse(own).unwrap()).collect();
            let list =
                Arc::new(ServerList::new(upstream, UpstreamSettings::default(), servers, None));
            let script = Arc::new(Script::default());
            let (ends, ended) = unbounded_channel();
            let (begins, pauses) = unbounded_channel();
            let ended = Arc::new(tokio::sync::Mutex::new(ended));
            let pause = move |period| {
                let (begins, ended) = (begins.clone(), Arc::clone(&ended));
                async move {
                    let _ = begins.send(period);
                    ended.lock().await.recv().await;
                }
            };
            let resolver: Arc<dyn Resolver> = Arc::clone(&script) as Arc<dyn Resolver>;
            tokio::spawn(keep_asking(Arc::downgrade(&list), resolver, pause));
            let mut own = Self { script, list: Some(list), ends, pauses };
            assert_eq!(own.pauses.recv().await, Some(PERIOD));
            own
        }

        /// Has the task ask once, and waits until it pauses again.
        async fn ask(&mut self) {
            self.ends.send(()).unwrap();
            assert_eq!(self.pauses.recv().await, Some(Duration::from_secs(30)));
        }

        fn list(&self) -> &ServerList {
            self.list.as_ref().unwrap()
        }

        fn addresses(&self) -> Vec<String> {
            let set = self.list().upstream().set();
            set.servers().map(|(own, _)| own.address().to_string()).collect()
        }

        fn pick(&self) -> Option<ServerPermit> {
            pick(self.list().upstream())
        }
    }

    fn pick(upstream: &Upstream) -> Option<ServerPermit> {
        match upstream.pick(Millis(1), 0, 0, &[]) {
            Pick::Server(permit) => Some(permit),
            Pick::Full | Pick::Nothing => None,
        }
    }

    fn run(test: impl Future<Output = ()>) {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn names_are_asked_for_again_and_a_failure_keeps_the_last_addresses() {
        run(async {
            let mut asking = Asking::begin(&["app:80", "[2001:db8::9]:80", "six:81"]).await;
            asking.ask().await;
            assert_eq!(asking.addresses(), ["[2001:db8::9]:80"]);
            asking.script.set("app", &["10.0.0.1:80", "10.0.0.2:80"]);
            asking.script.set("six", &["[2001:db8::1]:81", "10.0.0.3:81"]);
            asking.ask().await;
            let all = [
                "10.0.0.1:80",
                "10.0.0.2:80",
                "[2001:db8::9]:80",
                "[2001:db8::1]:81",
                "10.0.0.3:81",
            ];
            assert_eq!(asking.addresses(), all);
            asking.script.fail("app");
            asking.script.set("six", &["10.0.0.3:81"]);
            asking.ask().await;
            let kept = ["10.0.0.1:80", "10.0.0.2:80", "[2001:db8::9]:80", "10.0.0.3:81"];
            assert_eq!(asking.addresses(), kept, "one that fails holds up no other");
            asking.script.set("app", &[]);
            asking.ask().await;
            assert_eq!(asking.addresses(), kept, "an empty answer is none");
        });
    }

    #[test]
    fn an_address_that_vanishes_gets_nothing_new_and_is_the_same_when_it_comes_back() {
        run(async {
            let mut asking = Asking::begin(&["app:80"]).await;
            asking.script.set("app", &["10.0.0.1:80", "10.0.0.2:80"]);
            asking.ask().await;
            let permits: Vec<_> = (0..4).map(|_| asking.pick().unwrap()).collect();
            asking.script.set("app", &["10.0.0.2:80"]);
            asking.ask().await;
            let permits_now: Vec<_> = (0..4).map(|_| asking.pick().unwrap()).collect();
            for permit in &permits_now {
                assert_eq!(permit.server().address().to_string(), "10.0.0.2:80");
            }
            let gone = permits.iter().map(ServerPermit::server);
            let gone = gone.filter(|own| own.address().to_string() == "10.0.0.1:80");
            assert!(gone.clone().all(|own| own.connections() == 2), "its connections stay");
            asking.script.set("app", &["10.0.0.2:80", "10.0.0.1:80"]);
            asking.ask().await;
            let set = asking.list().upstream().set();
            let back = set.servers().find(|(own, _)| own.address().to_string() == "10.0.0.1:80");
            assert_eq!(back.unwrap().0.connections(), 2);
            assert_eq!(asking.pick().unwrap().server().address().to_string(), "10.0.0.1:80");
        });
    }

    #[test]
    fn answers_that_change_a_hundred_times_under_load_lose_no_count() {
        run(async {
            let mut asking = Asking::begin(&["app:80"]).await;
            asking.script.set("app", &["10.0.0.0:80"]);
            asking.ask().await;
            let upstream = Arc::clone(asking.list().upstream());
            let is_over = Arc::new(AtomicBool::new(false));
            let loops: Vec<_> = (0..3)
                .map(|_| {
                    let (upstream, is_over) = (Arc::clone(&upstream), Arc::clone(&is_over));
                    thread::spawn(move || {
                        let mut kept = Vec::new();
                        while !is_over.load(Ordering::Relaxed) {
                            // There is always one.
                            kept.push(pick(&upstream).unwrap());
                            if kept.len() > 50 {
                                kept.drain(..25);
                            }
                        }
                        kept
                    })
                })
                .collect();
            for round in 1..=100_u32 {
                let addresses: Vec<String> = (round..round + 1 + round % 3)
                    .map(|own| format!("10.0.0.{}:80", own % 7))
                    .collect();
                let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
                asking.script.set("app", &addresses);
                asking.ask().await;
                assert_eq!(asking.addresses(), addresses);
            }
            is_over.store(true, Ordering::Relaxed);
            let kept: Vec<_> = loops.into_iter().flat_map(|own| own.join().unwrap()).collect();
            let connections = || -> u32 {
                upstream.report(Millis(1)).servers.iter().map(|own| own.connections).sum()
            };
            for permit in &kept {
                let server = permit.server();
                let own = kept.iter().filter(|other| Arc::ptr_eq(other.server(), server));
                assert_eq!(server.connections() as usize, own.count(), "{}", server.address());
            }
            drop(kept);
            assert_eq!(connections(), 0);
        });
    }

    #[test]
    fn a_list_that_is_dropped_is_asked_for_no_more() {
        run(async {
            let mut asking = Asking::begin(&["app:80"]).await;
            asking.list = None;
            asking.ends.send(()).unwrap();
            assert_eq!(asking.pauses.recv().await, None);
        });
    }
}
