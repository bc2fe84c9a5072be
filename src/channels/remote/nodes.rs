//! The gateways that share an engine: who is there, and questions that each of them answers.
//!
//! Each node says every [`HELLO_MS`] that it is there, and counts as gone [`GONE_MS`] after it was heard last. A
//! question goes to all nodes, or to all others, and is over when those that are known have answered, or after
//! [`ANSWERS_MS`]: then the answers say who is missing, so that a part is not taken for the whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::broker::{Audience, BrokerCommand};
use crate::timer::Millis;

/// What one gateway knows of the others.
#[derive(Debug)]
pub struct Nodes {
    own: NodeId,
    is_up: bool,
    heard: HashMap<u64, Heard>,
    said_hello: Option<Millis>,
    /// Those whose end is to be told.
    watched: HashSet<u64>,
    surveys: HashMap<u64, Survey>,
    next_survey: u64,
}

/// A gateway among those that share an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// The number that no other has.
    pub number: u64,
    /// What its operator knows it by; empty while it has not said so.
    pub name: Arc<str>,
}

/// Which nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All, the one that asks included.
    All,
    /// All but the one that asks.
    Others,
}

/// What came of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAnswers {
    /// Whether the broker was reached all the while: otherwise there may be nodes of which nothing is known.
    pub is_reached: bool,
    /// What was answered in time.
    pub answers: Vec<(NodeId, String)>,
    /// Those that are known, and have not answered.
    pub missing: Vec<NodeId>,
}

impl NodeAnswers {
    /// The answers of all; `None` if one is missing.
    #[must_use]
    pub fn whole(self) -> Option<Vec<String>> {
        let is_whole = self.is_reached && self.missing.is_empty();
        is_whole.then(|| self.answers.into_iter().map(|(_, text)| text).collect())
    }
}

#[derive(Debug)]
struct Heard {
    at: Millis,
    name: Arc<str>,
}

#[derive(Debug)]
struct Survey {
    waits_for: Vec<NodeId>,
    answers: Vec<(NodeId, String)>,
    deadline: Millis,
}

impl Survey {
    /// The end of it, with those that have answered so far.
    fn end(self, is_reached: bool) -> NodeAnswers {
        NodeAnswers { is_reached, answers: self.answers, missing: self.waits_for }
    }
}

/// What comes of what nodes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A node asks: [`Nodes::answer`] with both numbers.
    Asked {
        /// Which node.
        node: u64,
        /// Which of its questions.
        number: u64,
        /// What it asks.
        text: String,
    },
    /// The others have heard that this one ends.
    SaidBye,
    /// A question of this node is over.
    Answered(u64, NodeAnswers),
    /// A node is gone that was to be watched.
    Gone(u64),
}

/// What nodes say to each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Saying {
    Hello {
        node: u64,
        /// Nodes of before say none.
        #[serde(default)]
        name: String,
    },
    /// A node ends.
    Bye {
        node: u64,
    },
    Question {
        node: u64,
        number: u64,
        text: String,
        /// Not for the node that asks, which hears itself.
        #[serde(default, skip_serializing_if = "is_false")]
        others: bool,
    },
    Answer {
        node: u64,
        number: u64,
        text: String,
    },
}

impl Nodes {
    /// This node.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            is_up: false,
            heard: HashMap::new(),
            said_hello: None,
            watched: HashSet::new(),
            surveys: HashMap::new(),
            next_survey: 1,
        }
    }

    /// This node.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        &self.own
    }

    /// The others that are known to be there.
    #[must_use]
    pub fn others(&self) -> Vec<NodeId> {
        let id = |(number, heard): (&u64, &Heard)| NodeId {
            number: *number,
            name: Arc::clone(&heard.name),
        };
        self.heard.iter().map(id).collect()
    }

    /// Nodes that are known to be there, this one included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.heard.len() + 1
    }

    /// The broker is reached, or is not any more: then no question gets further answers.
    pub fn set_up(
        &mut self,
        is_up: bool,
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
        events: &mut Vec<NodeEvent>,
    ) {
        self.is_up = is_up;
        if is_up {
            self.say_hello(now, commands);
            return;
        }
        // Who is there is not known while nothing is heard; it is learnt again as they speak.
        let ended = self.surveys.drain();
        events.extend(ended.map(|(number, own)| NodeEvent::Answered(number, own.end(false))));
    }

    /// Asks nodes, and gives the number of the question, which [`NodeEvent::Answered`] has: at once where the
    /// broker is not reached, or too many questions are open.
    pub fn ask(
        &mut self,
        (text, asked): (String, Asked),
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
        events: &mut Vec<NodeEvent>,
    ) -> u64 {
        let number = self.next_survey;
        self.next_survey += 1;
        let mut waits_for = self.others();
        if asked == Asked::All {
            waits_for.push(self.own.clone());
        }
        let survey = Survey { waits_for, answers: Vec::new(), deadline: now.plus(ANSWERS_MS) };
        if !self.is_up || self.surveys.len() >= SURVEYS_MAX {
            events.push(NodeEvent::Answered(number, survey.end(false)));
            return number;
        }
        self.surveys.insert(number, survey);
        let (node, others) = (self.own.number, asked == Asked::Others);
        say(Audience::All, &Saying::Question { node, number, text, others }, commands);
        self.finish(number, events);
        number
    }

    /// Answers a question of a node.
    pub fn answer(&self, node: u64, number: u64, text: String, commands: &mut Vec<BrokerCommand>) {
        say(
            Audience::Node(node),
            &Saying::Answer { node: self.own.number, number, text },
            commands,
        );
    }

    /// Has [`NodeEvent::Gone`] come, once, when a node is gone of which something was heard just now.
    pub fn watch(
        &mut self,
        node: u64,
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
        events: &mut Vec<NodeEvent>,
    ) {
        if node == self.own.number {
            return;
        }
        self.watched.insert(node);
        if !self.heard.contains_key(&node) {
            self.hear(node, "", now, commands);
        }
        if !self.heard.contains_key(&node) {
            // There is no room for it.
            self.forget(node, events);
        }
    }

    /// Hears what a node says; what is none of a node of this version is left alone.
    pub fn on_told(
        &mut self,
        bytes: &[u8],
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
        events: &mut Vec<NodeEvent>,
    ) {
        match serde_json::from_slice(bytes) {
            Ok(Saying::Hello { node, name }) => self.hear(node, &name, now, commands),
            Ok(Saying::Bye { node }) if node == self.own.number => events.push(NodeEvent::SaidBye),
            Ok(Saying::Bye { node }) => self.forget(node, events),
            Ok(Saying::Question { node, others: true, .. }) if node == self.own.number => {}
            Ok(Saying::Question { node, number, text, .. }) => {
                self.hear(node, "", now, commands);
                events.push(NodeEvent::Asked { node, number, text });
            }
            Ok(Saying::Answer { node, number, text }) => {
                let Some(survey) = self.surveys.get_mut(&number) else { return };
                let Some(index) = survey.waits_for.iter().position(|own| own.number == node) else {
                    return;
                };
                let node = survey.waits_for.swap_remove(index);
                survey.answers.push((node, text));
                self.finish(number, events);
            }
            Err(_) => {}
        }
    }

    /// Time has passed. To be called about once in a second.
    pub fn tick(
        &mut self,
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
        events: &mut Vec<NodeEvent>,
    ) {
        if self.is_up && self.said_hello.is_none_or(|then| now.since(then) >= HELLO_MS) {
            self.say_hello(now, commands);
        }
        // First, as one that is gone would not be missing any more.
        let late = self.surveys.iter().filter(|(_, own)| own.deadline <= now);
        for number in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(survey) = self.surveys.remove(&number) {
                events.push(NodeEvent::Answered(number, survey.end(true)));
            }
        }
        let gone = self.heard.iter().filter(|(_, heard)| now.since(heard.at) >= GONE_MS);
        for node in gone.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.forget(node, events);
        }
    }

    /// Says that this node ends.
    pub fn say_bye(&self, commands: &mut Vec<BrokerCommand>) {
        say(Audience::All, &Saying::Bye { node: self.own.number }, commands);
    }

    fn say_hello(&mut self, now: Millis, commands: &mut Vec<BrokerCommand>) {
        self.said_hello = Some(now);
        say(Audience::All, &self.hello(), commands);
    }

    fn hello(&self) -> Saying {
        Saying::Hello { node: self.own.number, name: self.own.name.to_string() }
    }

    fn hear(&mut self, node: u64, name: &str, now: Millis, commands: &mut Vec<BrokerCommand>) {
        if node == self.own.number {
            return;
        }
        if let Some(heard) = self.heard.get_mut(&node) {
            heard.at = now;
            if !name.is_empty() && *heard.name != *name {
                heard.name = short(name);
            }
        } else if self.heard.len() < NODES_MAX {
            self.heard.insert(node, Heard { at: now, name: short(name) });
            // So that a new one knows of this one at once.
            say(Audience::Node(node), &self.hello(), commands);
        }
    }

    /// A node is gone: nothing waits for it any more.
    fn forget(&mut self, node: u64, events: &mut Vec<NodeEvent>) {
        self.heard.remove(&node);
        if self.watched.remove(&node) {
            events.push(NodeEvent::Gone(node));
        }
        let numbers: Vec<u64> = self.surveys.keys().copied().collect();
        for number in numbers {
            if let Some(survey) = self.surveys.get_mut(&number) {
                survey.waits_for.retain(|own| own.number != node);
            }
            self.finish(number, events);
        }
    }

    fn finish(&mut self, number: u64, events: &mut Vec<NodeEvent>) {
        if self.surveys.get(&number).is_some_and(|own| own.waits_for.is_empty())
            && let Some(survey) = self.surveys.remove(&number)
        {
            events.push(NodeEvent::Answered(number, survey.end(true)));
        }
    }
}

/// As much of a name as is kept of what others say.
fn short(name: &str) -> Arc<str> {
    name[..name.floor_char_boundary(NAME_BYTES_MAX)].into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn say(audience: Audience, saying: &Saying, commands: &mut Vec<BrokerCommand>) {
    // Numbers and texts, which can be written.
    if let Ok(bytes) = serde_json::to_vec(saying) {
        commands.push(BrokerCommand::Tell(audience, bytes));
    }
}

/// Between two times that a node says that it is there.
pub const HELLO_MS: u64 = 2000;
/// After which a node that was not heard is gone: two may be lost.
pub const GONE_MS: u64 = 3 * HELLO_MS + 1000;
/// In which all nodes must answer.
pub const ANSWERS_MS: u64 = 2000;
/// Nodes that are counted.
const NODES_MAX: usize = 1024;
/// Bytes of the name of a node: more than the longest name of a host and the number of a process.
const NAME_BYTES_MAX: usize = 80;
/// Questions of this node that are open.
const SURVEYS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> NodeId {
        NodeId { number, name: format!("host:{number}").into() }
    }

    /// What came of a question that these have answered, and those have not.
    fn answers(of: &[u64], missing: &[u64], is_reached: bool) -> NodeAnswers {
        let answers = of.iter().map(|number| (id(*number), number.to_string())).collect();
        NodeAnswers { is_reached, answers, missing: missing.iter().copied().map(id).collect() }
    }

    /// Nodes that hear each other at once.
    struct Network {
        nodes: Vec<Nodes>,
        events: Vec<Vec<NodeEvent>>,
        /// Nodes that hear and say nothing.
        cut: Vec<bool>,
    }

    impl Network {
        fn new(count: u64) -> Self {
            let mut own = Self {
                nodes: (0..count).map(|number| Nodes::new(id(number))).collect(),
                events: vec![Vec::new(); usize::try_from(count).unwrap()],
                cut: vec![false; usize::try_from(count).unwrap()],
            };
            for index in 0..usize::try_from(count).unwrap() {
                let mut commands = Vec::new();
                own.nodes[index].set_up(true, Millis(0), &mut commands, &mut Vec::new());
                own.deliver(index, commands, 0);
            }
            own
        }

        fn deliver(&mut self, from: usize, commands: Vec<BrokerCommand>, now: u64) {
            let mut next: Vec<(usize, BrokerCommand)> =
                commands.into_iter().map(|command| (from, command)).collect();
            while !next.is_empty() {
                for (from, command) in std::mem::take(&mut next) {
                    let BrokerCommand::Tell(audience, bytes) = command else {
                        panic!("{command:?}")
                    };
                    for to in 0..self.nodes.len() {
                        let is_meant = match audience {
                            Audience::All => true,
                            Audience::Node(node) => node == to as u64,
                        };
                        if !is_meant || self.cut[from] || self.cut[to] {
                            continue;
                        }
                        let mut commands = Vec::new();
                        let events = &mut self.events[to];
                        self.nodes[to].on_told(&bytes, Millis(now), &mut commands, events);
                        next.extend(commands.into_iter().map(|command| (to, command)));
                    }
                }
            }
        }

        fn ask(&mut self, from: usize, now: u64) -> u64 {
            self.ask_these(from, Asked::All, now)
        }

        fn ask_these(&mut self, from: usize, asked: Asked, now: u64) -> u64 {
            let mut commands = Vec::new();
            let question = ("how many?".to_owned(), asked);
            let events = &mut self.events[from];
            let number = self.nodes[from].ask(question, Millis(now), &mut commands, events);
            self.deliver(from, commands, now);
            number
        }

        /// Has each node but these answer what it was asked.
        fn answer(&mut self, silent: &[usize], now: u64) {
            for index in 0..self.nodes.len() {
                let asked = std::mem::take(&mut self.events[index]);
                for event in asked {
                    let NodeEvent::Asked { node, number, .. } = event else {
                        self.events[index].push(event);
                        continue;
                    };
                    if !silent.contains(&index) {
                        let mut commands = Vec::new();
                        self.nodes[index].answer(node, number, index.to_string(), &mut commands);
                        self.deliver(index, commands, now);
                    }
                }
            }
        }

        fn tick(&mut self, now: u64) {
            for index in 0..self.nodes.len() {
                let mut commands = Vec::new();
                self.nodes[index].tick(Millis(now), &mut commands, &mut self.events[index]);
                self.deliver(index, commands, now);
            }
        }
    }

    #[test]
    fn all_that_are_there_answer() {
        let mut network = Network::new(3);
        assert!(network.nodes.iter().all(|own| own.count() == 3));
        let number = network.ask(1, 10);
        network.answer(&[], 20);
        let [NodeEvent::Answered(own, result)] = &mut network.events[1][..] else {
            panic!("{:?}", network.events)
        };
        result.answers.sort_by_key(|(node, _)| node.number);
        assert_eq!((*own, &*result), (number, &answers(&[0, 1, 2], &[], true)));
        assert_eq!(result.clone().whole().unwrap(), ["0", "1", "2"]);
    }

    #[test]
    fn a_part_says_who_is_missing_until_the_rest_counts_as_gone() {
        let mut network = Network::new(3);
        let number = network.ask(0, 0);
        network.answer(&[2], 0);
        assert_eq!(network.events[0], []);
        network.tick(ANSWERS_MS);
        let [NodeEvent::Answered(own, result)] = &mut network.events[0][..] else {
            panic!("{:?}", network.events)
        };
        result.answers.sort_by_key(|(node, _)| node.number);
        assert_eq!((*own, &*result), (number, &answers(&[0, 1], &[2], true)));
        assert_eq!(result.clone().whole(), None);
        network.cut[2] = true;
        for now in (ANSWERS_MS..ANSWERS_MS + GONE_MS + 1000).step_by(1000) {
            network.tick(now);
        }
        assert_eq!(network.nodes[0].count(), 2);
        network.events[0].clear();
        let now = 20_000;
        let number = network.ask(0, now);
        network.answer(&[], now);
        assert_eq!(network.events[0], [NodeEvent::Answered(number, answers(&[0, 1], &[], true))]);
    }

    #[test]
    fn one_that_says_bye_is_not_waited_for() {
        let mut network = Network::new(2);
        let number = network.ask(0, 0);
        network.answer(&[1], 0);
        let mut commands = Vec::new();
        network.nodes[1].say_bye(&mut commands);
        network.deliver(1, commands, 1);
        assert_eq!(network.events[1].last(), Some(&NodeEvent::SaidBye));
        assert_eq!(network.events[0], [NodeEvent::Answered(number, answers(&[0], &[], true))]);
    }

    #[test]
    fn the_others_alone_may_be_asked() {
        let mut network = Network::new(3);
        let number = network.ask_these(0, Asked::Others, 0);
        network.answer(&[2], 0);
        assert_eq!(network.events[0], []);
        network.tick(ANSWERS_MS);
        let wanted = NodeEvent::Answered(number, answers(&[1], &[2], true));
        assert_eq!(network.events[0], [wanted]);
        // Who is alone has its answer at once.
        let mut alone = Network::new(1);
        let number = alone.ask_these(0, Asked::Others, 0);
        assert_eq!(alone.events[0], [NodeEvent::Answered(number, answers(&[], &[], true))]);
    }

    #[test]
    fn a_name_is_known_once_it_is_said_and_is_cut() {
        let mut own = Nodes::new(id(0));
        let name_of = |own: &Nodes| own.others()[0].name.to_string();
        for (said, known) in [
            (r#"{"say":"hello","node":7}"#.to_owned(), ""),
            (r#"{"say":"hello","node":7,"name":"gw:1"}"#.to_owned(), "gw:1"),
            (r#"{"say":"question","node":7,"number":1,"text":""}"#.to_owned(), "gw:1"),
            (format!(r#"{{"say":"hello","node":7,"name":"{}"}}"#, "ä".repeat(99)), &"ä".repeat(40)),
        ] {
            own.on_told(said.as_bytes(), Millis(0), &mut Vec::new(), &mut Vec::new());
            assert_eq!(name_of(&own), known, "{said}");
        }
    }

    #[test]
    fn the_end_of_a_node_is_told_once_to_who_watches_it() {
        let mut network = Network::new(2);
        let watch = |network: &mut Network, node, now| {
            let (mut commands, mut events) = (Vec::new(), Vec::new());
            network.nodes[0].watch(node, Millis(now), &mut commands, &mut events);
            assert_eq!(events, []);
        };
        // One that was never heard, oneself, and one that is there.
        for node in [7, 0, 1] {
            watch(&mut network, node, 0);
        }
        for now in (0..GONE_MS).step_by(1000) {
            network.tick(now);
            assert_eq!(network.events[0], []);
        }
        network.tick(GONE_MS);
        assert_eq!(network.events[0], [NodeEvent::Gone(7)]);
        for _ in 0..2 {
            let mut commands = Vec::new();
            network.nodes[1].say_bye(&mut commands);
            network.deliver(1, commands, GONE_MS);
            assert_eq!(network.events[0], [NodeEvent::Gone(7), NodeEvent::Gone(1)]);
        }
    }

    #[test]
    fn without_a_broker_no_question_has_an_answer() {
        let mut network = Network::new(2);
        let number = network.ask(0, 0);
        let (mut commands, mut events) = (Vec::new(), Vec::new());
        network.nodes[0].set_up(false, Millis(1), &mut commands, &mut events);
        assert_eq!(events, [NodeEvent::Answered(number, answers(&[], &[1, 0], false))]);
        events.clear();
        let question = (String::new(), Asked::Others);
        let number = network.nodes[0].ask(question, Millis(1), &mut commands, &mut events);
        assert_eq!(events, [NodeEvent::Answered(number, answers(&[], &[1], false))]);
        assert_eq!(commands, []);
    }

    proptest! {
        #[test]
        fn whatever_is_heard_is_borne(bytes: Vec<u8>, text in "\\PC{0,40}") {
            let mut own = Nodes::new(id(1));
            for bytes in [&bytes[..], text.as_bytes()] {
                own.on_told(bytes, Millis(0), &mut Vec::new(), &mut Vec::new());
            }
            prop_assert_eq!(own.count(), 1);
        }
    }
}
