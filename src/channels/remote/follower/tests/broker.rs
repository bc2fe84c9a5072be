//! A model of a broker, and the truth about what was ever published.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::ports::Rng;
use crate::channels::remote::{
    Batch, BrokerCommand, BrokerError, BrokerEvent, POSITIONS_MAX, Placement, Retention, Span,
    read_publication,
};
use crate::channels::{Epoch, Page, Position, RECOVERED_MAX};

/// How a broker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// By one for each publication of a channel.
    Contiguous,
    /// By one for each publication of any channel, and by more at times. What is before a publication is not
    /// known if it is not kept.
    Holes,
}

/// The two ways from the broker to a node, and the one back.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) is_up: bool,
    commands: VecDeque<BrokerCommand>,
    /// What is heard is said on a connection of its own.
    subscriptions: VecDeque<BrokerCommand>,
    /// Answers are in no order.
    pub(super) answers: VecDeque<BrokerEvent>,
    pub(super) lives: VecDeque<BrokerEvent>,
    subscribed: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Stream {
    position: Position,
    kept: VecDeque<(u64, Vec<u8>)>,
    /// Whether all that ever was is kept.
    is_complete: bool,
    keys: HashMap<Box<str>, Option<Position>>,
}

#[derive(Debug)]
pub(super) struct Model {
    numbering: Numbering,
    random: Rng,
    streams: HashMap<Arc<str>, Stream>,
    /// All that ever was published where it is kept.
    truth: HashMap<(Arc<str>, Epoch), Page>,
    next_epoch: u32,
    sequence: u64,
    /// Whether something that was asked was not done, and not answered.
    is_deaf: bool,
}

impl Wire {
    pub(super) fn send(&mut self, commands: Vec<BrokerCommand>) {
        if self.is_up {
            for command in commands {
                match command {
                    BrokerCommand::Subscribe(_) | BrokerCommand::Unsubscribe(_) => {
                        self.subscriptions.push_back(command);
                    }
                    BrokerCommand::Publish { .. }
                    | BrokerCommand::Read { .. }
                    | BrokerCommand::Remove { .. }
                    | BrokerCommand::Positions { .. }
                    | BrokerCommand::Note(..)
                    | BrokerCommand::Tell(..) => self.commands.push_back(command),
                }
            }
        }
    }

    pub(super) fn take_command(&mut self, random: &mut Rng) -> Option<BrokerCommand> {
        let (first, second) = match random.below(2) {
            0 => (&mut self.commands, &mut self.subscriptions),
            _ => (&mut self.subscriptions, &mut self.commands),
        };
        first.pop_front().or_else(|| second.pop_front())
    }

    pub(super) fn take_answer(&mut self, random: &mut Rng) -> Option<BrokerEvent> {
        let at = random.below(self.answers.len().max(1));
        // Those that say from when on a channel is heard stay in order.
        let is_subscribed = |own: &BrokerEvent| matches!(own, BrokerEvent::Subscribed(_));
        let at = match self.answers.get(at) {
            Some(own) if is_subscribed(own) => self.answers.iter().position(is_subscribed)?,
            _ => at,
        };
        self.answers.remove(at)
    }
}

impl Model {
    pub(super) fn new(numbering: Numbering, random: &mut Rng) -> Self {
        Self {
            numbering,
            random: Rng(random.next()),
            streams: HashMap::new(),
            truth: HashMap::new(),
            next_epoch: 1,
            sequence: 0,
            is_deaf: false,
        }
    }

    /// All publications of a stream above an offset, up to another.
    pub(super) fn truth(&self, channel: &Arc<str>, epoch: Epoch, (after, to): (u64, u64)) -> Page {
        let all = self.truth.get(&(Arc::clone(channel), epoch));
        let all = all.into_iter().flatten();
        all.filter(|(own, _)| *own > after && *own <= to).cloned().collect()
    }

    pub(super) fn position(&self, channel: &Arc<str>) -> Option<Position> {
        self.streams.get(channel).map(|own| own.position)
    }

    pub(super) fn expire(&mut self, random: &mut Rng) {
        let mut names: Vec<Arc<str>> = self.streams.keys().cloned().collect();
        names.sort();
        let Some(name) = names.get(random.below(names.len().max(1))) else { return };
        if random.below(3) == 0 {
            self.streams.remove(name);
        } else if let Some(stream) = self.streams.get_mut(name) {
            let count = random.below(stream.kept.len() + 1);
            stream.is_complete &= count == 0;
            stream.kept.drain(..count);
        }
    }

    fn stream(&mut self, channel: &Arc<str>) -> &mut Stream {
        let next_epoch = &mut self.next_epoch;
        self.streams.entry(Arc::clone(channel)).or_insert_with(|| {
            *next_epoch += 1;
            let position = Position { offset: 0, epoch: Epoch(*next_epoch) };
            Stream { position, kept: VecDeque::new(), is_complete: true, keys: HashMap::new() }
        })
    }

    fn publish(
        &mut self,
        channel: &Arc<str>,
        retention: Option<Retention>,
        payload: &[u8],
        key: Option<Box<str>>,
        wires: &mut [Wire],
    ) -> Option<Position> {
        let known = key.as_ref().and_then(|own| self.stream(channel).keys.get(own).copied());
        if let Some(known) = known {
            return known;
        }
        let placement = retention.map(|own| self.keep(channel, own, payload));
        let position = placement.map(|own| own.position);
        if let Some(key) = key {
            self.stream(channel).keys.insert(key, position);
        }
        for wire in wires.iter_mut().filter(|own| own.subscribed.contains(channel)) {
            wire.lives.push_back(BrokerEvent::Live {
                channel: Arc::clone(channel),
                place: placement,
                payload: payload.to_vec(),
            });
        }
        position
    }

    fn keep(&mut self, channel: &Arc<str>, retention: Retention, payload: &[u8]) -> Placement {
        let numbering = self.numbering;
        self.sequence += 1 + self.random.below(3) as u64;
        let sequence = self.sequence;
        let stream = self.stream(channel);
        let (offset, previous) = match numbering {
            Numbering::Contiguous => (stream.position.offset + 1, stream.position.offset),
            Numbering::Holes => (sequence, stream.kept.back().map_or(0, |own| own.0)),
        };
        stream.position.offset = offset;
        stream.kept.push_back((offset, payload.to_vec()));
        while stream.kept.len() > retention.size {
            stream.kept.pop_front();
            stream.is_complete = false;
        }
        let position = stream.position;
        let publication = read_publication(payload).unwrap();
        let truth = self.truth.entry((Arc::clone(channel), position.epoch)).or_default();
        truth.push((offset, publication));
        Placement { position, previous }
    }

    fn read(&mut self, channel: &Arc<str>, span: Span) -> Batch {
        let numbering = self.numbering;
        let stream = self.stream(channel);
        let position = stream.position;
        let all: Vec<(u64, Vec<u8>)> = stream.kept.iter().cloned().collect();
        let first = all.first().map_or(position.offset + 1, |own| own.0);
        let (entries, is_whole) = match span {
            Span::Nothing => (Vec::new(), true),
            Span::All => (all, true),
            Span::Latest => (all.last().cloned().into_iter().collect(), true),
            Span::After(offset) => {
                let is_there = match numbering {
                    Numbering::Contiguous => offset + 1 >= first,
                    Numbering::Holes => stream.is_complete || all.iter().any(|own| own.0 == offset),
                };
                let missed: Vec<_> = all.into_iter().filter(|own| own.0 > offset).collect();
                let is_whole = offset <= position.offset
                    && (offset == position.offset || is_there)
                    && missed.len() <= RECOVERED_MAX;
                (if is_whole { missed } else { Vec::new() }, is_whole)
            }
        };
        Batch { position, entries, is_whole }
    }

    /// Does what one node asks for. `failing` is there if it is to fail in some way.
    pub(super) fn carry_out(
        &mut self,
        command: BrokerCommand,
        at: usize,
        wires: &mut [Wire],
        failing: Option<&mut Rng>,
    ) {
        let mut error = None;
        if let Some(random) = failing {
            match random.below(3) {
                // It is done, and that is not known.
                0 => error = Some(BrokerError::Unknown),
                1 => error = Some(BrokerError::Refused),
                _ if matches!(command, BrokerCommand::Unsubscribe(_)) => {}
                _ => {
                    self.is_deaf = true;
                    return;
                }
            }
        }
        let answer = match command {
            BrokerCommand::Subscribe(channels) => {
                assert!(channels.len() <= 512);
                for channel in channels {
                    wires[at].subscribed.insert(Arc::clone(&channel));
                    wires[at].answers.push_back(BrokerEvent::Subscribed(channel));
                }
                return;
            }
            BrokerCommand::Unsubscribe(channels) => {
                for channel in channels {
                    let was_subscribed = wires[at].subscribed.remove(&channel);
                    assert!(was_subscribed || self.is_deaf, "{channel} is not subscribed");
                }
                return;
            }
            BrokerCommand::Publish { number, channel, retention, payload, idempotency_key } => {
                if error == Some(BrokerError::Refused) {
                    BrokerEvent::Published(number, Err(BrokerError::Refused))
                } else {
                    let done = self.publish(&channel, retention, &payload, idempotency_key, wires);
                    BrokerEvent::Published(number, error.map_or(Ok(done), Err))
                }
            }
            BrokerCommand::Read { number, channel, span, .. } => {
                let read = self.read(&channel, span);
                BrokerEvent::Read(number, error.map_or(Ok(read), Err))
            }
            BrokerCommand::Remove { number, channel } => {
                let stream = self.stream(&channel);
                stream.is_complete &= stream.kept.is_empty();
                stream.kept.clear();
                BrokerEvent::Removed(number, error.map_or(Ok(()), Err))
            }
            BrokerCommand::Positions { number, channels } => {
                assert!(channels.len() <= POSITIONS_MAX);
                let all = channels.iter().map(|(own, _)| self.stream(own).position).collect();
                BrokerEvent::Positions(number, error.map_or(Ok(all), Err))
            }
            BrokerCommand::Note(channel, payload) => {
                for wire in wires.iter_mut().filter(|own| own.subscribed.contains(&channel)) {
                    let note = BrokerEvent::Note(Arc::clone(&channel), payload.clone());
                    wire.lives.push_back(note);
                }
                return;
            }
            BrokerCommand::Tell(..) => return,
        };
        wires[at].answers.push_back(answer);
    }
}
