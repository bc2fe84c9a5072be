//! The time between `Up` and `Down`: commands are carried out, and what comes is told.
//!
//! Time is counted in beats, which are skipped while the task does not run or waits for room for its events:
//! what the gateway is late itself is no fault of the server.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::Value;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::failure::{Failure, is_fatal};
use super::message::{Message, note, parse_message, unkept};
use super::names::{Heard, Names};
use super::question::{Answer, Question};
use super::request::Asking;
use super::servers::Servers;
use super::shard::{Pending, Push, Shard};
use crate::channels::remote::{
    Audience, BrokerCommand, BrokerError, BrokerEvent, POSITIONS_MAX, Placement, Retention,
};
use crate::channels::{Epoch, Position};
use crate::control::engine::event_queue::EventSender;

/// Carries out commands.
pub(super) struct Session<'s> {
    names: &'s Names,
    servers: Servers,
    events: &'s EventSender,
    beat: u32,
    beats: Interval,
    /// Beats that a request may take.
    request_beats: u32,
    /// Which source is looked at first.
    turn: usize,
    gathered: HashMap<u64, Gathered>,
    epochs: Epochs,
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// Commands come no more, or events go nowhere.
    Closed,
    /// A server is not reached any more.
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Positions of one question, which come from several servers or slots.
#[derive(Debug)]
struct Gathered {
    positions: Vec<Position>,
    missing: usize,
    is_refused: bool,
}

/// What comes next.
#[derive(Debug)]
enum Step {
    Command(BrokerCommand),
    Closed,
    Answer(usize, Value),
    Push(usize, Push),
    Beat,
}

impl<'s> Session<'s> {
    pub(super) fn new(
        names: &'s Names,
        servers: Servers,
        events: &'s EventSender,
        request: Duration,
    ) -> Self {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let request_beats = request.as_millis().div_ceil(BEAT.as_millis()) + 1;
        Self {
            names,
            servers,
            events,
            beat: 0,
            beats,
            request_beats: u32::try_from(request_beats).unwrap_or(u32::MAX),
            turn: 0,
            gathered: HashMap::new(),
            epochs: Epochs::default(),
        }
    }

    /// Goes on until it ends.
    pub(super) async fn run(mut self, commands: &mut UnboundedReceiver<BrokerCommand>) -> End {
        loop {
            let step = match poll_fn(|context| self.poll_next(commands, context)).await {
                Ok(Step::Closed) => return End::Closed,
                Ok(step) => step,
                Err(failure) => return End::Failed(failure),
            };
            if let Err(end) = self.take(step).await {
                return end;
            }
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), End> {
        let event = match step {
            Step::Command(command) => self.command(command),
            Step::Answer(shard, value) => self.answer(shard, value)?,
            Step::Push(shard, push) => self.push(shard, push),
            Step::Beat => {
                self.on_beat()?;
                None
            }
            Step::Closed => return Err(End::Closed),
        };
        match event {
            Some(event) => self.events.send(event).await.map_err(|_| End::Closed),
            None => Ok(()),
        }
    }

    fn poll_next(
        &mut self,
        commands: &mut UnboundedReceiver<BrokerCommand>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Step, Failure>> {
        self.turn = self.turn.wrapping_add(1);
        // What is written gathers while there is something else to do, but not for long.
        if self.turn.is_multiple_of(FLUSH_TURNS) {
            self.poll_flush(context)?;
        }
        for source in 0..SOURCES {
            let step = match (self.turn + source) % SOURCES {
                0 => self.poll_command(commands, context).map(Ok),
                1 => self.poll_answer(context),
                2 => self.poll_push(context),
                _ => self.beats.poll_tick(context).map(|_| Ok(Step::Beat)),
            };
            if step.is_ready() {
                return step;
            }
        }
        self.poll_flush(context)?;
        Poll::Pending
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        self.servers.shards.iter_mut().try_for_each(|shard| shard.poll_flush(context))
    }

    /// Takes no command while there are too many questions: what makes room for one wakes the task as well.
    fn poll_command(
        &self,
        commands: &mut UnboundedReceiver<BrokerCommand>,
        context: &mut Context<'_>,
    ) -> Poll<Step> {
        let shards = &self.servers.shards;
        let waiting: usize = shards.iter().map(Shard::waiting_count).sum();
        if waiting >= WAITING_MAX || !shards.iter().all(Shard::has_room) {
            return Poll::Pending;
        }
        commands.poll_recv(context).map(|command| command.map_or(Step::Closed, Step::Command))
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Step, Failure>> {
        for (index, shard) in self.servers.shards.iter_mut().enumerate() {
            if let Poll::Ready(value) = shard.poll_answer(context) {
                return Poll::Ready(value.map(|value| Step::Answer(index, value)));
            }
        }
        Poll::Pending
    }

    fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<Result<Step, Failure>> {
        for (index, shard) in self.servers.shards.iter_mut().enumerate() {
            if let Poll::Ready(push) = shard.poll_push(context) {
                return Poll::Ready(push.map(|push| Step::Push(index, push)));
            }
        }
        Poll::Pending
    }

    fn on_beat(&mut self) -> Result<(), Failure> {
        self.beat += 1;
        for shard in &mut self.servers.shards {
            if shard.oldest().is_some_and(|asked| self.beat - asked > self.request_beats) {
                return Err(Failure::Unanswered);
            }
            if self.beat.is_multiple_of(PROBE_BEATS) {
                shard.probe(self.beat)?;
            }
            if self.beat.is_multiple_of(REPLICATION_BEATS) {
                shard.ask_replication(self.beat);
            }
        }
        Ok(())
    }

    /// Carries a command out. What has an answer at once, is answered.
    fn command(&mut self, command: BrokerCommand) -> Option<BrokerEvent> {
        match command {
            BrokerCommand::Subscribe(channels) => self.change(&channels, Shard::subscribe),
            BrokerCommand::Unsubscribe(channels) => self.change(&channels, Shard::unsubscribe),
            BrokerCommand::Publish { number, channel, retention, payload, idempotency_key } => {
                if payload.len() > PAYLOAD_BYTES_MAX {
                    return Some(BrokerEvent::Published(number, Err(BrokerError::Refused)));
                }
                if retention.is_none() && idempotency_key.is_none() {
                    let pending = Pending::Question(Question::PublishUnkept(number));
                    self.say(&channel, &unkept(&payload), pending);
                } else {
                    let retention = retention.map(with_size);
                    let asking = self.asking(self.names.partition(&channel));
                    let content = (&*payload, idempotency_key.as_deref());
                    asking.publish(number, &channel, retention, content);
                }
            }
            BrokerCommand::Read { number, channel, retention, span } => {
                let asking = self.asking(self.names.partition(&channel));
                asking.read(number, &channel, with_size(retention), span);
            }
            BrokerCommand::Remove { number, channel } => {
                self.asking(self.names.partition(&channel)).remove(number, &channel);
            }
            BrokerCommand::Positions { number, channels } => {
                return self.positions(number, &channels);
            }
            BrokerCommand::Note(_, payload) | BrokerCommand::Tell(_, payload)
                if payload.len() > PAYLOAD_BYTES_MAX =>
            {
                log::warn!("a message of {} bytes to other gateways is dropped", payload.len());
            }
            BrokerCommand::Note(channel, payload) => {
                self.say(&channel, &note(&payload), Pending::Message);
            }
            BrokerCommand::Tell(audience, payload) => self.tell(audience, &payload),
        }
        None
    }

    fn asking(&mut self, partition: usize) -> Asking<'_> {
        let epoch = self.epochs.next();
        let (names, beat) = (self.names, self.beat);
        Asking { shard: self.servers.shard(partition), names, beat, epoch }
    }

    /// Sends a message to those who hear a channel.
    fn say(&mut self, channel: &str, message: &[u8], pending: Pending) {
        let (names, beat) = (self.names, self.beat);
        let shard = self.servers.shard(names.partition(channel));
        shard.publish(&names.live(channel), message, pending, beat);
    }

    fn tell(&mut self, audience: Audience, payload: &[u8]) {
        let (partition, channel) = match audience {
            Audience::All => (0, self.names.all_nodes()),
            Audience::Node(node) => (self.names.node_partition(node), self.names.node(node)),
        };
        let shard = self.servers.shard(partition);
        shard.publish(&channel, payload, Pending::Message, self.beat);
    }

    fn change(&mut self, channels: &[Arc<str>], change: impl Fn(&mut Shard, &[Vec<u8>])) {
        let mut by_partition: HashMap<usize, Vec<Vec<u8>>> = HashMap::new();
        for channel in channels {
            let group = by_partition.entry(self.names.partition(channel)).or_default();
            group.push(self.names.live(channel));
        }
        for (partition, group) in by_partition {
            change(self.servers.shard(partition), &group);
        }
    }

    fn positions(
        &mut self,
        number: u64,
        channels: &[(Arc<str>, Retention)],
    ) -> Option<BrokerEvent> {
        if channels.len() > POSITIONS_MAX {
            return Some(BrokerEvent::Positions(number, Err(BrokerError::Refused)));
        }
        if channels.is_empty() {
            return Some(BrokerEvent::Positions(number, Ok(Vec::new())));
        }
        let mut by_partition: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, (channel, _)) in channels.iter().enumerate() {
            by_partition.entry(self.names.partition(channel)).or_default().push(index);
        }
        let nowhere = Position { offset: 0, epoch: Epoch(0) };
        let positions = vec![nowhere; channels.len()];
        let gathered = Gathered { positions, missing: by_partition.len(), is_refused: false };
        self.gathered.insert(number, gathered);
        for (partition, indexes) in by_partition {
            let group: Vec<(&str, Retention)> = indexes
                .iter()
                .filter_map(|&index| channels.get(index))
                .map(|(channel, retention)| (&**channel, *retention))
                .collect();
            self.asking(partition).positions(number, indexes, group.into_iter());
        }
        None
    }

    fn answer(&mut self, index: usize, value: Value) -> Result<Option<BrokerEvent>, Failure> {
        let shard = &mut self.servers.shards[index];
        let pending = shard.answered()?;
        if let Value::ServerError(error) = value {
            if is_fatal(&error) {
                return Err(Failure::Server(error));
            }
            return match pending {
                Pending::Question(question) => {
                    log::debug!("Redis refuses a request: {error}");
                    Ok(self.told(question.refused()))
                }
                Pending::Message => Ok(None),
                Pending::Probe | Pending::Replication => Err(Failure::Server(error)),
            };
        }
        match pending {
            Pending::Question(question) => {
                let own = |Position { offset, epoch }| {
                    let epoch = shard.epoch(epoch);
                    Position { offset, epoch }
                };
                let answer = question.answered(value, own)?;
                Ok(self.told(answer))
            }
            Pending::Replication => shard.check_replication(&value).map(|()| None),
            Pending::Message | Pending::Probe => Ok(None),
        }
    }

    fn told(&mut self, answer: Answer) -> Option<BrokerEvent> {
        let (number, indexes, found) = match answer {
            Answer::Event(event) => return Some(event),
            Answer::Positions { number, indexes, found } => (number, indexes, found),
        };
        let gathered = self.gathered.get_mut(&number)?;
        gathered.missing -= 1;
        gathered.is_refused |= found.is_err();
        for (index, position) in indexes.into_iter().zip(found.into_iter().flatten()) {
            if let Some(own) = gathered.positions.get_mut(index) {
                *own = position;
            }
        }
        if gathered.missing > 0 {
            return None;
        }
        let Gathered { positions, is_refused, .. } = self.gathered.remove(&number)?;
        let result = if is_refused { Err(BrokerError::Refused) } else { Ok(positions) };
        Some(BrokerEvent::Positions(number, result))
    }

    fn push(&self, index: usize, push: Push) -> Option<BrokerEvent> {
        let (name, mut message) = match push {
            Push::Message(name, message) => (name, message),
            Push::Subscribed(name) => {
                return match self.names.heard(&name)? {
                    Heard::Channel(channel) => Some(BrokerEvent::Subscribed(channel.into())),
                    Heard::Nodes => None,
                };
            }
            Push::Nothing => return None,
        };
        let Heard::Channel(channel) = self.names.heard(&name)? else {
            return Some(BrokerEvent::Told(message));
        };
        let channel: Arc<str> = channel.into();
        let (place, head) = match parse_message(&message)? {
            Message::Kept(Position { offset, epoch }, head) => {
                let epoch = self.servers.shards[index].epoch(epoch);
                let position = Position { offset, epoch };
                (Some(Placement { position, previous: offset - 1 }), head)
            }
            Message::Unkept(head) => (None, head),
            Message::Note(head) => {
                message.drain(..head);
                return Some(BrokerEvent::Note(channel, message));
            }
        };
        message.drain(..head);
        Some(BrokerEvent::Live { channel, place, payload: message })
    }
}

fn with_size(retention: Retention) -> Retention {
    Retention { size: retention.size.max(1), ..retention }
}

/// Epochs that cannot be foreseen. Each question has one, and few need it: so the kernel is asked for many at once.
#[derive(Debug, Default)]
struct Epochs(Vec<Epoch>);

impl Epochs {
    fn next(&mut self) -> Epoch {
        if self.0.is_empty() {
            let mut bytes = [0; 4 * EPOCHS_AT_ONCE];
            // Without randomness a new stream has the epoch of an older one, as if it had gone on.
            let _ = SystemRandom::new().fill(&mut bytes);
            let (numbers, _) = bytes.as_chunks();
            self.0.extend(numbers.iter().map(|own| Epoch(u32::from_ne_bytes(*own))));
        }
        self.0.pop().unwrap_or(Epoch(0))
    }
}

/// The clock of a session.
const BEAT: Duration = Duration::from_millis(250);
/// From one probe to the next: a second.
const PROBE_BEATS: u32 = 4;
/// From one look at the server's role to the next: five seconds.
const REPLICATION_BEATS: u32 = 20;
/// Questions under way. Commands beyond wait.
const WAITING_MAX: usize = 1024;
/// The largest publication.
const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Epochs that are drawn together.
const EPOCHS_AT_ONCE: usize = 64;
const SOURCES: usize = 4;
const FLUSH_TURNS: usize = 32;
