//! The servers of an upstream as they are configured, and the addresses that their names have had last.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{ListedServer, ServerName, ServerPlace, ServerSet, Upstream, UpstreamSettings};
use crate::transport::ServerAddress;

/// Addresses by name and port.
pub type Answers = HashMap<(Box<str>, u16), Vec<SocketAddr>>;

/// Keeps the set of an [`Upstream`] in agreement with what name servers say.
#[derive(Debug)]
pub struct ServerList {
    upstream: Arc<Upstream>,
    settings: UpstreamSettings,
    servers: Vec<ServerName>,
    /// Rises with each list for the same upstream.
    revision: u64,
    /// The last answer for each name that has had one.
    known: ArcSwap<Answers>,
}

impl ServerList {
    /// These servers for an upstream, which has them once [`ServerList::learn`] is called. What `before`
    /// knew of names holds until there are answers.
    #[must_use]
    pub fn new(
        upstream: Arc<Upstream>,
        settings: UpstreamSettings,
        servers: Vec<ServerName>,
        before: Option<&Self>,
    ) -> Self {
        let known = before.map(|before| before.known.load_full()).unwrap_or_default();
        let revision = before.map_or(1, |before| before.revision + 1);
        Self { upstream, settings, servers, revision, known: ArcSwap::new(known) }
    }

    /// The upstream.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// What holds for all its servers.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// The names whose addresses are to be asked for, each once.
    #[must_use]
    pub fn names(&self) -> Vec<(Box<str>, u16)> {
        let mut names: Vec<(Box<str>, u16)> = Vec::new();
        for server in &self.servers {
            if let ServerPlace::Name(name, port) = &server.place
                && !names.iter().any(|(own, at)| own == name && at == port)
            {
                names.push((name.clone(), *port));
            }
        }
        names
    }

    /// From now on names have these addresses, at most 64 each. One without an answer, or with an empty
    /// one, keeps those of its last. Nothing changes once a later list has been taken over: an answer may
    /// be on its way while the configuration is reloaded.
    pub fn learn(&self, answers: Answers) {
        let mut known = Answers::clone(&self.known.load());
        known.extend(answers.into_iter().filter(|(_, addresses)| !addresses.is_empty()));
        let names = self.names();
        known.retain(|name, _| names.contains(name));
        let mut servers = Vec::new();
        for ServerName { place, weight } in &self.servers {
            match place {
                ServerPlace::Address(address) => {
                    servers.push(ListedServer::from((address.clone(), *weight)));
                }
                ServerPlace::Name(name, port) => {
                    let addresses = known.get(&(name.clone(), *port)).into_iter().flatten();
                    let addresses = addresses.take(ADDRESSES_MAX).copied();
                    servers.extend(addresses.map(|own| ListedServer {
                        address: ServerAddress::Tcp(own),
                        weight: *weight,
                        host: Some(name.clone()),
                    }));
                }
            }
        }
        self.upstream.update(|before| {
            let (settings, servers) = (self.settings.clone(), servers.iter().cloned());
            let next = || ServerSet::new(settings, servers, Some(before));
            (before.revision() <= self.revision).then(|| next().with_revision(self.revision))
        });
        self.known.store(Arc::new(known));
    }
}

/// Addresses of one name.
const ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(servers: &[&str], before: Option<&ServerList>) -> ServerList {
        let upstream = match before {
            Some(before) => Arc::clone(before.upstream()),
            None => Upstream::new("app", ServerSet::default()),
        };
        let servers = servers.iter().map(|text| ServerName::parse(text).unwrap()).collect();
        ServerList::new(upstream, UpstreamSettings::default(), servers, before)
    }

    fn addresses(list: &ServerList) -> Vec<String> {
        list.upstream().set().servers().map(|(own, _)| own.address().to_string()).collect()
    }

    fn answer(name: &str, hosts: &[u8]) -> Answers {
        let addresses = hosts.iter().map(|host| ([10, 0, 0, *host], 80).into()).collect();
        Answers::from([((name.into(), 80), addresses)])
    }

    #[test]
    fn a_failure_keeps_the_last_answer() {
        let own = list(&["app:80 weight=2", "unix:/a"], None);
        assert_eq!(own.names(), [("app".into(), 80)]);
        own.learn(Answers::new());
        assert_eq!(addresses(&own), ["unix:/a"]);
        own.learn(answer("app", &[1, 2]));
        assert_eq!(addresses(&own), ["10.0.0.1:80", "10.0.0.2:80", "unix:/a"]);
        for failed in [Answers::new(), answer("app", &[]), answer("other", &[9])] {
            own.learn(failed);
            assert_eq!(addresses(&own), ["10.0.0.1:80", "10.0.0.2:80", "unix:/a"]);
        }
        own.learn(answer("app", &[2, 3]));
        assert_eq!(addresses(&own), ["10.0.0.2:80", "10.0.0.3:80", "unix:/a"]);
    }

    #[test]
    fn an_answer_for_an_earlier_configuration_comes_too_late() {
        let first = list(&["app:80"], None);
        first.learn(answer("app", &[1]));
        let second = list(&["unix:/a"], Some(&first));
        second.learn(Answers::new());
        first.learn(answer("app", &[2]));
        assert_eq!(addresses(&second), ["unix:/a"]);
    }

    #[test]
    fn another_configuration_knows_what_the_last_knew() {
        let first = list(&["app:80"], None);
        first.learn(answer("app", &[1]));
        let second = list(&["app:80", "10.0.0.9:80"], Some(&first));
        second.learn(Answers::new());
        assert_eq!(addresses(&second), ["10.0.0.1:80", "10.0.0.9:80"]);
    }
}
