//! One server with the two connections to it: one asks, the other hears.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use redis::{PushKind, Value};

use super::connection::Connection;
use super::failure::Failure;
use super::message::parse_number;
use super::names::{Names, Verbs, digest};
use super::question::Question;
use super::reply::{Malformed, Replication, bytes, replication, text};
use crate::channels::Epoch;
use crate::control::redis_url::RedisUrl;

/// A server that is connected to.
pub(super) struct Shard {
    pub(super) url: RedisUrl,
    commands: Connection,
    pushes: Connection,
    verbs: Verbs,
    pub(super) scripts: Scripts,
    /// What is asked and has no answer yet, with the beat at which it was asked.
    waiting: VecDeque<(u32, Pending)>,
    replication: Replication,
    probe: Probe,
    /// Ends of subscriptions that were asked for, and are not confirmed.
    ending: usize,
}

/// The names that the server has for the scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) publish: Arc<[u8]>,
    pub(super) read: Arc<[u8]>,
    pub(super) positions: Arc<[u8]>,
}

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A question of the gateway.
    Question(Question),
    /// A message that has no answer.
    Message,
    /// A message to itself.
    Probe,
    /// How the server is.
    Replication,
}

/// What this gateway says to itself: by one connection, to hear it on the other.
#[derive(Debug)]
struct Probe {
    channel: Vec<u8>,
    sent: u64,
    heard: u64,
    /// Whether anything was pushed since it was last about to say something.
    is_pushed: bool,
}

impl Probe {
    /// The next number to say. Where many are not heard yet, none while others are pushed, behind which they may
    /// be: of a gateway that falls behind the server holds megabytes back.
    fn next(&mut self) -> Result<Option<u64>, Failure> {
        let is_pushed = std::mem::take(&mut self.is_pushed);
        if self.sent - self.heard >= UNHEARD_MAX {
            return if is_pushed { Ok(None) } else { Err(Failure::Unheard) };
        }
        self.sent += 1;
        Ok(Some(self.sent))
    }

    fn heard(&mut self, number: u64) {
        self.heard = number.min(self.sent);
    }
}

/// What a server pushes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// A channel is heard from now on.
    Subscribed(Vec<u8>),
    /// A message in a channel.
    Message(Vec<u8>, Vec<u8>),
    /// Nothing that matters.
    Nothing,
}

impl Shard {
    /// Connects twice, and hears itself. `partition` is one of those that the server has.
    pub(super) async fn open(
        url: &RedisUrl,
        names: &Names,
        node: u64,
        (partition, nonce): (usize, u64),
    ) -> Result<Self, Failure> {
        let login = url.login();
        let mut commands = Connection::open(url, &login).await?;
        let mut pushes = Connection::open(url, &login).await?;
        let own = replication(&commands.ask(INFO).await?)?;
        let other = replication(&pushes.ask(INFO).await?)?;
        if !own.is_master {
            return Err(Failure::NotMaster);
        }
        // Behind a name with several addresses, for example.
        if own != other {
            return Err(Failure::OtherHistory);
        }
        let scripts = Scripts {
            publish: load(&mut commands, include_bytes!("publish.lua")).await?,
            read: load(&mut commands, include_bytes!("read.lua")).await?,
            positions: load(&mut commands, include_bytes!("positions.lua")).await?,
        };
        let channel = names.probe(partition, node, nonce);
        let probe = Probe { channel, sent: 0, heard: 0, is_pushed: false };
        let verbs = names.verbs();
        let waiting = VecDeque::new();
        let replication = own;
        let mut shard = Self {
            url: url.clone(),
            commands,
            pushes,
            verbs,
            scripts,
            waiting,
            replication,
            probe,
            ending: 0,
        };
        shard.subscribe_now(vec![shard.probe.channel.clone()]).await?;
        shard.hear_itself().await?;
        Ok(shard)
    }

    /// Subscribes, and waits until that is done: before anything else is under way.
    pub(super) async fn subscribe_now(
        &mut self,
        mut channels: Vec<Vec<u8>>,
    ) -> Result<(), Failure> {
        self.subscribe(&channels);
        while !channels.is_empty() {
            if let Push::Subscribed(channel) = self.next_push().await? {
                channels.retain(|wanted| *wanted != channel);
            }
        }
        Ok(())
    }

    async fn hear_itself(&mut self) -> Result<(), Failure> {
        self.probe(0)?;
        let _receivers = self.commands.next().await?;
        self.waiting.clear();
        while self.probe.heard < self.probe.sent {
            self.next_push().await?;
        }
        Ok(())
    }

    async fn next_push(&mut self) -> Result<Push, Failure> {
        let value = self.pushes.next().await?;
        self.push(value)
    }

    /// The epoch as the gateway knows it for one that is stored here, and the other way round. Where the
    /// history of the data is another one, so is the epoch, as offsets may be those of other publications.
    pub(super) fn epoch(&self, epoch: Epoch) -> Epoch {
        Epoch(epoch.0 ^ digest(self.replication.id.as_bytes()))
    }

    /// Asks for something.
    pub(super) fn ask(&mut self, parts: &[&[u8]], pending: Pending, beat: u32) {
        self.commands.command(parts);
        self.waiting.push_back((beat, pending));
    }

    /// Sends a message to a channel of Redis.
    pub(super) fn publish(&mut self, channel: &[u8], message: &[u8], pending: Pending, beat: u32) {
        self.ask(&[self.verbs.publish, channel, message], pending, beat);
    }

    /// Subscribes to channels of Redis, which in a Cluster have one slot.
    pub(super) fn subscribe(&mut self, channels: &[Vec<u8>]) {
        self.change(self.verbs.subscribe, channels);
    }

    /// Ends subscriptions, as [`Shard::subscribe`].
    pub(super) fn unsubscribe(&mut self, channels: &[Vec<u8>]) {
        self.ending += channels.len();
        self.change(self.verbs.unsubscribe, channels);
    }

    fn change(&mut self, verb: &[u8], channels: &[Vec<u8>]) {
        for batch in channels.chunks(SUBSCRIBED_AT_ONCE) {
            let parts: Vec<&[u8]> =
                std::iter::once(verb).chain(batch.iter().map(|channel| &**channel)).collect();
            self.pushes.command(&parts);
        }
    }

    /// Says something to itself, unless what it said before was not heard.
    pub(super) fn probe(&mut self, beat: u32) -> Result<(), Failure> {
        if let Some(number) = self.probe.next()? {
            let channel = self.probe.channel.clone();
            self.publish(&channel, number.to_string().as_bytes(), Pending::Probe, beat);
        }
        Ok(())
    }

    /// Asks whether the server is still what it was.
    pub(super) fn ask_replication(&mut self, beat: u32) {
        self.ask(INFO, Pending::Replication, beat);
    }

    /// Takes the answer of that.
    pub(super) fn check_replication(&self, value: &Value) -> Result<(), Failure> {
        let now = replication(value)?;
        if !now.is_master {
            return Err(Failure::NotMaster);
        }
        if now == self.replication { Ok(()) } else { Err(Failure::OtherHistory) }
    }

    /// Questions without an answer.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Whether little enough waits to go out that more may be added.
    pub(super) fn has_room(&self) -> bool {
        let bytes = self.commands.outgoing_bytes().max(self.pushes.outgoing_bytes());
        bytes < OUTGOING_BYTES_MAX
    }

    /// When the question was asked that waits the longest.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.waiting.front().map(|(beat, _)| *beat)
    }

    /// What the next answer is for.
    pub(super) fn answered(&mut self) -> Result<Pending, Failure> {
        self.waiting.pop_front().map(|(_, pending)| pending).ok_or(Failure::Malformed(Malformed))
    }

    /// Writes what the sockets take.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        for connection in [&mut self.commands, &mut self.pushes] {
            if let Poll::Ready(Err(failure)) = connection.poll_flush(context) {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// The next answer.
    pub(super) fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Value, Failure>> {
        self.commands.poll_value(context)
    }

    /// The next of what is pushed.
    pub(super) fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<Result<Push, Failure>> {
        let value = std::task::ready!(self.pushes.poll_value(context))?;
        Poll::Ready(self.push(value))
    }

    fn push(&mut self, value: Value) -> Result<Push, Failure> {
        if let Value::ServerError(error) = value {
            return Err(Failure::Server(error));
        }
        let Value::Push { kind, data } = value else { return Ok(Push::Nothing) };
        self.probe.is_pushed = true;
        if matches!(kind, PushKind::Message | PushKind::SMessage) {
            let [channel, message]: [Value; 2] = data.try_into().map_err(|_| Malformed)?;
            return Ok(self.heard(bytes(channel)?, bytes(message)?)?);
        }
        if matches!(kind, PushKind::Subscribe | PushKind::SSubscribe) {
            let channel = data.into_iter().next().ok_or(Malformed)?;
            return Ok(Push::Subscribed(bytes(channel)?));
        }
        if matches!(kind, PushKind::Unsubscribe | PushKind::SUnsubscribe) {
            // A Cluster ends the subscriptions to a slot that is moved.
            self.ending = self.ending.checked_sub(1).ok_or(Failure::Unsubscribed)?;
        }
        Ok(Push::Nothing)
    }

    fn heard(&mut self, channel: Vec<u8>, message: Vec<u8>) -> Result<Push, Malformed> {
        if channel != self.probe.channel {
            return Ok(Push::Message(channel, message));
        }
        let number = parse_number(&message).ok_or(Malformed)?;
        self.probe.heard(number);
        Ok(Push::Nothing)
    }
}

async fn load(commands: &mut Connection, script: &[u8]) -> Result<Arc<[u8]>, Failure> {
    let name = commands.ask(&[b"SCRIPT", b"LOAD", script]).await?;
    Ok(text(&name)?.into())
}

/// Asks what the server is, and which history its data have.
const INFO: &[&[u8]] = &[b"INFO", b"replication"];
/// Channels in one command.
const SUBSCRIBED_AT_ONCE: usize = 512;
/// What was said to itself, once a second, and was not heard.
const UNHEARD_MAX: u64 = 3;
/// Above it no more commands are taken.
const OUTGOING_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe { channel: b"own".to_vec(), sent: 0, heard: 0, is_pushed: false }
    }

    #[test]
    fn a_connection_that_nothing_comes_from_is_dead() {
        let mut probe = probe();
        for number in 1..=10 {
            assert!(matches!(probe.next(), Ok(Some(next)) if next == number));
            probe.heard(number);
        }
        for _ in 0..UNHEARD_MAX {
            assert!(matches!(probe.next(), Ok(Some(_))));
        }
        assert!(matches!(probe.next(), Err(Failure::Unheard)));
    }

    #[test]
    fn what_is_said_may_wait_behind_what_others_say() {
        let mut probe = probe();
        for _ in 0..UNHEARD_MAX {
            assert!(matches!(probe.next(), Ok(Some(_))));
        }
        for _ in 0..100 {
            probe.is_pushed = true;
            assert!(matches!(probe.next(), Ok(None)));
        }
        probe.heard(1);
        assert!(matches!(probe.next(), Ok(Some(4))));
        probe.is_pushed = true;
        assert!(matches!(probe.next(), Ok(None)));
        assert!(matches!(probe.next(), Err(Failure::Unheard)));
    }
}
