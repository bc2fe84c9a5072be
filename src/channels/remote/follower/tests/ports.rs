//! A node with its follower, and ports with members that check what they get.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::followed::Followed;
use super::broker::Model;
use crate::channels::remote::{
    BrokerCommand, BrokerEvent, EngineAction, EngineQuestion, Follower, FollowerCounts,
    FollowerLimits, FollowerOutput, JoinRead, Port, PortEvent, Retention,
};
use crate::channels::{
    Change, ClientId, ClientInfo, EngineError, Epoch, NamedEpoch, Position, Publication, Read,
    Recovery, RecoveryMode, Since, StreamItem,
};
use crate::timer::Millis;

/// Pseudo-random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// One that was in a channel and may come back.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// `None` if it does not ask for its position.
    position: Option<Position>,
    /// Of one that does not: all behind this comes. `None` if it may have missed something.
    whole_from: Option<Position>,
}

/// What an answer is waited for.
#[derive(Debug)]
enum Question {
    Join {
        channel: Arc<str>,
        recover: Option<Position>,
        is_positioned: bool,
        mode: RecoveryMode,
    },
    /// A join of members that are gone.
    Cancelled,
    Publish(Publication),
    Page(Arc<str>, Since, usize, bool),
    Remove,
}

#[derive(Debug, Default)]
struct PortModel {
    port: Port,
    questions: VecDeque<EngineQuestion>,
    events: VecDeque<PortEvent>,
    under_way: BTreeMap<u64, Question>,
    members: BTreeMap<Arc<str>, Vec<Member>>,
    /// Where members were that come back.
    away: Vec<(Arc<str>, Position)>,
    last: u64,
    /// Whether it has histories forgotten.
    removes: bool,
}

#[derive(Debug)]
pub(super) struct Node {
    follower: Follower,
    output: FollowerOutput,
    ports: Vec<PortModel>,
}

impl Node {
    pub(super) fn new(ports: u32, removes: bool) -> Self {
        // Some nodes hold publications back while the broker is away.
        let queue_bytes_max = if removes { 0 } else { 2000 };
        let limits =
            FollowerLimits { pending_max: 40, channels_max: 100, queue_bytes_max, queue_ms: 5000 };
        let port = |number| PortModel { port: Port(number), removes, ..PortModel::default() };
        let ports = (0..ports).map(port).collect();
        Self { follower: Follower::new(limits), output: FollowerOutput::default(), ports }
    }

    pub(super) fn counts(&self) -> FollowerCounts {
        self.follower.counts()
    }

    pub(super) fn hear(&mut self, event: BrokerEvent, now: Millis) {
        self.follower.on_event(event, now, &mut self.output);
    }

    pub(super) fn tick(&mut self, now: Millis) {
        self.follower.tick(now, &mut self.output);
    }

    pub(super) fn flush(&mut self, now: Millis) {
        self.follower.flush(now, &mut self.output);
    }

    pub(super) fn take_commands(&mut self) -> Vec<BrokerCommand> {
        for (port, event) in self.output.events.drain(..) {
            self.ports[port.0 as usize].events.push_back(event);
        }
        std::mem::take(&mut self.output.commands)
    }

    pub(super) fn pass_question(&mut self, random: &mut Rng, now: Millis) {
        let at = random.below(self.ports.len());
        if let Some(question) = self.ports[at].questions.pop_front() {
            self.follower.ask(question, now, &mut self.output);
        }
    }

    pub(super) fn pass_all_questions(&mut self, now: Millis) -> bool {
        let questions = self.ports.iter_mut().flat_map(|own| own.questions.drain(..));
        let questions: Vec<EngineQuestion> = questions.collect();
        let has_some = !questions.is_empty();
        for question in questions {
            self.follower.ask(question, now, &mut self.output);
        }
        has_some
    }

    pub(super) fn pass_event(&mut self, random: &mut Rng, model: &Model) {
        let at = random.below(self.ports.len());
        if let Some(event) = self.ports[at].events.pop_front() {
            self.ports[at].on_port_event(event, random, model);
        }
    }

    pub(super) fn pass_all_events(&mut self, random: &mut Rng, model: &Model) -> bool {
        let mut has_some = false;
        for port in &mut self.ports {
            // All members that were sent away come back.
            for (channel, position) in std::mem::take(&mut port.away) {
                has_some = true;
                port.join(channel, Some(position), true, random);
            }
            while let Some(event) = port.events.pop_front() {
                has_some = true;
                port.on_port_event(event, random, model);
            }
        }
        has_some
    }

    pub(super) fn act(&mut self, random: &mut Rng, model: &Model) {
        let at = random.below(self.ports.len());
        self.ports[at].act(random, model);
    }

    pub(super) fn check(&self, model: &Model) {
        let mut wanted = 0;
        for port in &self.ports {
            assert!(port.under_way.is_empty(), "without an answer: {:?}", port.under_way);
            for (channel, members) in &port.members {
                wanted += members.len();
                let top = model.position(channel);
                for own in members {
                    if let Some(position) = own.position.or(own.whole_from) {
                        assert_eq!(Some(position), top, "a member of {channel} is behind: {own:?}");
                    }
                }
            }
        }
        assert!(self.follower.pending.is_empty());
        assert!(wanted > 0 || self.follower.channel_count() == 0);
        let is_busy = |own: &Followed| own.work.is_some();
        let busy = self.follower.channels.iter().find(|(_, own)| is_busy(own));
        assert!(busy.is_none(), "{busy:?}");
    }
}

impl PortModel {
    fn ask(&mut self, action: EngineAction, question: Option<Question>) {
        let number = question.as_ref().map_or(0, |_| self.last + 1);
        if let Some(question) = question {
            self.last += 1;
            self.under_way.insert(self.last, question);
        }
        self.questions.push_back(EngineQuestion { port: self.port, number, action, charged: None });
    }

    fn act(&mut self, random: &mut Rng, model: &Model) {
        let channel = channel(random);
        match random.below(14) {
            0..=3 => {
                let is_positioned = random.below(4) > 0;
                self.join(channel, None, is_positioned, random);
            }
            4 | 5 => {
                if !self.away.is_empty() {
                    let (channel, position) = self.away.remove(random.below(self.away.len()));
                    self.join(channel, Some(position), true, random);
                }
            }
            6 => {
                // From another node.
                let position = model.position(&channel).map(|own| Position {
                    offset: own.offset.saturating_sub(random.below(4) as u64),
                    epoch: Epoch(own.epoch.0 - u32::from(random.below(10) == 0)),
                });
                let truth = |own: &Position| {
                    own.offset == 0 || {
                        let range = (own.offset - 1, own.offset);
                        !model.truth(&channel, own.epoch, range).is_empty()
                    }
                };
                if let Some(position) = position.filter(truth) {
                    self.join(channel, Some(position), true, random);
                }
            }
            7 => self.leave_one(&channel, random),
            8 => self.leave_all(&channel),
            9..=11 => self.publish(channel, random),
            12 => {
                let since = match random.below(4) {
                    0 => Since::Oldest(None),
                    1 => Since::Oldest(Some(random.below(20) as u64)),
                    2 => Since::Latest(None),
                    _ => Since::Latest(Some(random.below(20) as u64)),
                };
                let (limit, is_other) = (random.below(6), random.below(5) == 0);
                let question = Question::Page(Arc::clone(&channel), since, limit, is_other);
                let epoch = if is_other { NamedEpoch::Of(Epoch(0)) } else { NamedEpoch::Any };
                let retention = RETENTION;
                let action = EngineAction::Page { channel, retention, since, epoch, limit };
                self.ask(action, Some(question));
            }
            _ if self.removes && random.below(4) == 0 => {
                self.ask(EngineAction::Remove { channel }, Some(Question::Remove));
            }
            _ => {
                let info = ClientInfo {
                    user: "u".into(),
                    client: ClientId::new([7; 16]),
                    conn_info: None,
                    chan_info: None,
                };
                let change = Change::Joined;
                self.ask(EngineAction::Member { channel, change, info }, None);
            }
        }
    }

    fn join(
        &mut self,
        channel: Arc<str>,
        recover: Option<Position>,
        is_positioned: bool,
        random: &mut Rng,
    ) {
        let retention = retention(&channel);
        let is_positioned = is_positioned && retention.is_some();
        let cache = recover.is_some() && random.below(4) == 0;
        let mode = if cache { RecoveryMode::Cache } else { RecoveryMode::Stream };
        let text = |own: Position| (own.offset, NamedEpoch::Of(own.epoch));
        let reads = is_positioned.then(|| JoinRead { recover: recover.map(text), mode });
        let question =
            Question::Join { channel: Arc::clone(&channel), recover, is_positioned, mode };
        self.ask(EngineAction::Join { channel, retention, reads }, Some(question));
    }

    fn has_joins(&self, name: &Arc<str>) -> bool {
        let is_join =
            |own: &Question| matches!(own, Question::Join { channel, .. } if channel == name);
        self.under_way.values().any(is_join)
    }

    fn leave_one(&mut self, channel: &Arc<str>, random: &mut Rng) {
        let Some(members) = self.members.get_mut(channel) else { return };
        if !members.is_empty() {
            let member = members.swap_remove(random.below(members.len()));
            self.away.extend(member.position.map(|own| (Arc::clone(channel), own)));
        }
        if members.is_empty() && !self.has_joins(channel) {
            self.leave_all(channel);
        }
    }

    /// All members go, also those that come.
    fn leave_all(&mut self, name: &Arc<str>) {
        for question in self.under_way.values_mut() {
            if matches!(question, Question::Join { channel, .. } if channel == name) {
                *question = Question::Cancelled;
            }
        }
        self.members.remove(name);
        self.ask(EngineAction::Leave(Arc::clone(name)), None);
    }

    fn publish(&mut self, channel: Arc<str>, random: &mut Rng) {
        let publication = Publication::new(random.next().to_string().into_bytes());
        let key = (random.below(6) == 0).then(|| random.below(5).to_string().into());
        // With a key it may be another that is answered for.
        let retention = retention(&channel).filter(|_| key.is_some() || random.below(8) > 0);
        let question = match key {
            Some(_) => Question::Remove,
            None => Question::Publish(publication.clone()),
        };
        let is_plain = key.is_none();
        let action =
            EngineAction::Publish { channel, retention, publication, idempotency_key: key };
        let question = if is_plain { question } else { Question::Publish(Publication::new([])) };
        self.ask(action, Some(question));
    }

    fn on_port_event(&mut self, event: PortEvent, random: &mut Rng, model: &Model) {
        match event {
            PortEvent::Published(number, result) => {
                let question = self.under_way.remove(&number);
                let Some(Question::Publish(publication)) = question else {
                    panic!("{question:?} is no publication")
                };
                if let (Ok(Some(position)), false) = (result, publication.data.is_empty()) {
                    let range = (position.offset - 1, position.offset);
                    let is_there = CHANNELS.iter().any(|own| {
                        model.truth(&Arc::from(*own), position.epoch, range)
                            == [(position.offset, publication.clone())]
                    });
                    assert!(is_there, "{position:?} is of something else");
                }
            }
            PortEvent::Removed(number, _) => {
                assert!(matches!(self.under_way.remove(&number), Some(Question::Remove)));
            }
            PortEvent::Page(number, result) => self.on_page(number, result, model),
            PortEvent::Joined(number, result) => self.on_joined(number, result, random, model),
            PortEvent::Stream(item) => self.on_stream(&item, model),
            PortEvent::Lost(channel) => {
                let members = self.members.remove(&channel).unwrap_or_default();
                let positions = members.iter().filter_map(|own| own.position);
                self.away.extend(positions.map(|own| (Arc::clone(&channel), own)));
                let stays = members.into_iter().filter(|own| own.position.is_none());
                let left: Vec<Member> =
                    stays.map(|own| Member { whole_from: None, ..own }).collect();
                if left.is_empty() && !self.has_joins(&channel) {
                    self.leave_all(&channel);
                } else {
                    self.members.insert(channel, left);
                }
            }
            PortEvent::Gone(_) | PortEvent::Member(..) | PortEvent::Present(..) => {}
        }
    }

    fn on_page(&mut self, number: u64, result: Result<Read, EngineError>, model: &Model) {
        let question = self.under_way.remove(&number);
        let Some(Question::Page(channel, since, limit, is_other)) = question else {
            panic!("{question:?} is no page")
        };
        let Ok(read) = result else { return };
        assert!(!is_other, "of another epoch");
        let position = read.position;
        let mut page = read.page();
        assert!(page.len() <= limit);
        match since {
            Since::Oldest(above) => assert!(page.iter().all(|own| own.0 > above.unwrap_or(0))),
            Since::Latest(below) => {
                assert!(page.iter().all(|own| below.is_none_or(|below| own.0 < below)));
                page.reverse();
            }
        }
        if let [first, .., last] | [first @ last] = &page[..] {
            assert!(last.0 <= position.offset);
            let range = (first.0 - 1, last.0);
            assert_eq!(page, model.truth(&channel, position.epoch, range));
        }
    }

    fn on_joined(
        &mut self,
        number: u64,
        result: Result<Option<Read>, EngineError>,
        random: &mut Rng,
        model: &Model,
    ) {
        let (channel, recover, is_positioned, mode) = match self.under_way.remove(&number) {
            Some(Question::Join { channel, recover, is_positioned, mode }) => {
                (channel, recover, is_positioned, mode)
            }
            Some(Question::Cancelled) => return,
            other => panic!("{number} is {other:?}, and was answered a second time"),
        };
        let Ok(read) = result else {
            self.away.extend(recover.map(|own| (Arc::clone(&channel), own)));
            let is_empty = self.members.get(&channel).is_none_or(Vec::is_empty);
            // An error leaves nothing behind, so that one need not leave. After others one must.
            let was_there = self.members.contains_key(&channel);
            if is_empty && !self.has_joins(&channel) && (was_there || random.below(2) == 0) {
                self.leave_all(&channel);
            }
            return;
        };
        assert_eq!(read.is_some(), is_positioned);
        let position = read.as_ref().map(|own| own.position);
        if let (Some(read), Some(from)) = (&read, recover) {
            check_recovery(read, (&channel, from), mode, model);
        }
        // What is published from now on, where that is kept.
        let is_unaware = position.is_none() && retention(&channel).is_some();
        let whole_from = model.position(&channel).filter(|_| is_unaware);
        self.members.entry(channel).or_default().push(Member { position, whole_from });
    }

    fn on_stream(&mut self, item: &StreamItem, model: &Model) {
        let StreamItem { channel, publication, position } = item;
        let Some(position) = position else { return };
        let Some(members) = self.members.get_mut(channel) else { return };
        for member in members {
            let own = match (&mut member.position, &mut member.whole_from) {
                (Some(own), _) => own,
                // What was on its way when it came: later streams have higher epochs.
                (None, Some(own))
                    if (own.epoch.0, own.offset) >= (position.epoch.0, position.offset) =>
                {
                    continue;
                }
                (None, Some(own)) => own,
                (None, None) => continue,
            };
            assert_eq!(own.epoch, position.epoch, "of another stream");
            assert!(own.offset < position.offset, "{position:?} after {own:?}");
            let between = model.truth(channel, own.epoch, (own.offset, position.offset));
            assert_eq!(between, [(position.offset, publication.clone())], "after {own:?}");
            *own = *position;
        }
    }
}

fn check_recovery(
    read: &Read,
    (channel, from): (&Arc<str>, Position),
    mode: RecoveryMode,
    model: &Model,
) {
    let position = read.position;
    let all = model.truth(channel, position.epoch, (0, position.offset));
    match (&read.recovery, mode) {
        (Recovery::Lost, _) => {}
        (Recovery::Recovered(page), RecoveryMode::Stream) => {
            assert_eq!(from.epoch, position.epoch, "of another stream");
            let missed: Vec<_> = all.into_iter().filter(|own| own.0 > from.offset).collect();
            assert_eq!(*page, missed, "from {from:?} to {position:?}");
        }
        (Recovery::Recovered(page), RecoveryMode::Cache) => {
            let wanted: Vec<_> = all.last().cloned().into_iter().collect();
            assert!(*page == wanted || (page.is_empty() && from == position), "{page:?}");
        }
    }
}

fn channel(random: &mut Rng) -> Arc<str> {
    // Most is about one channel.
    Arc::from(CHANNELS[random.below(6).min(CHANNELS.len() - 1)])
}

fn retention(channel: &str) -> Option<Retention> {
    (channel != "none").then_some(RETENTION)
}

const CHANNELS: [&str; 4] = ["none", "few", "some", "most"];
const RETENTION: Retention = Retention { size: 30, ttl_ms: 1000, meta_ttl_ms: 10_000 };
