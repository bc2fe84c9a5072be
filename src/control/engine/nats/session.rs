//! The time between `Up` and `Down`: commands are carried out, and what is heard is said.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Event, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::answers::{Headers as _, KIND, MARK, NOTE, PublishAnswer, copied_place};
use super::caller::Waiter;
use super::connection::NatsConnection;
use super::error::Lost;
use super::interest::Interest;
use super::questions;
use super::subjects::message_id;
use crate::channels::Position;
use crate::channels::remote::{
    Audience, BrokerCommand, BrokerError, BrokerEvent, Payload, Placement, Retention,
};
use crate::control::engine::event_queue::EventSender;

/// A connection that serves.
pub(super) struct Session {
    client: Client,
    nats: Arc<NatsConnection>,
    interest: Interest,
    /// Answers to requests.
    answers: Subscriber,
    /// What nodes tell.
    told: SelectAll<Subscriber>,
    /// What the library says of the connection.
    notices: mpsc::UnboundedReceiver<Event>,
    questions: FuturesUnordered<BoxFuture<'static, Result<Done, Lost>>>,
    /// Publications that are not kept, whose arrival is not asked for yet.
    unconfirmed: Vec<u64>,
    is_confirming: bool,
    ticks: Interval,
    probe_at: Instant,
    is_probing: bool,
    /// Whether an answer was due at the last tick.
    is_overdue: bool,
}

/// What a question has come to.
enum Done {
    /// It is answered.
    Said(BrokerEvent),
    /// These channels are heard, unless they were unsubscribed meanwhile.
    Heard(Vec<Arc<str>>),
    /// The server and all streams have answered.
    Probed,
}

/// Why a session has ended.
pub(super) enum Ended {
    /// NATS is not reached as a whole any more.
    Lost(Lost),
    /// Commands or events are closed.
    Over,
}

impl From<Lost> for Ended {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// What happens next.
enum Next {
    Notice(Option<Event>),
    Answer(Option<Message>),
    Done(Option<Result<Done, Lost>>),
    Live(Option<(Arc<str>, Message)>),
    Told(Option<Message>),
    Command(Option<BrokerCommand>),
    Tick,
}

impl Session {
    pub(super) fn new(
        client: Client,
        nats: NatsConnection,
        answers: Subscriber,
        told: Vec<Subscriber>,
        notices: mpsc::UnboundedReceiver<Event>,
        own_subscriptions_max: usize,
    ) -> Self {
        Self {
            client,
            nats: Arc::new(nats),
            interest: Interest::new(own_subscriptions_max),
            answers,
            told: told.into_iter().collect(),
            notices,
            questions: FuturesUnordered::new(),
            unconfirmed: Vec::new(),
            is_confirming: false,
            ticks: ticks(),
            probe_at: Instant::now(),
            is_probing: false,
            is_overdue: false,
        }
    }

    /// Waits until the server and the leaders of all streams have answered.
    pub(super) async fn is_served(&mut self) -> Result<(), Lost> {
        self.probe();
        loop {
            tokio::select! {
                answer = self.answers.next() => {
                    let answer = answer.ok_or_else(closed)?;
                    drop(self.nats.caller.answered(answer));
                }
                done = self.questions.next() => {
                    done.ok_or_else(closed)??;
                    self.is_probing = false;
                    return Ok(());
                }
                notice = self.notices.recv() => noticed(notice)?,
                _ = self.ticks.tick() => self.check_overdue()?,
            }
        }
    }

    /// Serves until it ends.
    pub(super) async fn run(
        mut self,
        commands: &mut mpsc::UnboundedReceiver<BrokerCommand>,
        events: &EventSender,
    ) -> Ended {
        loop {
            if let Err(ended) = self.step(commands, events).await {
                return ended;
            }
        }
    }

    async fn step(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<BrokerCommand>,
        events: &EventSender,
    ) -> Result<(), Ended> {
        let said = match self.next(commands).await {
            Next::Notice(notice) => {
                noticed(notice)?;
                None
            }
            Next::Answer(answer) => self.answered(answer.ok_or_else(closed)?, events).await?,
            Next::Done(None | Some(Ok(Done::Probed))) => {
                self.is_probing = false;
                self.probe_at = Instant::now() + self.nats.caller.timeout();
                None
            }
            Next::Done(Some(Err(lost))) => return Err(lost.into()),
            Next::Done(Some(Ok(Done::Said(event)))) => Some(event),
            Next::Done(Some(Ok(Done::Heard(channels)))) => {
                for channel in channels {
                    say(events, BrokerEvent::Subscribed(channel)).await?;
                }
                None
            }
            Next::Live(heard) => heard.and_then(|(channel, message)| self.heard(channel, message)),
            Next::Told(message) => message.map(|message| BrokerEvent::Told(message.payload.into())),
            Next::Command(command) => self.carry_out(command.ok_or(Ended::Over)?).await?,
            Next::Tick => {
                self.tick(events).await?;
                None
            }
        };
        if let Some(said) = said {
            say(events, said).await?;
        }
        Ok(self.confirm().await?)
    }

    async fn next(&mut self, commands: &mut mpsc::UnboundedReceiver<BrokerCommand>) -> Next {
        let has_room =
            self.nats.caller.waiting() < REQUESTS_MAX && self.questions.len() < QUESTIONS_MAX;
        tokio::select! {
            notice = self.notices.recv() => Next::Notice(notice),
            answer = self.answers.next() => Next::Answer(answer),
            done = self.questions.next(), if !self.questions.is_empty() => Next::Done(done),
            heard = self.interest.next(), if !self.interest.is_empty() => Next::Live(heard),
            message = self.told.next(), if !self.told.is_empty() => Next::Told(message),
            command = commands.recv(), if has_room => Next::Command(command),
            _ = self.ticks.tick() => Next::Tick,
        }
    }
    async fn carry_out(&mut self, command: BrokerCommand) -> Result<Option<BrokerEvent>, Lost> {
        let nats = Arc::clone(&self.nats);
        match command {
            BrokerCommand::Subscribe(channels) => self.subscribe(channels).await?,
            BrokerCommand::Unsubscribe(channels) => self.interest.unsubscribe(&channels),
            BrokerCommand::Publish { number, channel, retention, payload, idempotency_key } => {
                let publication = Publication { number, channel, payload, key: idempotency_key };
                return self.publish(publication, retention).await;
            }
            BrokerCommand::Read { number, channel, retention, span } => {
                self.ask(questions::read(nats, number, channel, retention, span));
            }
            BrokerCommand::Remove { number, channel } => {
                self.ask(questions::remove(nats, number, channel));
            }
            BrokerCommand::Positions { number, channels } => {
                let channels = channels.into_iter().map(|(channel, _)| channel).collect();
                self.ask(questions::positions(nats, number, channels));
            }
            BrokerCommand::Note(channel, payload) => {
                if self.fits(&payload) {
                    let mut headers = HeaderMap::new();
                    headers.insert(KIND, NOTE);
                    let subject = nats.subjects.live(&channel);
                    nats.caller.tell(subject, Some(headers), payload.into()).await?;
                }
            }
            BrokerCommand::Tell(audience, payload) => {
                if self.fits(&payload) {
                    let subject = match audience {
                        Audience::All => nats.subjects.nodes(),
                        Audience::Node(number) => nats.subjects.node(number),
                    };
                    nats.caller.tell(subject, None, payload.into()).await?;
                }
            }
        }
        Ok(None)
    }

    fn ask(&self, question: impl Future<Output = Result<BrokerEvent, Lost>> + Send + 'static) {
        self.questions.push(question.map(|said| said.map(Done::Said)).boxed());
    }

    async fn subscribe(&mut self, channels: Vec<Arc<str>>) -> Result<(), Lost> {
        let nats = Arc::clone(&self.nats);
        self.interest.subscribe(&self.client, &nats.subjects, &channels).await?;
        // Where publications come by other servers, those must know of it as well.
        let mut streams: Vec<usize> = if nats.is_clustered {
            let index = |channel: &Arc<str>| nats.stream_of(channel).map(|(index, _)| index);
            channels.iter().filter_map(index).collect()
        } else {
            Vec::new()
        };
        streams.sort_unstable();
        streams.dedup();
        self.questions.push(
            async move {
                questions::heard(&nats, &streams).await?;
                Ok(Done::Heard(channels))
            }
            .boxed(),
        );
        Ok(())
    }

    async fn publish(
        &mut self,
        publication: Publication,
        retention: Option<Retention>,
    ) -> Result<Option<BrokerEvent>, Lost> {
        let nats = Arc::clone(&self.nats);
        let Publication { number, channel, payload, key } = publication;
        let refused = Ok(Some(BrokerEvent::Published(number, Err(BrokerError::Refused))));
        if !self.fits(&payload) {
            return refused;
        }
        let headers = key.map(|key| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", message_id(&channel, &key));
            headers
        });
        if retention.is_none() && headers.is_none() {
            // The bytes are charged until the library has written them.
            let payload = Bytes::from_owner(payload);
            nats.caller.tell(nats.subjects.live(&channel), None, payload).await?;
            self.unconfirmed.push(number);
            return Ok(None);
        }
        let (stream, subject) = if retention.is_none() {
            if nats.keys.is_none() {
                return refused;
            }
            (None, nats.subjects.keyed(&channel))
        } else {
            let Some((stream, _)) = nats.stream_of(&channel) else { return refused };
            (Some(stream), nats.subjects.kept(&channel))
        };
        let waiter = Waiter::Publish { number, stream };
        nats.caller.send(waiter, subject, headers, Bytes::from_owner(payload)).await?;
        Ok(None)
    }

    /// Asks for the arrival of publications that are not kept, all of them at once.
    async fn confirm(&mut self) -> Result<(), Lost> {
        if self.is_confirming || self.unconfirmed.is_empty() {
            return Ok(());
        }
        self.is_confirming = true;
        let numbers = std::mem::take(&mut self.unconfirmed);
        self.nats.caller.send_round(Waiter::Confirm(numbers)).await
    }

    /// Gives an answer out, and returns what is to be said of it.
    async fn answered(
        &mut self,
        message: Message,
        events: &EventSender,
    ) -> Result<Option<BrokerEvent>, Ended> {
        let Some((waiter, message)) = self.nats.caller.answered(message) else { return Ok(None) };
        match waiter {
            Waiter::Publish { number, stream } => {
                Ok(Some(BrokerEvent::Published(number, self.published(stream, &message))))
            }
            Waiter::Confirm(numbers) => {
                self.is_confirming = false;
                for number in numbers {
                    say(events, BrokerEvent::Published(number, Ok(None))).await?;
                }
                Ok(None)
            }
            Waiter::One(_) | Waiter::Many(_) => Ok(None),
        }
    }

    fn published(
        &mut self,
        stream: Option<usize>,
        message: &Message,
    ) -> Result<Option<Position>, BrokerError> {
        let stream = stream.and_then(|index| self.nats.streams.get(index));
        match PublishAnswer::parse(&message.payload) {
            Some(PublishAnswer::Kept(sequence)) => Ok(stream.map(|stream| {
                stream.see(sequence);
                stream.position(sequence)
            })),
            Some(PublishAnswer::LastIs(_)) => Err(BrokerError::Refused),
            Some(PublishAnswer::Full(reason) | PublishAnswer::Refused(reason)) => {
                log::debug!("NATS keeps a publication not: {reason}");
                Err(BrokerError::Refused)
            }
            None => {
                // There may be no leader. If there is none for long, NATS is down.
                self.probe_at = Instant::now();
                if message.status.is_some() {
                    Err(BrokerError::Refused)
                } else {
                    Err(BrokerError::Unknown)
                }
            }
        }
    }

    fn heard(&self, channel: Arc<str>, message: Message) -> Option<BrokerEvent> {
        let headers = message.headers.as_ref();
        let payload = message.payload.into();
        match headers.and_then(|headers| headers.text(KIND)) {
            Some(NOTE) => return Some(BrokerEvent::Note(channel, payload)),
            Some(MARK) => return None,
            Some(_) | None => {}
        }
        // What is no copy of what the channel's stream keeps has no place: it was not to be kept, or comes by the
        // stream of keys, whose sequences are others.
        let place = self.nats.stream_of(&channel).and_then(|(_, stream)| {
            let copied = headers.filter(|own| own.text("Nats-Stream") == Some(&*stream.name))?;
            let (sequence, previous) = copied_place(copied)?;
            stream.see(sequence);
            Some(Placement { position: stream.position(sequence), previous })
        });
        Some(BrokerEvent::Live { channel, place, payload })
    }

    async fn tick(&mut self, events: &EventSender) -> Result<(), Ended> {
        // Answers may have come while the events were full.
        while let Some(answer) = self.answers.next().now_or_never() {
            if let Some(said) = self.answered(answer.ok_or_else(closed)?, events).await? {
                say(events, said).await?;
            }
        }
        self.check_overdue()?;
        if Instant::now() >= self.probe_at && !self.is_probing {
            self.probe();
        }
        Ok(())
    }

    fn check_overdue(&mut self) -> Result<(), Lost> {
        // Notices may be lost where many come at once.
        if self.client.statistics().connects.load(Ordering::Relaxed) > 1 {
            return Err(closed());
        }
        // If this process had no time itself, an answer may lie in the socket: it is there at the next tick.
        let was_overdue = std::mem::replace(&mut self.is_overdue, self.nats.caller.is_overdue());
        if was_overdue && self.is_overdue {
            let seconds = self.nats.caller.timeout().as_secs_f32();
            return Err(Lost::new(format!("a request was not answered in {seconds} s")));
        }
        Ok(())
    }

    /// Asks the server and all streams whether they answer.
    fn probe(&mut self) {
        self.is_probing = true;
        let nats = Arc::clone(&self.nats);
        self.questions.push(
            async move {
                let all: Vec<usize> = (0..nats.streams.len()).collect();
                questions::heard(&nats, &all).await?;
                Ok(Done::Probed)
            }
            .boxed(),
        );
    }

    fn fits(&self, payload: &[u8]) -> bool {
        payload.len() + HEADER_BYTES_MAX <= self.nats.payload_bytes_max
    }
}

/// A publication on its way.
struct Publication {
    number: u64,
    channel: Arc<str>,
    payload: Payload,
    key: Option<Box<str>>,
}

/// What the library says of the connection.
fn noticed(notice: Option<Event>) -> Result<(), Lost> {
    match notice {
        None | Some(Event::Disconnected | Event::Closed) => Err(closed()),
        Some(Event::LameDuckMode) => Err(Lost::new("the server is about to stop")),
        Some(Event::SlowConsumer(_)) => {
            // Members find the gap by the place of the next copy, or when their position is checked.
            log::debug!("copies were lost, as too many came at once");
            Ok(())
        }
        Some(Event::ServerError(error)) => {
            log::warn!("NATS says: {error}");
            Ok(())
        }
        Some(Event::Connected | Event::Draining | Event::ClientError(_)) => Ok(()),
    }
}

async fn say(events: &EventSender, event: BrokerEvent) -> Result<(), Ended> {
    events.send(event).await.map_err(|_| Ended::Over)
}

fn closed() -> Lost {
    Lost::new("the connection was lost")
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How often it is looked for answers that are due.
const TICK: Duration = Duration::from_millis(250);
/// Requests under way. While there are as many, no command is taken.
const REQUESTS_MAX: usize = 4096;
/// Questions under way, each of which may have answers of several hundred messages.
const QUESTIONS_MAX: usize = 64;
/// What headers of ours take at most.
const HEADER_BYTES_MAX: usize = 1024;
