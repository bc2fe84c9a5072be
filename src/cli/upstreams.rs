//! The upstreams of the process: what routes lead to, and the thread that asks for addresses.

use std::error::Error;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use crate::config::{ResolvedConfig, UpstreamOptions};
#[cfg(any(feature = "admin", feature = "redis"))]
use crate::control::{ControlRole, ControlThread, HealthChecks, NameLookups};
use crate::metrics::ControlCounters;
use crate::server;
#[cfg(feature = "admin")]
use crate::timer::Millis;
#[cfg(feature = "admin")]
use crate::upstream::UpstreamReport;
use crate::upstream::{Answers, ServerList, ServerSet, Upstream};

/// The upstreams of a configuration.
#[derive(Default)]
pub(super) struct Upstreams {
    by_name: server::Upstreams,
    lists: Vec<Arc<ServerList>>,
    #[cfg(any(feature = "admin", feature = "redis"))]
    asked: Option<Asked>,
}

/// What asks for addresses and checks servers, and its thread.
#[cfg(any(feature = "admin", feature = "redis"))]
struct Asked {
    thread: Arc<ControlThread>,
    _names: Arc<NameLookups>,
    _checks: Arc<HealthChecks>,
}

impl Upstreams {
    /// The upstreams of the next configuration: one that stays is the same as before, with the servers
    /// that it has had, until [`Upstreams::take_over`]. Names of new ones are looked up, which may wait.
    pub(super) fn next(&self, settings: &ResolvedConfig) -> Self {
        let mut next = Self::default();
        for options in &settings.upstreams {
            let known = self.by_name.get(&options.name);
            let upstream = match known {
                Some(upstream) => Arc::clone(upstream),
                None => Upstream::new(&options.name, ServerSet::default()),
            };
            let list = Arc::new(self.list(options, &upstream));
            if known.is_none() {
                look_up(&list);
            }
            next.by_name.insert(options.name.clone(), upstream);
            next.lists.push(list);
        }
        next
    }

    fn list(&self, options: &UpstreamOptions, upstream: &Arc<Upstream>) -> ServerList {
        let before = self.lists.iter().find(|own| Arc::ptr_eq(own.upstream(), upstream));
        let servers = options.server_names().collect();
        let before = before.map(|own| &**own);
        ServerList::new(Arc::clone(upstream), options.settings(), servers, before)
    }

    /// From now on the upstreams have the servers of this configuration, names are asked for again from
    /// time to time, and servers are checked, on a thread that is started for the first of them.
    ///
    /// # Errors
    /// Those of starting the thread.
    pub(super) fn take_over(
        &mut self,
        before: &Self,
        counters: &Arc<ControlCounters>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        for list in &self.lists {
            look_up(list);
        }
        self.ask_again(before, counters)
    }

    #[cfg(any(feature = "admin", feature = "redis"))]
    fn ask_again(
        &mut self,
        before: &Self,
        counters: &Arc<ControlCounters>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let lists = |has: &dyn Fn(&ServerList) -> bool| -> Vec<Arc<ServerList>> {
            self.lists.iter().filter(|list| has(list)).cloned().collect()
        };
        let named = lists(&|list| !list.names().is_empty());
        let checked = lists(&|list| list.settings().health.is_some());
        if named.is_empty() && checked.is_empty() {
            return Ok(());
        }
        let thread = match &before.asked {
            Some(asked) => Arc::clone(&asked.thread),
            None => Arc::new(ControlThread::start(ControlRole::Backends, counters)?),
        };
        let (names, checks) = (thread.look_up_names(named), thread.check_servers(checked));
        self.asked = Some(Asked { thread, _names: names, _checks: checks });
        Ok(())
    }

    #[cfg(not(any(feature = "admin", feature = "redis")))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "the thread of other builds may not start"
    )]
    fn ask_again(
        &mut self,
        _: &Self,
        _: &Arc<ControlCounters>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    /// What is known of all of them, in the order of the configuration.
    #[cfg(feature = "admin")]
    pub(super) fn reports(&self, now: Millis) -> Vec<UpstreamReport> {
        self.lists.iter().map(|list| list.upstream().report(now)).collect()
    }

    /// The upstreams by their names.
    pub(super) fn by_name(&self) -> &server::Upstreams {
        &self.by_name
    }
}

/// Asks for the addresses of all names of a list, and waits for the answers.
fn look_up(list: &ServerList) {
    let mut answers = Answers::new();
    for (name, port) in list.names() {
        match (&*name, port).to_socket_addrs() {
            Ok(found) => {
                answers.insert((name, port), found.collect());
            }
            Err(error) => {
                log::warn!("upstream {}: {name} has no address: {error}", list.upstream().name());
            }
        }
    }
    list.learn(answers);
}
