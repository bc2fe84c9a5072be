//! The gateways that share an engine: who is there, and questions that each of them answers.
//!
//! Each node says every [`HELLO_MS`] that it is there, and counts as gone [`GONE_MS`] after it was heard last. A
//! question goes to all nodes, the own one included, and has its answer when all that are known have given
//! theirs; where one does not within [`ANSWERS_MS`], the question has none, as a part would be taken for the
//! whole.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::broker::{Audience, BrokerCommand};
use crate::timer::Millis;

/// What one gateway knows of the others.
#[derive(Debug)]
pub struct Nodes {
    own: u64,
    is_up: bool,
    /// When each was heard last.
    heard: HashMap<u64, Millis>,
    said_hello: Option<Millis>,
    /// Those whose end is to be told.
    watched: HashSet<u64>,
    surveys: HashMap<u64, Survey>,
    next_survey: u64,
}

#[derive(Debug)]
struct Survey {
    /// Nodes whose answers are outstanding.
    waits_for: Vec<u64>,
    answers: Vec<String>,
    deadline: Millis,
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
    /// All nodes have answered a question of this one; `None` if one has not.
    Answered(u64, Option<Vec<String>>),
    /// A node is gone that was to be watched.
    Gone(u64),
}

/// What nodes say to each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Saying {
    Hello {
        node: u64,
    },
    /// A node ends.
    Bye {
        node: u64,
    },
    Question {
        node: u64,
        number: u64,
        text: String,
    },
    Answer {
        node: u64,
        number: u64,
        text: String,
    },
}

impl Nodes {
    /// A node with this number, which no other has.
    #[must_use]
    pub fn new(own: u64) -> Self {
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

    /// The number of this node.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.own
    }

    /// Nodes that are known to be there, this one included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.heard.len() + 1
    }

    /// The broker is reached, or is not any more: then no question has an answer.
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
        events.extend(self.surveys.drain().map(|(number, _)| NodeEvent::Answered(number, None)));
    }

    /// Asks all nodes, and gives the number of the question. `None` if the broker is not reached, or too many
    /// questions are open.
    pub fn ask(
        &mut self,
        text: String,
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
    ) -> Option<u64> {
        if !self.is_up || self.surveys.len() >= SURVEYS_MAX {
            return None;
        }
        let number = self.next_survey;
        self.next_survey += 1;
        let waits_for = self.heard.keys().copied().chain([self.own]).collect();
        let deadline = now.plus(ANSWERS_MS);
        self.surveys.insert(number, Survey { waits_for, answers: Vec::new(), deadline });
        say(Audience::All, &Saying::Question { node: self.own, number, text }, commands);
        Some(number)
    }

    /// Answers a question of a node.
    pub fn answer(&self, node: u64, number: u64, text: String, commands: &mut Vec<BrokerCommand>) {
        say(Audience::Node(node), &Saying::Answer { node: self.own, number, text }, commands);
    }

    /// Has [`NodeEvent::Gone`] come, once, when a node is gone of which something was heard just now.
    pub fn watch(
        &mut self,
        node: u64,
        now: Millis,
        commands: &mut Vec<BrokerCommand>,
        events: &mut Vec<NodeEvent>,
    ) {
        if node == self.own {
            return;
        }
        self.watched.insert(node);
        if !self.heard.contains_key(&node) {
            self.hear(node, now, commands);
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
            Ok(Saying::Hello { node }) => self.hear(node, now, commands),
            Ok(Saying::Bye { node }) if node == self.own => events.push(NodeEvent::SaidBye),
            Ok(Saying::Bye { node }) => self.forget(node, events),
            Ok(Saying::Question { node, number, text }) => {
                self.hear(node, now, commands);
                events.push(NodeEvent::Asked { node, number, text });
            }
            Ok(Saying::Answer { node, number, text }) => {
                let Some(survey) = self.surveys.get_mut(&number) else { return };
                let Some(place) = survey.waits_for.iter().position(|own| *own == node) else {
                    return;
                };
                survey.waits_for.swap_remove(place);
                survey.answers.push(text);
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
        let gone = self.heard.iter().filter(|(_, heard)| now.since(**heard) >= GONE_MS);
        for node in gone.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.forget(node, events);
        }
        let late = self.surveys.iter().filter(|(_, own)| own.deadline <= now);
        for number in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.surveys.remove(&number);
            events.push(NodeEvent::Answered(number, None));
        }
    }

    /// Says that this node ends.
    pub fn say_bye(&self, commands: &mut Vec<BrokerCommand>) {
        say(Audience::All, &Saying::Bye { node: self.own }, commands);
    }

    fn say_hello(&mut self, now: Millis, commands: &mut Vec<BrokerCommand>) {
        self.said_hello = Some(now);
        say(Audience::All, &Saying::Hello { node: self.own }, commands);
    }

    fn hear(&mut self, node: u64, now: Millis, commands: &mut Vec<BrokerCommand>) {
        if node == self.own || (self.heard.len() >= NODES_MAX && !self.heard.contains_key(&node)) {
            return;
        }
        if self.heard.insert(node, now).is_none() {
            // So that a new one knows of this one at once.
            let hello = Saying::Hello { node: self.own };
            say(Audience::Node(node), &hello, commands);
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
                survey.waits_for.retain(|own| *own != node);
            }
            self.finish(number, events);
        }
    }

    fn finish(&mut self, number: u64, events: &mut Vec<NodeEvent>) {
        if self.surveys.get(&number).is_some_and(|own| own.waits_for.is_empty())
            && let Some(survey) = self.surveys.remove(&number)
        {
            events.push(NodeEvent::Answered(number, Some(survey.answers)));
        }
    }
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
/// Questions of this node that are open.
const SURVEYS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
                nodes: (0..count).map(Nodes::new).collect(),
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
            let mut commands = Vec::new();
            let number = self.nodes[from].ask("how many?".to_owned(), Millis(now), &mut commands);
            self.deliver(from, commands, now);
            number.unwrap()
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
        let [NodeEvent::Answered(own, Some(answers))] = &mut network.events[1][..] else {
            panic!("{:?}", network.events)
        };
        answers.sort();
        assert_eq!((*own, &answers[..]), (number, &["0".into(), "1".into(), "2".into()][..]));
    }

    #[test]
    fn a_part_is_no_answer_until_the_rest_counts_as_gone() {
        let mut network = Network::new(3);
        let number = network.ask(0, 0);
        network.answer(&[2], 0);
        assert_eq!(network.events[0], []);
        network.tick(ANSWERS_MS);
        assert_eq!(network.events[0], [NodeEvent::Answered(number, None)]);
        network.cut[2] = true;
        for now in (ANSWERS_MS..ANSWERS_MS + GONE_MS + 1000).step_by(1000) {
            network.tick(now);
        }
        assert_eq!(network.nodes[0].count(), 2);
        network.events[0].clear();
        let now = 20_000;
        let number = network.ask(0, now);
        network.answer(&[], now);
        let wanted = NodeEvent::Answered(number, Some(vec!["0".into(), "1".into()]));
        assert_eq!(network.events[0], [wanted]);
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
        assert_eq!(network.events[0], [NodeEvent::Answered(number, Some(vec!["0".into()]))]);
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
        assert_eq!(events, [NodeEvent::Answered(number, None)]);
        assert_eq!(network.nodes[0].ask(String::new(), Millis(1), &mut commands), None);
    }

    proptest! {
        #[test]
        fn whatever_is_heard_is_borne(bytes: Vec<u8>, text in "\\PC{0,40}") {
            let mut own = Nodes::new(1);
            for bytes in [&bytes[..], text.as_bytes()] {
                own.on_told(bytes, Millis(0), &mut Vec::new(), &mut Vec::new());
            }
            prop_assert_eq!(own.count(), 1);
        }
    }
}
