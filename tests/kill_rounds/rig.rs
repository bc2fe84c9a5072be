//! Gateways with one engine, members and publishers, and rounds with a fault in each.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::endpoints::{Endpoint, Endpoints};
use crate::gateway::Gateway;
use crate::members::{Member, publication};
use crate::model::{Model, Position, Promise, Summary};
use crate::publishers::{Caller, KEY, Publishers, position_of};
use crate::random::Random;
use crate::skip::say;
use crate::wait::{now, until};

/// All that runs beside the engine. Ends with it, members first.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) random: Random,
    members: Vec<Member>,
    publishers: Publishers,
    caller: Caller,
    model: Model,
    channels: Vec<String>,
    endpoints: Endpoints,
    /// The table of the engine, for each gateway.
    engines: Vec<String>,
    gateways: Vec<Gateway>,
    name: &'static str,
    seed: u64,
}

impl Rig {
    /// Starts a gateway for each of these tables, and waits until all members are in all channels.
    pub(crate) fn start(name: &'static str, promise: Promise, engines: Vec<String>) -> Self {
        let seed = seed();
        say(&format!("{name}: TIDEGATE_SEED={seed}"));
        let mut random = Random(seed);
        let gateways: Vec<Gateway> = engines.iter().map(|engine| gateway(engine)).collect();
        let endpoints = Endpoints::new(gateways.iter().map(endpoint).collect());
        let channels: Vec<String> = ["kept:a", "kept:b", "kept:c"].map(str::to_owned).into();
        let members = (0..MEMBERS)
            .map(|_| Member::start(endpoints.clone(), channels.clone(), Random(random.next())));
        let members: Vec<Member> = members.collect();
        let publishers = Publishers::start(&endpoints, &channels, &mut random);
        let own = Self {
            members,
            publishers,
            caller: Caller::new(endpoints.clone(), Random(random.next())),
            model: Model::new(promise, KEPT, channels.len(), MEMBERS),
            channels,
            endpoints,
            engines,
            gateways,
            name,
            seed,
            random,
        };
        until("all members are everywhere", || {
            let mut endpoints = own
                .members
                .iter()
                .flat_map(|member| (0..own.channels.len()).map(|channel| member.position(channel)));
            endpoints.all(|position| position.is_some()).then_some(())
        });
        own
    }

    /// Makes rounds with this fault, which says since when it is over, and prints what they have come to.
    pub(crate) fn rounds(&mut self, fault: impl FnMut(&mut Self) -> Instant) {
        self.make(rounds(), fault);
    }

    /// The same with a fault that takes long: a fifth of the rounds, at least one.
    pub(crate) fn few_rounds(&mut self, fault: impl FnMut(&mut Self) -> Instant) {
        self.make(rounds().div_ceil(5), fault);
    }

    /// The same with one round, however many are wanted.
    pub(crate) fn one_round(&mut self, fault: impl FnMut(&mut Self) -> Instant) {
        self.make(1, fault);
    }

    fn make(&mut self, rounds: usize, mut fault: impl FnMut(&mut Self) -> Instant) {
        let mut total = Summary::default();
        let mut times = Vec::new();
        for round in 0..rounds {
            let (summary, live) = self.round(round, &mut fault);
            total.acknowledged += summary.acknowledged;
            total.unanswered += summary.unanswered;
            total.lost += summary.lost;
            total.told += summary.told;
            times.push(live.as_millis());
        }
        times.sort_unstable();
        let Summary { acknowledged, unanswered, lost, told } = total;
        say(&format!(
            "{}: {rounds} rounds, {acknowledged} acknowledged, {unanswered} not answered, {lost} lost, {told} \
             times told; live again after {} ms (median), {} ms (longest)",
            self.name,
            times[times.len() / 2],
            times[times.len() - 1],
        ));
    }

    fn round(
        &mut self,
        round: usize,
        fault: &mut impl FnMut(&mut Self) -> Instant,
    ) -> (Summary, Duration) {
        self.publish_some(BEFORE);
        self.publishers.give(MEANWHILE);
        let since = fault(self);
        self.publishers.give(AFTERWARDS);
        self.reach_all();
        let live = now() - since;
        self.publishers.pause();
        until("the publishers are idle", || self.publishers.is_idle().then_some(()));
        self.reach_all();
        for own in self.publishers.take_published() {
            self.model.attempted(own.channel, own.id);
            if let Some(position) = own.position {
                self.model.acknowledged(own.channel, own.id, position);
            }
        }
        let ends = self.settle();
        match self.model.end_round(&ends) {
            Ok(summary) => (summary, live),
            Err(faults) => {
                let (name, seed) = (self.name, self.seed);
                panic!("{name}, round {round}, TIDEGATE_SEED={seed}:\n{faults}")
            }
        }
    }

    /// Has the publishers make this many more, and waits until a random part has come to an end.
    pub(crate) fn publish_some(&mut self, count: u64) {
        let wanted = self.publishers.done() + 1 + self.random.below(count);
        self.publishers.give(count);
        until("there is an end to publications", || {
            (self.publishers.done() >= wanted).then_some(())
        });
    }

    /// Has about half of the members break their connections.
    pub(crate) fn move_some(&mut self) {
        for member in &self.members {
            if self.random.is_heads() {
                member.move_on();
            }
        }
    }

    /// Publishes in each channel, and waits until all members are there.
    pub(crate) fn reach_all(&mut self) {
        until("all members are live", || {
            let ends: Vec<Position> =
                (0..self.channels.len()).map(|channel| self.publish(channel)).collect();
            // Where the epoch has changed meanwhile, none of them gets there.
            (0..POLLS).find_map(|_| self.are_at(&ends, |own, end| own >= end))
        });
    }

    /// Publishes until it is acknowledged.
    fn publish(&mut self, channel: usize) -> Position {
        let id = self.publishers.next_id();
        let name = &self.channels[channel];
        let body = json!({ "channel": name, "data": id, "idempotency_key": id.to_string() });
        self.model.attempted(channel, id);
        let result =
            until("a publication is acknowledged", || self.caller.call("publish", &body).ok());
        let position = position_of(&result);
        self.model.acknowledged(channel, id, position.clone());
        position
    }

    fn are_at(&self, ends: &[Position], is_there: impl Fn(u64, u64) -> bool) -> Option<()> {
        crate::wait::pass(crate::members::TICK);
        let mut all = self.members.iter().flat_map(|member| {
            ends.iter().enumerate().map(|(channel, end)| (member.position(channel), end))
        });
        let are_there = all.all(|(position, end)| {
            position.is_some_and(|own| own.epoch == end.epoch && is_there(own.offset, end.offset))
        });
        are_there.then_some(())
    }

    /// Reads all histories, until all members are where these end, and takes what the members have seen: what was
    /// not answered may come late, also while that is done.
    fn settle(&mut self) -> Vec<(Position, Vec<(u64, u64)>)> {
        until("members and histories agree", || {
            let ends: Vec<_> =
                (0..self.channels.len()).map(|channel| self.history(channel)).collect();
            let endpoints: Vec<Position> = ends.iter().map(|(end, _)| end.clone()).collect();
            let agree = (0..POLLS).find_map(|_| self.are_at(&endpoints, |own, end| own == end));
            agree?;
            for (number, member) in self.members.iter().enumerate() {
                for (channel, seen) in member.take_seen() {
                    self.model.seen(number, channel, seen);
                }
            }
            self.are_at(&endpoints, |own, end| own == end).map(|()| ends)
        })
    }

    fn history(&mut self, channel: usize) -> (Position, Vec<(u64, u64)>) {
        let mut entries: Vec<(u64, u64)> = Vec::new();
        let mut since = Value::Null;
        loop {
            let mut body = json!({ "channel": self.channels[channel], "limit": PAGE });
            if !since.is_null() {
                body["since"] = since;
            }
            let page = until("a history is read", || self.caller.call("history", &body).ok());
            let end = position_of(&page);
            let publications = page["publications"].as_array().unwrap();
            entries.extend(publications.iter().map(publication));
            let Some((offset, _)) = entries.last().filter(|_| publications.len() == PAGE) else {
                return (end, entries);
            };
            since = json!({ "offset": offset, "epoch": end.epoch });
        }
    }

    pub(crate) fn any_gateway(&mut self) -> usize {
        self.random.index(self.gateways.len())
    }

    pub(crate) fn kill_gateway(&mut self, index: usize) {
        self.gateways[index].signal(Signal::KILL);
        self.endpoints.get(index).set_away(true);
        self.gateways[index].exit_status();
    }

    /// Starts one again that was killed, at other ports.
    pub(crate) fn restart_gateway(&mut self, index: usize) {
        self.gateways[index] = gateway(&self.engines[index]);
        self.endpoints.replace(index, endpoint(&self.gateways[index]));
    }

    pub(crate) fn pause_gateway(&self, index: usize) {
        self.gateways[index].signal(Signal::STOP);
        self.endpoints.get(index).set_away(true);
    }

    pub(crate) fn resume_gateway(&self, index: usize) {
        self.gateways[index].signal(Signal::CONT);
        self.endpoints.get(index).set_away(false);
    }

    /// Has clients take a gateway for one that is away, or not any more.
    pub(crate) fn set_away(&self, index: usize, is_away: bool) {
        self.endpoints.get(index).set_away(is_away);
    }

    /// Publishes at a gateway that is not away, until it is acknowledged.
    pub(crate) fn publish_one(&mut self) {
        let channel = self.random.index(self.channels.len());
        self.publish(channel);
    }

    /// Publishes at this gateway, and returns whether it is acknowledged.
    pub(crate) fn is_acknowledged_by(&mut self, index: usize) -> bool {
        let own = Endpoint::new(self.gateways[index].address(), self.gateways[index].api_address());
        let mut caller = Caller::new(Endpoints::new(vec![own]), self.random.clone());
        let (channel, id) = (self.random.index(self.channels.len()), self.publishers.next_id());
        self.model.attempted(channel, id);
        let body = json!({ "channel": self.channels[channel], "data": id });
        let Ok(result) = caller.call("publish", &body) else { return false };
        self.model.acknowledged(channel, id, position_of(&result));
        true
    }

    /// Waits until a gateway has noticed an outage since it had noticed this many, or is still in the last one.
    pub(crate) fn away_since(&self, index: usize, before: usize) {
        let is_away = || {
            let outages = outages(&self.gateways[index]);
            (outages > before || outages >= arrivals(&self.gateways[index])).then_some(())
        };
        until("a gateway notices an outage", is_away);
    }

    /// The same, of all gateways.
    pub(crate) fn all_away_since(&self, before: &[usize]) {
        for (index, before) in before.iter().enumerate() {
            self.away_since(index, *before);
        }
    }

    /// How many outages each gateway has noticed.
    pub(crate) fn outages(&self) -> Vec<usize> {
        self.gateways.iter().map(outages).collect()
    }
}

/// The outages in the log of a gateway.
fn outages(gateway: &Gateway) -> usize {
    gateway.log_lines().iter().filter(|line| line.contains("the engine is away")).count()
}

/// How often a gateway has reached the engine: once more than it was away, unless it is.
fn arrivals(gateway: &Gateway) -> usize {
    gateway.log_lines().iter().filter(|line| line.contains("the engine is reached")).count()
}

fn endpoint(gateway: &Gateway) -> Endpoint {
    Endpoint::new(gateway.address(), gateway.api_address())
}

fn gateway(engine: &str) -> Gateway {
    let gateway = Gateway::with_config(&format!(
        r#"
        loops = 2
        [api]
        address = "127.0.0.1:0"
        keys = ["{KEY}"]
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        identity = ["names"]
        [[identity]]
        name = "names"
        kind = "query"
        parameter = "user"
        [engine]
        {engine}
        [[channels.namespace]]
        name = "kept"
        history_size = {KEPT}
        history_ttl_s = 36000
        force_recovery = true
        allow_subscribe_for_client = true
        "#
    ));
    gateway.logged("the engine is reached");
    gateway
}

/// Rounds of each fault: a few, unless `scripts/kill-rounds` wants more.
fn rounds() -> usize {
    std::env::var("TIDEGATE_ROUNDS").map_or(5, |text| text.parse().unwrap())
}

/// The seed of the environment, or another each time.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    let another = |_| RandomState::new().hash_one(0) >> 32;
    std::env::var("TIDEGATE_SEED").map_or_else(another, |text| text.parse().unwrap())
}

const MEMBERS: usize = 6;
/// What publishers make in a round at most. A member that has missed more than 300 of a channel cannot recover.
const BEFORE: u64 = 80;
const MEANWHILE: u64 = 80;
const AFTERWARDS: u64 = 60;
/// What a channel keeps: more than a round has.
const KEPT: usize = 600;
const PAGE: usize = 300;
/// Until it is looked whether something else has come meanwhile.
const POLLS: usize = 300;
