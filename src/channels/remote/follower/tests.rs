//! Followers of several nodes on a model of a broker, with members that check what they get: no hole, no repeat,
//! no disorder, and one answer to each question, in whatever order things come and whatever is lost on the way.

mod broker;
mod ports;

use self::broker::{Model, Numbering, Wire};
use self::ports::{Node, Rng};
use super::{Follower, FollowerCounts, FollowerLimits, FollowerOutput};
use crate::channels::remote::{
    BrokerCommand, BrokerError, BrokerEvent, EngineAction, EngineQuestion, EngineRoom, Port,
    PortEvent,
};
use crate::channels::{EngineError, Publication};
use crate::timer::Millis;

/// How much goes wrong in a run.
#[derive(Clone, Copy, Debug)]
struct Disturbances {
    /// Of 100 copies, those that are lost.
    lost: usize,
    /// Of 1000 answers, those that are errors or never come.
    failed: usize,
    /// Of 1000 steps, those at which a node loses the broker.
    cut: usize,
    /// Of 1000 steps, those at which old publications expire, or streams begin anew. If there are any, ports have
    /// histories forgotten too.
    expired: usize,
}

const NONE: Disturbances = Disturbances { lost: 0, failed: 0, cut: 0, expired: 0 };

struct World {
    random: Rng,
    model: Model,
    wires: Vec<Wire>,
    nodes: Vec<Node>,
    now: Millis,
    with: Disturbances,
}

impl World {
    fn new(seed: u64, numbering: Numbering, with: Disturbances) -> Self {
        let mut random = Rng(seed);
        let count = 1 + random.below(3);
        let mut nodes: Vec<Node> = (0..count)
            .map(|_| Node::new(1 + u32::from(random.below(2) == 0), with.expired > 0))
            .collect();
        let mut wires: Vec<Wire> = (0..count).map(|_| Wire::default()).collect();
        for (node, wire) in nodes.iter_mut().zip(&mut wires) {
            wire.is_up = true;
            node.hear(BrokerEvent::Up, Millis(0));
        }
        let model = Model::new(numbering, &mut random);
        Self { random, model, wires, nodes, now: Millis(0), with }
    }

    fn step(&mut self) {
        let at = self.random.below(self.nodes.len());
        let (node, wire) = (&mut self.nodes[at], &mut self.wires[at]);
        match self.random.below(12) {
            0 => node.act(&mut self.random, &self.model),
            1 => node.act(&mut self.random, &self.model),
            2 | 3 => node.pass_question(&mut self.random, self.now),
            4 | 5 => node.pass_event(&mut self.random, &self.model),
            6 => node.flush(self.now),
            7 => {
                self.carry_out(at);
            }
            8 | 9 => {
                let is_lost = self.random.below(100) < self.with.lost;
                if let Some(live) = wire.lives.pop_front().filter(|_| !is_lost) {
                    node.hear(live, self.now);
                }
            }
            10 => {
                if let Some(answer) = wire.take_answer(&mut self.random) {
                    node.hear(answer, self.now);
                }
            }
            _ => self.disturb(at),
        }
        let node = &mut self.nodes[at];
        self.wires[at].send(node.take_commands());
    }

    /// The broker does what a node has asked for.
    fn carry_out(&mut self, at: usize) -> bool {
        let Some(command) = self.wires[at].take_command(&mut self.random) else { return false };
        let fails = self.random.below(1000) < self.with.failed;
        self.model.carry_out(command, at, &mut self.wires, fails.then_some(&mut self.random));
        true
    }

    fn disturb(&mut self, at: usize) {
        let (node, wire) = (&mut self.nodes[at], &mut self.wires[at]);
        if self.random.below(3) == 0 {
            let ms = if self.random.below(10) == 0 { 11_000 } else { 700 };
            // What is slow is not what is too slow.
            let ms = if self.with.failed > 0 { ms } else { 50 };
            self.now = self.now.plus(ms);
            node.tick(self.now);
        }
        if !wire.is_up {
            if self.random.below(20) == 0 {
                wire.is_up = true;
                node.hear(BrokerEvent::Up, self.now);
            }
        } else if self.random.below(1000) < 12 * self.with.cut {
            // Some of what was asked is done all the same.
            for _ in 0..self.random.below(4) {
                self.carry_out(at);
            }
            self.wires[at] = Wire::default();
            self.nodes[at].hear(BrokerEvent::Down, self.now);
        }
        if self.random.below(1000) < 12 * self.with.expired {
            self.model.expire(&mut self.random);
        }
    }

    /// Lets all come to rest: nothing is lost any more, and time passes until each stream was checked, or hardly
    /// any if that was never needed.
    fn rest(&mut self) {
        let needs_checks = self.with.lost + self.with.failed + self.with.expired > 0;
        self.with = NONE;
        for at in 0..self.nodes.len() {
            if !self.wires[at].is_up {
                self.wires[at].is_up = true;
                self.nodes[at].hear(BrokerEvent::Up, self.now);
            }
        }
        for _ in 0..if needs_checks { 260 } else { 2 } {
            self.now = self.now.plus(1000);
            for at in 0..self.nodes.len() {
                self.nodes[at].tick(self.now);
            }
            while self.pass_all() {}
        }
    }

    fn pass_all(&mut self) -> bool {
        let mut has_passed = false;
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            has_passed |= node.pass_all_questions(self.now);
            node.flush(self.now);
            let commands = node.take_commands();
            has_passed |= !commands.is_empty();
            self.wires[at].send(commands);
            while self.carry_out(at) {}
            let wire = &mut self.wires[at];
            while let Some(event) = wire.lives.pop_front().or_else(|| wire.answers.pop_front()) {
                has_passed = true;
                self.nodes[at].hear(event, self.now);
            }
            has_passed |= self.nodes[at].pass_all_events(&mut self.random, &self.model);
        }
        has_passed
    }

    /// What holds when nothing is under way.
    fn check(&self) {
        for node in &self.nodes {
            node.check(&self.model);
        }
    }
}

fn run(seed: u64, numbering: Numbering, with: Disturbances) -> FollowerCounts {
    let mut world = World::new(seed, numbering, with);
    for _ in 0..900 {
        world.step();
    }
    world.rest();
    world.check();
    let mut all = FollowerCounts::default();
    for counts in world.nodes.iter().map(Node::counts) {
        all.gaps += counts.gaps;
        all.lost += counts.lost;
        all.late += counts.late;
        all.queued += counts.queued;
    }
    all
}

/// Runs seeds, and says which has failed. `FOLLOWER_SEEDS` is the number of them.
fn run_all(numbering: Numbering, with: Disturbances) -> FollowerCounts {
    let count = std::env::var("FOLLOWER_SEEDS").ok().and_then(|own| own.parse().ok());
    let mut all = FollowerCounts::default();
    for seed in 0..count.unwrap_or(400) {
        let result = std::panic::catch_unwind(|| run(seed, numbering, with));
        let counts = result.unwrap_or_else(|_| panic!("seed {seed}, {numbering:?}, {with:?}"));
        all.gaps += counts.gaps;
        all.lost += counts.lost;
        all.late += counts.late;
        all.queued += counts.queued;
    }
    all
}

#[test]
fn nothing_is_lost_where_nothing_goes_wrong() {
    for numbering in [Numbering::Contiguous, Numbering::Holes] {
        let counts = run_all(numbering, NONE);
        assert_eq!((counts.lost, counts.late), (0, 0), "{numbering:?}");
    }
}

#[test]
fn lost_copies_are_read_again() {
    for numbering in [Numbering::Contiguous, Numbering::Holes] {
        let counts = run_all(numbering, Disturbances { lost: 20, ..NONE });
        assert!(counts.gaps > 100, "{counts:?}");
    }
}

#[test]
fn members_are_whole_or_are_told_whatever_goes_wrong() {
    for numbering in [Numbering::Contiguous, Numbering::Holes] {
        let with = Disturbances { lost: 10, failed: 50, cut: 6, expired: 10 };
        let counts = run_all(numbering, with);
        assert!(counts.gaps > 100 && counts.lost > 100 && counts.late > 100, "{counts:?}");
    }
}

#[test]
fn a_broker_that_goes_and_comes_leaves_no_hole() {
    for numbering in [Numbering::Contiguous, Numbering::Holes] {
        let counts = run_all(numbering, Disturbances { cut: 20, ..NONE });
        assert!(counts.queued > 100, "{counts:?}");
    }
}

/// Publications wait in their order while the broker is away, up to the bytes and the time that they may take.
#[test]
fn publications_wait_for_the_broker() {
    let limits = FollowerLimits {
        pending_max: 100,
        channels_max: 10,
        queue_bytes_max: 4096,
        queue_ms: 3000,
    };
    let (mut own, mut output) = (Follower::new(limits), FollowerOutput::default());
    let room = EngineRoom::new(1000);
    let ask = |own: &mut Follower, output: &mut FollowerOutput, number: u64, at: u64| {
        let action = EngineAction::Publish {
            channel: "a".into(),
            retention: None,
            publication: Publication::new(vec![b'1'; 100]),
            idempotency_key: None,
        };
        let question = EngineQuestion { port: Port(0), number, action, charged: room.take(1000) };
        assert!(question.charged.is_some());
        own.ask(question, Millis(at), output);
    };
    let refused = |output: &mut FollowerOutput| -> Vec<u64> {
        let one = |(_, event)| {
            let PortEvent::Published(number, Err(EngineError::Unavailable)) = event else {
                panic!("{event:?}");
            };
            number
        };
        output.events.drain(..).map(one).collect()
    };
    for number in 0..40 {
        ask(&mut own, &mut output, number, number * 10);
    }
    let kept = 40 - u64::try_from(output.events.len()).unwrap();
    assert!((10..30).contains(&kept), "{kept}");
    assert_eq!(refused(&mut output), (kept..40).collect::<Vec<_>>());
    assert!(own.queued_bytes() <= 4096 && output.commands.is_empty());
    // The first ones have waited long enough.
    own.tick(Millis(3040), &mut output);
    assert_eq!(refused(&mut output), [0, 1, 2, 3, 4]);
    own.on_event(BrokerEvent::Up, Millis(3041), &mut output);
    // It comes behind those that wait.
    ask(&mut own, &mut output, 90, 3041);
    own.flush(Millis(3041), &mut output);
    assert!(output.commands.is_empty());
    own.tick(Millis(3042), &mut output);
    let published = output.commands.drain(..).map(|command| {
        let BrokerCommand::Publish { number, .. } = command else { panic!("{command:?}") };
        number
    });
    let published: Vec<u64> = published.collect();
    for number in published {
        own.on_event(
            BrokerEvent::Published(number, Err(BrokerError::Refused)),
            Millis(3043),
            &mut output,
        );
    }
    let wanted: Vec<u64> = (5..kept).chain([90]).collect();
    assert_eq!(refused(&mut output), wanted);
    assert_eq!((own.queued_bytes(), own.counts().queued), (0, kept - 4));
    // What goes to the broker is on its way until it is dropped there.
    ask(&mut own, &mut output, 91, 3044);
    assert_eq!((output.commands.len(), room.free_bytes()), (1, 0));
    output.commands.clear();
    assert_eq!(room.free_bytes(), 1000);
    // What is refused is not.
    own.on_event(BrokerEvent::Down, Millis(3045), &mut output);
    own.set_limits(FollowerLimits { queue_bytes_max: 0, ..limits });
    ask(&mut own, &mut output, 92, 3045);
    assert_eq!((refused(&mut output), room.free_bytes()), (vec![91, 92], 1000));
}

#[test]
fn streams_that_end_and_begin_are_told_from_each_other() {
    for numbering in [Numbering::Contiguous, Numbering::Holes] {
        let counts = run_all(numbering, Disturbances { lost: 5, expired: 30, ..NONE });
        assert!(counts.lost > 100, "{counts:?}");
    }
}
