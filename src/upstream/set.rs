//! The servers of an upstream at one time.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use super::balance::{Balance, Candidate};
use super::health::HealthSettings;
use super::server::{Server, ServerState};
use super::slow_start::grown;
use super::tls::{ServerTls, UpstreamTls};
use super::{Pick, ServerReport};
use crate::timer::Millis;
use crate::transport::ServerAddress;

/// What holds for all servers of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// How connections are spread over them.
    pub balance: Balance,
    /// The most connections of each server; 0 for any number.
    pub connections_max: u32,
    /// How long a connection may take to stand, in milliseconds.
    pub connect_ms: u64,
    /// How long the reply to a request may take once the connection stands, in milliseconds.
    pub reply_ms: u64,
    /// How long a server that could not be reached gets nothing, in milliseconds.
    pub fail_ms: u64,
    /// How long the part of a server grows that has come or come back, in milliseconds; 0 for not at all.
    pub slow_start_ms: u64,
    /// How servers are checked; `None` for not at all.
    pub health: Option<HealthSettings>,
    /// How they are reached with TLS; `None` for without.
    pub tls: Option<UpstreamTls>,
    /// The addresses that connections to them come from, in turn; with none the kernel chooses.
    pub local_addresses: Vec<IpAddr>,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            connections_max: 0,
            connect_ms: 5_000,
            reply_ms: 10_000,
            fail_ms: 10_000,
            slow_start_ms: 0,
            health: None,
            tls: None,
            local_addresses: Vec::new(),
        }
    }
}

/// A server of a set that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedServer {
    /// Where it listens.
    pub address: ServerAddress,
    /// Its part of the connections, 1 or more.
    pub weight: u32,
    /// The name that has led to the address, if one has.
    pub host: Option<Box<str>>,
}

impl From<(ServerAddress, u32)> for ListedServer {
    /// One that is configured by its address.
    fn from((address, weight): (ServerAddress, u32)) -> Self {
        Self { address, weight, host: None }
    }
}

/// Servers with their weights, and the settings of their upstream.
#[derive(Debug, Default)]
pub struct ServerSet {
    settings: UpstreamSettings,
    members: Vec<Member>,
    /// Those that have left and are not done with, the last one to leave first.
    departed: Vec<Arc<Server>>,
    /// Rises with each configuration.
    revision: u64,
}

#[derive(Debug)]
struct Member {
    server: Arc<Server>,
    weight: u32,
    hash: u64,
    host: Option<Box<str>>,
}

impl ServerSet {
    /// These servers; of one that stands there twice the first counts. Those that `before` has or remembers stay the same, with their connections.
    #[must_use]
    pub fn new(
        settings: UpstreamSettings,
        servers: impl IntoIterator<Item = impl Into<ListedServer>>,
        before: Option<&Self>,
    ) -> Self {
        let mut members: Vec<Member> = Vec::new();
        for ListedServer { address, weight, host } in servers.into_iter().map(Into::into) {
            if members.iter().any(|own| *own.server.address() == address) {
                continue;
            }
            let known = before.and_then(|before| before.server_or_departed(&address));
            let mut hasher = DefaultHasher::new();
            address.hash(&mut hasher);
            let server = known.cloned().unwrap_or_else(|| Server::new(address));
            if settings.health.is_none() {
                // Nothing would say so any more.
                server.set_healthy(true);
            }
            members.push(Member { server, weight: weight.max(1), hash: hasher.finish(), host });
        }
        let mut next = Self { settings, members, departed: Vec::new(), revision: 0 };
        if let Some(before) = before {
            next.revision = before.revision;
            // A loop may be about to use one that has only just left.
            let just_left = before.members.iter().map(|own| &own.server);
            let all = just_left.chain(before.departed.iter().filter(|own| own.is_in_use()));
            let left = all.filter(|own| next.server(own.address()).is_none());
            next.departed = left.take(DEPARTED_MAX).cloned().collect();
        }
        next
    }

    /// The set as that of a later configuration.
    pub(super) fn with_revision(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    /// Rises with each configuration.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// The servers with their weights, in order.
    pub fn servers(&self) -> impl Iterator<Item = (&Arc<Server>, u32)> {
        self.members.iter().map(|own| (&own.server, own.weight))
    }

    /// The server at this address.
    #[must_use]
    pub fn server(&self, address: &ServerAddress) -> Option<&Arc<Server>> {
        self.members.iter().map(|own| &own.server).find(|own| own.address() == address)
    }

    /// How a connection to a server speaks TLS, if it does.
    #[must_use]
    pub fn tls(&self, server: &Server) -> Option<ServerTls> {
        let tls = self.settings.tls.as_ref()?;
        let member = self.members.iter().find(|own| own.server.address() == server.address());
        Some(tls.of_server(server.address(), member.and_then(|own| own.host.as_deref())))
    }

    /// The address that a connection to this server comes from, if any of its family is configured: that
    /// whose turn it is by this number.
    pub(super) fn local_address(&self, server: &ServerAddress, turn: usize) -> Option<IpAddr> {
        let all = &self.settings.local_addresses;
        if all.is_empty() {
            return None;
        }
        let is_ipv4 = server.tcp()?.is_ipv4();
        let of_family = || all.iter().filter(|own| own.is_ipv4() == is_ipv4);
        of_family().nth(turn.checked_rem(of_family().count())?).copied()
    }

    /// As [`ServerSet::server`], also one that has left and is remembered.
    fn server_or_departed(&self, address: &ServerAddress) -> Option<&Arc<Server>> {
        let departed = || self.departed.iter().find(|own| own.address() == address);
        self.server(address).or_else(departed)
    }

    /// All servers, and what is known of each.
    pub(super) fn reports(
        &self,
        now: Millis,
    ) -> impl Iterator<Item = (&Arc<Server>, ServerReport)> {
        let listed = self.members.iter().map(|own| (&own.server, Some(own.weight)));
        let departed = self.departed.iter().filter(|own| own.is_in_use()).map(|own| (own, None));
        listed.chain(departed).map(move |(server, weight)| {
            let report = ServerReport {
                address: server.address().to_string(),
                weight: weight.unwrap_or_default(),
                state: server.state(now),
                is_listed: weight.is_some(),
                connections: server.connections(),
                counts: server.counts(),
            };
            (server, report)
        })
    }

    /// See [`Upstream::pick`](super::Upstream::pick).
    pub(super) fn pick(&self, now: Millis, key: u64, random: u64, tried: &[Arc<Server>]) -> Pick {
        let is_tried = |server: &Arc<Server>| tried.iter().any(|other| Arc::ptr_eq(server, other));
        let mut is_full = false;
        // Those that could not be reached or are unhealthy are asked when no other is there: a server
        // that comes back is found at once, with one server alone its next client finds out, and a check
        // that is itself wrong takes no client away from all servers.
        for is_last_choice in [false, true] {
            let is_wanted = |state: ServerState| match state {
                ServerState::Up => !is_last_choice,
                ServerState::Failed | ServerState::Unhealthy => is_last_choice,
                ServerState::Drained => false,
            };
            let may = |own: &&Member| is_wanted(own.server.state(now)) && !is_tried(&own.server);
            let mut members: Vec<&Member> = self.members.iter().filter(may).collect();
            while !members.is_empty() {
                let candidates: Vec<Candidate> = members
                    .iter()
                    .map(|own| own.candidate(now, self.settings.slow_start_ms))
                    .collect();
                let Some(index) = self.settings.balance.choose(&candidates, key, random) else {
                    break;
                };
                match members[index].server.take(self.settings.connections_max) {
                    Some(permit) => return Pick::Server(permit),
                    None => is_full = true,
                }
                members.remove(index);
            }
        }
        if is_full { Pick::Full } else { Pick::Nothing }
    }
}

impl Member {
    fn candidate(&self, now: Millis, slow_start_ms: u64) -> Candidate {
        let connections = self.server.connections();
        let weight = match slow_start_ms {
            0 => self.weight,
            _ => grown(self.weight, self.server.age_ms(now), slow_start_ms),
        };
        Candidate { hash: self.hash, weight, connections }
    }
}

/// Servers that have left and are remembered; of more than that the counts begin anew if they come back.
const DEPARTED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::{HealthKind, ServerCounts, ServerPermit, Upstream};
    use super::*;

    const NOW: Millis = Millis(1_000);

    fn address(port: u16) -> ServerAddress {
        ServerAddress::Tcp(([127, 0, 0, 1], port).into())
    }

    fn upstream(ports: &[u16], settings: UpstreamSettings) -> Arc<Upstream> {
        let servers = ports.iter().map(|port| (address(*port), 1));
        Upstream::new("app", ServerSet::new(settings, servers, None))
    }

    fn picked(upstream: &Upstream, now: Millis, tried: &[Arc<Server>]) -> Option<ServerPermit> {
        match upstream.pick(now, 7, 3, tried) {
            Pick::Server(permit) => Some(permit),
            Pick::Full | Pick::Nothing => None,
        }
    }

    /// From now on the upstream has these servers.
    fn replace(upstream: &Upstream, servers: &[(ServerAddress, u32)]) {
        let settings = UpstreamSettings::default;
        upstream.update(|before| {
            Some(ServerSet::new(settings(), servers.iter().cloned(), Some(before)))
        });
    }

    #[test]
    fn connections_are_counted_until_their_permits_are_dropped() {
        let upstream = upstream(&[1, 2], UpstreamSettings::default());
        let counts = || -> Vec<u32> {
            upstream.set().servers().map(|(server, _)| server.connections()).collect()
        };
        let permits: Vec<_> = (0..6).map(|_| picked(&upstream, NOW, &[]).unwrap()).collect();
        assert_eq!(counts(), [3, 3]);
        drop(permits);
        assert_eq!(counts(), [0, 0]);
    }

    #[test]
    fn counts_outlive_a_change_of_the_servers() {
        let upstream = upstream(&[1, 2], UpstreamSettings::default());
        let permits: Vec<_> = (0..4).map(|_| picked(&upstream, NOW, &[]).unwrap()).collect();
        let servers = [(address(2), 1), (address(3), 1), (address(3), 9)];
        replace(&upstream, &servers);
        let counts: Vec<u32> = upstream.set().servers().map(|own| own.0.connections()).collect();
        assert_eq!(counts, [2, 0]);
        assert_eq!(picked(&upstream, NOW, &[]).unwrap().server().address(), &address(3));
        drop(permits);
        assert_eq!(upstream.set().server(&address(2)).unwrap().connections(), 0);
    }

    /// The addresses with their connections, those that have left among them.
    fn reported(upstream: &Upstream) -> Vec<(String, u32, bool)> {
        let servers = upstream.report(NOW).servers.into_iter();
        servers.map(|own| (own.address, own.connections, own.is_listed)).collect()
    }

    #[test]
    fn a_server_that_leaves_is_the_same_when_it_comes_back() {
        let upstream = upstream(&[1, 2], UpstreamSettings::default());
        let permits: Vec<_> = (0..4).map(|_| picked(&upstream, NOW, &[]).unwrap()).collect();
        assert!(upstream.set_drained("127.0.0.1:1", true, NOW).is_some());
        assert_eq!(upstream.set_drained("127.0.0.1:9", true, NOW), None);
        replace(&upstream, &[(address(3), 1)]);
        let (one, two) = ("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned());
        let three = ("127.0.0.1:3".to_owned(), 0, true);
        let left = [three.clone(), (one.clone(), 2, false), (two, 2, false)];
        assert_eq!(reported(&upstream), left);
        drop(permits);
        assert_eq!(reported(&upstream), [three.clone(), (one.clone(), 0, false)]);
        replace(&upstream, &[(address(1), 1), (address(3), 1)]);
        assert_eq!(reported(&upstream), [(one, 0, true), three]);
        let states: Vec<_> = upstream.report(NOW).servers.iter().map(|own| own.state).collect();
        assert_eq!(states, [ServerState::Drained, ServerState::Up]);
        // What has left can be put back as well, and is forgotten then.
        replace(&upstream, &[(address(3), 1)]);
        let report = upstream.set_drained("127.0.0.1:1", false, NOW).unwrap();
        assert_eq!((report.state, report.is_listed), (ServerState::Up, false));
        assert_eq!(reported(&upstream).len(), 1);
    }

    #[test]
    fn what_becomes_of_connections_is_counted_by_server() {
        let upstream = upstream(&[1], UpstreamSettings::default());
        let set = upstream.set();
        let server = set.server(&address(1)).unwrap();
        drop((picked(&upstream, NOW, &[]), picked(&upstream, NOW, &[])));
        server.note_reached(30);
        // An answer over a connection that stands says nothing of how long connecting takes.
        server.note_answered();
        upstream.note_failed(server, NOW);
        let expected = ServerCounts { connects: 2, failures: 1, reached: 1, reached_ms: 30 };
        assert_eq!(server.counts(), expected);
    }

    #[test]
    fn a_server_that_could_not_be_reached_is_the_last_choice_for_a_while() {
        let upstream = upstream(&[1, 2], UpstreamSettings::default());
        let set = upstream.set();
        let first = set.server(&address(1)).unwrap();
        upstream.note_failed(first, NOW);
        for _ in 0..5 {
            assert_eq!(picked(&upstream, NOW, &[]).unwrap().server().address(), &address(2));
        }
        let second = Arc::clone(set.server(&address(2)).unwrap());
        let last = picked(&upstream, NOW, std::slice::from_ref(&second)).unwrap();
        assert_eq!(last.server().address(), &address(1));
        assert_eq!(first.state(NOW.plus(10_000)), ServerState::Up);
        first.note_reached(3);
        assert_eq!(first.state(NOW), ServerState::Up);
        let all = [Arc::clone(first), second];
        assert!(matches!(upstream.pick(NOW, 0, 0, &all), Pick::Nothing));
    }

    /// In each tenth of the time a server that is back gets as many of the new connections as its part of
    /// all of them has become larger.
    #[test]
    fn the_part_of_a_server_that_comes_back_grows() {
        for away in ["drained", "failed", "new"] {
            let settings = UpstreamSettings { slow_start_ms: 1_000, ..UpstreamSettings::default() };
            let ports: &[u16] = if away == "new" { &[1] } else { &[1, 2] };
            let upstream = upstream(ports, settings.clone());
            let known = upstream.set().server(&address(2)).cloned();
            let second = known.unwrap_or_else(|| Server::new(address(2)));
            // All are whole by then.
            drop(picked(&upstream, Millis(0), &[]));
            let mut now = Millis(10_000);
            match away {
                "drained" => second.set_drained(true),
                "failed" => upstream.note_failed(&second, now),
                _ => {}
            }
            let mut permits: Vec<_> = (0..1000).map(|_| picked(&upstream, now, &[])).collect();
            now = now.plus(settings.fail_ms);
            second.set_drained(false);
            if away == "new" {
                let servers = [(address(1), 1), (address(2), 1)];
                upstream.update(|before| {
                    Some(ServerSet::new(settings.clone(), servers.clone(), Some(before)))
                });
            }
            let mut count = |now: Millis| {
                permits.push(picked(&upstream, now, &[]));
                upstream.set().server(&address(2)).unwrap().connections()
            };
            let at_once = (0..20).map(|_| count(now)).last().unwrap();
            let early = (0..150).map(|_| count(now.plus(100))).last().unwrap();
            let late = (0..2000).map(|_| count(now.plus(1_000))).last().unwrap();
            assert!((9..=11).contains(&at_once), "{away}: {at_once}");
            assert!((100..=112).contains(&early), "{away}: {early}");
            assert_eq!(late, 1585, "{away}: half of all");
        }
    }

    #[test]
    fn a_drained_server_gets_nothing_new_even_if_it_is_the_only_one() {
        let upstream = upstream(&[1], UpstreamSettings::default());
        let set = upstream.set();
        let only = set.server(&address(1)).unwrap();
        let permit = picked(&upstream, NOW, &[]).unwrap();
        only.set_drained(true);
        assert!(matches!(upstream.pick(NOW, 0, 0, &[]), Pick::Nothing));
        assert_eq!((only.state(NOW), only.connections()), (ServerState::Drained, 1));
        only.set_drained(false);
        assert!(picked(&upstream, NOW, &[]).is_some());
        drop(permit);
    }

    #[test]
    fn unhealthy_servers_are_the_last_choice_until_nothing_checks_them() {
        let settings = || {
            let path = "/".to_owned();
            let (kind, host) = (HealthKind::Get, None);
            let (every_ms, timeout_ms, fall, rise) = (1, 1, 1, 1);
            let health = HealthSettings { kind, path, host, every_ms, timeout_ms, fall, rise };
            UpstreamSettings { health: Some(health), ..UpstreamSettings::default() }
        };
        let upstream = upstream(&[1, 2], settings());
        let set = upstream.set();
        let [first, second] = [1, 2].map(|port| set.server(&address(port)).unwrap());
        assert!(first.set_healthy(false) && !first.set_healthy(false));
        for _ in 0..5 {
            assert_eq!(picked(&upstream, NOW, &[]).unwrap().server().address(), &address(2));
        }
        // All servers being unhealthy, all are tried rather than none.
        second.set_healthy(false);
        let permits = [picked(&upstream, NOW, &[]), picked(&upstream, NOW, &[])];
        let counts = [first, second].map(|own| own.connections());
        assert_eq!((permits.len(), counts), (2, [1, 1]));
        assert_eq!(first.state(NOW), ServerState::Unhealthy);
        replace(&upstream, &[(address(1), 1), (address(2), 1)]);
        assert_eq!(first.state(NOW), ServerState::Up);
    }

    #[test]
    fn no_server_gets_more_than_it_may_have() {
        let settings = UpstreamSettings { connections_max: 2, ..UpstreamSettings::default() };
        let upstream = upstream(&[1, 2], settings);
        let mut permits: Vec<_> = (0..4).map(|_| picked(&upstream, NOW, &[]).unwrap()).collect();
        assert!(matches!(upstream.pick(NOW, 0, 0, &[]), Pick::Full));
        permits.pop();
        assert!(picked(&upstream, NOW, &[]).is_some());
    }
}
