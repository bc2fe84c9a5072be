//! Subscribes, publishes, verifies each delivery by its text and its offset, and recovers.

use std::time::{Duration, Instant};

use super::arguments::{ChannelsArguments, Format};
use super::protobuf;
use super::protocol::{self, Publication, Push, Reply, Subscribe, Subscribed, number};
use crate::driver;
use crate::driver::{ConnHandle, ConnKey, Driver, Failure, Workload};
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::websocket::{Chunk, Event};

/// One publisher and the subscribers, which are connections in a row.
#[derive(Debug)]
pub(super) struct ChannelsWorkload<'a> {
    arguments: &'a ChannelsArguments,
    members: Vec<Member>,
    /// The serial number of the first subscriber.
    first: u64,
    /// The frame that is arriving at the publisher.
    publishers_frame: Vec<u8>,
    publishers_pongs: bool,
    epoch: String,
    /// When each publication was sent.
    published: Vec<Instant>,
    /// Deliveries, and answers to the publisher, that are still to come.
    outstanding: u64,
    unanswered: usize,
    /// Objects of the server.
    received: u64,
    pub(super) subscribed: usize,
    is_recovering: bool,
    is_over: bool,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) recovered: u64,
    pub(super) last_recovered: Option<Instant>,
    /// From the publication to its arrival at a subscriber.
    pub(super) deliveries: Latencies,
    /// From a command of the publisher to its answer.
    pub(super) answers: Latencies,
    asked: Instant,
    /// From connecting to all that was missed.
    pub(super) recoveries: Latencies,
    pub(super) tally: Tally,
}

/// What a subscriber has.
#[derive(Clone, Debug, Default)]
struct Member {
    offset: u64,
    /// Publications that have come, or were there before it.
    next: usize,
    pongs: bool,
    /// The frame that is arriving.
    frame: Vec<u8>,
}

impl<'a> ChannelsWorkload<'a> {
    pub(super) fn new(arguments: &'a ChannelsArguments, now: Instant) -> Self {
        Self {
            arguments,
            members: vec![Member::default(); arguments.subscribers.get()],
            first: 0,
            publishers_frame: Vec::new(),
            publishers_pongs: false,
            epoch: String::new(),
            published: Vec::new(),
            outstanding: 0,
            unanswered: 0,
            received: 0,
            subscribed: 0,
            is_recovering: false,
            is_over: false,
            lost: 0,
            repeated: 0,
            recovered: 0,
            last_recovered: None,
            deliveries: Latencies::new(),
            answers: Latencies::new(),
            asked: now,
            recoveries: Latencies::new(),
            tally: Tally::default(),
        }
    }

    /// The connections that are opened from now on are subscribers that come back.
    pub(super) fn come_back(&mut self, first: u64) {
        self.first = first;
        self.is_recovering = true;
    }

    /// All connections are dropped.
    pub(super) fn leave(&mut self) {
        self.subscribed = 0;
        self.first = u64::MAX;
        self.members.iter_mut().for_each(|member| member.frame.clear());
    }

    /// Begins to measure.
    pub(super) fn measure(&mut self) {
        self.deliveries.clear();
        self.answers.clear();
    }

    /// Publishes `count` times at once.
    pub(super) fn publish(&mut self, count: usize, publisher: ConnKey, driver: &mut Driver) {
        let ChannelsArguments { channel, bytes, format, .. } = self.arguments;
        driver.with(publisher, |connection| {
            self.asked = connection.now();
            for _ in 0..count {
                let next = self.published.len();
                match format {
                    Format::Json => {
                        let text = protocol::publish(PUBLISH, channel, next, *bytes);
                        connection.send_text(&text);
                    }
                    Format::Protobuf => {
                        let message = protobuf::publish(PUBLISH, channel, next, *bytes);
                        connection.send_binary(&message);
                    }
                }
                self.published.push(connection.now());
            }
        });
        self.unanswered += count;
        self.outstanding += (count * self.subscribed) as u64;
    }

    /// Asks for the presence of the channel.
    pub(super) fn ask_presence(&mut self, publisher: ConnKey, driver: &mut Driver) {
        let ChannelsArguments { channel, format, .. } = self.arguments;
        driver.with(publisher, |connection| {
            self.asked = connection.now();
            match format {
                Format::Json => connection.send_text(&protocol::presence(PRESENCE, channel)),
                Format::Protobuf => connection.send_binary(&protobuf::presence(PRESENCE, channel)),
            }
        });
        self.unanswered += 1;
    }

    /// Publications that each of those who came back has missed.
    pub(super) fn missed(&self) -> usize {
        self.arguments.missed
    }

    /// Whether all has come that is to come.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding == 0 && self.unanswered == 0
    }

    /// Grows with everything that comes.
    pub(super) fn progress(&self) -> u64 {
        self.received
    }

    /// The run cannot be finished: a connection has failed, or something is overdue.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends the run, and counts what has not come after `waited` as lost.
    pub(super) fn abort(&mut self, waited: Duration) {
        self.is_over = true;
        self.lost += self.outstanding;
        let (outstanding, unanswered) = (self.outstanding, self.unanswered);
        self.tally.record(|| {
            let seconds = waited.as_secs_f64();
            format!(
                "{outstanding} deliveries and {unanswered} answers did not come within {seconds} s"
            )
        });
    }

    fn member(&self, serial: u64) -> Option<usize> {
        let at = driver::index(serial.checked_sub(self.first)?);
        (at < self.members.len()).then_some(at)
    }

    /// The first frame of a connection.
    fn opened(&self, connection: &mut ConnHandle<'_>) {
        let ChannelsArguments { channel, token, format, .. } = self.arguments;
        let token = token.as_deref();
        let subscribe = self.member(connection.serial()).map(|at| {
            let since = (self.members[at].offset, &*self.epoch);
            Subscribe { channel, since: self.is_recovering.then_some(since) }
        });
        match format {
            Format::Json => connection.send_text(&protocol::begin(token, subscribe)),
            Format::Protobuf => connection.send_binary(&protobuf::begin(token, subscribe)),
        }
    }

    /// Deals with a frame once all of it has come.
    fn receive(
        &mut self,
        connection: &mut ConnHandle<'_>,
        chunk: &Chunk<'_>,
    ) -> Result<(), Failure> {
        let member = self.member(connection.serial());
        let frame = match member {
            Some(at) => &mut self.members[at].frame,
            None => &mut self.publishers_frame,
        };
        frame.extend_from_slice(chunk.payload);
        if !chunk.is_end {
            return Ok(());
        }
        let mut whole = std::mem::take(frame);
        match self.arguments.format {
            Format::Json => {
                for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let reply: Reply<'_> = serde_json::from_slice(line)
                        .map_err(|error| Failure::UnreadableReply(error.to_string()))?;
                    self.take(connection, member, reply)?;
                }
            }
            Format::Protobuf => {
                let mut rest = &whole[..];
                while !rest.is_empty() {
                    self.take(connection, member, protobuf::next_reply(&mut rest)?)?;
                }
            }
        }
        // Its room is for the next, where frames come in parts at all.
        whole.clear();
        match member {
            Some(_) => {}
            None => self.publishers_frame = whole,
        }
        Ok(())
    }

    fn take(
        &mut self,
        connection: &mut ConnHandle<'_>,
        member: Option<usize>,
        reply: Reply<'_>,
    ) -> Result<(), Failure> {
        self.received += 1;
        let Reply { id, error, connect, subscribe, presence, push } = reply;
        if let Some(error) = error {
            return Err(Failure::Refused { code: error.code, message: error.message });
        }
        let pongs = match member {
            Some(at) => &mut self.members[at].pongs,
            None => &mut self.publishers_pongs,
        };
        match (id, connect, subscribe, push) {
            (0, _, _, None) if *pongs => match self.arguments.format {
                Format::Json => connection.send_text_one_way("{}"),
                Format::Protobuf => connection.send_binary_one_way(protobuf::PONG),
            },
            (0, _, _, None) => {}
            (0, _, _, Some(push)) => return self.take_push(connection, member, push),
            (_, Some(connected), _, _) => *pongs = connected.pong,
            (_, _, Some(subscribed), _) => {
                return self.take_subscribed(connection, member, &subscribed);
            }
            (PUBLISH, ..) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.answers.record(connection.now().saturating_duration_since(self.asked));
            }
            (PRESENCE, ..) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                let count = presence.map_or(0, |presence| presence.count);
                if count != self.subscribed {
                    let text = format!("presence names {count} of {} members", self.subscribed);
                    return Err(Failure::UnreadableReply(text));
                }
                self.answers.record(connection.now().saturating_duration_since(self.asked));
            }
            (_, None, None, _) => return Err(Failure::UnaskedMessage),
        }
        Ok(())
    }

    fn take_push(
        &mut self,
        connection: &ConnHandle<'_>,
        member: Option<usize>,
        push: Push<'_>,
    ) -> Result<(), Failure> {
        if let Some(error) = push.unsubscribe {
            return Err(Failure::Refused { code: error.code, message: error.message });
        }
        let (Some(at), Some(publication)) = (member, push.publication) else { return Ok(()) };
        if let Some(number) = self.take_publication(at, &publication)? {
            self.outstanding = self.outstanding.saturating_sub(1);
            let sent = self.published.get(number).copied();
            let latency = sent.map(|sent| connection.now().saturating_duration_since(sent));
            self.deliveries.record(latency.unwrap_or_default());
        }
        Ok(())
    }

    /// The number of a publication that follows those that have come before.
    fn take_publication(
        &mut self,
        at: usize,
        publication: &Publication<'_>,
    ) -> Result<Option<usize>, Failure> {
        let number = number(&publication.data, self.arguments.bytes).ok_or(Failure::WrongEcho)?;
        let member = &mut self.members[at];
        let Publication { offset, .. } = publication;
        if number < member.next {
            self.repeated += 1;
            self.tally
                .record(|| format!("subscriber {at}: publication {number} came again, or late"));
            return Ok(None);
        }
        // Where no history is kept there are no offsets.
        let is_next = *offset == 0 || *offset == member.offset + 1;
        if number > member.next || !is_next {
            let missing = (number - member.next) as u64;
            self.lost += missing;
            self.outstanding = self.outstanding.saturating_sub(missing);
            self.tally.record(|| {
                format!("subscriber {at}: publication {number} at offset {offset} came, {missing} before it did not")
            });
        }
        member.next = number + 1;
        member.offset = *offset;
        Ok(Some(number))
    }

    fn take_subscribed(
        &mut self,
        connection: &ConnHandle<'_>,
        member: Option<usize>,
        subscribed: &Subscribed<'_>,
    ) -> Result<(), Failure> {
        let Some(at) = member else { return Err(Failure::UnaskedMessage) };
        self.subscribed += 1;
        if !self.is_recovering {
            self.epoch.clear();
            self.epoch.push_str(&subscribed.epoch);
            let next = self.published.len();
            let member = &mut self.members[at];
            (member.offset, member.next) = (subscribed.offset, next);
            return Ok(());
        }
        for publication in &subscribed.publications {
            self.take_publication(at, publication)?;
        }
        if !subscribed.recovered || self.members[at].next != self.published.len() {
            let missing = self.published.len() - self.members[at].next;
            self.lost += missing as u64;
            self.tally
                .record(|| format!("subscriber {at}: {missing} publications were not recovered"));
            self.members[at].next = self.published.len();
            self.members[at].offset = subscribed.offset;
            return Ok(());
        }
        self.recovered += 1;
        self.recoveries.record(connection.age());
        self.last_recovered = Some(connection.now());
        Ok(())
    }
}

impl Workload for ChannelsWorkload<'_> {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        match event {
            Event::Opened => self.opened(connection),
            Event::Data(chunk) => self.receive(connection, &chunk)?,
            Event::Ping | Event::Pong { .. } => {}
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.is_over |= outcome.is_err();
        self.tally.record_end(serial, outcome);
    }

    fn failures(&self) -> usize {
        self.tally.count()
    }
}

/// The ids of the publisher's commands, all of a kind the same.
const PUBLISH: u32 = 3;
const PRESENCE: u32 = 4;
