//! The upstreams of the process: what routes lead to, and the thread that asks for addresses.

use std::collections::HashMap;
use std::error::Error;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use crate::config::{ResolvedConfig, UpstreamOptions};
#[cfg(feature = "control")]
use crate::control::{ControlRole, ControlThread, HealthChecks, NameLookups};
use crate::metrics::ControlCounters;
use crate::server::{self, LoadedUpstreamTls, UpstreamTlsError};
#[cfg(feature = "admin")]
use crate::timer::Millis;
#[cfg(feature = "admin")]
use crate::upstream::UpstreamReport;
use crate::upstream::{Answers, ServerList, ServerSet, Upstream, UpstreamSettings};

/// The upstreams of a configuration.
#[derive(Default)]
pub(super) struct Upstreams {
    by_name: server::Upstreams,
    lists: Vec<Arc<ServerList>>,
    /// Of those that are reached with TLS.
    tls: HashMap<String, LoadedUpstreamTls>,
    #[cfg(feature = "control")]
    asked: Option<Asked>,
}

/// What asks for addresses and checks servers, and its thread.
#[cfg(feature = "control")]
struct Asked {
    thread: Arc<ControlThread>,
    _names: Arc<NameLookups>,
    _checks: Arc<HealthChecks>,
}

impl Upstreams {
    /// The upstreams of the next configuration: one that stays is the same as before, with the servers
    /// that it has had, until [`Upstreams::take_over`]. Names of new ones are looked up, which may wait.
    ///
    /// # Errors
    /// What cannot be used of the files of TLS.
    pub(super) fn next(&self, settings: &ResolvedConfig) -> Result<Self, UpstreamTlsError> {
        let mut next = Self { tls: self.load_tls(settings)?, ..Self::default() };
        for options in &settings.upstreams {
            let known = self.by_name.get(&options.name);
            let upstream = match known {
                Some(upstream) => Arc::clone(upstream),
                None => Upstream::new(&options.name, ServerSet::default()),
            };
            let tls = next.tls.get(&options.name).map(|own| own.tls().clone());
            let upstream_settings = UpstreamSettings { tls, ..options.settings() };
            let list = Arc::new(self.list(options, upstream_settings, &upstream));
            if known.is_none() {
                look_up(&list);
            }
            next.by_name.insert(options.name.clone(), upstream);
            next.lists.push(list);
        }
        Ok(next)
    }

    /// What the files of TLS hold now.
    fn load_tls(
        &self,
        settings: &ResolvedConfig,
    ) -> Result<HashMap<String, LoadedUpstreamTls>, UpstreamTlsError> {
        let mut all = HashMap::new();
        for (index, options) in settings.upstreams.iter().enumerate() {
            let before = self.tls.get(&options.name);
            if let Some(loaded) = LoadedUpstreamTls::load(index, options, before)? {
                all.insert(options.name.clone(), loaded);
            }
        }
        Ok(all)
    }

    /// Whether the files of TLS hold something else than they did, by a configuration that has not changed.
    ///
    /// # Errors
    /// What cannot be used of them.
    pub(super) fn has_new_files(
        &self,
        settings: &ResolvedConfig,
    ) -> Result<bool, UpstreamTlsError> {
        let now = self.load_tls(settings)?;
        let is_same = |(name, own): (&String, &LoadedUpstreamTls)| {
            self.tls.get(name).is_some_and(|before| before.tls() == own.tls())
        };
        Ok(!now.iter().all(is_same))
    }

    fn list(
        &self,
        options: &UpstreamOptions,
        settings: UpstreamSettings,
        upstream: &Arc<Upstream>,
    ) -> ServerList {
        let before = self.lists.iter().find(|own| Arc::ptr_eq(own.upstream(), upstream));
        let servers = options.server_names().collect();
        let before = before.map(|own| &**own);
        ServerList::new(Arc::clone(upstream), settings, servers, before)
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

    #[cfg(feature = "control")]
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

    #[cfg(not(feature = "control"))]
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
