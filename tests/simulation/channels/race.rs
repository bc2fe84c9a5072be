//! Publications, subscriptions, recoveries, slow readers and kills on several loops in any order: a member
//! of a channel with recovery gets everything once and in order, or is told that it does not.

use std::collections::BTreeMap;

use tidegate::centrifugo::SubscriptionOptions;
use tidegate::channels::{NamedEpoch, SlowMemberPolicy};
use tidegate::inspect::{ChannelQuestion, Query};
use tidegate::sim::{Faults, Random};

use super::*;
use crate::operator::send;

/// What a client knows of a channel with recovery, over all its connections.
#[derive(Clone, Debug, Default)]
struct Position {
    epoch: String,
    offset: u64,
}

/// A client that connects again and again.
struct Actor {
    member: Option<Member>,
    /// By the IDs of its commands, the channels that it has asked to be in.
    asked: BTreeMap<u64, &'static str>,
    /// These channels, and whether that was answered.
    channels: BTreeMap<&'static str, bool>,
    positions: BTreeMap<&'static str, Position>,
    /// What it does not read for the moment.
    is_slow: bool,
    /// Whether the token of this connection names the channel of the server.
    is_granted: bool,
    /// Whether a backend has taken this connection out of the channel of the server.
    is_taken_out: bool,
    /// Data that it has got in channels without history, on this connection.
    plain: Vec<String>,
    /// The offset of the last that it has got in [`LATEST`], on this connection.
    latest: u64,
}

/// The checker: what was published, by channel and offset.
#[derive(Default)]
struct Shadow {
    published: BTreeMap<(&'static str, u64), String>,
    /// Commands to publish by client and ID: where, what, and whether it was answered.
    sent: Vec<(usize, u32, &'static str, String)>,
    answered: BTreeMap<&'static str, Vec<String>>,
    recovered: usize,
    lost: usize,
    /// Recoveries in the first reply.
    recovered_at_connect: usize,
}

/// Where clients subscribe.
const CHANNELS: [&str; 6] = ["kept:a", "kept:b", "calm:a", "plain", "late:a", LATEST];
/// Where only the server subscribes them.
const OF_SERVER: &str = "kept:server";
const ALL: [&str; 7] = ["kept:a", "kept:b", "calm:a", "plain", "late:a", LATEST, OF_SERVER];
/// Those with recovery. Of `late:a` members are taken out that are too slow.
const KEPT: [&str; 5] = ["kept:a", "kept:b", "calm:a", "late:a", OF_SERVER];
/// Where members without a position get the latest if they are too slow.
const LATEST: &str = "latest:a";
/// Between two publications of a channel `calm:` to its members, in milliseconds.
const CONFLATE_MS: u64 = 200;

impl Actor {
    fn new() -> Self {
        Self {
            member: None,
            asked: BTreeMap::new(),
            channels: BTreeMap::new(),
            positions: BTreeMap::new(),
            is_slow: false,
            is_granted: false,
            is_taken_out: false,
            plain: Vec::new(),
            latest: 0,
        }
    }

    /// Bytes that it has received on this connection; `None` without one.
    fn bytes(&self) -> Option<usize> {
        self.member.as_ref().map(|own| own.client.received.bytes)
    }

    fn connect(
        &mut self,
        world: &World,
        (number, loop_index): (usize, usize),
        granted: bool,
        format: Format,
    ) {
        let mut member = Member { client: world.connect(loop_index), format, seen: 0, id: 0 };
        member.client.ask(format.path());
        let names: &[&str] = if granted { &[OF_SERVER] } else { &[] };
        let claims = json!({ "sub": format!("user-{number}"), "channels": names });
        let mut connect = json!({ "token": claims.to_string() });
        if let Some(Position { epoch, offset }) = self.positions.get(OF_SERVER) {
            let position = json!({ "recover": true, "offset": offset, "epoch": epoch });
            connect["subs"] = json!({ OF_SERVER: position });
        }
        member.send(json!({ "connect": connect }));
        self.is_granted = granted;
        self.is_taken_out = false;
        self.member = Some(member);
        self.channels.clear();
        self.asked.clear();
        self.plain.clear();
        self.latest = 0;
        self.is_slow = false;
    }

    fn subscribe(&mut self, channel: &'static str) {
        let Some(member) = &mut self.member else { return };
        if self.channels.contains_key(channel) {
            return;
        }
        let mut request = json!({ "channel": channel });
        if let Some(position) = self.positions.get(channel) {
            request["recover"] = true.into();
            request["offset"] = position.offset.into();
            request["epoch"] = position.epoch.clone().into();
        }
        let id = member.send(json!({ "subscribe": request }));
        self.asked.insert(u64::from(id), channel);
        self.channels.insert(channel, false);
    }

    /// Reads, and holds what has come to what may come. Whether the connection has ended.
    fn read(&mut self, number: usize, bytes_max: usize, shadow: &mut Shadow) -> Result<(), String> {
        let Some(member) = &mut self.member else { return Ok(()) };
        member.client.try_read(bytes_max)?;
        let messages = member.unseen();
        let is_over = member.close().is_some() || member.client.connection.has_ended();
        for message in messages {
            self.take(number, &message, shadow).map_err(|why| format!("{why}: {message}"))?;
        }
        if is_over {
            self.member = None;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, message: &Value, shadow: &mut Shadow) -> Result<(), String> {
        if message.get("error").is_some() {
            return Err("an error".into());
        }
        if let Some(reply) = message.get("subscribe") {
            let id = message["id"].as_u64().unwrap_or(0);
            let channel = self.asked.remove(&id).ok_or("an answer to nothing")?;
            return self.subscribed(channel, reply, shadow);
        }
        if message.get("publish").is_some() {
            let id = message["id"].as_u64();
            let is_own =
                |own: &(usize, u32, &str, String)| own.0 == number && Some(u64::from(own.1)) == id;
            let at = shadow.sent.iter().position(is_own).ok_or("an answer to nothing")?;
            let (.., channel, data) = shadow.sent.remove(at);
            shadow.answered.entry(channel).or_default().push(data);
            return Ok(());
        }
        if let Some(reply) = message.get("connect") {
            return self.connected(reply, shadow);
        }
        if let Some(push) = message.get("push") {
            let channel = ALL.iter().find(|own| push["channel"] == **own);
            let channel = *channel.ok_or("a push of another channel")?;
            if let Some(subscribed) = push.get("subscribe") {
                return self.subscribed_by_server(channel, subscribed);
            }
            if let Some(end) = push.get("unsubscribe") {
                let code = match channel {
                    OF_SERVER => 2000,
                    "late:a" => 2500,
                    _ => return Err("it is in the channel by right".into()),
                };
                if end["code"] != code {
                    return Err(format!("its membership ends with another code than {code}"));
                }
                let was_member = self.channels.remove(channel) == Some(true);
                return if was_member { Ok(()) } else { Err("the end of no subscription".into()) };
            }
            if self.channels.get(channel) != Some(&true) {
                return Err("a push of a channel without a subscription".into());
            }
            if channel == LATEST {
                let offset = push["pub"]["offset"].as_u64().ok_or("no offset")?;
                let before = std::mem::replace(&mut self.latest, offset);
                let is_later = offset > before;
                return if is_later { Ok(()) } else { Err(format!("behind {before}")) };
            }
            // Members of a channel with an interval get the latest of what was published in it.
            let is_whole = !channel.starts_with("calm");
            return self.published(channel, &push["pub"], is_whole, shadow);
        }
        Ok(())
    }

    fn subscribed(
        &mut self,
        channel: &'static str,
        reply: &Value,
        shadow: &mut Shadow,
    ) -> Result<(), String> {
        self.channels.insert(channel, true);
        let Some(epoch) = reply["epoch"].as_str() else { return Ok(()) };
        let offset = reply["offset"].as_u64().unwrap_or(0);
        let before = self.positions.get(channel).cloned();
        let is_recovered = reply["recovered"] == true;
        if before.is_some() != (reply["was_recovering"] == true) {
            return Err("it does not say whether it has recovered".into());
        }
        match (is_recovered, &before) {
            (true, Some(before)) if (before.offset, &*before.epoch) != (offset, epoch) => {
                return Err(format!("recovered from elsewhere than {before:?}"));
            }
            (true, _) => shadow.recovered += 1,
            (false, Some(_)) => shadow.lost += 1,
            (false, None) => {}
        }
        self.positions.insert(channel, Position { epoch: epoch.to_owned(), offset });
        for publication in reply["publications"].as_array().into_iter().flatten() {
            self.published(channel, publication, true, shadow)?;
        }
        Ok(())
    }

    /// It is connected, and in the channels of the reply.
    fn connected(&mut self, reply: &Value, shadow: &mut Shadow) -> Result<(), String> {
        let own = &reply["subs"][OF_SERVER];
        if !own.is_object() {
            let lacks = self.is_granted && !self.is_taken_out;
            return if lacks { Err("it lacks its channel".into()) } else { Ok(()) };
        }
        // One that a backend has added meanwhile is not asked for what was missed.
        if !self.is_granted || self.is_taken_out {
            self.subscribed_by_server(OF_SERVER, own)?;
            for publication in own["publications"].as_array().into_iter().flatten() {
                self.published(OF_SERVER, publication, true, shadow)?;
            }
            return Ok(());
        }
        shadow.recovered_at_connect += usize::from(own["recovered"] == true);
        self.subscribed(OF_SERVER, own, shadow)
    }

    /// The server has made it a member: where it goes on from.
    fn subscribed_by_server(&mut self, channel: &'static str, own: &Value) -> Result<(), String> {
        if self.channels.insert(channel, true) == Some(true) {
            return Err("it was subscribed".into());
        }
        let epoch = own["epoch"].as_str().ok_or("no epoch")?.to_owned();
        let offset = own["offset"].as_u64().unwrap_or(0);
        self.positions.insert(channel, Position { epoch, offset });
        Ok(())
    }

    fn published(
        &mut self,
        channel: &'static str,
        publication: &Value,
        is_whole: bool,
        shadow: &mut Shadow,
    ) -> Result<(), String> {
        let data = publication["data"].as_str().ok_or("no data")?.to_owned();
        let Some(offset) = publication.get("offset").and_then(Value::as_u64) else {
            if self.plain.contains(&data) {
                return Err("it has that".into());
            }
            self.plain.push(data);
            return Ok(());
        };
        let position = self.positions.get_mut(channel).ok_or("no position")?;
        let is_next = offset == position.offset + 1;
        if !is_next && (is_whole || offset <= position.offset) {
            return Err(format!("behind {}", position.offset));
        }
        position.offset = offset;
        let known = shadow.published.entry((channel, offset)).or_insert_with(|| data.clone());
        if *known != data {
            return Err(format!("others got {known}"));
        }
        Ok(())
    }
}

struct Race {
    world: World,
    random: Random,
    actors: Vec<Actor>,
    shadow: Shadow,
    loops: usize,
}

impl Race {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let loops = 1 + random.below(3);
        let faults = Faults { short_writes: 20, ..Faults::default() };
        let mut setup = setup(loops, seed);
        setup.faults = faults;
        setup.backlog_messages_max = Some(12);
        let size = [2, 8, 40][random.below(3)];
        let calm = Namespace { conflate_ms: CONFLATE_MS, ..kept_namespace("calm", size) };
        let slow_policy = SlowMemberPolicy::KeepLatest;
        let late = Namespace { slow_policy, ..kept_namespace("late", size) };
        let force_recovery = false;
        let latest = Namespace { slow_policy, force_recovery, ..kept_namespace("latest", size) };
        let kept = kept_namespace("kept", size);
        let namespaces = [open_namespace(""), kept, calm, late, latest];
        let mut settings = settings_with_tokens(namespaces);
        if random.percent(50) {
            // Who recovers waits for its turn behind another.
            settings.limits.long_answers_work = 1;
        }
        let world = world(&setup, settings);
        world.network.set_send_buffer_bytes(1500);
        let actors = (0..2 + random.below(5)).map(|_| Actor::new()).collect();
        Self { world, random, actors, shadow: Shadow::default(), loops }
    }

    fn step(&mut self, serial: usize) -> Result<(), String> {
        let number = self.random.below(self.actors.len());
        let channel = CHANNELS[self.random.below(CHANNELS.len())];
        let published_to = ALL[self.random.below(ALL.len())];
        let actor = &mut self.actors[number];
        match self.random.below(20) {
            0..=9 if actor.member.is_none() => {
                // What its former connection has sent is answered no more, and IDs begin anew.
                self.shadow.sent.retain(|own| own.0 != number);
                if actor.is_taken_out {
                    // Before that is done it would concern the next connection.
                    for loop_index in 0..self.loops {
                        self.world.server.step_loop(loop_index)?;
                    }
                }
                let loop_index = self.random.below(self.loops);
                let granted = self.random.percent(50);
                // It may come back with another.
                let format = Format::of(self.random.below(FORMATS.len()));
                actor.connect(&self.world, (number, loop_index), granted, format);
            }
            2..=4 => actor.subscribe(channel),
            5 if actor.channels.get(channel) == Some(&true) => {
                if let Some(member) = &mut actor.member {
                    member.send(json!({ "unsubscribe": { "channel": channel } }));
                    // What is under way still comes, so all is read before.
                    self.read_out(number)?;
                    let actor = &mut self.actors[number];
                    actor.channels.remove(channel);
                    actor.positions.remove(channel);
                }
            }
            6..=12 => {
                if let Some(member) = &mut actor.member {
                    let data = format!("{serial} {}", "x".repeat(self.random.below(300)));
                    let id = member
                        .send(json!({ "publish": { "channel": published_to, "data": data } }));
                    self.shadow.sent.push((number, id, published_to, data));
                }
            }
            13 if self.random.percent(30) => self.world.skip(self.random.below(150) as u64),
            13 => actor.is_slow = self.random.percent(50),
            16 => self.ask_as_backend(number),
            14 | 15 if self.random.percent(40) => {
                if let Some(member) = actor.member.take() {
                    member.client.connection.reset();
                }
            }
            _ => {
                if !actor.is_slow {
                    let bytes_max = 1 + self.random.below(4000);
                    actor.read(number, bytes_max, &mut self.shadow)?;
                }
            }
        }
        for _ in 0..self.random.below(4) {
            self.world.server.step_loop(self.random.below(self.loops))?;
        }
        Ok(())
    }

    /// A backend subscribes a user to the channel of the server, or takes it out.
    fn ask_as_backend(&mut self, number: usize) {
        let (user, channel) = (Arc::from(format!("user-{number}")), Arc::from(OF_SERVER));
        let position = self.actors[number].positions.get(OF_SERVER);
        let recover = position.map(|own| (own.offset, NamedEpoch::parse(&own.epoch)));
        let question = if self.random.percent(60) {
            let recover = recover.filter(|_| self.random.percent(50));
            let options = Box::<SubscriptionOptions>::default();
            ChannelQuestion::Subscribe { user, channel, client: None, recover, options }
        } else {
            ChannelQuestion::Unsubscribe { user, channel: Some(channel), client: None }
        };
        for loop_index in 0..self.loops {
            let question = question.clone();
            send(&self.world, loop_index, |reply| Query::Channels { question, reply });
        }
        let actor = &mut self.actors[number];
        actor.is_taken_out |= matches!(question, ChannelQuestion::Unsubscribe { .. });
    }

    /// A client reads all that there is for it.
    fn read_out(&mut self, number: usize) -> Result<(), String> {
        let mut is_quiet = false;
        while !is_quiet {
            self.world.try_settle()?;
            let before = self.actors[number].bytes();
            self.actors[number].read(number, usize::MAX, &mut self.shadow)?;
            is_quiet = before == self.actors[number].bytes();
        }
        Ok(())
    }

    /// Everybody reads all that there is, and is then where each channel is.
    fn finish(&mut self) -> Result<(), String> {
        for number in 0..self.actors.len() {
            self.read_out(number)?;
        }
        // What waits for its time goes out.
        self.world.try_pass(2 * CONFLATE_MS)?;
        for number in 0..self.actors.len() {
            self.read_out(number)?;
        }
        self.latest_is_there()?;
        for channel in KEPT {
            let mut asker = Member::connected(&mut self.world, 0);
            let reply = asker.ask(&mut self.world, json!({ "history": { "channel": channel } }));
            let top = reply["history"]["offset"].as_u64().unwrap_or(0);
            for (number, actor) in self.actors.iter().enumerate() {
                let is_member =
                    actor.member.is_some() && actor.channels.get(channel) == Some(&true);
                let offset = actor.positions.get(channel).map(|own| own.offset);
                if is_member && offset != Some(top) {
                    return Err(format!("client {number} is at {offset:?} of {top} in {channel}"));
                }
            }
            // Each one that was answered has one offset, and what has an offset was sent.
            let published: Vec<&String> = self
                .shadow
                .published
                .iter()
                .filter(|(own, _)| own.0 == channel)
                .map(|own| own.1)
                .collect();
            let mut unique = published.clone();
            unique.sort_unstable();
            unique.dedup();
            if unique.len() != published.len() {
                return Err(format!("a publication has two offsets in {channel}"));
            }
            let answered = self.shadow.answered.get(channel).map_or(0, Vec::len) as u64;
            if answered > top {
                return Err(format!("{answered} publications answered, {top} made in {channel}"));
            }
        }
        Ok(())
    }

    /// Members of the channel whose latest counts have that.
    fn latest_is_there(&mut self) -> Result<(), String> {
        let mut asker = Member::connected(&mut self.world, 0);
        let publish = json!({ "publish": { "channel": LATEST, "data": "end" } });
        asker.ask(&mut self.world, publish);
        for number in 0..self.actors.len() {
            self.read_out(number)?;
        }
        let reply = asker.ask(&mut self.world, json!({ "history": { "channel": LATEST } }));
        let top = reply["history"]["offset"].as_u64();
        for (number, actor) in self.actors.iter().enumerate() {
            let is_member = actor.member.is_some() && actor.channels.get(LATEST) == Some(&true);
            if is_member && Some(actor.latest) != top {
                return Err(format!("client {number} has {} of {top:?}", actor.latest));
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        for serial in 0..250 {
            self.step(serial)?;
        }
        self.finish()
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "scripts/check-interleavings reads what was done")]
fn members_get_everything_once_and_in_order_or_are_told() {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = from_env("TIDEGATE_SIM_SEED");
    let count = from_env("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS);
    let first = from_env("TIDEGATE_SIM_FROM").unwrap_or(0);
    let seeds = only.map_or(first..first + count, |seed| seed..seed + 1);
    let (mut published, mut recovered, mut lost, mut slow) = (0, 0, 0, 0);
    let mut recovered_at_connect = 0;
    let (mut superseded, mut behind) = (0, 0);
    for seed in seeds {
        let mut race = Race::new(seed);
        if let Err(why) = race.run() {
            panic!("seed {seed}: {why}");
        }
        published += race.shadow.published.len();
        recovered += race.shadow.recovered;
        recovered_at_connect += race.shadow.recovered_at_connect;
        lost += race.shadow.lost;
        slow += race.world.counter("closed_slow");
        superseded += race.world.counter("channel_publications_superseded");
        behind += race.world.counter("channel_members_behind");
    }
    println!(
        "interleavings: {count} with {published} publications kept, {recovered} recoveries, {lost} told \
         that some is lost, {slow} closed as too slow, {behind} taken out of a channel, {superseded} left out \
         for a later one"
    );
    if only.is_none() && count >= SEEDS {
        // Otherwise nothing would have been shown.
        assert!(recovered > 0 && lost > 0 && slow > 0, "{recovered} {lost} {slow}");
        assert!(recovered_at_connect > 0);
        assert!(superseded > 0 && behind > 0, "{superseded} {behind}");
    }
}

const SEEDS: u64 = 300;
